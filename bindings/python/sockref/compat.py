"""The earlier names, over the present ones; each warns once that it is deprecated.

start_socket_listener() gives only a path. The reference behind it is kept until its name is revoked
(force_cleanup_socket, cleanup_all_sockets) or the process ends, at most one for each name.
"""

from __future__ import annotations

import os
import threading
import warnings

from ._errors import ENOTFOUND, SockrefError
from ._paths import Path
from ._reference import SocketReference
from ._registry import default

__all__ = [
    "cleanup_all_sockets",
    "force_cleanup_socket",
    "get_active_socket_count",
    "is_socket_active",
    "start_socket_connection",
    "start_socket_connection_with_reference",
    "start_socket_listener",
    "start_socket_listener_with_reference",
]

_lock = threading.RLock()
_kept: dict[bytes, SocketReference] = {}
_warned: set[str] = set()


def _deprecated(name: str, instead: str) -> None:
    with _lock:
        if name in _warned:
            return
        _warned.add(name)
    warnings.warn(f"sockref.compat.{name} is deprecated: use {instead}", DeprecationWarning, stacklevel=3)


def start_socket_listener_with_reference(path: Path | None = None) -> SocketReference:
    """As sockref.listen: blocks."""
    _deprecated("start_socket_listener_with_reference", "sockref.listen")
    return default.listen(path)


def start_socket_listener(path: Path | None = None) -> str:
    """Listen, keep the reference, and give only the path: blocks."""
    _deprecated("start_socket_listener", "sockref.listen")
    return _keep(default.listen(path))


async def start_socket_connection_with_reference(path: Path | None = None) -> SocketReference:
    """As sockref.start_listener."""
    _deprecated("start_socket_connection_with_reference", "sockref.start_listener")
    return await default.start_listener(path)


async def start_socket_connection(path: Path | None = None) -> str:
    """Listen, keep the reference, and give only the path."""
    _deprecated("start_socket_connection", "sockref.start_listener")
    return _keep(await default.start_listener(path))


def is_socket_active(path: Path) -> bool:
    """As sockref.is_socket_active."""
    _deprecated("is_socket_active", "sockref.is_socket_active")
    return default.is_socket_active(path)


def get_active_socket_count() -> int:
    """As sockref.active_socket_count."""
    _deprecated("get_active_socket_count", "sockref.active_socket_count")
    return default.active_socket_count()


def cleanup_all_sockets() -> int:
    """As sockref.cleanup_all."""
    _deprecated("cleanup_all_sockets", "sockref.cleanup_all")
    count = default.cleanup_all()
    _drop_revoked()
    return count


def force_cleanup_socket(path: Path) -> None:
    """As sockref.cleanup, but silent where the name is not known."""
    _deprecated("force_cleanup_socket", "sockref.cleanup")
    try:
        default.cleanup(path)
    except SockrefError as error:
        if error.status != ENOTFOUND:
            raise
    _drop_revoked()


def _keep(reference: SocketReference) -> str:
    _drop_revoked()
    with _lock:
        kept = _kept.setdefault(reference.path_bytes, reference)
    if kept is not reference:
        reference.close()
    return kept.path


def _drop_revoked() -> None:
    with _lock:
        gone = [_kept.pop(path) for path, reference in list(_kept.items()) if not reference.is_active]
    for reference in gone:
        reference.close()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    _kept.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
