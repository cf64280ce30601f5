"""Serving, for asyncio."""

from __future__ import annotations

import asyncio
import socket
from asyncio import trsock
from collections.abc import Awaitable, Callable
from typing import NoReturn, SupportsIndex, Unpack

from . import _loops, _lowlevel
from ._client import FOR_ASYNCIO, refuse
from ._connection import Begin, connection_options
from ._errors import ENOTFOUND, SockrefError
from ._listen import ONLY, Names, ServerOptions, held, listen, options_of_start
from ._lowlevel import Transport
from ._reference import SocketReference
from ._registry import Registry

ProtocolFactory = Callable[[], asyncio.BaseProtocol]
ClientConnected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


class Server(asyncio.AbstractServer):
    """Serves a name, or every address of hosts, for asyncio; create_server() and start_server() make it.

    It holds a reference to each, which close() gives back: with the last one a name is gone, at once. What
    asyncio.Server has is here with the same meaning. As an async context it closes and waits.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        references: list[SocketReference],
        protocol_factory: ProtocolFactory,
        keepalive: bool,
        descriptors: bool,
    ) -> None:
        self._loop = loop
        self._references = references
        self._factory = protocol_factory
        self._keepalive = keepalive
        self._descriptors = descriptors
        self._clients: set[Transport] = set()
        self._listening: list[socket.socket] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._forever: asyncio.Future[None] | None = None
        self._running = 0  # services of which something may come
        self._closed = False

    @property
    def reference(self) -> SocketReference:
        """The reference that the server holds, of several the first; dup() it to keep the name longer."""
        return self._references[0]

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        """The listening sockets, over duplicates of the descriptors that go with the server; empty when closed."""
        if self._closed:
            return ()
        for reference in self._references[len(self._listening) :]:
            self._listening.append(reference.socket())
        return tuple(map(trsock.TransportSocket, self._listening))

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._running > 0 and not self._closed

    async def start_serving(self) -> None:
        """Accept connections; a second call does nothing."""
        self._start()

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError(f"server {self!r} is closed")
        if self._running:
            return
        for reference in self._references:
            tcp = reference.path.startswith("tcp:")
            _lowlevel.serve_transports(
                reference._handle,
                _loops.of_asyncio(self._loop),
                self._loop,
                self._factory,
                self._clients,
                self._stopped,
                tcp,
                self._descriptors,
                _begin(tcp, self._keepalive),
            )
            self._running += 1

    async def serve_forever(self) -> None:
        """Accept connections until it is cancelled; then close, also those that are open, and wait for them."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self._start()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                self.close_clients()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Accept no more, and give the references back. Open connections go on until they end."""
        if self._closed:
            return
        self._closed = True
        for listening in self._listening:
            listening.close()
        served = self._running > 0  # by this server, and not by another holder of the name
        for reference in self._references:
            if served:
                _unserve(reference)
            reference.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        if not self._running:
            self._wake()

    def close_clients(self) -> None:
        """Close the transport of every open connection; what is queued is written first."""
        for transport in self._clients.copy():
            transport.close()

    def abort_clients(self) -> None:
        """Abort the transport of every open connection."""
        for transport in self._clients.copy():
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection is over."""
        if self._closed and not self._running:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _stopped(self) -> None:
        """Nothing of one service comes any more: it was closed, or the name was revoked."""
        self._running -= 1
        if self._closed and not self._running:
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
        await self.wait_closed()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("cannot copy or pickle a Server")

    def __repr__(self) -> str:
        state = "closed" if self._closed else "serving" if self._running else "not serving"
        names = ", ".join(repr(reference.path) for reference in self._references)
        return f"<sockref.aio.Server {names} {state}>"


def _begin(tcp: bool, keepalive: bool) -> Begin:
    """How connections begin."""
    return connection_options(
        {"outlive": True, **FOR_ASYNCIO, **({"nodelay": True, "keepalive": keepalive} if tcp else {})}
    )


def _unserve(reference: SocketReference) -> None:
    """Have no more accepted, where it is served still."""
    try:
        reference.unserve()
    except SockrefError as error:
        if error.status != ENOTFOUND and reference.is_active:
            raise


async def create_server(
    protocol_factory: ProtocolFactory,
    name: Names | None = None,
    port: int | None = None,
    *,
    reference: SocketReference | None = None,
    sock: socket.socket | None = None,
    registry: Registry | None = None,
    start_serving: bool = True,
    keepalive: bool = False,
    descriptors: bool = False,
    ssl: object = None,
    **options: Unpack[ServerOptions],
) -> Server:
    """Listen on a name and serve it, each connection with a protocol of the factory.

    name alone is what start_listener() takes: a path, "@" and an abstract name, "tcp:HOST:PORT", or None for the
    default name. With a port it is a host, a sequence of hosts, or None for every address, and as with asyncio each
    address has a socket of its own: port 0 gives each another port, and one of IPv6 takes no connections by IPv4.
    Options are those of start_listener(), but that the name must not be in use: exclusive is True. A name in use is
    an OSError with EADDRINUSE. Of asyncio's, family and flags are those of the lookup of hosts; with a family, a TCP
    name is listened on as its host and port would be. What the library cannot do raises NotImplementedError.

    With reference, a name that is held already is served; the server counts a reference of its own. With sock, a
    socket that the program bound, which is detached: see Registry.register_new(); of options, it takes a backlog.

    With descriptors, those that peers pass are given to the protocol's descriptor_received(fd); without, none is
    taken in.
    """
    refuse(ssl, options, ONLY)
    loop = asyncio.get_running_loop()
    if reference is not None or sock is not None:
        backlog = options.pop("backlog", None) if sock is not None else None
        if name is not None or port is not None or options_of_start(options):
            raise ValueError("with reference or sock, a name and options cannot be given")
        references = [held(reference, sock, registry, backlog)]
    else:
        references = await listen(registry, name, port, options)
    server = Server(loop, references, protocol_factory, keepalive or bool(options.get("keep_alive")), descriptors)
    try:
        if start_serving:
            server._start()
    except BaseException:
        server.close()
        raise
    return server


async def start_server(
    client_connected_cb: ClientConnected,
    name: Names | None = None,
    port: int | None = None,
    *,
    limit: int = 2**16,
    reference: SocketReference | None = None,
    sock: socket.socket | None = None,
    registry: Registry | None = None,
    start_serving: bool = True,
    keepalive: bool = False,
    ssl: object = None,
    **options: Unpack[ServerOptions],
) -> Server:
    """Listen and serve as create_server() does, with asyncio's streams: client_connected_cb(reader, writer)."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.BaseProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await create_server(
        factory,
        name,
        port,
        reference=reference,
        sock=sock,
        registry=registry,
        start_serving=start_serving,
        keepalive=keepalive,
        ssl=ssl,
        **options,
    )
