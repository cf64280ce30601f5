"""Who drives the library's callbacks: a running asyncio loop, or a thread of ours where there is none.

A loop of the library belongs to each asyncio loop that starts or serves something. Nothing but the reader of the
asyncio loop keeps it alive, so it ends when that loop is closed or collected.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import select
import threading
import weakref
from collections.abc import Callable
from functools import partial

from . import _lowlevel
from ._errors import ECLOSED, SockrefError
from ._lowlevel import Loop
from .lowlevel import sockref, sockref_options, sockref_registry

_lock = threading.RLock()
_of_asyncio: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Loop]] = weakref.WeakKeyDictionary()
_thread: _LoopThread | None = None


def of_asyncio(host: asyncio.AbstractEventLoop) -> Loop:
    """The library's loop of a running asyncio loop, made at the first call. Call it on the loop's thread."""
    with _lock:
        known = _of_asyncio.get(host)
        loop = None if known is None else known()
        if loop is None:
            loop = Loop()
            host.add_reader(loop.fileno(), loop.dispatch)
            _of_asyncio[host] = weakref.ref(loop)
        return loop


def current() -> tuple[Loop, Callable[[BaseException], None] | None]:
    """Where handlers run, and who is told what they raise."""
    try:
        host = asyncio.get_running_loop()
    except RuntimeError:
        return _of_thread(), None
    return of_asyncio(host), _reporter(host)


def _reporter(host: asyncio.AbstractEventLoop) -> Callable[[BaseException], None]:
    weak = weakref.ref(host)

    def report(error: BaseException) -> None:
        loop = weak()
        if loop is None or not isinstance(error, Exception):
            raise error
        loop.call_exception_handler({"message": "Exception in a sockref handler", "exception": error})

    return report


OnStart = Callable[["sockref | None", "BaseException | None"], None]


def _cancel(registry: sockref_registry | None, on_start: OnStart) -> bool:
    """Have a start end; tell whether it had not. The close of its registry does the same."""
    try:
        return _lowlevel.cancel_start(registry, on_start)
    except SockrefError as error:
        if error.status != ECLOSED:
            raise
        return False


def _settle(
    host: asyncio.AbstractEventLoop,
    future: asyncio.Future[sockref],
    handle: sockref | None,
    error: BaseException | None,
) -> None:
    if future.done() or host.is_closed():
        if handle is not None:
            _lowlevel.close_reference(handle)
    elif handle is not None:
        future.set_result(handle)
    else:
        future.set_exception(error or RuntimeError("a start without an outcome"))


def _on_start(
    host: asyncio.AbstractEventLoop,
    thread: int,
    future: asyncio.Future[sockref],
    handle: sockref | None,
    error: BaseException | None,
) -> None:
    if threading.get_ident() == thread:
        _settle(host, future, handle, error)
        return
    try:
        host.call_soon_threadsafe(_settle, host, future, handle, error)
    except RuntimeError:  # the loop is closed
        _settle(host, future, handle, error)


async def start(registry: sockref_registry | None, path: bytes | None, options: sockref_options) -> sockref:
    """Start without blocking the running asyncio loop; a start that is cancelled leaves nothing."""
    host = asyncio.get_running_loop()
    future: asyncio.Future[sockref] = host.create_future()
    on_start = partial(_on_start, host, threading.get_ident(), future)
    _lowlevel.options_set_loop(options, of_asyncio(host))
    _lowlevel.start_listener(registry, path, options, on_start)
    try:
        return await future
    except asyncio.CancelledError:
        if future.cancelled() or not future.done():
            _cancel(registry, on_start)
        elif future.exception() is None:
            _lowlevel.close_reference(future.result())
        raise
    finally:
        del future, on_start  # else the exception refers to itself, by its traceback


def start_and_wait(registry: sockref_registry | None, path: bytes | None, options: sockref_options) -> sockref:
    """Start, and block this thread until it is told; what interrupts that cancels the start."""
    outcome: list[tuple[sockref | None, BaseException | None] | None] = []  # None: nobody waits any more
    told = threading.Lock()  # an Event may turn what interrupts it into a RuntimeError
    told.acquire()

    def on_start(handle: sockref | None, error: BaseException | None) -> None:
        outcome.append((handle, error))
        if outcome[0] is None and handle is not None:
            _lowlevel.close_reference(handle)
        told.release()

    try:
        _lowlevel.start_listener(registry, path, options, on_start)
        told.acquire()
    except BaseException:
        # Before a second interrupt can come: what was told is dropped, and what will be told is closed.
        outcome[:] = [None]
        if _cancel(registry, on_start):
            told.acquire()
        raise
    handle, error = outcome.pop() or (None, None)
    try:
        if handle is None:
            raise error or RuntimeError("a start without an outcome")
        return handle
    finally:
        error = None  # else it refers to itself, by its traceback


class _LoopThread:
    """Drives one loop for handlers where no asyncio loop runs."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._fd = self.loop.fileno()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sockref", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while not self._stopping:
            poll.poll()
            try:
                self.loop.dispatch()
            except BaseException as error:  # a handler's SystemExit must not stop the others
                _lowlevel.write_unraisable(error, self.loop)
        self.loop.close()

    def stop(self) -> None:
        self._stopping = True
        self.loop.wake()
        self._thread.join()


def _of_thread() -> Loop:
    global _thread
    with _lock:
        if _thread is None:
            _thread = _LoopThread()
        return _thread.loop


def _stop_at_exit() -> None:
    global _thread
    with _lock:
        thread, _thread = _thread, None
    if thread is not None:
        thread.stop()


def _after_fork_in_child() -> None:
    global _lock, _thread
    _lock = threading.RLock()
    _of_asyncio.clear()
    _lowlevel.after_fork_in_child()
    _thread = None


atexit.register(_stop_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
