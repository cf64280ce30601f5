"""What the tests share."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import sockref

T = TypeVar("T")
LIMIT = 20.0  # seconds that anything may take


def run(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine on a fresh asyncio loop, not for ever."""

    async def limited() -> T:
        async with asyncio.timeout(LIMIT):
            return await main

    return asyncio.run(limited())


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.002)


def is_socket(path: Path | str | bytes) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def sockets_in(directory: Path) -> list[str]:
    return sorted(str(found) for found in directory.rglob("*") if is_socket(found))


def dial(path: Path | str | bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LIMIT)
    try:
        client.connect(path if isinstance(path, bytes) else str(path))
    except OSError:
        client.close()
        raise
    return client


def round_trip(path: Path | str | bytes, data: bytes) -> bytes:
    """Send bytes to an echo service, end, and give all that comes back."""
    with dial(path) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def script(source: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    """Run a program in a Python of its own, in development mode; nothing may be told on stderr."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(source), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT * 2,
        env={**os.environ, "PYTHONPATH": str(Path(sockref.__file__).parents[1]), **(environment or {})},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    # asyncio's debug mode tells of a slow machine.
    told = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert told == [], done.stderr
    return done.stdout


class Echo(sockref.Handlers):
    """Echo in Python; notes what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = 0
        self.connections: list[sockref.Connection] = []

    def on_connection(self, connection: sockref.Connection) -> None:
        self.calls.append("connection")
        self.connections.append(connection)

    def on_data(self, connection: sockref.Connection, data: bytes) -> None:
        self.calls.append("data")
        self.received += len(data)
        if not connection.write(data):
            connection.pause()

    def on_end(self, connection: sockref.Connection) -> None:
        self.calls.append("end")
        connection.end()

    def on_drain(self, connection: sockref.Connection) -> None:
        self.calls.append("drain")
        connection.resume()

    def on_error(self, connection: sockref.Connection, error: sockref.SockrefError) -> None:
        self.calls.append("error")

    def on_close(self, connection: sockref.Connection, had_error: bool) -> None:
        self.calls.append("close")

    def on_stop(self) -> None:
        self.calls.append("stop")
