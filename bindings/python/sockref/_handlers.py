"""Handlers in Python: what a served name, or a connection, calls."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import Unpack

from . import _loops, _lowlevel
from ._connection import Address, AttemptEvent, ConnectionOptions, ConnectOptions, connect_options, connection_options
from ._errors import SockrefError
from ._lowlevel import Connection
from ._paths import Path, encode

_NAMES = (
    "on_connection",
    "on_connect",
    "on_ready",
    "on_data",
    "on_descriptor",
    "on_end",
    "on_drain",
    "on_timeout",
    "on_attempt",
    "on_drop",
    "on_error",
    "on_close",
    "on_stop",
)


class Handlers:
    """Derive from this and override what is wanted; what is not overridden costs nothing.

    Everything runs on the asyncio loop that was running at ``serve()`` or ``connect()``, or, without one, on a
    daemon thread of sockref, never two at a time. One connection: on_connection first, or on_connect where we
    connected, then on_ready, on_data and on_descriptor any number of times, on_end at most once, on_close exactly
    once and last, right after on_error if there was an error. After ``Connection.destroy()`` nothing but on_close
    comes.

    An exception goes to the loop's exception handler (without asyncio: to sys.unraisablehook), and serving goes
    on. The handlers live until on_stop: an object that holds a reference to the name it serves must close it.
    """

    def on_connection(self, connection: Connection) -> None:
        """A peer connected."""

    def on_connect(self, connection: Connection) -> None:
        """connect() has succeeded."""

    def on_ready(self, connection: Connection) -> None:
        """It can be read and written: right after on_connection or on_connect."""

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Bytes came."""

    def on_descriptor(self, connection: Connection, fd: int) -> None:
        """The peer passed a descriptor, which is ours to close. Not overridden: none is taken in."""

    def on_end(self, connection: Connection) -> None:
        """The peer will send no more. Not overridden: our side is ended too when all is written."""

    def on_drain(self, connection: Connection) -> None:
        """What was queued is written, after a write that returned False."""

    def on_timeout(self, connection: Connection) -> None:
        """Nothing came or went for as long as set_timeout() said; it goes on, and the time begins anew."""

    def on_attempt(
        self, connection: Connection, address: Address, event: AttemptEvent, error: SockrefError | None
    ) -> None:
        """What becomes of an address that connect() tries."""

    def on_drop(self, local: Address, remote: Address) -> None:
        """A connection came beyond the limit and was closed. Not overridden: it waits in the kernel's queue."""

    def on_error(self, connection: Connection, error: SockrefError) -> None:
        """It failed; on_close follows."""

    def on_close(self, connection: Connection, had_error: bool) -> None:
        """It is over."""

    def on_stop(self) -> None:
        """Nothing of this service, or of this connection, comes any more."""


def connect(name: Path, handlers: Handlers, **options: Unpack[ConnectOptions]) -> Connection:
    """Connect to a name, and have handlers told what happens; never blocks.

    The name is what a listener was started with: a path, which need not be absolute here, "@" and an abstract
    name, or "tcp:HOST:PORT", with an IPv6 address in brackets. on_connect tells success; on_error and on_close
    tell failure. What is written until then is queued. destroy() cancels at any time.

    Handlers run on the running asyncio loop; without one, on a daemon thread of sockref. Options are keywords
    (ConnectOptions). sockref.aio has the same for asyncio's protocols and streams.
    """
    how, begin = connect_options(options)
    raw = encode(name)
    called = overridden(handlers)
    loop, reporter = _loops.current()
    return _lowlevel.connect_handlers(raw, loop, called, reporter, how, begin)


def adopt(stream: socket.socket, handlers: Handlers, **options: Unpack[ConnectionOptions]) -> Connection:
    """Make a connection of a stream socket that is connected already; on success the object is detached.

    Handlers run on the running asyncio loop; without one, on a daemon thread of sockref. on_ready comes first.
    """
    begin = connection_options(options)
    called = overridden(handlers)
    loop, reporter = _loops.current()
    connection = _lowlevel.call_and_detach(
        stream, _lowlevel.adopt_handlers, stream.fileno(), loop, called, reporter, begin
    )
    stream.detach()  # which tells the object
    return connection


def overridden(handlers: Handlers) -> tuple[Callable[..., object] | None, ...]:
    """The handlers as the extension wants them: None for what is not overridden."""
    if not isinstance(handlers, Handlers):
        raise TypeError(f"handlers must be a sockref.Handlers, not {type(handlers).__name__}")
    found: dict[str, Callable[..., object]] = {
        name: getattr(handlers, name)
        for name in _NAMES
        if getattr(type(handlers), name) is not getattr(Handlers, name)
    }
    if "on_attempt" in found:
        found["on_attempt"] = functools.partial(_attempt, found["on_attempt"])
    return tuple(found.get(name) for name in _NAMES)


def _attempt(
    handler: Callable[[Connection, Address, AttemptEvent, SockrefError | None], object],
    connection: Connection,
    told: tuple[Address, int, SockrefError | None],
) -> None:
    address, event, error = told
    handler(connection, address, AttemptEvent(event), error)
