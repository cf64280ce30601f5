#!/usr/bin/env python3
"""One end of a connection, for exchanges between two languages; agent.c tells what it does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

from sockref import aio

HEAD = 9


class End(asyncio.Protocol):
    """A protocol, as a program of asyncio's own has it."""

    transport: asyncio.Transport

    def __init__(self, mode: str = "", size: int = 0, over: Callable[[], object] = lambda: None) -> None:
        self.is_client = bool(mode)
        self.mode, self.size, self.over = mode, size, over
        self.head = b""
        self.sent = self.sent_crc = self.received = self.received_crc = self.closes = 0
        self.ended = self.end_seen = self.full = False

    @property
    def endless(self) -> bool:
        return self.mode in ("a", "b")

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.is_client:
            transport.write(self.mode.encode() + self.size.to_bytes(8, "big"))
            self.pour()

    def pour(self) -> None:
        while not (self.full or self.ended or self.transport.is_closing()):
            length = 65536 if self.endless else min(65536, self.size - self.sent)
            if length == 0:
                self.ended = True
                self.transport.write_eof()
                if self.end_seen:
                    self.transport.close()
                return
            piece = os.urandom(length)
            self.sent += length
            self.sent_crc = zlib.crc32(piece, self.sent_crc)
            self.transport.write(piece)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.pour()

    def data_received(self, data: bytes) -> None:
        if not self.mode:
            self.head += data
            if len(self.head) < HEAD:
                return
            self.mode, self.size = chr(self.head[0]), int.from_bytes(self.head[1:HEAD], "big")
            data = self.head[HEAD:]
            if self.mode != "h":
                self.pour()
        self.received += len(data)
        self.received_crc = zlib.crc32(data, self.received_crc)
        if self.mode == ("a" if self.is_client else "b") and self.received >= self.size:
            self.transport.abort()

    def eof_received(self) -> bool:
        self.end_seen = True
        if self.endless:
            self.transport.abort()
        elif not self.is_client and self.mode == "h":
            self.pour()
        return not self.ended

    def connection_lost(self, error: Exception | None) -> None:
        self.closes += 1
        asyncio.get_running_loop().call_soon(self.report, error)

    def report(self, error: Exception | None) -> None:
        told = {"mode": self.mode, "sent": self.sent, "sent_crc": self.sent_crc, "received": self.received}
        told |= {"received_crc": self.received_crc, "closes": self.closes, "end": self.end_seen, "error": error is not None}
        print(json.dumps(told), flush=True)
        self.over()


async def serve(name: str, count: int) -> None:
    over = asyncio.Semaphore(0)
    server = await aio.create_server(lambda: End(over=over.release), name)
    print("ready", server.reference.path, flush=True)
    for _ in range(count):
        await over.acquire()
    server.close()
    await server.wait_closed()


async def dial(name: str, mode: str, size: int) -> None:
    over = asyncio.Event()
    await aio.create_connection(lambda: End(mode, size, over.set), name)
    await over.wait()


if sys.argv[1] == "serve":
    asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
else:
    asyncio.run(dial(sys.argv[2], sys.argv[3], int(sys.argv[4])))
