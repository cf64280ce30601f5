"""Connecting, for asyncio."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypedDict, TypeVar, Unpack

from . import _loops, _lowlevel
from ._connection import connect_options, connection_options
from ._lowlevel import Transport
from ._options import milliseconds
from ._paths import Path, encode
from ._reference import SocketReference

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
#: What connections for asyncio begin with; asyncio has no limit of what a transport keeps, but marks.
FOR_ASYNCIO = {"half_open": True, "max_buffered": 2**63 - 1}

Outcome = Callable[[Transport | None, asyncio.BaseProtocol | None, BaseException | None], None]

NO_TLS = (
    "sockref.aio has no TLS: connect with asyncio, or give SocketReference.socket() to asyncio.start_unix_server() "
    "or asyncio.start_server()"
)


class OfAsyncio(TypedDict, total=False):
    """What asyncio takes and the library has in one way only. Anything else is refused."""

    proto: int
    """0, or socket.IPPROTO_TCP."""
    flags: int
    """0: the library looks hosts up."""
    interleave: int | None
    """1, or None: the families take turns."""
    server_hostname: str | None
    """None, as the rest: there is no TLS."""
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None


_ONLY: dict[str, tuple[object, ...]] = {"proto": (0, socket.IPPROTO_TCP), "flags": (0,), "interleave": (None, 1)}
_OF_TLS = ("server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout")


def refuse(ssl: object, given: Mapping[str, object], only: Mapping[str, tuple[object, ...]]) -> None:
    """Raise where asyncio would do what the library cannot."""
    for name, possible in only.items():
        if name in given and given[name] not in possible:
            text = " or ".join(map(repr, possible))
            raise NotImplementedError(f"sockref.aio cannot do {name}={given[name]!r}, only {text}")
    if ssl or any(given.get(name) is not None for name in _OF_TLS):
        raise NotImplementedError(NO_TLS)


def tcp_name(host: str, port: int) -> str:
    if not host.isascii():
        host = host.encode("idna").decode()  # as the socket module looks it up
    return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"


async def create_connection(
    protocol_factory: Callable[[], ProtocolT],
    name: Path | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    family: int = 0,
    local_addr: tuple[str, int] | None = None,
    from_: SocketReference | None = None,
    happy_eyeballs_delay: float | None = None,
    one_by_one: bool = False,
    all_errors: bool = False,
    timeout: float | None = None,
    keepalive: bool = False,
    descriptors: bool = False,
    ssl: object = None,
    **asyncios: Unpack[OfAsyncio],
) -> tuple[Transport, ProtocolT]:
    """Connect, and give a transport and the protocol that it feeds.

    name alone is a path, which need not be absolute, "@" and an abstract name, or "tcp:HOST:PORT"; with a port it
    is a host, or None for this machine, as with asyncio's own create_connection(). sock is a socket that is
    connected already: it is detached. from_ is a name of bind_only whose socket is to be connected; the transport
    holds a reference of its own.

    The addresses of a host are tried in the order of RFC 8305, the next one happy_eyeballs_delay seconds (0.25)
    after the last, side by side or, with one_by_one, each in turn. Where none can be connected to, the error is that
    of the last; with all_errors, an ExceptionGroup of those of all. timeout, in seconds, covers the lookup as well.
    With descriptors, those that the peer passes are given to the protocol's descriptor_received(fd); without, none
    is taken in. What asyncio can and the library cannot, TLS for one, raises NotImplementedError.

    Cancelling it leaves nothing behind. Raises OSErrors as asyncio does: FileNotFoundError,
    ConnectionRefusedError, TimeoutError, socket.gaierror for a host that there is not, ...
    """
    for key in asyncios:
        if key not in OfAsyncio.__optional_keys__:
            raise TypeError(f"{key!r} is not an option of a connection")
    refuse(ssl, asyncios, _ONLY)
    host = asyncio.get_running_loop()
    loop = _loops.of_asyncio(host)
    tcp = {"nodelay": True, "keepalive": keepalive}
    if sock is not None:
        if name is not None or port is not None:
            raise ValueError("name and sock cannot be given at the same time")
        is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        begin = connection_options({"paused": True, **FOR_ASYNCIO, **(tcp if is_tcp else {})})

        def adopt(outcome: Outcome) -> Transport:
            made = _lowlevel.call_and_detach(
                sock,
                _lowlevel.adopt_transport,
                sock.fileno(),
                loop,
                host,
                protocol_factory,
                outcome,
                is_tcp,
                descriptors,
                begin,
            )
            sock.detach()  # which tells the object
            return made

        return await _made(host, adopt)
    if port is not None:
        raw = encode(tcp_name(os.fsdecode(name or ""), port))
    elif name is not None:
        raw = encode(name)
    else:
        raise ValueError("name was not given, and no sock")
    how, begin = connect_options(
        {
            "paused": True,
            **FOR_ASYNCIO,
            "family": family,
            "one_by_one": one_by_one,
            "attempt_delay_ms": None if happy_eyeballs_delay is None else max(1, milliseconds(happy_eyeballs_delay)),
            "connect_timeout_ms": None if timeout is None or timeout <= 0 else milliseconds(timeout),
            "local_host": None if local_addr is None else local_addr[0],
            "local_port": None if local_addr is None else local_addr[1],
            "from_": from_,
            **(tcp if raw.startswith(b"tcp:") else {}),
        }
    )
    failed: list[Exception] | None = [] if all_errors else None

    def connect(outcome: Outcome) -> Transport:
        return _lowlevel.connect_transport(raw, loop, host, protocol_factory, outcome, failed, descriptors, how, begin)

    try:
        return await _made(host, connect)
    except OSError as error:
        if not failed:
            raise
        if isinstance(error, TimeoutError) and not isinstance(failed[-1], TimeoutError):
            failed.append(error)  # the time was over before all were tried
        raise ExceptionGroup("create_connection failed", failed) from None


def _settle(
    host: asyncio.AbstractEventLoop,
    waiter: asyncio.Future[ProtocolT],
    made: Transport | None,
    protocol: asyncio.BaseProtocol | None,
    error: BaseException | None,
) -> None:
    if waiter.done():  # nobody wants it any more
        if made is not None:
            made.abort()
    elif isinstance(error, StopIteration):  # a future takes none; asyncio's coroutine turns it into the same
        stopped = RuntimeError("coroutine raised StopIteration")
        stopped.__cause__ = error
        waiter.set_exception(stopped)
    elif error is not None:
        waiter.set_exception(error)
    elif made is None:
        waiter.set_exception(ConnectionAbortedError("the connection was aborted before it was made"))
    else:
        waiter.set_result(protocol)  # type: ignore[arg-type]  # the factory made it
        host.call_soon(made._begin_reading)  # when the task has gone on


async def _made(
    host: asyncio.AbstractEventLoop, begin: Callable[[Outcome], Transport]
) -> tuple[Transport, ProtocolT]:
    waiter: asyncio.Future[ProtocolT] = host.create_future()
    try:
        transport = begin(partial(_settle, host, waiter))
    except BaseException:
        waiter.cancel()  # an interrupt may come when it has begun
        raise
    try:
        return transport, await waiter
    except BaseException:
        transport.abort()
        raise
    finally:
        del waiter  # else the exception refers to itself, by its traceback


async def open_connection(
    name: Path | None = None,
    port: int | None = None,
    *,
    limit: int = 2**16,
    sock: socket.socket | None = None,
    family: int = 0,
    local_addr: tuple[str, int] | None = None,
    from_: SocketReference | None = None,
    happy_eyeballs_delay: float | None = None,
    one_by_one: bool = False,
    all_errors: bool = False,
    timeout: float | None = None,
    keepalive: bool = False,
    ssl: object = None,
    **asyncios: Unpack[OfAsyncio],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect as create_connection() does, and give asyncio's streams."""
    host = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=host)
    transport, protocol = await create_connection(
        lambda: asyncio.StreamReaderProtocol(reader, loop=host),
        name,
        port,
        sock=sock,
        family=family,
        local_addr=local_addr,
        from_=from_,
        happy_eyeballs_delay=happy_eyeballs_delay,
        one_by_one=one_by_one,
        all_errors=all_errors,
        timeout=timeout,
        keepalive=keepalive,
        ssl=ssl,
        **asyncios,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, host)
