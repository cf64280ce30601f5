"""Transports and protocols: one program on asyncio's own and on sockref.aio, with one outcome."""

from __future__ import annotations

import asyncio
import contextvars
import os
from pathlib import Path
from typing import Any

import pytest
from nets import Net, Recorder, pair


def test_order_of_callbacks(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            assert client.calls == ["made"]
            client.transport.write(b"ping")
            assert await server.got(4) == b"ping"
            server.transport.write(b"pong")
            assert await client.got(4) == b"pong"
            client.transport.close()
            assert client.transport.is_closing()
            assert client.calls == ["made", "data"]  # never inside close()
            await client.has("lost")
            await server.has("lost")
            assert client.calls == ["made", "data", "lost"]
            assert server.calls == ["made", "data", "eof", "lost"]
            assert client.lost_with is None and server.lost_with is None
            assert isinstance(client.transport, asyncio.Transport)

    net.run(main())


@pytest.mark.parametrize("end", ["close", "abort"])
def test_it_is_lost_in_the_next_turn(net: Net, path: Path, end: str) -> None:
    """Before what is scheduled after the close: a task that sleeps for a turn finds it over."""

    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (_, client):
            sock = client.transport.get_extra_info("socket")
            getattr(client.transport, end)()
            assert client.calls == ["made"]
            await asyncio.sleep(0)
            assert client.calls == ["made", "lost"]
            assert sock.fileno() == -1

    net.run(main())


def test_data_comes_after_the_connecting_task_went_on(net: Net, path: Path) -> None:
    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"at once")

    async def main() -> None:
        server = await net.create_server(Greeter, path)
        for _ in range(20):
            transport, client = await net.create_connection(Recorder, path)
            assert client.calls == ["made"]
            await client.got(7)
            transport.abort()
            await client.has("lost")
        server.close()
        await server.wait_closed()

    net.run(main())


def test_half_close_by_the_client(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, lambda: Recorder(keep_open=True), Recorder) as (server, client):
            assert client.transport.can_write_eof()
            client.transport.write(b"question")
            client.transport.write_eof()
            client.transport.write_eof()
            await server.has("eof")
            assert not server.transport.is_closing()
            server.transport.write(b"answer")
            assert await client.got(6) == b"answer"
            server.transport.close()
            await client.has("lost")
            assert server.calls[:3] == ["made", "data", "eof"]
            assert client.calls == ["made", "data", "eof", "lost"]

    net.run(main())


def test_both_sides_ended_is_no_end(net: Net, path: Path) -> None:
    """Who keeps it open closes it."""

    async def main() -> None:
        keeps = lambda: Recorder(keep_open=True)  # noqa: E731
        async with pair(net, path, keeps, keeps) as (server, client):
            client.transport.write_eof()
            await server.has("eof")
            server.transport.write_eof()
            await client.has("eof")
            for _ in range(5):
                await asyncio.sleep(0.002)
            assert client.calls == server.calls == ["made", "eof"]
            assert not client.transport.is_closing() and not server.transport.is_closing()
            client.transport.close()
            server.transport.close()
            await client.has("lost")
            await server.has("lost")

    net.run(main())


