"""SocketReference: one counted handle on a name."""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import NoReturn, SupportsIndex, Unpack

from . import _events, _handlers, _loops, _lowlevel, _stats
from ._connection import Address, ConnectionOptions, connection_options
from ._errors import ECLOSED, make_error
from ._paths import Path
from .lowlevel import sockref


class SocketReference:
    """One counted reference to a socket's name.

    References come from start_listener(), listen(), get_or_create(), get_existing(), register_new() and dup().
    Each is given back exactly once: by close(), by the end of a ``with`` block, or, as a safety net, when it is
    collected. The last one closes the listener and removes its file before close() returns. What a process
    still holds at its orderly end is given back then; an open reference does not keep a process alive.

    Every method may be called on any thread; a close() that races another call is safe. After close(), path
    stays, is_active and is_owner are False and the counts 0; dup(), fd(), socket(), serve(), stats() and
    check_health() raise ESOCKREF_CLOSED. After a revocation (cleanup, shutdown) the reference is inactive and still counts. In a
    forked child it is inactive, and what would use it raises ESOCKREF_FORKED.
    """

    __slots__ = ("_handle", "_path", "_closed", "__weakref__")
    _handle: sockref
    _path: bytes
    _closed: bool

    def __init__(self) -> None:
        raise TypeError("a SocketReference comes from listen(), start_listener() or get_or_create()")

    @classmethod
    def _wrap(cls, handle: sockref) -> SocketReference:
        self = object.__new__(cls)
        self._handle = handle
        self._path = _lowlevel.sockref_path(handle)
        self._closed = False
        return self

    @classmethod
    def get_or_create(cls, path: Path | None = None) -> SocketReference:
        """Count a reference to a name of the default registry; nothing is bound. None is the default name.

        Blocks while the last life of the name is being removed, with the GIL released.
        """
        from ._registry import default

        return default.get_or_create(path)

    @classmethod
    def get_existing(cls, path: Path) -> SocketReference | None:
        """Count a reference to a name that is active in the default registry; None if it is not."""
        from ._registry import default

        return default.get_existing(path)

    @property
    def path(self) -> str:
        """The name as the first caller of this life spelled it, decoded as os.fsdecode does."""
        return os.fsdecode(self._path)

    @property
    def path_bytes(self) -> bytes:
        """The exact bytes of the name."""
        return self._path

    @property
    def is_active(self) -> bool:
        """Whether it is counted and not revoked."""
        return _lowlevel.sockref_is_active(self._handle)

    @property
    def is_owner(self) -> bool:
        """Whether its registry owns the listener."""
        return _lowlevel.sockref_is_owner(self._handle)

    @property
    def reference_count(self) -> int:
        """The references to the name in its registry, exact at one moment."""
        return _lowlevel.sockref_reference_count(self._handle)

    @property
    def holder_count(self) -> int:
        """The registries that hold the name, over all processes."""
        return _lowlevel.sockref_holder_count(self._handle)

    def stats(self) -> _stats.SocketStats:
        """Tell what is counted of the name while it is served here; revoked, it still tells its references."""
        return _stats.of_reference(self._handle)

    def check_health(self) -> _stats.Health:
        """Look whether the name is well: its file, whether it can be connected to, whether its service accepts.

        It asks the system, and waits for nobody; the service notices nothing of it. Raises ESOCKREF_CLOSED where the
        name was revoked, or nothing was started.
        """
        return _stats.health_of(self._handle)

    def dup(self) -> SocketReference:
        """Count one more reference, which is closed on its own."""
        return self._wrap(_lowlevel.sockref_acquire(self._handle))

    def close(self) -> None:
        """Give the reference back. A second call does nothing; it never fails."""
        self._closed = True
        _lowlevel.close_reference(self._handle)

    def fd(self) -> int:
        """A duplicate of the listening descriptor, close-on-exec; the caller closes it."""
        return _lowlevel.dup_fd(self._handle)

    def socket(self) -> socket.socket:
        """The listening socket, non-blocking, over a duplicate of the descriptor; the caller closes it."""
        listener = socket.socket(fileno=self.fd())
        listener.setblocking(False)  # as it is: its own dup() would change that, for all of them
        return listener

    def serve(self, handlers: _handlers.Handlers, **options: Unpack[ConnectionOptions]) -> None:
        """Serve the listener with handlers in Python, until the last reference of all holders goes.

        They run on the running asyncio loop; without one, on a daemon thread of sockref. Options are keywords
        (ConnectionOptions): how its connections begin. Raises ESOCKREF_BUSY where the name is served already,
        ESOCKREF_CLOSED where it does not listen here.
        """
        begin = connection_options(options)
        called = _handlers.overridden(handlers)
        if self._closed:
            raise make_error(ECLOSED, path=self._path)
        loop, reporter = _loops.current()
        _lowlevel.serve(self._handle, loop, called, reporter, begin)

    def unserve(self, *, destroy: bool = False) -> None:
        """Accept no more; the name stays active, and may be served anew when its last connection is over.

        Its connections go on until they end, or are destroyed. Raises ESOCKREF_NOTFOUND where it is not served.
        """
        self._check_open()
        _lowlevel.sockref_unserve(self._handle, destroy)

    @property
    def local_address(self) -> Address:
        """The address that the listener is bound to, as socket.getsockname() tells it."""
        return _lowlevel.local_address(self._handle)

    @property
    def connection_count(self) -> int:
        """The open connections of the service of this registry."""
        return _lowlevel.sockref_connection_count(self._handle)

    def set_max_connections(self, most: int) -> None:
        """Change how many connections may be open at once; 0: no limit. Those that are open stay.

        What comes beyond waits in the kernel's queue, or is closed where the handlers have on_drop.
        """
        self._check_open()
        if not 0 <= most < 2**64:
            raise ValueError(f"not a number of connections: {most}")
        _lowlevel.sockref_set_max_connections(self._handle, most)

    def _check_open(self) -> None:
        if self._closed:
            raise make_error(ECLOSED, path=self._path)

    def serve_echo(self) -> None:
        """Serve the listener with a native echo service, on a thread of the library, also while Python blocks."""
        _lowlevel.serve_echo(self._handle)

    def watch(self, handler: _events.WatchHandler | None) -> None:
        """Have handler(event) called when something happens to the name; None: nobody any more.

        There is one watch for all references of one life of the name. It is called on the running asyncio loop,
        or, without one, on a daemon thread of sockref, some time after the event. What happened before the watch
        is not told: look at is_owner after it. Raises ESOCKREF_CLOSED where the name was revoked or lost before.
        """
        _events.watch(self._handle, handler)

    def __enter__(self) -> SocketReference:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "active" if self.is_active else "inactive"
        return f"<sockref.SocketReference {self.path!r} {state} references={self.reference_count}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("cannot copy or pickle a SocketReference; dup() counts one more")
