"""What asyncio's transports tell about their sockets."""

from __future__ import annotations

import os
import socket
import weakref
from typing import NoReturn, SupportsIndex

from ._lowlevel import Transport, set_find_extra

#: What the socket module gives for an address: its type depends on the family.
SocketAddress = object


class _Lent(socket.socket):
    """The socket of a transport, for one call: whatever becomes of the object, it is not closed."""

    __slots__ = ()

    def __del__(self) -> None:
        """In place of socket's own, which closes: an interrupt may come when nobody has the object yet."""


def _descriptor(transport: Transport | None) -> int:
    fd = -1 if transport is None else transport._fileno()
    if fd < 0:
        raise OSError(9, "the transport is closed")
    return fd


def _lent(transport: Transport | None) -> _Lent:
    return _Lent(fileno=_descriptor(transport))


class TransportSocket:
    """The socket of a transport, to look at and to set options of; reading and writing is the transport's.

    What get_extra_info("socket") answers, with the methods of asyncio's own TransportSocket. dup() gives a real
    socket.socket. When the transport is closed, fileno() is -1 and the rest raises OSError.
    """

    __slots__ = ("_transport", "family", "type", "proto", "__weakref__")
    family: int
    type: int
    proto: int

    def __init__(self, transport: Transport) -> None:
        self._transport = weakref.ref(transport)  # which lives as long as the connection
        found = _lent(transport)
        self.family = found.family
        self.type = found.type
        self.proto = found.proto

    def fileno(self) -> int:
        """The descriptor, which the transport may close at any time; -1 where it is closed."""
        transport = self._transport()
        return -1 if transport is None else transport._fileno()

    def dup(self) -> socket.socket:
        """A non-blocking socket.socket of its own, which keeps the connection open until it is closed.

        Both have one state: setblocking(True) or a time-out of the copy stops the loop.
        """
        copy = socket.socket(fileno=os.dup(_descriptor(self._transport())))
        copy.setblocking(False)  # as it is
        return copy

    def get_inheritable(self) -> bool:
        """Whether programs that are started inherit the descriptor: False."""
        return _lent(self._transport()).get_inheritable()

    def getsockname(self) -> SocketAddress:
        """Our address, as the socket module has it."""
        return _lent(self._transport()).getsockname()

    def getpeername(self) -> SocketAddress:
        """The address of the peer, as the socket module has it."""
        return _lent(self._transport()).getpeername()

    def getsockopt(self, level: int, option: int, buffer_length: int = 0, /) -> int | bytes:
        """An option, as socket.getsockopt() gives it."""
        found = _lent(self._transport())
        return found.getsockopt(level, option, buffer_length) if buffer_length else found.getsockopt(level, option)

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Set an option, as socket.setsockopt() does."""
        _lent(self._transport()).setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """Shut one direction, or both, below the transport, which then meets an end or a broken pipe."""
        _lent(self._transport()).shutdown(how)

    def settimeout(self, value: float | None) -> None:
        """Only 0 is no ValueError: it stays non-blocking."""
        if value != 0:
            raise ValueError("settimeout(): only 0 timeout is allowed on transport sockets")

    def gettimeout(self) -> float:
        """0: it is non-blocking."""
        return 0

    def setblocking(self, flag: bool) -> None:
        """Only False is no ValueError: it stays non-blocking."""
        if flag:
            raise ValueError("setblocking(): transport sockets cannot be blocking")

    def __repr__(self) -> str:
        return f"<sockref.aio.TransportSocket fd={self.fileno()} family={self.family} type={self.type}>"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("cannot copy or pickle a TransportSocket; dup() gives a socket of its own")


def _find_extra(transport: Transport, name: str) -> object:
    try:
        return TransportSocket(transport) if name == "socket" else transport._peer()
    except OSError:
        return None


set_find_extra(_find_extra)
