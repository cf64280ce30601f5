"""Random scripts of streams; scripts.py tells how."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from nets import Net
from scripts import Point, Trace, compare

LIMIT = 100  # of a reader, so that lines are longer now and then, and that it stops its transport
WORDS = (b"word ", b"line\n", b"\n", b"x" * 30, b"y" * 150, b"end;", b"z" * 1000)
MUCH = 1 << 20


class End:
    """One end: its streams, and the calls that go on."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.reader: Any = None
        self.writer: Any = None
        self.pending: dict[str, asyncio.Task[Any]] = {}

    def begin(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams

    def state(self) -> Point:
        if self.writer is None:
            return ()
        return (
            *self.told,
            *sorted(f"{name} goes on" for name in self.pending),
            "closing" if self.writer.is_closing() else "open",
            "at the end" if self.reader.at_eof() else "more",
            "queued" if self.writer.transport.get_write_buffer_size() else "written",
        )

    def start(self, kind: str, what: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """A call that may wait; there is one of each kind at a time."""
        self.pending[kind] = asyncio.create_task(self._outcome(kind, what, call))

    async def _outcome(self, kind: str, what: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            given: object = await call()
        except asyncio.CancelledError:
            given = "cancelled"
        except asyncio.IncompleteReadError as error:
            given = f"incomplete {error.partial!r} of {error.expected}"
        except asyncio.LimitOverrunError as error:
            given = f"overrun {error.consumed}"
        except ConnectionError:  # a reset or a broken pipe: which comes first is chance
            given = "ConnectionError"
        except Exception as error:
            given = repr(error)
        self.told.append(f"{what}: {given!r}")
        if self.pending.get(kind) is asyncio.current_task():
            del self.pending[kind]


async def lines(reader: asyncio.StreamReader) -> list[bytes]:
    return [line async for line in reader]


async def read_all(reader: asyncio.StreamReader) -> int:
    return len(await reader.read())


READS: dict[str, Any] = {
    "read": lambda reader, size: reader.read(size),
    "read nothing": lambda reader, size: reader.read(0),
    "read all": lambda reader, size: read_all(reader),
    "readexactly": lambda reader, size: reader.readexactly(size),
    "readexactly less": lambda reader, size: reader.readexactly(-1),
    "readuntil": lambda reader, size: reader.readuntil(b";"),
    "readline": lambda reader, size: reader.readline(),
    "lines": lambda reader, size: lines(reader),
}
WAITS: dict[str, Any] = {
    "drain": lambda writer: writer.drain(),
    "wait_closed": lambda writer: writer.wait_closed(),
}
CALLS: dict[str, Any] = {
    "write": lambda writer, chance: writer.write(chance.choice(WORDS)),
    "write much": lambda writer, chance: writer.write(bytes(MUCH)),
    "writelines": lambda writer, chance: writer.writelines(chance.choices(WORDS, k=3)),
    "write text": lambda writer, chance: writer.write("text"),
    "can_write_eof": lambda writer, chance: writer.can_write_eof(),
    "write_eof": lambda writer, chance: writer.write_eof(),
    "is_closing": lambda writer, chance: writer.is_closing(),
    "extra": lambda writer, chance: writer.get_extra_info("nothing", 7),
    "close": lambda writer, chance: writer.close(),
    "abort": lambda writer, chance: writer.transport.abort(),
}
CUTS = ("close", "abort")
STEPS = (*READS, *WAITS, *CALLS, "write", "write", "write", "writelines", "readline", "read", "cancel", "cancel")
# Of much, nobody says how much comes at once: what a read gives, what a search has seen when it gives up, or where it is
# cut off.
UNSURE = ("read", "lines", "readline", "readuntil", *CUTS)
FOR_FEW = tuple(step for step in STEPS if step != "write much")
FOR_MUCH = tuple(step for step in STEPS if step not in UNSURE) + ("write much",) * 3


def step(end: End, what: str, chance: random.Random) -> None:
    size = chance.choice((1, 5, 40, 400))
    if what == "writelines" and end.writer.is_closing():
        return  # asyncio 3.13.0 stumbles
    if what in READS:
        if "read" not in end.pending:
            end.start("read", what, lambda: READS[what](end.reader, size))
    elif what in WAITS:
        if what not in end.pending:
            end.start(what, what, lambda: WAITS[what](end.writer))
    elif what == "cancel":
        for _, task in sorted(end.pending.items()):
            task.cancel()
    else:
        try:
            given = CALLS[what](end.writer, chance)
        except Exception as error:
            given = type(error).__name__
        end.told.append(f"{what}: {given}")


async def play(net: Net, place: Path, chance: random.Random, trace: Trace) -> None:
    ends = accepted, connected = End(), End()
    steps = chance.choice((FOR_FEW, FOR_FEW, FOR_MUCH))

    async def client_connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.begin((reader, writer))

    def state() -> Point:
        return accepted.state(), connected.state(), tuple(repr(report["exception"]) for report in net.reports)

    server = await net.start_server(client_connected, place, limit=LIMIT)
    try:
        connected.begin(await net.open_connection(place, limit=LIMIT))
        await trace.settle(state)
        for _ in range(4 + chance.randrange(12)):
            end, what = ends[chance.randrange(2)], chance.choice(steps)
            if what in CUTS:
                await trace.settle(state)
            step(end, what, chance)
            # Who writes to an end that is gone hears of it soon, but not at once.
            if chance.random() < 0.7 or any(end.writer is None or end.writer.is_closing() for end in ends):
                await trace.settle(state)
        await trace.settle(state)
    finally:
        for end in ends:
            if end.writer is not None and not end.writer.is_closing():
                end.writer.close()
        server.close()
        await trace.settle(lambda: ())
        for end in ends:
            if end.writer is not None and end.writer.transport.get_protocol() is not None:
                end.writer.transport.abort()
            for task in list(end.pending.values()):
                task.cancel()
                await asyncio.wait([task])
        await trace.settle(lambda: ())
    with contextlib.suppress(FileNotFoundError):
        place.unlink()


def test_streams(path: Path) -> None:
    compare(play, path, 120)
