"""SocketPool: several sockets behind one."""

from __future__ import annotations

import asyncio
import errno
import operator
from types import TracebackType
from typing import Literal, NoReturn, Self, SupportsIndex, Unpack

from . import _blocking, _lowlevel
from ._errors import ECLOSED, ELIMIT, SockrefError, make_error
from ._options import ListenOptions
from ._paths import Path, encode_optional
from ._reference import SocketReference
from ._registry import Registry, chosen
from .lowlevel import sockref, sockref_pool

# The numbers are the library's ABI.
_POLICIES = {"round-robin": 1, "least-references": 2}
_MOST = 1024


class SocketPool:
    """References to several names, of which one is picked at a time.

    A pool holds a reference of its own to each member. pick() gives one more, to connect to its path; close that when
    the connection is over, for the references of a member tell how much it is used. Each member is served as any
    other name.

    Every method may be called on any thread; a close() that races another call is safe. close(), the end of a
    ``with`` block, or, as a safety net, the collection of the pool release the members. After that the pool has none,
    and its other methods raise ESOCKREF_CLOSED; in a forked child they raise ESOCKREF_FORKED.
    """

    __slots__ = ("_handle", "_closed", "__weakref__")
    _handle: sockref_pool
    _closed: bool

    def __init__(self) -> None:
        self._closed = False
        self._handle = _lowlevel.pool_new()

    @classmethod
    async def start(
        cls,
        path: Path | None = None,
        count: int = 1,
        *,
        registry: Registry | None = None,
        **options: Unpack[ListenOptions],
    ) -> Self:
        """Start or join several names, side by side, and make a pool of them: of all, or of none.

        They are path with ".0", ".1" and so on behind it; of "tcp:HOST:PORT" the ports from PORT on, and of port 0
        ports that the system chooses; of None fresh names. Each is started as by start_listener(), on the default
        registry if none is given. Raises what the first of them raises that fails; then, and where it is cancelled,
        nothing is left behind.
        """
        names = _names(path, count)
        using = chosen(registry)
        if path is None:
            options["unique"] = True
        for name in (path, names[-1]):  # none is longer than the last
            if name is not None:
                _check(using, name)
        pool = cls()
        tasks = [asyncio.ensure_future(using.start_listener(name, **options)) for name in names]
        try:
            for reference in await asyncio.gather(*tasks):
                pool.add(reference)
                reference.close()
        except BaseException:
            pool.close()
            for task in tasks:
                _abandon(task)
            await asyncio.wait(tasks)
            raise
        return pool

    @classmethod
    def listen(
        cls,
        path: Path | None = None,
        count: int = 1,
        *,
        registry: Registry | None = None,
        **options: Unpack[ListenOptions],
    ) -> Self:
        """Start or join several names as start() does, one after the other, but block: not on the thread of an
        asyncio loop.

        A handler of a signal that raises ends the wait, and leaves nothing behind.
        """
        names = _names(path, count)
        using = chosen(registry)
        if path is None:
            options["unique"] = True
        pool = cls()
        try:
            _blocking.listen_all(pool._handle, using._handle, encode_optional(path), names, options)
        except BaseException:
            pool.close()
            raise
        return pool

    def add(self, ref: SocketReference) -> None:
        """Make a name a member; the pool counts a reference of its own. One that was revoked gives its place to it.

        Raises ESOCKREF_EXISTS where it is a member already, ESOCKREF_CLOSED where it is revoked.
        """
        _lowlevel.pool_add(self._handle, _handle_of(ref))

    def remove(self, ref: SocketReference) -> None:
        """Make a name no member any more; ref is any reference to it. Raises ESOCKREF_NOTFOUND where it is none."""
        _lowlevel.pool_remove(self._handle, _handle_of(ref))

    def pick(self, policy: Literal["round-robin", "least-references"] = "round-robin") -> SocketReference:
        """Count a reference to a member that is active: to the next one, or to the one with the fewest references.

        Raises ESOCKREF_NOTFOUND where no member is active, ESOCKREF_LIMIT where every one has as many references as
        it may have.
        """
        if not isinstance(policy, str):
            raise TypeError(f"a policy must be a str, not {type(policy).__name__}")
        number = _POLICIES.get(policy)
        if number is None:
            raise ValueError(f"not a policy of a pool: {policy!r}")
        return SocketReference._wrap(_lowlevel.pool_pick(self._handle, number))

    def __len__(self) -> int:
        """The number of members, active or not."""
        return _lowlevel.pool_size(self._handle)

    def close(self) -> None:
        """Release all members. References that were picked stay as they are. A second call does nothing."""
        self._closed = True
        _lowlevel.close_pool(self._handle)

    def __enter__(self) -> Self:
        if self._closed:
            raise make_error(ECLOSED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<sockref.SocketPool {'closed' if self._closed else 'open'} members={len(self)}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("cannot copy or pickle a SocketPool")


def _handle_of(ref: SocketReference) -> sockref:
    if not isinstance(ref, SocketReference):
        raise TypeError(f"a member of a pool must be a SocketReference, not {type(ref).__name__}")
    return ref._handle


def _names(path: Path | None, count: int) -> list[bytes | None]:
    """The names that are behind one, as sockref_pool_listen() has them."""
    number = operator.index(count)
    if not 1 <= number <= _MOST:
        raise make_error(-errno.EINVAL, message=f"a pool starts 1 to {_MOST} names, not {number}")
    raw = encode_optional(path)
    if raw is None or not raw.startswith(b"tcp:"):
        return [None if raw is None else b"%b.%d" % (raw, i) for i in range(number)]
    host, _, port = raw.rpartition(b":")
    port = port.lstrip(b"0")
    if not port.isdigit() or len(port) > 5:  # the system's choice, or none
        return [raw] * number
    return [b"%b:%d" % (host, int(port) + i) for i in range(number)]


def _check(registry: Registry, path: Path) -> None:
    """Refuse what is no name by itself, but might be one with an ending, such as a directory."""
    try:
        held = registry.get_existing(path)
    except SockrefError as error:
        if error.status != ELIMIT:  # a name, which has as many references as it may have
            raise
    else:
        if held is not None:
            held.close()


def _abandon(task: asyncio.Task[SocketReference]) -> None:
    """Cancel a start, or give back what it has started."""
    if task.cancel():
        task.add_done_callback(_give_back)
    else:
        _give_back(task)


def _give_back(task: asyncio.Task[SocketReference]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
