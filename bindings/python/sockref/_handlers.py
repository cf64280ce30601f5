"""Handlers in Python: what a served name calls."""

from __future__ import annotations

from collections.abc import Callable

from ._errors import SockrefError
from ._lowlevel import Connection

_NAMES = ("on_connection", "on_data", "on_end", "on_drain", "on_error", "on_close", "on_stop")


class Handlers:
    """Derive from this and override what is wanted; what is not overridden costs nothing.

    Everything runs on the asyncio loop that was running at ``serve()``, or, without one, on a daemon thread of
    sockref, never two at a time. One connection: on_connection first, on_data any number of times, on_end at
    most once, on_close exactly once and last, right after on_error if there was an error. After
    ``Connection.destroy()`` nothing but on_close comes.

    An exception goes to the loop's exception handler (without asyncio: to sys.unraisablehook), and serving goes
    on. The handlers live until on_stop: an object that holds a reference to the name it serves must close it.
    """

    def on_connection(self, connection: Connection) -> None:
        """A peer connected."""

    def on_data(self, connection: Connection, data: bytes) -> None:
        """Bytes came."""

    def on_end(self, connection: Connection) -> None:
        """The peer will send no more. Not overridden: our side is ended too when all is written."""

    def on_drain(self, connection: Connection) -> None:
        """What was queued is written, after a write that returned False."""

    def on_error(self, connection: Connection, error: SockrefError) -> None:
        """It failed; on_close follows."""

    def on_close(self, connection: Connection, had_error: bool) -> None:
        """It is over."""

    def on_stop(self) -> None:
        """Nothing of this service comes any more."""


def overridden(handlers: Handlers) -> tuple[Callable[..., object] | None, ...]:
    """The handlers as the extension wants them: None for what is not overridden."""
    if not isinstance(handlers, Handlers):
        raise TypeError(f"handlers must be a sockref.Handlers, not {type(handlers).__name__}")
    return tuple(
        None if getattr(type(handlers), name) is getattr(Handlers, name) else getattr(handlers, name)
        for name in _NAMES
    )
