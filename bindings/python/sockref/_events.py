"""Log records and watches: told by threads of the library, taken by a thread of Python."""

from __future__ import annotations

import asyncio
import atexit
import enum
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from . import _lowlevel
from .lowlevel import sockref


class LogLevel(enum.IntEnum):
    """How serious a log record is."""

    ERROR = 1
    WARNING = 2
    INFO = 3
    DEBUG = 4
    TRACE = 5


@dataclass(frozen=True)
class LogRecord:
    """One log record of the library."""

    level: LogLevel
    event: str
    """A fixed word for machines, such as "listening"."""
    message: str
    path: str | None
    code: str | None
    """The name of a status, or None."""
    suppressed: int
    """Records that were held back before this one."""


class WatchEvent(enum.IntEnum):
    """What a watch tells."""

    LOST = 1
    """The reference is no longer active: revoked, or its owner is gone. Start anew to join or own the name."""
    DISPLACED = 2
    """Somebody has removed or replaced a file of the name. What was removed has been made again,
    unless the program had bound it."""
    OWNER = 3
    """Another registry owns the name now; or this one, if is_owner says so: then it may be served."""
    SHUTDOWN = 4
    """The registry shuts down: release soon."""


LogHandler = Callable[[LogRecord], object]
WatchHandler = Callable[[WatchEvent], object]

_EVENT_LOG, _EVENT_WATCH, _EVENT_WATCH_END = range(3)
_lock = threading.RLock()
_log: LogHandler | None = None
_watches: dict[int, WatchHandler] = {}
_next_watch = 1
_thread: threading.Thread | None = None
_stopping = False


def set_log(handler: LogHandler | None) -> None:
    """Set who receives the library's log records; None: nobody. The library itself never prints.

    The handler runs on a daemon thread of Python, some time after the event. To join Python's logging::

        logger = logging.getLogger("sockref")
        sockref.set_log(lambda record: logger.info("%s", record.message))
    """
    global _log
    if handler is not None and not callable(handler):
        raise TypeError("a log handler must be callable")
    with _lock:
        _log = handler
        if handler is not None:
            _ensure_thread()
        _lowlevel.set_log(handler is not None)


def watch(handle: sockref, handler: WatchHandler | None) -> None:
    """Set the watch of a name; see SocketReference.watch."""
    global _next_watch
    if handler is None:
        _lowlevel.clear_watch(handle)
        return
    if not callable(handler):
        raise TypeError("a watch must be callable")
    with _lock:
        _ensure_thread()
        number = _next_watch
        _next_watch += 1
        _watches[number] = _on_this_loop(handler)
    try:
        _lowlevel.set_watch(handle, number)
    except BaseException:
        _watches.pop(number, None)
        raise


def _on_this_loop(handler: WatchHandler) -> WatchHandler:
    try:
        host = asyncio.get_running_loop()
    except RuntimeError:
        return handler

    def call(event: WatchEvent) -> None:
        try:
            host.call_soon_threadsafe(handler, event)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to tell

    return call


def _run(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not _stopping:
        poll.poll()
        for event in _lowlevel.events_take():
            try:
                _deliver(event)
            except BaseException as error:
                _lowlevel.write_unraisable(error, _deliver)


def _deliver(event: tuple[object, ...]) -> None:
    if event[0] == _EVENT_LOG:
        handler = _log
        if handler is not None:
            handler(_record(event))
    elif event[0] == _EVENT_WATCH:
        _, number, what = cast("tuple[int, int, int]", event)
        watcher = _watches.get(number)
        if watcher is not None:
            watcher(WatchEvent(what))
    else:
        _watches.pop(cast(int, event[1]), None)


def _record(event: tuple[object, ...]) -> LogRecord:
    _, level, name, message, path, status, suppressed = cast(
        "tuple[int, int, bytes, bytes, bytes | None, int, int]", event
    )
    return LogRecord(
        LogLevel(level),
        name.decode(),
        os.fsdecode(message),
        None if path is None else os.fsdecode(path),
        _lowlevel.sockref_status_name(status) if status else None,
        suppressed,
    )


def _ensure_thread() -> None:
    global _thread
    if _thread is None:
        _thread = threading.Thread(
            target=_run, args=(_lowlevel.events_fileno(),), name="sockref-events", daemon=True
        )
        _thread.start()


def _stop_at_exit() -> None:
    global _stopping, _thread
    thread, _thread = _thread, None
    if thread is not None:
        _lowlevel.set_log(False)
        _stopping = True
        _lowlevel.events_interrupt()
        thread.join()


def _after_fork_in_child() -> None:
    global _lock, _log, _thread
    if _log is not None:
        _lowlevel.set_log(False)
    _lock = threading.RLock()
    _log = None
    _thread = None
    _watches.clear()


atexit.register(_stop_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
