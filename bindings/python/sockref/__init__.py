"""Reference-counted Unix sockets: the first opens, the last one removes.

A name is the place of a socket: an absolute file path, or "@" and a name of the abstract namespace. The first
listen on a name binds it, later ones share it, and the last close removes its file, at once::

    reference = await sockref.start_listener("/run/user/1000/app.sock")
    reference.serve_echo()
    ...
    reference.close()

The functions of this module work on the default registry of the process; Registry makes one of its own.
"""

from __future__ import annotations

from ._native import BUILT_VERSION as __version__
from ._connection import (
    Address,
    AttemptEvent,
    ConnectionInfo,
    ConnectionOptions,
    ConnectionState,
    ConnectOptions,
    PeerCredentials,
)
from ._errors import (
    SockrefBlockingIOError,
    SockrefBrokenPipeError,
    SockrefConnectionAbortedError,
    SockrefConnectionRefusedError,
    SockrefConnectionResetError,
    SockrefError,
    SockrefFileExistsError,
    SockrefFileNotFoundError,
    SockrefHostNotFoundError,
    SockrefInterruptedError,
    SockrefIsADirectoryError,
    SockrefNotADirectoryError,
    SockrefPermissionError,
    SockrefResolverError,
    SockrefTimeoutError,
    SockrefValueError,
)
from ._events import LogLevel, LogRecord, WatchEvent, set_log
from ._handlers import Handlers, adopt, connect
from ._lowlevel import Connection
from ._lowlevel import sockref_version as _library_version
from ._options import ListenOptions, RegistryOptions
from ._paths import Path
from ._pool import SocketPool
from ._reference import SocketReference
from ._registry import LiveCounts, Registry
from ._registry import default as _default
from ._stats import Health, Histogram, LoopStats, RegistryStats, SocketStats, loop_stats

__all__ = [
    "Address",
    "AttemptEvent",
    "ConnectOptions",
    "Connection",
    "ConnectionInfo",
    "ConnectionOptions",
    "ConnectionState",
    "Handlers",
    "Health",
    "Histogram",
    "ListenOptions",
    "LiveCounts",
    "LogLevel",
    "LogRecord",
    "LoopStats",
    "Path",
    "PeerCredentials",
    "Registry",
    "RegistryOptions",
    "RegistryStats",
    "SocketPool",
    "SocketReference",
    "SocketStats",
    "SockrefBlockingIOError",
    "SockrefBrokenPipeError",
    "SockrefConnectionAbortedError",
    "SockrefConnectionRefusedError",
    "SockrefConnectionResetError",
    "SockrefError",
    "SockrefFileExistsError",
    "SockrefFileNotFoundError",
    "SockrefHostNotFoundError",
    "SockrefInterruptedError",
    "SockrefIsADirectoryError",
    "SockrefNotADirectoryError",
    "SockrefPermissionError",
    "SockrefResolverError",
    "SockrefTimeoutError",
    "SockrefValueError",
    "WatchEvent",
    "__version__",
    "active_socket_count",
    "adopt",
    "cleanup",
    "cleanup_all",
    "connect",
    "drain",
    "get_existing",
    "get_or_create",
    "guard_status",
    "is_socket_active",
    "listen",
    "live_counts",
    "loop_stats",
    "metrics",
    "register_new",
    "set_log",
    "shutdown",
    "start_listener",
    "stats",
    "sweep",
    "version",
]

# Every method of Registry, on the default one.
active_socket_count = _default.active_socket_count
cleanup = _default.cleanup
cleanup_all = _default.cleanup_all
drain = _default.drain
get_existing = _default.get_existing
get_or_create = _default.get_or_create
guard_status = _default.guard_status
is_socket_active = _default.is_socket_active
listen = _default.listen
live_counts = _default.live_counts
metrics = _default.metrics
register_new = _default.register_new
shutdown = _default.shutdown
start_listener = _default.start_listener
stats = _default.stats
sweep = _default.sweep


def version() -> str:
    """The version of the library that is loaded, which may be newer than __version__, the binding's."""
    return _library_version()
