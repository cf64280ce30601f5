"""Streams and servers: one program on asyncio's own and on sockref.aio."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from pathlib import Path

import pytest
from helpers import is_socket
from nets import Net, Recorder

import sockref.aio


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def test_echo_of_random_pieces(net: Net, path: Path) -> None:
    chance = random.Random(7)
    data = os.urandom(10 << 20)

    async def main() -> None:
        server = await net.start_server(echo, path)
        reader, writer = await net.open_connection(path)

        async def send() -> None:
            start = 0
            while start < len(data):
                size = chance.choice((1, 100, 5000, 70_000, 300_000))
                writer.write(memoryview(data)[start : start + size])
                await writer.drain()
                start += size
            writer.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            got = await reader.read()
        assert hashlib.sha1(got).digest() == hashlib.sha1(data).digest()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    net.run(main())


def test_lines_and_exact_reads(net: Net, path: Path) -> None:
    async def main() -> None:
        server = await net.start_server(echo, path)
        reader, writer = await net.open_connection(path)
        text = "Zeile mit Umlauten äöü und 𝄞\n".encode()
        for byte in text:  # each by itself
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await reader.readline()).decode().endswith("𝄞\n")
        writer.writelines([b"abc", b"def"])
        assert await reader.readexactly(5) == b"abcde"
        writer.write_eof()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(5)
        assert caught.value.partial == b"f"
        assert reader.at_eof()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    net.run(main())


def test_many_clients_at_once(net: Net, path: Path) -> None:
    async def main() -> None:
        server = await net.start_server(echo, path, backlog=200)

        async def client(number: int) -> None:
            reader, writer = await net.open_connection(path)
            for turn in range(10):
                message = f"{number} {turn} ".encode() * (1 + number)
                writer.write(message)
                assert await reader.readexactly(len(message)) == message
            writer.close()
            await writer.wait_closed()

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(client(number))
        server.close()
        await server.wait_closed()

    net.run(main())


def test_reader_that_is_slow_stops_the_writer(net: Net, path: Path) -> None:
    async def main() -> None:
        written = 0

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            while written < 32 << 20:
                writer.write(bytes(1 << 16))
                written += 1 << 16
                await writer.drain()
            writer.close()

        server = await net.start_server(flood, path)
        reader, writer = await net.open_connection(path)
        before = -1
        while written != before:  # until it goes no further
            before = written
            for _ in range(10):
                await asyncio.sleep(0.002)
        assert 0 < written < 4 << 20
        total = 0
        while data := await reader.read(1 << 16):
            total += len(data)
        assert total == written == 32 << 20
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    net.run(main())


def test_handler_that_fails(net: Net, path: Path) -> None:
    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()
        raise ZeroDivisionError

    async def main() -> None:
        server = await net.start_server(fail, path)
        for _ in range(2):
            reader, writer = await net.open_connection(path)
            writer.write(b"\n")
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    net.run(main())


def test_server_closes_and_clients_go_on(net: Net, path: Path) -> None:
    async def main() -> None:
        server = await net.start_server(echo, path)
        assert server.is_serving() and server.sockets and server.sockets[0].getsockname() == str(path)
        reader, writer = await net.open_connection(path)
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        server.close()
        server.close()
        assert not server.is_serving() and tuple(server.sockets) == ()
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            await net.open_connection(path)
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()

    net.run(main())


def test_wait_closed_waits_for_the_last_connection(ours: Net, path: Path) -> None:
    async def main() -> None:
        server = await ours.start_server(echo, path)
        reader, writer = await ours.open_connection(path)
        writer.write(b"1")
        await reader.readexactly(1)
        server.close()
        assert not is_socket(path)  # at once
        waiting = asyncio.create_task(server.wait_closed())
        for _ in range(5):
            await asyncio.sleep(0.002)
        assert not waiting.done()
        writer.close()
        await writer.wait_closed()
        await waiting
        await server.wait_closed()

    ours.run(main())


def test_server_that_starts_later(net: Net, path: Path) -> None:
    async def main() -> None:
        server = await net.start_server(echo, path, start_serving=False)
        assert not server.is_serving()
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        assert server.get_loop() is asyncio.get_running_loop()
        reader, writer = await net.open_connection(path)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        if net.ours:
            with pytest.raises(RuntimeError):
                await server.start_serving()

    net.run(main())


@pytest.mark.parametrize("end", ["close", "peer"])
def test_drain_tells_that_the_connection_is_over(net: Net, path: Path, end: str) -> None:
    """It waits one turn for that: who writes and drains in a loop comes to its end."""

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            _, writer = await net.open_connection(path)
            with listener.accept()[0] as peer:
                if end == "close":
                    writer.close()
                else:
                    peer.close()
                writer.write(b"x")
                with pytest.raises(ConnectionResetError):
                    await writer.drain()
            writer.close()

    net.bound.append(path)
    net.run(main())


def test_serve_forever_is_cancelled(net: Net, path: Path) -> None:
    async def main() -> None:
        async with await net.start_server(echo, path, start_serving=False) as server:
            forever = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            assert server.is_serving()
            with pytest.raises(RuntimeError):
                await server.serve_forever()
            _, writer = await net.open_connection(path)
            writer.close()
            await writer.wait_closed()
            forever.cancel()
            with pytest.raises(asyncio.CancelledError):
                await forever
            assert not server.is_serving()
            with pytest.raises(RuntimeError):
                await server.serve_forever()

    net.run(main())


def test_close_ends_serve_forever(net: Net, path: Path) -> None:
    async def main() -> None:
        server = await net.start_server(echo, path)
        forever = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await forever

    net.run(main())


def test_cancelled_serve_forever_waits_for_no_idle_client(ours: Net, path: Path) -> None:
    """As with asyncio from 3.14 on: an interrupt is enough to end a server."""

    async def main() -> None:
        server = await sockref.aio.start_server(echo, path)
        forever = asyncio.create_task(server.serve_forever())
        reader, writer = await ours.open_connection(path)
        writer.write(b"x")
        await reader.readexactly(1)
        forever.cancel()
        await asyncio.wait([forever])
        assert forever.cancelled()
        await server.wait_closed()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    ours.run(main())


@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
def test_clients_are_ended(ours: Net, path: Path, how: str) -> None:
    async def main() -> None:
        async with await sockref.aio.start_server(echo, path) as server:
            streams = [await ours.open_connection(path) for _ in range(5)]
            for reader, writer in streams:
                writer.write(b"x")
                await reader.readexactly(1)
            server.close()
            getattr(server, how)()
            for reader, writer in streams:
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()

    ours.run(main())


def test_reference_of_a_server(ours: Net, path: Path) -> None:
    async def main() -> None:
        with await sockref.start_listener(path) as reference:
            async with await sockref.aio.start_server(echo, reference=reference) as server:
                assert reference.reference_count == 2
                assert server.reference.path == str(path)
                with pytest.raises(sockref.SockrefError) as caught:
                    await sockref.aio.start_server(echo, reference=reference)
                assert caught.value.code == "ESOCKREF_BUSY"
                assert reference.reference_count == 2
                reader, writer = await ours.open_connection(path)
                writer.write(b"x")
                await reader.readexactly(1)
                assert reference.connection_count == 1
                writer.close()
                await writer.wait_closed()
            assert reference.is_active and reference.reference_count == 1 and is_socket(path)
            async with await sockref.aio.start_server(echo, reference=reference):
                _, writer = await ours.open_connection(path)  # served anew
                writer.close()
                await writer.wait_closed()
        for wrong in ({"name": path}, {"port": 1}, {"registry": sockref.Registry()}, {"mode": 0o600}):
            with pytest.raises(ValueError):
                await sockref.aio.start_server(echo, reference=reference, **wrong)  # type: ignore[arg-type]

    ours.run(main())


def test_socket_that_the_program_bound(ours: Net, path: Path) -> None:
    async def main() -> None:
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        tcp = socket.create_server(("127.0.0.1", 0))
        address = tcp.getsockname()
        async with await sockref.aio.start_server(echo, sock=bound) as server:
            assert bound.fileno() == -1 and server.reference.path == str(path)
            async with await sockref.aio.start_server(echo, sock=tcp) as other:
                assert other.reference.local_address == address
                for name in ((path,), address):
                    reader, writer = await sockref.aio.open_connection(*name)
                    writer.write(b"x")
                    assert await reader.readexactly(1) == b"x"
                    writer.close()
                    await writer.wait_closed()
        assert not is_socket(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as packets, pytest.raises(ValueError):
            await sockref.aio.start_server(echo, sock=packets)

    ours.run(main())


def test_name_in_use(ours: Net, path: Path) -> None:
    import errno

    async def main() -> None:
        async with await sockref.aio.start_server(echo, path):
            for registry in (None, sockref.Registry()):
                with pytest.raises(OSError) as caught:
                    await sockref.aio.start_server(echo, path, registry=registry)
                assert caught.value.errno == errno.EADDRINUSE
        path.write_text("a file")
        with pytest.raises(OSError) as caught:
            await sockref.aio.start_server(echo, path)
        assert caught.value.errno == errno.EADDRINUSE
        assert path.read_text() == "a file"
        path.unlink()

    ours.run(main())


def test_name_that_is_revoked(ours: Net, path: Path) -> None:
    async def main() -> None:
        server = await sockref.aio.start_server(echo, path)
        reader, writer = await ours.open_connection(path)
        writer.write(b"1")
        await reader.readexactly(1)
        sockref.cleanup(path)
        assert not is_socket(path)
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    ours.run(main())


def test_loop_that_ends_with_everything_open(ours: Net, path: Path) -> None:
    """As asyncio does: a warning for each transport, and no callback on a closed loop."""
    import gc
    import warnings

    async def main() -> None:
        global kept
        server = await sockref.aio.create_server(Recorder, path)
        kept = server, await ours.create_connection(Recorder, path)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours.run(main())
        gc.collect()
        globals().pop("kept")
        gc.collect()
    assert any("unclosed transport" in str(warning.message) for warning in caught)
    assert ours.reports == []
    assert not is_socket(path)
