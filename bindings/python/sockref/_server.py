"""Serving, for asyncio."""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import trsock
from collections.abc import Awaitable, Callable
from typing import Unpack

from . import _loops, _lowlevel
from ._client import FOR_ASYNCIO, NO_TLS, tcp_name
from ._connection import Begin, connection_options
from ._errors import EBUSY, EEXISTS, ENOTFOUND, SockrefError, make_error
from ._lowlevel import Transport
from ._options import ListenOptions
from ._paths import Path
from ._reference import SocketReference
from ._registry import Registry, default

ProtocolFactory = Callable[[], asyncio.BaseProtocol]
ClientConnected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


class Server(asyncio.AbstractServer):
    """Serves one name for asyncio; create_server() and start_server() make it.

    It holds a reference, ``reference``, which close() gives back: with the last one the name is gone, at once.
    What asyncio.Server has is here with the same meaning. As an async context it closes and waits.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reference: SocketReference,
        protocol_factory: ProtocolFactory,
        begin: Begin,
        descriptors: bool,
    ) -> None:
        self._loop = loop
        self._reference = reference
        self._factory = protocol_factory
        self._begin = begin
        self._descriptors = descriptors
        self._clients: set[Transport] = set()
        self._listening: socket.socket | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._forever: asyncio.Future[None] | None = None
        self._serving = False
        self._closed = False

    @property
    def reference(self) -> SocketReference:
        """The reference that the server holds; dup() it to keep the name longer than the server."""
        return self._reference

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        """The listening socket, over a duplicate of the descriptor that goes with the server; empty when closed."""
        if self._closed:
            return ()
        if self._listening is None:
            self._listening = self._reference.socket()
        return (trsock.TransportSocket(self._listening),)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._serving and not self._closed

    async def start_serving(self) -> None:
        """Accept connections; a second call does nothing."""
        self._start()

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError(f"server {self!r} is closed")
        if self._serving:
            return
        _lowlevel.serve_transports(
            self._reference._handle,
            _loops.of_asyncio(self._loop),
            self._loop,
            self._factory,
            self._clients,
            self._stopped,
            self._reference.path.startswith("tcp:"),
            self._descriptors,
            self._begin,
        )
        self._serving = True

    async def serve_forever(self) -> None:
        """Accept connections until it is cancelled; then close, and wait for the open ones."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self._start()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            try:
                self.close()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Accept no more, and give the reference back. Open connections go on until they end."""
        if self._closed:
            return
        self._closed = True
        if self._serving:
            try:
                self._reference.unserve()
            except SockrefError as error:
                if error.status != ENOTFOUND and self._reference.is_active:
                    raise
        if self._listening is not None:
            self._listening.close()
        self._reference.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        if not self._serving:
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
        if self._closed and not self._serving:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _stopped(self) -> None:
        """Nothing of the service comes any more: it was closed, or the name was revoked."""
        self._serving = False
        if self._closed:
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

    def __repr__(self) -> str:
        state = "closed" if self._closed else "serving" if self._serving else "not serving"
        return f"<sockref.aio.Server {self._reference.path!r} {state}>"


async def create_server(
    protocol_factory: ProtocolFactory,
    name: Path | None = None,
    port: int | None = None,
    *,
    reference: SocketReference | None = None,
    sock: socket.socket | None = None,
    registry: Registry | None = None,
    start_serving: bool = True,
    keepalive: bool = False,
    descriptors: bool = False,
    ssl: object = None,
    **options: Unpack[ListenOptions],
) -> Server:
    """Listen on a name and serve it, each connection with a protocol of the factory.

    name alone is what start_listener() takes: a path, "@" and an abstract name, "tcp:HOST:PORT", or None for the
    default name; with a port it is a host, of which the first address is taken, or None for every address. Options
    are those of start_listener(), but that the name must not be in use: exclusive is True. A name in use is an
    OSError with EADDRINUSE.

    With reference, a name that is held already is served; the server counts a reference of its own. With sock, a
    socket that the program bound, which is detached: see Registry.register_new().

    With descriptors, those that peers pass are given to the protocol's descriptor_received(fd); without, none is
    taken in.
    """
    if ssl:
        raise NotImplementedError(NO_TLS)
    loop = asyncio.get_running_loop()
    if reference is not None or sock is not None:
        if name is not None or port is not None or options:
            raise ValueError("with reference or sock, a name and options cannot be given")
        reference = _held(reference, sock, registry)
    else:
        reference = await _listen(registry or default, name, port, options)
    tcp = {"nodelay": True, "keepalive": keepalive} if reference.path.startswith("tcp:") else {}
    begin = connection_options({"outlive": True, **FOR_ASYNCIO, **tcp})
    server = Server(loop, reference, protocol_factory, begin, descriptors)
    try:
        if start_serving:
            server._start()
    except BaseException:
        reference.close()
        raise
    return server


def _held(
    reference: SocketReference | None, sock: socket.socket | None, registry: Registry | None
) -> SocketReference:
    if reference is not None:
        if sock is not None or registry is not None:
            raise ValueError("reference was given, so sock and registry cannot be")
        return reference.dup()
    assert sock is not None
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(4096)
    return (registry or default).register_new(None, sock)


async def _listen(
    registry: Registry, name: Path | None, port: int | None, options: ListenOptions
) -> SocketReference:
    given: ListenOptions = {"exclusive": True, **options}
    try:
        if port is None:
            return await registry.start_listener(name, **given)
        if name is not None and not isinstance(name, str):
            raise TypeError("with a port, name must be a host as str")
        if name:
            return await registry.start_listener(tcp_name(await _numeric(name, port), port), **given)
        return await _listen_everywhere(registry, port, given)
    except SockrefError as error:
        if error.status not in (EEXISTS, EBUSY):
            raise
        raise make_error(-errno.EADDRINUSE, message=error.strerror) from error


async def _numeric(host: str, port: int) -> str:
    """The first address of a host."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(found[0][4][0])


async def _listen_everywhere(registry: Registry, port: int, options: ListenOptions) -> SocketReference:
    """On every address of both families; on those of IPv4 where the system has nothing else."""
    try:
        return await registry.start_listener(tcp_name("::", port), **options)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
    return await registry.start_listener(tcp_name("0.0.0.0", port), **options)


async def start_server(
    client_connected_cb: ClientConnected,
    name: Path | None = None,
    port: int | None = None,
    *,
    limit: int = 2**16,
    reference: SocketReference | None = None,
    sock: socket.socket | None = None,
    registry: Registry | None = None,
    start_serving: bool = True,
    keepalive: bool = False,
    ssl: object = None,
    **options: Unpack[ListenOptions],
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
