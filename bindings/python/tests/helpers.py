"""What the tests share."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

import sockref
from sockref import SockrefError

T = TypeVar("T")
LIMIT = 30.0  # seconds that anything may take
LONGEST = 150  # seconds for a whole test
BLOB = bytes(range(256)) * 256  # 64 KiB, with bytes of every value
PAIRS = Path(__file__).parents[3] / "tests" / "pairs"


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


def code_of(call: object, *arguments: object, **options: object) -> str:
    """The code of the error that a call raises."""
    with pytest.raises(SockrefError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return caught.value.code


def is_socket(path: Path | str | bytes) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def beside(path: Path) -> set[str]:
    """What stands beside a shared socket while it is held."""
    return {f".{path.name}.srlock", f".{path.name}.srctl"}


def left_in(directory: Path) -> list[str]:
    """Sockets, and what stands beside them."""
    return sorted(str(found) for found in directory.rglob("*") if is_socket(found) or found.name.endswith(".srlock"))


def sockets_in(directory: Path) -> list[str]:
    """The sockets that somebody may connect to."""
    return [found for found in left_in(directory) if not found.endswith((".srlock", ".srctl"))]


def is_empty(directory: Path) -> None:
    until(lambda: os.listdir(directory) == [], f"the end of {os.listdir(directory)}")


def dial(path: Path | str | bytes) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LIMIT)
    try:
        client.connect(path if isinstance(path, bytes) else str(path))
    except OSError:
        client.close()
        raise
    return client


@contextmanager
def name_that_tells_nothing(name: str = "") -> Iterator[tuple[str, socket.socket]]:
    """An abstract name whose owner takes no connection, so that a start waits to hear whose it is; "": a fresh one."""
    with socket.socket(socket.AF_UNIX) as owner, socket.socket(socket.AF_UNIX) as waiting:
        owner.bind(name.replace("@", "\0", 1))
        owner.listen(0)
        waiting.connect(owner.getsockname())
        yield "@" + owner.getsockname()[1:].decode(), owner


def round_trip(path: Path | str | bytes, data: bytes) -> bytes:
    """Send bytes to an echo service, end, and give all that comes back."""
    with dial(path) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def execute(command: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds this package; it and its children are killed when the time is over."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sockref.__file__).parents[1]), **environment},
        process_group=0,
    ) as process:
        try:
            out, err = process.communicate(timeout=LONGEST - LIMIT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def script(source: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    """Run a program in a Python of its own, in development mode; nothing may be told on stderr."""
    # The alarm ends it also where nobody is left who waits for it.
    program = f"import signal\nsignal.alarm({LONGEST})\n" + textwrap.dedent(source)
    # Python 3.15 has a fork with threads fail where its warning is an error.
    strict = ["-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    done = execute([sys.executable, *strict, "-c", program, *map(str, arguments)], **(environment or {}))
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert stderr_of(done) == [], done.stderr
    return done.stdout


def stderr_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a program said on stderr, but that the machine is slow, of which asyncio's debug mode tells."""
    return [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]


class Agent:
    """Another process that holds a name, as tests/pairs/agent.py does. As a context it ends in order, if it lives."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", PAIRS / "agent.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(sockref.__file__).parents[1]), **environment},
        )
        self.received = b""

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        try:
            status = self.process.wait(LIMIT)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        assert kind is not None or status in (0, -signal.SIGKILL)

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, cmd: str, **arguments: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"cmd": cmd, **arguments}, default=str).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        deadline = time.monotonic() + 2 * LIMIT
        while b"\n" not in self.received:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], "no answer came"
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, f"no answer, exit status {self.process.poll()}"
            self.received += more
        line, _, self.received = self.received.partition(b"\n")
        return dict(json.loads(line))

    def ask(self, cmd: str, **arguments: object) -> dict[str, Any]:
        self.tell(cmd, **arguments)
        return self.answer()

    def do(self, cmd: str, **arguments: object) -> dict[str, Any]:
        """Ask for what must succeed."""
        answer = self.ask(cmd, **arguments)
        assert answer["ok"], (cmd, answer)
        return answer

    def start(self, path: Path, **options: object) -> dict[str, Any]:
        return self.do("start", path=path, options=options)

    def hear(self, event: str) -> None:
        self.do("wait", event=event, timeout=1000 * LIMIT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)


class Watcher:
    """Collects what a watch tells."""

    def __init__(self, reference: sockref.SocketReference) -> None:
        self.events: list[sockref.WatchEvent] = []
        reference.watch(self.events.append)

    def hears(self, event: sockref.WatchEvent) -> None:
        until(lambda: event in self.events, event.name)
        self.events.remove(event)


class Echo(sockref.Handlers):
    """Echo in Python; notes what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = 0
        self.pauses = 0
        self.connections: list[sockref.Connection] = []

    def on_connection(self, connection: sockref.Connection) -> None:
        self.calls.append("connection")
        self.connections.append(connection)

    def on_data(self, connection: sockref.Connection, data: bytes) -> None:
        self.calls.append("data")
        self.received += len(data)
        if not connection.write(data):
            self.pauses += 1
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


class End(sockref.Handlers):
    """Notes what is called; adjacent data is joined."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.errors: list[SockrefError] = []
        self.connections: list[sockref.Connection] = []

    def note(self, call: str) -> None:
        if call != "data" or self.calls[-1:] != ["data"]:
            self.calls.append(call)

    def on_connection(self, connection: sockref.Connection) -> None:
        self.connections.append(connection)
        self.note("connection")

    def on_connect(self, connection: sockref.Connection) -> None:
        self.note("connect")

    def on_ready(self, connection: sockref.Connection) -> None:
        self.note("ready")

    def on_data(self, connection: sockref.Connection, data: bytes) -> None:
        self.data += data
        self.note("data")

    def on_end(self, connection: sockref.Connection) -> None:
        self.note("end")

    def on_drain(self, connection: sockref.Connection) -> None:
        self.note("drain")

    def on_timeout(self, connection: sockref.Connection) -> None:
        self.note("timeout")

    def on_error(self, connection: sockref.Connection, error: SockrefError) -> None:
        self.errors.append(error)
        self.note("error")

    def on_close(self, connection: sockref.Connection, had_error: bool) -> None:
        assert had_error == bool(self.errors)
        self.note("close")

    def on_stop(self) -> None:
        self.note("stop")

    def over(self) -> None:
        until(lambda: self.calls[-1:] == ["stop"], f"the end after {self.calls}")
        assert self.calls.count("close") == 1
        self.connections.clear()


def on_its_thread(connection: sockref.Connection, work: Callable[[], Any]) -> Any:
    """What a call gives, or raises, that is made on the thread of the connection."""
    outcome: list[Any] = []

    def do() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    connection.call_soon_threadsafe(do)
    until(lambda: outcome)
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


@contextmanager
def pair(path: Path | str, served: End, dialled: End, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Both ends of a connection, each with handlers."""
    with sockref.listen(path) as reference:
        reference.serve(served, half_open=True, **options)
        near = sockref.connect(reference.path, dialled, half_open=True)
        until(lambda: served.connections)
        yield served.connections[0], near
        near.call_soon_threadsafe(near.destroy)
        until(lambda: near.is_closed)
    served.connections.clear()


def queue_until_full(connection: sockref.Connection) -> int:
    written = 0
    while connection.write(bytes(1 << 16)):
        written += 1 << 16
    return written + (1 << 16)
