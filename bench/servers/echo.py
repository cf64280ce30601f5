"""An echo server in Python.

  echo.py PATH asyncio|sockref protocol|buffered|streams|handlers|native [uvloop]
"""

import asyncio
import sys


class Echo(asyncio.Protocol):
    __slots__ = ("transport",)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    __slots__ = ("transport",)
    buffer = memoryview(bytearray(1 << 18))

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.transport.write(self.buffer[:nbytes])


async def echo_streams(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the load ends in the middle of a trip
    writer.close()


async def serve_asyncio(path, shape):
    loop = asyncio.get_running_loop()
    if shape == "streams":
        await asyncio.start_unix_server(echo_streams, path, backlog=4096)
    else:
        await loop.create_unix_server(Echo if shape == "protocol" else BufferedEcho, path, backlog=4096)


async def serve_sockref(path, shape):
    import sockref.aio

    class Handlers(sockref.Handlers):
        def on_data(self, connection, data):
            connection.write(data)

    if shape == "streams":
        kept.append(await sockref.aio.start_server(echo_streams, path))
    elif shape in ("protocol", "buffered"):
        kept.append(await sockref.aio.create_server(Echo if shape == "protocol" else BufferedEcho, path))
    else:
        reference = await sockref.start_listener(path)
        kept.append(reference)
        if shape == "handlers":
            reference.serve(Handlers())
        else:
            reference.serve_echo()


async def main(path, module, shape):
    await (serve_sockref if module == "sockref" else serve_asyncio)(path, shape)
    await asyncio.Event().wait()


kept = []
if sys.argv[4:] == ["uvloop"]:
    import uvloop

    uvloop.run(main(*sys.argv[1:4]))
else:
    asyncio.run(main(*sys.argv[1:4]))
