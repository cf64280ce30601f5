"""Calls that block, in a way that signals and cancellation can end.

A native call does not return for a signal, and Python runs the handlers of signals on its main thread alone. So there
nothing waits inside the library for long: what a handler raises, KeyboardInterrupt for one, comes out of the call.
"""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from . import _loops, _lowlevel
from ._errors import EBUSY, EFOREIGN, ETIMEOUT, SockrefError, make_error
from ._options import call_options
from .lowlevel import sockref, sockref_pool, sockref_registry

_SLICE_MS = 50


def _sees_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def listen(registry: sockref_registry | None, path: bytes | None, options: Mapping[str, object]) -> sockref:
    """Start, and block. An interrupted start leaves nothing behind."""
    built = call_options(options)
    if not _sees_signals():
        return _lowlevel.sockref_registry_listen(registry, path, built)
    try:  # mostly there is nothing to wait for, and then no other thread is needed
        return _lowlevel.sockref_registry_listen(registry, path, call_options({**options, "start_timeout_ms": 0}))
    except SockrefError as error:
        if error.status not in (ETIMEOUT, EBUSY, EFOREIGN):
            raise
    return _loops.start_and_wait(registry, path, built)


def listen_all(
    pool: sockref_pool,
    registry: sockref_registry | None,
    path: bytes | None,
    names: Sequence[bytes | None],
    options: Mapping[str, object],
) -> None:
    """Start what a path stands for in a pool, and block, in the same way; who fails may leave a part in the pool."""
    built = call_options(options)
    if not _sees_signals():
        _lowlevel.pool_listen(pool, registry, path, len(names), built)
        return
    try:
        at_once = call_options({**options, "start_timeout_ms": 0})
        _lowlevel.pool_listen(pool, registry, path, len(names), at_once)
        return
    except SockrefError as error:
        if error.status not in (ETIMEOUT, EBUSY, EFOREIGN):
            raise
    for name in names:
        handle = _loops.start_and_wait(registry, name, built)
        try:
            _lowlevel.pool_add(pool, handle)
        finally:
            _lowlevel.close_reference(handle)


def drain(registry: sockref_registry | None, timeout_ms: int) -> None:
    """Wait until nothing of a registry is on its way out; -1: without end."""
    if not _sees_signals():
        _lowlevel.sockref_registry_drain(registry, timeout_ms)
        return
    for slice_ms in _slices(timeout_ms):
        if _is_drained(registry, slice_ms):
            return
    raise _not_drained(timeout_ms)


async def drain_on_worker(registry: sockref_registry | None, timeout_ms: int) -> None:
    """The same while the running asyncio loop goes on. Who cancels it leaves a thread for a slice only."""
    for slice_ms in _slices(timeout_ms):
        if await asyncio.to_thread(_is_drained, registry, slice_ms):
            return
    raise _not_drained(timeout_ms)


def _slices(timeout_ms: int) -> Iterator[int]:
    """How long to wait, again and again, until the time is over; at least once."""
    deadline = time.monotonic() + timeout_ms / 1000
    left = timeout_ms
    while timeout_ms < 0 or left > _SLICE_MS:
        yield _SLICE_MS
        left = round((deadline - time.monotonic()) * 1000)
    yield max(left, 0)


def _is_drained(registry: sockref_registry | None, timeout_ms: int) -> bool:
    try:
        _lowlevel.sockref_registry_drain(registry, timeout_ms)
    except SockrefError as error:
        if error.status != ETIMEOUT:
            raise
        return False
    return True


def _not_drained(timeout_ms: int) -> SockrefError:
    return make_error(
        ETIMEOUT, message=f"something of the registry was still on its way out after {timeout_ms} ms"
    )


def shutdown(registry: sockref_registry | None, timeout_ms: int) -> None:
    """End a registry. Where a signal's handler raises, it goes on without us: it cannot be taken back."""
    if not _sees_signals():
        _lowlevel.sockref_registry_shutdown(registry, timeout_ms)
        return
    _is_drained(registry, 0)  # refused inside a callback, which another thread cannot tell
    outcome: list[BaseException | None] = []
    told = threading.Lock()  # an Event may turn what interrupts it into a RuntimeError
    told.acquire()

    def tell(error: BaseException | None) -> None:
        outcome.append(error)
        told.release()

    try:
        _shut_down(registry, timeout_ms, tell)
    except RuntimeError as error:
        if not _begins_no_thread(error):
            raise
        _lowlevel.sockref_registry_shutdown(registry, timeout_ms)
        return
    told.acquire()
    if outcome[0] is not None:
        raise outcome[0]


def _begins_no_thread(error: RuntimeError) -> bool:
    """Whether it is of the thread's start, as where the interpreter ends, and not of a signal's handler meanwhile."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is _shut_down.__code__


async def shutdown_on_worker(registry: sockref_registry | None, timeout_ms: int) -> None:
    """The same while the running asyncio loop goes on. Neither its end nor the program's waits for the thread."""
    host = asyncio.get_running_loop()
    future: asyncio.Future[None] = host.create_future()

    def settle(error: BaseException | None) -> None:
        if future.done():
            return  # cancelled
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def tell(error: BaseException | None) -> None:
        try:
            host.call_soon_threadsafe(settle, error)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to tell

    _shut_down(registry, timeout_ms, tell)
    await future


def _shut_down(
    registry: sockref_registry | None, timeout_ms: int, tell: Callable[[BaseException | None], None]
) -> None:
    def work() -> None:
        try:
            _lowlevel.sockref_registry_shutdown(registry, timeout_ms)
        except BaseException as error:
            tell(error)
        else:
            tell(None)

    _thread.start_new_thread(work, ())  # Thread.start() waits for an Event
