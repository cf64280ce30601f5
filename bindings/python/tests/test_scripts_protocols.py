"""Random scripts of transports and protocols; scripts.py tells how."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from pathlib import Path
from typing import Any

from nets import Net
from scripts import Point, Trace, compare

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
SMALL, BIG = 3000, 1 << 20


class End:
    """One end of the connection: what its protocols are told, and what its calls give."""

    def __init__(self, net: Net, chance: random.Random, tiny: bool) -> None:
        self.net = net
        self.told: list[str] = []
        self.received = 0
        self.protocols = 0
        self.transport: Any = None
        self.keep_open = chance.random() < 0.5
        self.buffered = chance.choice((0, 1) if tiny else (0, 10_000, 200_000))
        self.reactions: dict[str, str] = {}
        if chance.random() < 0.6:
            callback = chance.choice(CALLBACKS)
            self.reactions[callback] = chance.choice(reactions_of(callback))

    def note(self, told: str) -> None:
        """Adjacent data is joined, for nobody promises where it is cut, nor when what is queued was written."""
        before = [known for known in self.told if not known.startswith("resume_writing")]
        if not told.startswith("data") or before[-1:] != [told]:
            self.told.append(told)

    def protocol(self) -> asyncio.BaseProtocol:
        self.protocols += 1
        return Buffered(self) if self.buffered else Plain(self)

    def state(self) -> Point:
        transport = self.transport
        if transport is None:
            return (*self.told,)
        return (
            *self.told,
            # Of data that is cut off, or held up, nobody says where.
            f"received {self.received if self.has_ended() or transport.is_reading() else 'some'}",
            "closing" if transport.is_closing() else "open",
            "reading" if transport.is_reading() else "paused",
            "queued" if transport.get_write_buffer_size() else "written",
            "lost" if self.is_lost() else type(transport.get_protocol()).__name__,
        )

    def has_ended(self) -> bool:
        return any(told.startswith("eof") for told in self.told)

    def is_lost(self) -> bool:
        return self.transport is None or self.transport.get_protocol() is None

    def react(self, callback: str) -> None:
        reaction = self.reactions.pop(callback, None)
        if reaction is None:
            return
        if reaction in ERRORS:
            raise ERRORS[reaction](f"in {callback}")
        self.call(reaction, 100)

    def call(self, what: str, size: int) -> None:
        """Do one thing, and note what it gives."""
        try:
            given = CALLS[what](self, size)
        except Exception as error:
            # For asyncio it may be too late for an end.
            given = None if what == "write_eof" and isinstance(error, OSError) else type(error).__name__
        self.note(f"{what}: {given}")


class Base(asyncio.BaseProtocol):
    def __init__(self, end: End) -> None:
        self.end = end
        self.number = end.protocols

    def told(self, callback: str, *values: object) -> None:
        self.end.note(" ".join((f"{callback}#{self.number}", *map(str, values))))
        self.end.react(callback)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.end.transport = transport
        self.told("made", VARIABLE.get())

    def eof_received(self) -> bool:
        self.told("eof")
        return self.end.keep_open

    def pause_writing(self) -> None:
        self.told("pause_writing")

    def resume_writing(self) -> None:
        self.told("resume_writing")

    def connection_lost(self, error: Exception | None) -> None:
        # Who reads is told of a reset, who writes of a broken pipe: which comes first is chance.
        self.told("lost", "OSError" if isinstance(error, OSError) else type(error).__name__)


class Plain(Base, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.end.received += len(data)
        self.told("data")


class Buffered(Base, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> Any:
        self.end.react("get_buffer")
        self.buffer = bytearray(self.end.buffered)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.end.received += nbytes
        self.told("data")


def set_protocol(end: End, size: int) -> None:
    end.buffered = 0 if end.buffered else 1000
    end.transport.set_protocol(end.protocol())


LIMITS: list[dict[str, Any]] = [
    {}, {"high": 0}, {"high": 1000}, {"low": 0}, {"low": 100}, {"high": 100_000, "low": 50_000}, {"high": 1 << 30},
    {"high": 1, "low": 2}, {"high": -1}, {"low": -1}, {"low": 1 << 62}, {"high": 1 << 70}, {"high": 5, "low": 5},
]  # fmt: skip


def set_limits(end: End, size: int) -> object:
    end.transport.set_write_buffer_limits(**LIMITS[size % len(LIMITS)])
    low, high = end.transport.get_write_buffer_limits()
    return min(low, 1 << 40), min(high, 1 << 40)


def extra(end: End, size: int) -> object:
    if size % 4 or end.transport.is_closing():
        return end.transport.get_extra_info(("sslcontext", "compression", "nonsense")[size % 3], size)
    found = end.transport.get_extra_info("socket")
    return found.family, found.type, found.proto


CALLS: dict[str, Any] = {
    "write": lambda end, size: end.transport.write(bytes(size)),
    "write a bytearray": lambda end, size: end.transport.write(bytearray(size)),
    "write a view": lambda end, size: end.transport.write(memoryview(bytes(size))[1:]),
    "write nothing": lambda end, size: end.transport.write(b""),
    "write text": lambda end, size: end.transport.write("x" * size),
    "write much": lambda end, size: end.transport.write(bytes(BIG + size)),
    "writelines": lambda end, size: end.transport.writelines([bytes(size), b"", bytearray(size)]),
    "write_eof": lambda end, size: end.transport.write_eof(),
    "can_write_eof": lambda end, size: end.transport.can_write_eof(),
    "close": lambda end, size: end.transport.close(),
    "abort": lambda end, size: end.transport.abort(),
    "pause_reading": lambda end, size: end.transport.pause_reading(),
    "resume_reading": lambda end, size: end.transport.resume_reading(),
    "set_protocol": set_protocol,
    "set_limits": set_limits,
    "extra": extra,
}
CUTS = ("close", "abort")
ERRORS = {"ZeroDivisionError": ZeroDivisionError, "OSError": OSError, "CancelledError": asyncio.CancelledError}
CALLBACKS = ("made", "data", "data", "eof", "pause_writing", "resume_writing", "lost", "get_buffer")
REACTIONS = (*ERRORS, "write", "write", "write_eof", "close", "abort", "pause_reading", "set_protocol", "set_limits")


def reactions_of(callback: str) -> tuple[str, ...]:
    if callback == "get_buffer":
        return (*ERRORS,)  # asyncio goes on to read, whatever is done here
    if callback == "resume_writing":
        return tuple(reaction for reaction in REACTIONS if reaction not in CUTS)  # asyncio stumbles over these
    return REACTIONS


def reports_of(net: Net) -> Point:
    """What the exception handler was told, in order; the two words for what a bare callback raises differ."""
    told = []
    for report in net.reports:
        message = report["message"] if report["message"].startswith(("Fatal", "protocol.")) else "a callback"
        keys = {"transport", "protocol"} & set(report) if message != "a callback" else set()
        told.append(f"{message}: {report['exception']!r} {sorted(keys)}")
    return (*told,)


async def play(net: Net, place: Path, chance: random.Random, trace: Trace) -> None:
    tcp = chance.random() < 0.3
    tiny = tcp or chance.random() < 0.3
    server_end, client_end = ends = End(net, chance, tiny), End(net, chance, tiny)

    def state() -> Point:
        return server_end.state(), client_end.state(), reports_of(net)

    VARIABLE.set("server")
    server: Any
    if tcp:
        server = await net.create_tcp_server(server_end.protocol, "127.0.0.1", 0)
    else:
        server = await net.create_server(server_end.protocol, place)
    VARIABLE.set("client")
    try:
        if tcp:
            await net.create_tcp_connection(client_end.protocol, "127.0.0.1", server.sockets[0].getsockname()[1])
        else:
            await net.create_connection(client_end.protocol, place)
        await trace.settle(state)
        for _ in range(2 + chance.randrange(10)):
            end = ends[chance.randrange(2)]
            what = chance.choice([*CALLS, "write", "write", "write much", "resume_reading"])
            if end.transport is None or (tiny and what == "write much"):
                continue
            # asyncio may tell the end once more, may send what is written after close(), and may stumble at the end.
            if (
                (what == "resume_reading" and end.has_ended())
                or (what.startswith("write") and end.transport.is_closing())
                or (what in ("abort", "set_protocol") and end.is_lost())
            ):
                continue
            if what in CUTS:
                await trace.settle(state)
            end.call(what, 1 + chance.randrange(SMALL))
            if what in CUTS or chance.random() < 0.6:
                await trace.settle(state)
        for end in ends:
            if end.transport is not None and not end.has_ended():
                end.transport.resume_reading()
        await trace.settle(state)
    finally:
        for end in ends:
            if not end.is_lost():
                end.transport.abort()
        server.close()
        await trace.settle(state)
    for end in ends:
        end.transport = None
    with contextlib.suppress(FileNotFoundError):
        place.unlink()


def test_protocols(path: Path) -> None:
    compare(play, path, 100)
