"""sockref for asyncio: transports, servers and streams; and what blocks, as coroutines.

The functions are those of asyncio, with a name instead of a path, or host and port. They work on the running
loop, asyncio's own or uvloop, through one descriptor of it::

    async def client_connected(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async with await sockref.aio.start_server(client_connected, "/run/user/1000/app.sock") as server:
        await server.serve_forever()

sweep(), drain() and shutdown() do the blocking calls of the same names on a worker thread, while the loop goes on.
Cancelling drain() ends it; a sweep or a shutdown that has begun goes on, and its outcome is dropped.
"""

from __future__ import annotations

import asyncio

from . import _blocking
from ._client import create_connection, open_connection
from ._lowlevel import Transport
from ._paths import Path
from ._registry import Registry, chosen, timeout_ms
from ._server import Server, create_server, start_server
from ._transports import TransportSocket

__all__ = [
    "Server",
    "Transport",
    "TransportSocket",
    "create_connection",
    "create_server",
    "drain",
    "open_connection",
    "shutdown",
    "start_server",
    "sweep",
]


async def sweep(directory: Path | None = None, *, registry: Registry | None = None) -> int:
    """As Registry.sweep; without a registry on the default one."""
    return await asyncio.to_thread(chosen(registry).sweep, directory)


async def drain(timeout: float | None = None, *, registry: Registry | None = None) -> None:
    """As Registry.drain; without a registry on the default one."""
    await _blocking.drain_on_worker(chosen(registry)._handle, timeout_ms(timeout))


async def shutdown(timeout: float | None = None, *, registry: Registry | None = None) -> None:
    """As Registry.shutdown; without a registry on the default one."""
    await _blocking.shutdown_on_worker(chosen(registry)._handle, timeout_ms(timeout))