def test_abort_drops_what_is_queued(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            server.transport.pause_reading()
            client.transport.write(bytes(8 << 20))
            assert client.transport.get_write_buffer_size() > 0
            client.transport.abort()
            client.transport.abort()
            await client.has("lost")
            assert client.lost_with is None
            server.transport.resume_reading()
            await server.has("lost")
            assert len(server.data) < 8 << 20

    net.run(main())


def test_close_writes_what_is_queued(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            client.transport.write(bytes(8 << 20))
            client.transport.close()
            await server.has("lost")
            await client.has("lost")
            assert len(server.data) == 8 << 20
            assert client.calls[-1] == "lost" and client.lost_with is None

    net.run(main())


def test_pieces_and_kinds_of_bytes(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            changing = bytearray(b"bytearray ")
            client.transport.write(b"")
            client.transport.write(b"bytes ")
            client.transport.write(changing)
            changing[:] = b"??????????"
            client.transport.write(memoryview(b"a memoryview ")[2:])
            client.transport.writelines([b"nul\0 ", memoryview(b"-view ")[1:], bytearray(b"array"), b""])
            client.transport.writelines(iter([b" ", bytes(range(256))]))
            client.transport.writelines((b" of a", memoryview(b" tuple")))
            client.transport.writelines((b"!",))
            client.transport.writelines(())
            expected = b"bytes bytearray memoryview nul\0 view array " + bytes(range(256)) + b" of a tuple!"
            assert await server.got(len(expected)) == expected
            for wrong in ("text", None, 3, [b"list"]):
                with pytest.raises(TypeError):
                    client.transport.write(wrong)
            client.transport.write_eof()
            with pytest.raises(RuntimeError):
                client.transport.write(b"late")
            with pytest.raises(TypeError):
                client.transport.write("text")

    net.run(main())


class Buffered(asyncio.BufferedProtocol):
    """Echoes, in a buffer that it resizes each time."""

    def __init__(self) -> None:
        self.buffer = bytearray(10)
        self.calls: list[str] = []
        self.transport: Any = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint == -1
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert 0 < nbytes <= len(self.buffer)
        self.transport.write(bytes(self.buffer[:nbytes]))
        self.buffer += bytes(min(len(self.buffer), 100_000))

    def eof_received(self) -> None:
        self.calls.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


def test_buffered_protocol(net: Net, path: Path) -> None:
    data = os.urandom(3 << 20)

    async def main() -> None:
        async with pair(net, path, Buffered, Recorder) as (server, client):
            client.transport.write(data)
            assert await client.got(len(data)) == data
            server.transport.pause_reading()
            server.buffer.clear()  # nothing holds it between reads
            client.transport.write_eof()
            server.buffer += bytes(3)
            server.transport.resume_reading()
            assert await server.lost is None
            assert server.calls == ["eof"]

    net.run(main())


class OneAtATime(Buffered):
    """Has one buffer, which is not lent again until what came was seen to."""

    def get_buffer(self, sizehint: int) -> bytearray:
        self.calls.append("lent")
        self.transport.pause_reading()
        return super().get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        assert not self.transport.is_reading()
        self.calls.append("came")
        super().buffer_updated(nbytes)
        asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)


def test_pausing_in_get_buffer(net: Net, path: Path) -> None:
    """What is read into the buffer comes, and nothing more."""
    data = os.urandom(10 * 1023)

    async def main() -> None:
        async with pair(net, path, OneAtATime, Recorder) as (server, client):
            client.transport.write(data)
            assert await client.got(len(data)) == data
            client.transport.write_eof()
            assert await server.lost is None
            assert server.calls == ["lent", "came"] * 10 + ["lent", "eof"]

    net.run(main())


def test_protocol_is_changed(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            client.transport.write(b"first")
            await server.got(5)
            second = Buffered()
            second.transport = server.transport
            server.transport.set_protocol(second)
            assert server.transport.get_protocol() is second
            client.transport.write(b"second")
            assert await client.got(6) == b"second"
            third = Recorder()
            server.transport.set_protocol(third)
            client.transport.write(b"third")
            assert await third.got(5) == b"third"
            assert bytes(server.data) == b"first"
            client.transport.close()
            await third.has("lost")
            assert server.calls == ["made", "data"]

    net.run(main())


def test_protocol_that_is_changed_at_once(net: Net, path: Path) -> None:
    """Who connects gets the one of its factory."""

    class Changing(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_protocol(other)

    other = Recorder()

    async def main() -> None:
        async with pair(net, path, Recorder, Changing) as (server, client):
            assert type(client) is Changing
            server.transport.write(b"to the other")
            assert await other.got(12) == b"to the other"
            assert client.calls == ["made"]

    net.run(main())


def test_protocol_that_takes_nothing(net: Net, path: Path) -> None:
    """It has no data_received(), which is told when bytes come and not before."""
    lost: list[Exception | None] = []

    class Teller(asyncio.BaseProtocol):
        transport: Any = None

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.write(b"hello")

        def connection_lost(self, error: Exception | None) -> None:
            lost.append(error)

    async def main() -> None:
        async with pair(net, path, Teller, Recorder) as (server, client):
            assert await client.got(5) == b"hello"
            server.transport.set_protocol(another := Teller())
            assert server.transport.get_protocol() is another
            assert net.reports == []
            client.transport.write(b"anything")
            await client.has("lost")
            while not lost:
                await asyncio.sleep(0)
            (report,) = net.reports
            assert report["message"] == "Fatal error: protocol.data_received() call failed."
            assert isinstance(report["exception"], AttributeError) and lost == [report["exception"]]

    net.run(main())


@pytest.mark.parametrize("call", ["data_received", "eof_received", "get_buffer", "buffer_updated"])
def test_exception_that_breaks_a_connection(net: Net, path: Path, call: str) -> None:
    base: Any = Buffered if "buffer" in call else Recorder
    lost: list[Exception | None] = []

    def fail(*arguments: object) -> None:
        raise ZeroDivisionError(call)

    class Bad(base):  # type: ignore[misc]
        def connection_lost(self, error: Exception | None) -> None:
            lost.append(error)

    setattr(Bad, call, fail)

    async def main() -> None:
        async with pair(net, path, Bad, Recorder) as (server, client):
            client.transport.write(b"x")
            client.transport.write_eof()
            await client.has("lost")
            while not lost:
                await asyncio.sleep(0)
            (report,) = net.reports
            assert report["message"] == f"Fatal error: protocol.{call}() call failed."
            assert isinstance(report["exception"], ZeroDivisionError)
            assert report["transport"] is server.transport and report["protocol"] is server
            assert lost == [report["exception"]]

    net.run(main())


def test_exception_that_breaks_nothing(net: Net, path: Path) -> None:
    class Bad(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            raise ZeroDivisionError("made")

        def pause_writing(self) -> None:
            super().pause_writing()
            raise ZeroDivisionError("pause")

        def resume_writing(self) -> None:
            super().resume_writing()
            raise ZeroDivisionError("resume")

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            raise ZeroDivisionError("lost")

    async def main() -> None:
        async with pair(net, path, Bad, Recorder) as (server, client):
            server.transport.write(bytes(4 << 20))
            await client.got(4 << 20)
            await server.has("resume")
            client.transport.close()
            await server.has("lost")
            await asyncio.sleep(0)
            told = [str(report["exception"]) for report in net.reports]
            assert told == ["made", "pause", "resume", "lost"]

    net.run(main())


def test_one_that_raises_does_not_stop_the_others(net: Net, path: Path) -> None:
    class Picky(Recorder):
        def data_received(self, data: bytes) -> None:
            if data == b"bad":
                raise ValueError
            self.transport.write(data)

    async def main() -> None:
        server = await net.create_server(Picky, path)
        made = [await net.create_connection(Recorder, path) for _ in range(20)]
        for number, (transport, _) in enumerate(made):
            transport.write(b"bad" if number % 2 else b"good")
        for number, (_, protocol) in enumerate(made):
            await protocol.has("lost" if number % 2 else "data")
        for transport, _ in made:
            transport.abort()
        server.close()
        await server.wait_closed()
        assert len(net.reports) == 10

    net.run(main())


def test_program_that_ends_in_a_callback(ours: Net, path: Path) -> None:
    class Ending(Recorder):
        def data_received(self, data: bytes) -> None:
            raise KeyboardInterrupt

    async def main() -> None:
        async with pair(ours, path, Ending, Recorder) as (_, client):
            client.transport.write(b"x")
            await client.has("never")

    with pytest.raises(KeyboardInterrupt):
        ours.run(main())


def test_context_variables(net: Net, path: Path) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")

    class Contextual(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.at_begin = variable.get()

        def data_received(self, data: bytes) -> None:
            before = variable.get()
            variable.set(data.decode())
            self.transport.write(before.encode() + b" ")

    async def main() -> None:
        variable.set("server")
        server = await net.create_server(Contextual, path)
        for name in ("one", "two"):
            variable.set(f"client {name}")
            transport, client = await net.create_connection(Contextual, path)
            assert client.at_begin == f"client {name}"
            transport.set_protocol(plain := Recorder())
            variable.set("later")
            transport.write(name.encode())
            assert await plain.got(7) == b"server "  # what one connection sets, another one does not see
            transport.abort()
        assert variable.get() == "later"
        server.close()
        await server.wait_closed()

    net.run(main())


def test_transports_go_without_a_collection(ours: Net, path: Path) -> None:
    """Also where their sockets were looked at, as frameworks do for each connection."""
    import gc
    import weakref

    async def main() -> None:
        async with pair(ours, path, Recorder, Recorder) as (server, client):
            found = [protocol.transport.get_extra_info("socket") for protocol in (server, client)]
            refs = [weakref.ref(server.transport), weakref.ref(client.transport)]
            assert all(known.fileno() >= 0 for known in found)
            client.transport.close()
            await server.has("lost")
            await client.has("lost")
            server.transport = client.transport = None
            await asyncio.sleep(0)
            assert refs[0]() is None
            assert [known.fileno() for known in found] == [-1, -1]
            with pytest.raises(OSError):
                found[0].getsockname()
        del server, client
        assert refs[1]() is None

    gc.disable()
    try:
        ours.run(main())
    finally:
        gc.enable()


def test_objects_go_when_the_connection_does(net: Net, path: Path) -> None:
    import gc
    import weakref

    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            refs = [weakref.ref(server), weakref.ref(client), weakref.ref(client.transport)]
            client.transport.close()
            await server.has("lost")
            del server, client
        gc.collect()
        assert [ref() for ref in refs] == [None] * 3

    net.run(main())
