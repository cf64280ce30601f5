"""Connecting, for asyncio."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TypeVar

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
    timeout: float | None = None,
    keepalive: bool = False,
    descriptors: bool = False,
    ssl: object = None,
    server_hostname: str | None = None,
) -> tuple[Transport, ProtocolT]:
    """Connect, and give a transport and the protocol that it feeds.

    name alone is a path, which need not be absolute, "@" and an abstract name, or "tcp:HOST:PORT"; with a port it
    is a host, as with asyncio's own create_connection(). sock is a socket that is connected already: it is
    detached. from_ is a name of bind_only whose socket is to be connected; the transport holds a reference of its own.

    The addresses of a host are tried in the order of RFC 8305, the next one happy_eyeballs_delay seconds (0.25)
    after the last, side by side or, with one_by_one, each in turn. timeout, in seconds, covers the lookup as well.
    With descriptors, those that the peer passes are given to the protocol's descriptor_received(fd); without, none
    is taken in.

    Cancelling it leaves nothing behind. Raises OSErrors as asyncio does: FileNotFoundError,
    ConnectionRefusedError, TimeoutError, socket.gaierror for a host that there is not, ...
    """
    if ssl or server_hostname is not None:
        raise NotImplementedError(NO_TLS)
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
    if name is None:
        raise ValueError("name was not given, and no sock")
    raw = encode(name)
    if port is not None:
        raw = encode(tcp_name(os.fsdecode(raw), port))
    how, begin = connect_options(
        {
            "paused": True,
            **FOR_ASYNCIO,
            "family": family,
            "one_by_one": one_by_one,
            "attempt_delay_ms": _positive_ms(happy_eyeballs_delay),
            "connect_timeout_ms": _positive_ms(timeout),
            "local_host": None if local_addr is None else local_addr[0],
            "local_port": None if local_addr is None else local_addr[1],
            "from_": from_,
            **(tcp if raw.startswith(b"tcp:") else {}),
        }
    )

    def connect(outcome: Outcome) -> Transport:
        return _lowlevel.connect_transport(raw, loop, host, protocol_factory, outcome, descriptors, how, begin)

    return await _made(host, connect)


async def _made(
    host: asyncio.AbstractEventLoop, begin: Callable[[Outcome], Transport]
) -> tuple[Transport, ProtocolT]:
    waiter: asyncio.Future[ProtocolT] = host.create_future()

    def outcome(
        made: Transport | None, protocol: asyncio.BaseProtocol | None, error: BaseException | None
    ) -> None:
        if waiter.done():  # nobody wants it any more
            if made is not None:
                made.abort()
        elif error is not None:
            waiter.set_exception(error)
        elif made is None:
            waiter.set_exception(ConnectionAbortedError("the connection was aborted before it was made"))
        else:
            waiter.set_result(protocol)  # type: ignore[arg-type]  # the factory made it
            host.call_soon(made._begin_reading)  # when the task has gone on

    try:
        transport = begin(outcome)
    except BaseException:
        waiter.cancel()  # an interrupt may come when it has begun
        raise
    try:
        return transport, await waiter
    except BaseException:
        transport.abort()
        raise


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
    timeout: float | None = None,
    keepalive: bool = False,
    ssl: object = None,
    server_hostname: str | None = None,
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
        timeout=timeout,
        keepalive=keepalive,
        ssl=ssl,
        server_hostname=server_hostname,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, host)


def _positive_ms(seconds: float | None) -> int | None:
    """None, and what is not positive, are the defaults."""
    return None if seconds is None or seconds <= 0 else milliseconds(seconds)
