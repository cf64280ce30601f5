"""asyncio's own transports and those of sockref.aio behind one face, so that one program runs on either."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from helpers import LIMIT

import sockref.aio

T = TypeVar("T")
Factory = Callable[[], asyncio.BaseProtocol]


class Net:
    """sockref.aio, on asyncio's loop or on uvloop."""

    ours = True

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self.new_loop = new_loop
        self.reports: list[dict[str, Any]] = []
        self.bound: list[Path] = []  # what asyncio leaves behind

    def run(self, main: Coroutine[object, object, T]) -> T:
        """Run a program, not for ever. What goes to the exception handler is collected in reports."""

        async def limited() -> T:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.reports.append(context))
            async with asyncio.timeout(LIMIT):
                return await main

        try:
            with asyncio.Runner(debug=False, loop_factory=self.new_loop) as runner:
                return runner.run(limited())
        finally:
            for path in self.bound:
                path.unlink(missing_ok=True)

    async def create_server(self, factory: Factory, path: Path | str, **options: Any) -> asyncio.AbstractServer:
        return await sockref.aio.create_server(factory, path, **options)

    async def create_connection(self, factory: Factory, path: Path | str) -> tuple[Any, Any]:
        return await sockref.aio.create_connection(factory, path)

    async def start_server(self, connected: Any, path: Path | str, **options: Any) -> asyncio.AbstractServer:
        return await sockref.aio.start_server(connected, path, **options)

    async def open_connection(self, path: Path | str, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await sockref.aio.open_connection(path, **options)

    async def create_tcp_server(self, factory: Factory, host: Any, port: int, **options: Any) -> asyncio.AbstractServer:
        return await sockref.aio.create_server(factory, host, port, **options)

    async def create_tcp_connection(
        self, factory: Factory, host: str | None, port: int, **options: Any
    ) -> tuple[Any, Any]:
        return await sockref.aio.create_connection(factory, host, port, **options)


class OfAsyncio(Net):
    """What asyncio has itself."""

    ours = False

    async def create_server(self, factory: Factory, path: Path | str, **options: Any) -> asyncio.AbstractServer:
        self.bound.append(Path(path))
        return await asyncio.get_running_loop().create_unix_server(factory, str(path), **options)

    async def create_connection(self, factory: Factory, path: Path | str) -> tuple[Any, Any]:
        return await asyncio.get_running_loop().create_unix_connection(factory, str(path))

    async def start_server(self, connected: Any, path: Path | str, **options: Any) -> asyncio.AbstractServer:
        self.bound.append(Path(path))
        return await asyncio.start_unix_server(connected, str(path), **options)

    async def open_connection(self, path: Path | str, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(path), **options)

    async def create_tcp_server(self, factory: Factory, host: Any, port: int, **options: Any) -> asyncio.AbstractServer:
        return await asyncio.get_running_loop().create_server(factory, host, port, **options)

    async def create_tcp_connection(
        self, factory: Factory, host: str | None, port: int, **options: Any
    ) -> tuple[Any, Any]:
        return await asyncio.get_running_loop().create_connection(factory, host, port, **options)


NETS: dict[str, Callable[[], Net]] = {
    "asyncio": OfAsyncio,
    "sockref": Net,
    "sockref-uvloop": lambda: Net(uvloop.new_event_loop),
}


def port_of(server: Any) -> int:
    return int(server.sockets[0].getsockname()[1])


class Recorder(asyncio.Protocol):
    """Notes what is called; adjacent data is joined, for nobody promises where it is cut."""

    def __init__(self, keep_open: bool = False) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.keep_open = keep_open
        self.transport: Any = None
        self.lost_with: Exception | None = None
        self._changed = asyncio.Event()

    def note(self, call: str) -> None:
        if call != "data" or self.calls[-1:] != ["data"]:
            self.calls.append(call)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def has(self, call: str) -> None:
        await self.until(lambda: call in self.calls)

    async def got(self, length: int) -> bytes:
        await self.until(lambda: len(self.data) >= length)
        return bytes(self.data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data
        self.note("data")

    def eof_received(self) -> bool | None:
        self.note("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.lost_with = error
        self.note("lost")


@contextlib.asynccontextmanager
async def pair(
    net: Net, path: Path, accepted: Callable[[], asyncio.BaseProtocol], connected: Callable[[], asyncio.BaseProtocol]
) -> AsyncIterator[tuple[Any, Any]]:
    """The two protocols of one connection."""
    made: list[Any] = []

    def factory() -> asyncio.BaseProtocol:
        made.append(accepted())
        return made[0]

    server = await net.create_server(factory, path)
    try:
        transport, client = await net.create_connection(connected, path)
    except BaseException:
        server.close()
        raise
    try:
        while not made or made[0].transport is None:
            await asyncio.sleep(0)
        yield made.pop(), client
    finally:
        if not transport.is_closing():
            transport.abort()
        server.close()
        await server.wait_closed()
