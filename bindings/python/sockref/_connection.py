"""What connections tell about themselves, and how they begin."""

from __future__ import annotations

import enum
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Union

from . import _lowlevel

if TYPE_CHECKING:
    from .lowlevel import sockref

#: Where one end is, as the socket module has it: a path, the bytes of an abstract name, (host, port) or
#: (host, port, flow info, scope id); None where there is no address.
Address = Union[str, bytes, tuple[str, int], tuple[str, int, int, int], None]


class ConnectionState(enum.IntEnum):
    """How far a connection is."""

    OPENING = 1
    OPEN = 2
    READ_ONLY = 3
    """Our side is ended."""
    WRITE_ONLY = 4
    """The peer's side is ended."""
    CLOSED = 5


class ConnectionInfo(NamedTuple):
    """All that there is to know of a connection."""

    state: ConnectionState
    connecting: bool
    pending: bool
    """Not connected: connecting, or failed in it."""
    destroyed: bool
    paused: bool
    timeout_ms: int
    """Of inactivity; 0: none."""
    bytes_read: int
    bytes_written: int
    """Bytes that the system took; without the queued ones."""
    buffered: int
    """Bytes that are queued."""
    local: Address
    remote: Address


class PeerCredentials(NamedTuple):
    """Who the peer of a Unix socket was when it connected, or listened."""

    pid: int
    """0 where it is in another pid namespace."""
    uid: int
    gid: int


class AttemptEvent(enum.IntEnum):
    """What becomes of an address that is tried."""

    BEGUN = 1
    FAILED = 2
    LATE = 3
    """It did not answer within the attempt delay."""


class ConnectionOptions(TypedDict, total=False):
    """How connections begin. What is left out, or None, is the default. Times are milliseconds."""

    paused: bool | None
    """Read nothing until resume(). Default False."""
    half_open: bool | None
    """Our side stays open when the peer ends its own, also where on_end is not overridden. Default False."""
    auto_end: bool | None
    """Our side is ended when on_end has returned. Default False."""
    nodelay: bool | None
    """Send small pieces over TCP at once. Default False."""
    keepalive: bool | None
    """Probe a silent TCP peer. Default False."""
    keepalive_delay_ms: int | None
    """Silence before the first probe; at least a second. Default: as the system has it."""
    timeout_ms: int | None
    """on_timeout after so long without traffic; 0: never. Default 0."""
    high_water: int | None
    """With more bytes than this queued, write() returns False. Default 64 KiB."""
    max_buffered: int | None
    """The most bytes that may be queued. Default: the option of the name, and 16 MiB where there is none."""
    outlive: bool | None
    """When the name ends, accepted connections go on until they are over. Default False: they are destroyed."""


class ConnectOptions(ConnectionOptions, total=False):
    """How to connect. What is left out, or None, is the default. Times are milliseconds."""

    one_by_one: bool | None
    """One address after the other; else several may be tried side by side. Default False."""
    first_only: bool | None
    """Only the first address, for as long as the system tries. Default False."""
    family: int | None
    """Only addresses of socket.AF_INET or socket.AF_INET6. Default: both."""
    attempt_delay_ms: int | None
    """How long an address is tried before the next one begins. Default 250."""
    connect_timeout_ms: int | None
    """When to fail with ETIMEDOUT, the lookup included; 0: never. Default 0."""
    local_host: str | None
    """The numeric address to connect from. Default: any."""
    local_port: int | None
    """The port to connect from. Default: any."""
    from_: _reference.SocketReference | None
    """A name of bind_only whose socket is to be connected, in place of local_host and local_port."""


# The numbers are the library's ABI.
_FLAGS = {
    "paused": 1,
    "half_open": 2,
    "auto_end": 4,
    "nodelay": 8,
    "keepalive": 16,
    "outlive": 64,
}
_CONNECT_FLAGS = {"one_by_one": 1, "first_only": 2}
_FAMILIES: dict[int, int] = {socket.AF_UNSPEC: 0, socket.AF_INET: 4, socket.AF_INET6: 6}
_NUMBERS = ("timeout_ms", "keepalive_delay_ms", "high_water", "max_buffered")
_CONNECT_NUMBERS = ("attempt_delay_ms", "connect_timeout_ms")
_CONNECT_NAMES = frozenset({*_CONNECT_FLAGS, *_CONNECT_NUMBERS, "family", "local_host", "local_port", "from_"})

_LIMITS = {"high_water": 2**63 - 1, "max_buffered": 2**63 - 1}

#: As the extension wants them: flags, timeout_ms, keepalive_delay_ms, high_water, max_buffered.
Begin = tuple[int, int, int, int, int]
#: The same of a connect: flags, family, attempt_delay_ms, timeout_ms, local host, local port, what to connect from.
How = tuple[int, int, int, int, str | None, int, "sockref | None"]


def connection_options(options: Mapping[str, object]) -> Begin:
    for name in options:
        if name not in _FLAGS and name not in _NUMBERS:
            raise TypeError(f"{name!r} is not an option of a connection")
    timeout, delay, high_water, most = (_number(options, name) for name in _NUMBERS)
    return _flags(options, _FLAGS), timeout, delay, high_water, most


def connect_options(options: Mapping[str, object]) -> tuple[How, Begin]:
    begin = connection_options({name: value for name, value in options.items() if name not in _CONNECT_NAMES})
    family = _number(options, "family")
    if family not in _FAMILIES:
        raise ValueError(f"not an address family that can be connected to by host and port: {family}")
    delay, timeout = (_number(options, name) for name in _CONNECT_NUMBERS)
    host = options.get("local_host")
    if host is not None and not isinstance(host, str):
        raise TypeError(f"option 'local_host' must be a str, not {type(host).__name__}")
    flags = _flags(options, _CONNECT_FLAGS)
    port = _number(options, "local_port")
    return (flags, _FAMILIES[family], delay, timeout, host, port, _handle_of(options.get("from_"))), begin


def _handle_of(source: object) -> sockref | None:
    if source is None:
        return None
    if not isinstance(source, _reference.SocketReference):
        raise TypeError(f"option 'from_' must be a SocketReference, not {type(source).__name__}")
    return source._handle


def _flags(options: Mapping[str, object], names: Mapping[str, int]) -> int:
    return sum(flag for name, flag in names.items() if options.get(name))


def _number(options: Mapping[str, object], name: str) -> int:
    value = options.get(name)
    if value is None:
        return 0
    if not isinstance(value, int):
        raise TypeError(f"option {name!r} must be an int, not {type(value).__name__}")
    if not 0 <= value <= _LIMITS.get(name, 2**31 - 1):
        raise ValueError(f"option {name!r} is out of range: {value}")
    return value


def _make_info(
    state: int,
    connecting: bool,
    pending: bool,
    destroyed: bool,
    paused: bool,
    timeout_ms: int,
    bytes_read: int,
    bytes_written: int,
    buffered: int,
    local: Address,
    remote: Address,
) -> ConnectionInfo:
    return ConnectionInfo(
        ConnectionState(state), connecting, pending, destroyed, paused, timeout_ms,
        bytes_read, bytes_written, buffered, local, remote,
    )


_lowlevel.set_connection_values(_make_info, PeerCredentials)

from . import _reference  # noqa: E402  (it imports this module; typing.get_type_hints() looks here for the class)
