"""Registry: names to references, and the default one behind the functions of the module."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import NoReturn, SupportsIndex, TypedDict, Unpack

from . import _blocking, _loops, _lowlevel, _stats
from ._errors import ECLOSED, ENOTFOUND, SockrefError
from ._options import ListenOptions, RegistryOptions, call_options, milliseconds, registry_options
from ._paths import Path, encode, encode_optional
from ._reference import SocketReference
from .lowlevel import sockref_registry


class LiveCounts(TypedDict):
    """What is alive in this process."""

    references: int
    entries: int
    buffers: int


class Registry:
    """Names of its own: for tests, and for several tenants in one process.

    Options are keywords (RegistryOptions) and become the defaults of every call on it. The functions of the
    module have the same names and work on the default registry. Every method may be called on any thread; a
    close() that races another call is safe. Those that may block let go of the GIL.
    """

    __slots__ = ("_handle", "__weakref__")
    _handle: sockref_registry | None

    def __init__(self, **options: Unpack[RegistryOptions]) -> None:
        self._handle = _lowlevel.sockref_registry_new(registry_options(options))

    def get_or_create(self, path: Path | None = None) -> SocketReference:
        """Count a reference to a name; nothing is bound. None is the registry's default name.

        Blocks while the last life of the name is being removed. Raises ESOCKREF_LIMIT, ESOCKREF_PATH.
        """
        return SocketReference._wrap(_lowlevel.sockref_registry_get_or_create(self._handle, encode_optional(path)))

    def get_existing(self, path: Path) -> SocketReference | None:
        """Count a reference to a name that is active here; None if it is not, which is no error."""
        raw = encode(path)
        try:
            return SocketReference._wrap(_lowlevel.sockref_registry_get_existing(self._handle, raw))
        except SockrefError as error:
            if error.status == ENOTFOUND:
                return None
            raise

    def register_new(self, path: Path | None, listener: socket.socket | int) -> SocketReference:
        """Take a socket that the program bound, and count its first reference.

        path is where it is bound; None: what the socket itself tells. On success only, the socket object is
        detached, or the descriptor is sockref's, and the file is removed with the last reference, unless the
        registry has keep_file. Raises ESOCKREF_EXISTS where the name is known, ESOCKREF_FOREIGN for anything but a
        listening stream socket, Unix or TCP, that is bound there.
        """
        raw = encode_optional(path)
        if isinstance(listener, socket.socket):
            handle = _lowlevel.call_and_detach(
                listener, _lowlevel.sockref_registry_register_new, self._handle, raw, listener.fileno()
            )
            listener.detach()  # which tells the object
        else:
            handle = _lowlevel.sockref_registry_register_new(self._handle, raw, listener)
        return SocketReference._wrap(handle)

    async def start_listener(self, path: Path | None = None, **options: Unpack[ListenOptions]) -> SocketReference:
        """Listen on a name: bind it, or share it where it is listened on already. None: the default name.

        Where another registry has it, of this process or another one, it is joined: the reference counts, but
        is_owner is False and it has no descriptor; watch() tells when that changes. What a dead owner left is
        replaced.

        Never blocks the running asyncio loop. Nothing is accepted until serve(), serve_echo(), or a host that
        takes socket(). A start that is cancelled leaves nothing behind. Errors come from the awaitable, wrong
        types too: OSErrors of the system, ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY where the name cannot be
        joined, ESOCKREF_TIMEOUT and others.
        """
        raw = encode_optional(path)
        return SocketReference._wrap(await _loops.start(self._handle, raw, call_options(options)))

    def listen(self, path: Path | None = None, **options: Unpack[ListenOptions]) -> SocketReference:
        """Listen on a name as start_listener() does, but block: not on the thread of an asyncio loop.

        A handler of a signal that raises ends the wait, and leaves nothing behind.
        """
        raw = encode_optional(path)
        return SocketReference._wrap(_blocking.listen(self._handle, raw, options))

    def is_socket_active(self, path: Path) -> bool:
        """Whether a name is active here. What is no usable name is not active."""
        try:
            return _lowlevel.sockref_registry_is_socket_active(self._handle, encode(path))
        except ValueError:
            return False
        except SockrefError as error:
            if error.status == ECLOSED:
                return False
            raise

    def active_socket_count(self) -> int:
        """The number of active names."""
        try:
            return _lowlevel.sockref_registry_active_socket_count(self._handle)
        except SockrefError as error:
            if error.status == ECLOSED:
                return 0
            raise

    def cleanup(self, path: Path) -> None:
        """Revoke a name: its file goes now, its references stay valid and become inactive.

        Raises ESOCKREF_NOTFOUND for a name that is not active here, whose file is not touched.
        """
        _lowlevel.sockref_registry_cleanup(self._handle, encode(path))

    def cleanup_all(self) -> int:
        """Revoke every name; tell how many. It tries all, then raises the first error."""
        return _lowlevel.sockref_registry_cleanup_all(self._handle)

    def sweep(self, directory: Path | None = None) -> int:
        """Remove what dead processes left: shared names, and sockets with default names; tell how many.

        Blocks for file-system calls: on asyncio use sockref.aio.sweep.
        """
        return _lowlevel.sockref_registry_sweep(self._handle, encode_optional(directory))

    def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing of this registry is on its way out, for timeout seconds; None: without end.

        Not on the thread of an asyncio loop, which must go on meanwhile: there use sockref.aio.drain. Raises
        ESOCKREF_TIMEOUT. A handler of a signal that raises ends the wait.
        """
        _blocking.drain(self._handle, timeout_ms(timeout))

    def shutdown(self, timeout: float | None = None) -> None:
        """Refuse new references, wait timeout seconds for the holders (None: without end), then revoke.

        The default registry begins afresh with the next call. Not on the thread of an asyncio loop: there use
        sockref.aio.shutdown. Raises ESOCKREF_TIMEOUT where holders were left, and were revoked. A handler of a
        signal that raises ends the wait; the shutdown itself goes on.
        """
        _blocking.shutdown(self._handle, timeout_ms(timeout))

    def guard_status(self) -> int:
        """The process id of the guard, the helper that removes what this process leaves when it is killed.

        There is one for the process, from its first name that asks for one; 0: none was needed yet. Raises
        ESOCKREF_UNSUPPORTED where its program was not found, and what the system said where it did not start.
        """
        return _lowlevel.guard_status(self._handle)

    def stats(self) -> _stats.RegistryStats:
        """Tell what this registry has counted. Counters only grow: a rate is the difference of two readings."""
        return _stats.of_registry(self._handle)

    def metrics(self) -> str:
        """Tell all that is counted as OpenMetrics text: this registry, each of its names, and all loops.

        Serve it as "application/openmetrics-text; version=1.0.0; charset=utf-8".
        """
        return _lowlevel.metrics(self._handle)

    def live_counts(self) -> LiveCounts:
        """Count what is alive in this process, over all registries."""
        references, entries, buffers = _lowlevel.live_counts()
        return {"references": references, "entries": entries, "buffers": buffers}

    def close(self) -> None:
        """Free the registry: it refuses new references, and starts under way fail with ESOCKREF_CANCELED.

        References that still live stay valid. A second call does nothing. Not inside a handler.
        """
        if self._handle is None:
            raise TypeError("the default registry cannot be closed; shutdown() ends it")
        _lowlevel.close_registry(self._handle)

    def __enter__(self) -> Registry:
        _lowlevel.sockref_registry_active_socket_count(self._handle)  # fails where it is closed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = "default " if self._handle is None else ""
        return f"<sockref.Registry {kind}active={self.active_socket_count()}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("cannot copy or pickle a Registry")


def timeout_ms(timeout: float | None) -> int:
    if timeout is None:
        return -1
    if timeout < 0:
        raise ValueError("a time-out cannot be negative")
    return milliseconds(timeout)


def _make_default() -> Registry:
    registry = object.__new__(Registry)
    registry._handle = None
    return registry


#: The process's default registry.
default = _make_default()


def chosen(registry: Registry | None) -> Registry:
    """The registry that was given, or the default one."""
    if registry is None:
        return default
    if not isinstance(registry, Registry):
        raise TypeError(f"a registry must be a Registry, not {type(registry).__name__}")
    return registry
