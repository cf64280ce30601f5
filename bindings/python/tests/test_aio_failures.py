"""What callbacks raise, and what they find when they do: one program on asyncio's own transports and on sockref.aio."""

from __future__ import annotations

import asyncio
import gc
import io
import weakref
from pathlib import Path
from typing import Any

import pytest
from nets import Net, Recorder, pair

import sockref.aio


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_keeps_the_connection(net: Net, path: Path, kind: type[BaseException]) -> None:
    """run_forever() raises it, and goes on when it is called again."""

    class Ending(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"end":
                raise kind

    loop = net.new_loop()
    made: list[Ending] = []

    def factory() -> Ending:
        made.append(Ending())
        return made[0]

    async def begin() -> tuple[Any, Any]:
        server = await net.create_server(factory, path)
        return server, (await net.create_connection(Recorder, path))[1]

    async def finish(server: Any, client: Any) -> None:
        client.transport.write(b"more")
        await made[0].got(7)
        assert made[0].calls == ["made", "data"]
        client.transport.close()
        await made[0].has("lost")
        await client.has("lost")
        server.close()
        await server.wait_closed()

    try:
        server, client = loop.run_until_complete(begin())
        client.transport.write(b"end")
        with pytest.raises(kind):
            loop.run_forever()
        loop.run_until_complete(asyncio.wait_for(finish(server, client), 30))
    finally:
        loop.close()
        for bound in net.bound:
            bound.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_in_pause_writing_is_seen_by_the_writer(
    net: Net, path: Path, kind: type[BaseException]
) -> None:
    class Ending(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            raise kind

    async def main() -> None:
        async with pair(net, path, Recorder, Ending) as (server, client):
            server.transport.pause_reading()
            with pytest.raises(kind):
                client.transport.write(bytes(8 << 20))
            server.transport.resume_reading()
            await client.has("resume")
            await server.got(8 << 20)

    net.run(main())


def test_an_os_error_of_a_callback_ends_the_connection_only(net: Net, path: Path) -> None:
    """It is taken for the connection's own, of which the program is told by connection_lost()."""

    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ConnectionResetError("told by the protocol")

    async def main() -> None:
        async with pair(net, path, Failing, Recorder) as (server, client):
            client.transport.write(b"x")
            await server.has("lost")
            assert isinstance(server.lost_with, ConnectionResetError)
            await client.has("lost")

    net.run(main())
    assert net.reports == []


class Lending(asyncio.BufferedProtocol):
    """Lends a bytearray, and changes its size whenever it is not lent."""

    def __init__(self) -> None:
        self.buffer = bytearray(100)
        self.transport: Any = None
        self.calls: list[str] = []
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def _resize(self, call: str) -> None:
        self.buffer.append(0)
        self.calls.append(call)

    def buffer_updated(self, nbytes: int) -> None:
        self._resize("data")

    def eof_received(self) -> None:
        self._resize("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self._resize("lost")
        self.lost.set()


def test_no_buffer_is_lent_at_the_end(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Lending, Recorder) as (server, client):
            client.transport.write(b"x")
            client.transport.write_eof()
            await server.lost.wait()
            assert server.calls == ["data", "eof", "lost"]

    net.run(main())
    assert net.reports == []


def test_a_transport_that_the_service_took_away_is_closing(ours: Net, path: Path) -> None:
    class Looking(Recorder):
        def connection_lost(self, error: Exception | None) -> None:
            assert self.transport.is_closing()
            self.transport.write(b"dropped")
            super().connection_lost(error)

    async def main() -> None:
        made: list[Looking] = []

        def factory() -> Looking:
            made.append(Looking())
            return made[0]

        server: Any = await ours.create_server(factory, path)
        _, client = await ours.create_connection(Recorder, path)
        while not made or made[0].transport is None:
            await asyncio.sleep(0)
        server.reference.unserve(destroy=True)
        await client.has("lost")
        await made[0].has("lost")
        server.close()
        await server.wait_closed()

    ours.run(main())
    assert ours.reports == []


@pytest.mark.parametrize("call", ["connect", "connect-all", "tcp", "serve", "serve-tcp", "start"])
def test_an_error_goes_with_who_handled_it(ours: Net, path: Path, call: str) -> None:
    """It keeps the frames that it came through, and must not wait for the collector of cycles."""
    calls = {
        "connect": lambda: sockref.aio.open_connection(path),
        "connect-all": lambda: sockref.aio.open_connection(path, all_errors=True),
        "tcp": lambda: sockref.aio.open_connection("127.0.0.1", 1),
        "serve": lambda: sockref.aio.create_server(Recorder, path / "none"),
        "serve-tcp": lambda: sockref.aio.create_server(Recorder, "192.0.2.1", 0),
        "start": lambda: sockref.start_listener(path / "none"),
    }

    async def main() -> None:
        try:
            await calls[call]()
        except (OSError, ExceptionGroup) as error:
            told = weakref.ref(error)
        await asyncio.sleep(0)  # the loop has called the task with the future that had it
        assert told() is None

    gc.collect()
    gc.disable()
    try:
        ours.run(main())
    finally:
        gc.enable()


def test_sendfile_is_refused(ours: Net, path: Path) -> None:
    """In the way that frameworks take for a reason to read and write themselves."""

    async def main() -> None:
        async with pair(ours, path, Recorder, Recorder) as (_, client):
            with pytest.raises(NotImplementedError):
                await asyncio.get_running_loop().sendfile(client.transport, io.BytesIO(b"x"))

    ours.run(main())
