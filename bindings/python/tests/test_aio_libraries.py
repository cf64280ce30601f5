"""aiohttp over sockref.aio: its server on ours, its client through ours, and both after a kill of the server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, is_socket
from nets import Net

import sockref.aio

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("aiohttp.web")

MESSAGES = 10_000
AT_ONCE = 20


class Connector(aiohttp.UnixConnector):  # type: ignore[misc]
    """Connects by sockref.aio."""

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        try:
            _, protocol = await sockref.aio.create_connection(self._factory, self.path)
        except OSError as error:
            raise aiohttp.UnixClientConnectorError(self.path, req.connection_key, error) from error
        return protocol


def body(number: int) -> bytes:
    return (b"%d " % number) * (1 + number % 500)


async def checksum(request: Any) -> Any:
    data = await request.read()
    return web.Response(body=data[::-1], headers={"X-Sum": str(zlib.crc32(data))})


async def stream(request: Any) -> Any:
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(50):
        await response.write(bytes([number]) * 50_000)
    return response


async def this_file(request: Any) -> Any:
    return web.FileResponse(__file__)


def application() -> Any:
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/sum", checksum)
    app.router.add_get("/stream", stream)
    app.router.add_get("/file", this_file)
    return app


async def exchange(session: Any, numbers: range) -> None:
    for number in numbers:
        data = body(number)
        async with session.post("http://local/sum", data=data) as response:
            assert response.status == 200
            assert response.headers["X-Sum"] == str(zlib.crc32(data))
            assert await response.read() == data[::-1]


async def exchange_at_once(session: Any, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for first in range(AT_ONCE):
            group.create_task(exchange(session, range(first, count, AT_ONCE)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_aiohttp_both_ways(ours: Net, path: Path) -> None:
    messages = MESSAGES // 4  # on each of the two loops

    async def main() -> None:
        runner = web.AppRunner(application(), access_log=None)
        await runner.setup()
        server = await sockref.aio.create_server(runner.server, path)
        async with aiohttp.ClientSession(connector=Connector(str(path))) as session:
            await exchange_at_once(session, messages)
            async with session.get("http://local/stream") as response:
                data = await response.read()
                assert len(data) == 50 * 50_000 and data[::50_000] == bytes(range(50))
            async with session.get("http://local/file") as response:
                assert await response.read() == Path(__file__).read_bytes()
            huge = os.urandom(8 << 20)
            async with session.post("http://local/sum", data=io.BytesIO(huge)) as response:
                assert (await response.read())[::-1] == huge
        server.close()
        await runner.cleanup()
        await server.wait_closed()

    ours.run(main())


SERVER = """
    import asyncio, signal, sys, zlib
    from aiohttp import web
    import sockref.aio

    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where this suite runs in the background

    async def checksum(request):
        data = await request.read()
        return web.Response(body=data[::-1], headers={"X-Sum": str(zlib.crc32(data))})

    async def main():
        app = web.Application()
        app.router.add_post("/sum", checksum)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        server = await sockref.aio.create_server(runner.server, sys.argv[1])
        print("ready", flush=True)
        await server.serve_forever()

    asyncio.run(main())
"""


def start_server(path: Path, ends: contextlib.ExitStack) -> subprocess.Popen[str]:
    """It is ended by the stack, also where whoever waits here is cancelled."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVER), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sockref.__file__).parents[1])},
    )
    ends.callback(end_server, process)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def end_server(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(LIMIT)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_aiohttp_after_a_kill_of_the_server(path: Path) -> None:
    """A client hears of the kill, and goes on with the next server at that path; none of the messages is wrong."""

    async def main(ends: contextlib.ExitStack) -> None:
        process = start_server(path, ends)
        async with aiohttp.ClientSession(connector=Connector(str(path))) as session:
            await exchange_at_once(session, 1000)
            endless = asyncio.create_task(exchange(session, range(1 << 30)))
            await asyncio.sleep(0)
            process.kill()
            with pytest.raises((aiohttp.ClientError, OSError)):
                await endless
            process.wait(LIMIT)
            await asyncio.to_thread(start_server, path, ends)
            await exchange_at_once(session, MESSAGES // 2 - 1000)

    with contextlib.ExitStack() as ends:
        Net().run(main(ends))
    assert not is_socket(path)


def test_standard_servers_on_our_socket(path: Path) -> None:
    """socketserver and asyncio's own server accept from the listening socket of a reference."""
    import socketserver
    import threading

    from helpers import round_trip

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.read().upper())

    class Server(socketserver.UnixStreamServer):
        def server_bind(self) -> None:
            pass

    with sockref.listen(path) as reference:
        server = Server(str(path), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = reference.socket()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert round_trip(path, b"hello") == b"HELLO"
        server.shutdown()
        thread.join()
        server.server_close()
    assert not is_socket(path)
