"""Not run: what a program may write, for mypy --strict."""

import asyncio
import socket
from pathlib import Path
from typing import assert_type

import sockref
import sockref.aio


class Upper(sockref.Handlers):
    def on_data(self, connection: sockref.Connection, data: bytes) -> None:
        assert_type(connection.write(data.upper()), bool)


def heard(event: sockref.WatchEvent) -> None:
    assert_type(event is sockref.WatchEvent.LOST, bool)


class Shout(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, sockref.aio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(memoryview(data.upper()))


async def client_connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())


async def asynchronous() -> None:
    transport, protocol = await sockref.aio.create_connection(Shout, "localhost", 80, family=socket.AF_INET)
    assert_type(transport, sockref.aio.Transport)
    assert_type(protocol, Shout)
    transport.send_fd(socket.socket(), b"x")
    reader, writer = await sockref.aio.open_connection("@name", timeout=1.5)
    assert_type(reader, asyncio.StreamReader)
    assert_type(writer, asyncio.StreamWriter)
    async with await sockref.aio.start_server(client_connected, "/run/a.sock", mode=0o660) as server:
        assert_type(server, sockref.aio.Server)
        assert_type(server.reference, sockref.SocketReference)
        await server.serve_forever()
    await sockref.aio.create_server(Shout, reference=sockref.listen(), descriptors=True)
    await sockref.aio.create_server(print)  # type: ignore[arg-type]
    connection = sockref.connect("tcp:[::1]:80", Upper(), one_by_one=True, timeout_ms=100)
    assert_type(connection.info(), sockref.ConnectionInfo)
    assert_type(connection.info().state, sockref.ConnectionState)
    assert_type(connection.peer().uid, int)
    connection.call_soon_threadsafe(connection.write, b"x")
    sockref.connect("/run/a.sock", Upper(), from_=sockref.listen(bind_only=True))
    sockref.connect("/run/a.sock", Upper(), from_="/run/b.sock")  # type: ignore[arg-type]
    sockref.connect("/run/a.sock", Upper(), whatever=1)  # type: ignore[call-arg]


async def main() -> None:
    reference = await sockref.start_listener(Path("/run/a.sock"), mode=0o600, unique=True)
    assert_type(reference, sockref.SocketReference)
    assert_type(reference.path, str)
    assert_type(reference.path_bytes, bytes)
    assert_type(reference.reference_count, int)
    assert_type(reference.holder_count, int)
    assert_type(reference.is_owner, bool)
    assert_type(sockref.get_existing(b"/run/a.sock"), sockref.SocketReference | None)
    reference.serve(Upper())
    reference.watch(heard)
    reference.watch(lambda event: assert_type(event, sockref.WatchEvent))
    reference.watch(None)
    reference.watch(main)  # type: ignore[arg-type]
    assert_type(sockref.guard_status(), int)
    with sockref.Registry(max_sockets=3, directory="/run") as registry:
        assert_type(registry.listen(backlog=None, share=False, guard=2), sockref.SocketReference)
        assert_type(registry.guard_status(), int)
        await sockref.aio.drain(1.5, registry=registry)
    try:
        sockref.cleanup("/run/a.sock")
    except sockref.SockrefError as error:
        assert_type(error.code, str)
        assert_type(error.path, str | None)
    assert_type(sockref.live_counts()["references"], int)
    assert_type(sockref.stats().removal.buckets, tuple[tuple[int, int], ...])
    assert_type(sockref.stats().last_remove_error, str | None)
    assert_type(sockref.metrics(), str)
    assert_type(sockref.loop_stats().is_starving, bool)
    assert_type(reference.stats().accepted, int)
    assert_type(reference.check_health().is_accepting, bool | None)
    assert_type(sockref.SocketPool.listen(count=2), sockref.SocketPool)
    with await sockref.SocketPool.start("/run/b.sock", 3, registry=registry, mode=0o600) as pool:
        pool.add(reference)
        assert_type(pool.pick("least-references"), sockref.SocketReference)
        assert_type(len(pool), int)
        pool.pick("random")  # type: ignore[arg-type]
    sockref.SocketPool.listen("/run/b.sock", 2, max_sockets=3)  # type: ignore[call-arg]
    sockref.listen("/run/a.sock", max_sockets=3)  # type: ignore[call-arg]
    sockref.listen(3)  # type: ignore[arg-type]
