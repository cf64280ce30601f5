"""Random scripts of servers; scripts.py tells how."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nets import Net, Recorder
from scripts import Point, Trace, compare

# An earlier asyncio does not wait for connections, or does not close them where serve_forever() is cancelled.
WAITS = sys.version_info >= (3, 12, 1)
CLOSES = "close_clients" in asyncio.Server.serve_forever.__code__.co_names
STEPS = (
    "start_serving", "close", "close_clients", "abort_clients", "wait_closed", "serve_forever", "serve_forever again",
    "cancel", "connect", "connect", "connect", "write", "client closes", "client aborts", "peer closes",
)  # fmt: skip


class Served:
    """A server, its clients, and the calls that go on."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.server: Any = None
        self.accepted: list[Recorder] = []
        self.clients: list[Recorder] = []
        self.pending: dict[str, asyncio.Task[Any]] = {}

    def factory(self) -> Recorder:
        self.accepted.append(Recorder())
        return self.accepted[-1]

    def state(self) -> Point:
        return (
            # Of calls that end at the same time nobody says which one is first.
            (*sorted(self.told), *sorted(f"{name} goes on" for name in self.pending)),
            (self.server.is_serving(), len(self.server.sockets)),
            tuple((*end.calls, repr(end.lost_with), len(end.data)) for end in self.accepted),
            tuple((*end.calls, repr(end.lost_with), len(end.data)) for end in self.clients),
        )

    def start(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        self.pending[what] = asyncio.create_task(self._outcome(what, call))

    async def _outcome(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            given = repr(await call())
        except asyncio.CancelledError:
            given = "cancelled"
        except Exception as error:
            given = type(error).__name__
        self.told.append(f"{what}: {given}")
        if self.pending.get(what) is asyncio.current_task():
            del self.pending[what]


async def step(net: Net, place: Path, served: Served, what: str, chance: random.Random) -> None:
    server = served.server
    closed = not server.sockets
    if what in ("wait_closed", "serve_forever", "start_serving"):
        if what in served.pending or (what == "start_serving" and closed):
            return
        served.start(what, getattr(server, what))
    elif what == "serve_forever again":
        if "serve_forever" in served.pending:
            served.start(what, server.serve_forever)
    elif what == "cancel":
        for _, task in sorted(served.pending.items()):
            task.cancel()
    elif what == "connect":
        if server.is_serving() or closed:  # who connects before that is refused by asyncio, and waits here
            try:
                _, client = await net.create_connection(Recorder, place)
                served.clients.append(client)
            except (ConnectionRefusedError, FileNotFoundError):
                served.told.append("refused")  # before 3.13 asyncio leaves the file
    elif what in ("write", "client closes", "client aborts", "peer closes"):
        ends = served.accepted if what == "peer closes" else served.clients
        open_ones = [end for end in ends if not end.transport.is_closing()]
        if open_ones:
            transport = chance.choice(open_ones).transport
            if what == "write":
                transport.write(b"x" * 1000)
            elif what == "client aborts":
                transport.abort()
            else:
                transport.close()
    elif hasattr(server, what):
        served.told.append(f"{what}: {getattr(server, what)()}")


async def play(net: Net, place: Path, chance: random.Random, trace: Trace) -> None:
    served = Served()
    served.server = await net.create_server(served.factory, place, start_serving=chance.random() < 0.7)
    steps = [
        what
        for what in STEPS
        if (WAITS or what not in ("wait_closed", "cancel"))
        and (CLOSES or what != "serve_forever")
        and (hasattr(asyncio.Server, "close_clients") or what not in ("close_clients", "abort_clients"))
    ]
    await trace.settle(served.state)
    for _ in range(3 + chance.randrange(12)):
        await step(net, place, served, chance.choice(steps), chance)
        await trace.settle(served.state)
    for client in served.clients:
        client.transport.abort()
    served.server.close()
    await trace.settle(served.state)
    for task in list(served.pending.values()):
        task.cancel()
        await asyncio.wait([task])
    with contextlib.suppress(FileNotFoundError):
        place.unlink()


def test_servers(path: Path) -> None:
    compare(play, path, 80)
