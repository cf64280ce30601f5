"""The scenarios of connections of tests/lifecycle.md, by number, with handlers; and what else connections can do."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, Echo, dial, is_socket, round_trip, run, until

import sockref
from sockref import AttemptEvent, ConnectionState, SockrefError

EVERY_BYTE = bytes(range(256)) * 64


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


def test_l57_own_and_standard_clients(path: Path, directory: Path) -> None:
    class Answer(End):
        def on_data(self, connection: sockref.Connection, data: bytes) -> None:
            super().on_data(connection, data)
            connection.write(data)

        def on_end(self, connection: sockref.Connection) -> None:
            super().on_end(connection)
            connection.end()

    served = Answer()
    with sockref.listen(path) as reference:
        reference.serve(served)
        assert round_trip(path, EVERY_BYTE) == EVERY_BYTE
        until(lambda: "close" in served.calls)
    served.over()
    assert served.calls == ["connection", "ready", "data", "end", "close", "stop"]

    standard = directory / "standard.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(standard))
        listener.listen()
        listener.settimeout(LIMIT)
        dialled = End()
        connection = sockref.connect(standard, dialled)
        connection.call_soon_threadsafe(connection.write, EVERY_BYTE)
        connection.call_soon_threadsafe(connection.end)
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(LIMIT)
            got = b"".join(iter(lambda: peer.recv(65536), b""))
            assert got == EVERY_BYTE
            peer.sendall(got)
    standard.unlink()
    dialled.over()
    assert dialled.calls == ["connect", "ready", "data", "end", "close", "stop"]
    assert bytes(dialled.data) == EVERY_BYTE
    del connection


def test_l58_nobody_there(directory: Path) -> None:
    dead = directory / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, number, kind in (
        (str(directory / "nothing"), errno.ENOENT, FileNotFoundError),
        (str(dead), errno.ECONNREFUSED, ConnectionRefusedError),
        (f"tcp:127.0.0.1:{port}", errno.ECONNREFUSED, ConnectionRefusedError),
    ):
        ours = End()
        sockref.connect(name, ours)
        ours.over()
        assert ours.calls == ["error", "close", "stop"]
        (error,) = ours.errors
        assert isinstance(error, kind) and error.errno == number
        assert error.path == name and error.syscall == "connect"
    dead.unlink()


def test_l59_peer_that_reads_slowly(path: Path) -> None:
    served, dialled = End(), End()
    with sockref.listen(path) as reference:
        reference.serve(served, paused=True, half_open=True)
        near = sockref.connect(path, dialled, high_water=1 << 17, max_buffered=1 << 20)
        until(lambda: served.connections)
        data = os.urandom(1 << 16)

        def fill() -> int:
            count = 1
            while near.write(data):
                count += 1
            assert near.info().buffered > 1 << 17
            with pytest.raises(SockrefError) as caught:
                while True:
                    near.write(data)
                    count += 1
            assert caught.value.code == "ESOCKREF_LIMIT"
            assert near.info().buffered <= 1 << 20
            near.end()
            return count

        count = on_its_thread(near, fill)
        assert "drain" not in dialled.calls
        far = served.connections[0]
        far.call_soon_threadsafe(far.resume)
        until(lambda: "end" in served.calls)
        assert hashlib.sha1(served.data).digest() == hashlib.sha1(data * count).digest()
        until(lambda: "drain" in dialled.calls)
        far.call_soon_threadsafe(far.end)
        dialled.over()
        assert dialled.calls.count("drain") == 1
    served.over()
    del far, near


def test_l60_half_close(path: Path) -> None:
    served, dialled = End(), End()
    with pair(path, served, dialled) as (far, near):
        near.call_soon_threadsafe(near.write, b"question")
        near.call_soon_threadsafe(near.end)
        until(lambda: "end" in served.calls)
        assert on_its_thread(near, near.info).state is ConnectionState.READ_ONLY
        assert on_its_thread(far, far.info).state is ConnectionState.WRITE_ONLY
        far.call_soon_threadsafe(far.write, b"a late ")
        until(lambda: len(dialled.data) == 7)
        far.call_soon_threadsafe(far.write, b"answer")
        far.call_soon_threadsafe(far.end)
        dialled.over()
        assert bytes(dialled.data) == b"a late answer"
        assert dialled.calls == ["connect", "ready", "data", "end", "close", "stop"]
        with pytest.raises(SockrefError):
            on_its_thread(near, lambda: near.write(b"x"))
        assert on_its_thread(near, near.info).state is ConnectionState.CLOSED
    served.over()


def test_l61_pause_and_resume(path: Path) -> None:
    served, dialled = End(), End()
    with pair(path, served, dialled, paused=True) as (far, near):
        assert on_its_thread(far, far.info).paused
        on_its_thread(near, lambda: near.write(b"first "))
        size = on_its_thread(near, lambda: queue_until_full(near))
        on_its_thread(near, near.end)
        assert on_its_thread(near, near.info).buffered > 0  # the peer's socket is full
        assert served.calls == ["connection", "ready"]
        far.call_soon_threadsafe(far.resume)
        until(lambda: "end" in served.calls)
        assert bytes(served.data) == b"first " + bytes(size)
        far.call_soon_threadsafe(far.end)
        dialled.over()
    served.over()


def test_l62_inactivity(path: Path) -> None:
    served, dialled = End(), End()
    with pair(path, served, dialled) as (far, near):
        near.call_soon_threadsafe(near.set_timeout, 150)
        assert on_its_thread(near, near.info).timeout_ms == 150
        begun = time.monotonic()
        while time.monotonic() - begun < 0.45:  # three times as long
            before, count = time.monotonic(), len(dialled.data)
            far.call_soon_threadsafe(far.write, b"x")
            until(lambda: len(dialled.data) > count)  # noqa: B023  (called at once)
            if time.monotonic() - before > 0.1:
                dialled.calls = [call for call in dialled.calls if call != "timeout"]  # the machine was slow
            time.sleep(0.02)
        assert "timeout" not in dialled.calls
        until(lambda: dialled.calls.count("timeout") == 2)  # it goes on, and begins anew
        near.call_soon_threadsafe(near.set_timeout, 0)
        near.call_soon_threadsafe(near.write, b"still there")
        until(lambda: bytes(served.data) == b"still there")
        near.call_soon_threadsafe(near.destroy)
        dialled.over()
    served.over()


def test_l63_abort_and_reset(path: Path) -> None:
    served, dialled = End(), End()
    with pair(path, served, dialled, paused=True) as (far, near):
        on_its_thread(near, lambda: queue_until_full(near))
        on_its_thread(near, near.destroy)
        dialled.over()
        assert dialled.calls == ["connect", "ready", "close", "stop"]
        far.call_soon_threadsafe(far.resume)
        until(lambda: served.calls[-1:] == ["end"])
    served.over()

    served, dialled = End(), End()
    with pair("tcp:127.0.0.1:0", served, dialled) as (far, near):
        on_its_thread(near, near.reset)
        dialled.over()
        assert dialled.calls[-2:] == ["close", "stop"] and dialled.errors == []
        until(lambda: "close" in served.calls)
        (error,) = served.errors
        assert isinstance(error, ConnectionResetError) and error.errno == errno.ECONNRESET
    served.over()


def test_l64_name_of_tcp() -> None:
    with sockref.listen("tcp:127.0.0.1:0") as first:
        prefix, _, port = first.path.rpartition(":")
        assert prefix == "tcp:127.0.0.1" and int(port) > 0
        assert first.local_address == ("127.0.0.1", int(port))
        second = sockref.listen(first.path)
        assert second.reference_count == 2
        first.close()
        second.serve_echo()
        with socket.create_connection(("127.0.0.1", int(port)), LIMIT) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        second.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), LIMIT)


def test_l65_counters_and_addresses(path: Path) -> None:
    for name in (str(path), "tcp:127.0.0.1:0"):
        served, dialled = End(), End()
        with pair(name, served, dialled) as (far, near):
            near.call_soon_threadsafe(near.write, bytes(300_000))
            far.call_soon_threadsafe(far.write, bytes(7))
            until(lambda: len(served.data) == 300_000 and len(dialled.data) == 7)  # noqa: B023
            here, there = on_its_thread(near, near.info), on_its_thread(far, far.info)
            assert (here.bytes_written, here.bytes_read, here.buffered) == (300_000, 7, 0)
            assert (there.bytes_written, there.bytes_read) == (7, 300_000)
            assert here.state is there.state is ConnectionState.OPEN
            assert not here.connecting and not here.pending and not here.destroyed
            assert here.remote == there.local and here.remote is not None
            if name.startswith("tcp:"):
                assert here.local == there.remote and here.remote[0] == "127.0.0.1"
            else:
                assert here.remote == str(path)
                assert on_its_thread(far, far.peer) == (os.getpid(), os.geteuid(), os.getegid())
        dialled.over()
        served.over()
        after = on_its_thread(near, near.info)
        assert after.bytes_written == 300_000 and after.destroyed and after.local is None
        del far, near


def test_l66_limit_and_graceful_end(path: Path) -> None:
    class Dropping(Echo):
        def on_drop(self, local: sockref.Address, remote: sockref.Address) -> None:
            assert local == str(path)
            self.calls.append("drop")

    served = Dropping()
    reference = sockref.listen(path, max_connections=1)
    reference.serve(served, outlive=True)
    with dial(path) as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        assert reference.connection_count == 1
        with dial(path) as second:
            assert second.recv(1) == b""
        assert "drop" in served.calls
        reference.set_max_connections(2)
        with dial(path) as third:
            third.sendall(b"3")
            assert third.recv(1) == b"3"
        reference.close()
        assert not is_socket(path)
        first.sendall(b"2")
        assert first.recv(1) == b"2"
        assert "stop" not in served.calls
    until(lambda: served.calls[-1] == "stop")
    served.connections.clear()

    waiting = Echo()
    with sockref.listen(path, max_connections=1) as reference:
        reference.serve(waiting)
        with dial(path) as first:
            first.sendall(b"1")
            assert first.recv(1) == b"1"
            second = dial(path)
            second.sendall(b"2")
            assert reference.connection_count == 1
        with second:
            assert second.recv(1) == b"2"  # it was let in when the first was over
    until(lambda: waiting.calls[-1] == "stop")
    waiting.connections.clear()


def test_unserve_and_serve_anew(path: Path) -> None:
    first, second = Echo(), Echo()
    with sockref.listen(path) as reference:
        with pytest.raises(FileNotFoundError):
            reference.unserve()
        reference.serve(first)
        with dial(path) as client:
            client.sendall(b"1")
            assert client.recv(1) == b"1"
            reference.unserve()
            client.sendall(b"2")
            assert client.recv(1) == b"2"
            reference.serve(second)
            with dial(path) as other:
                other.sendall(b"3")
                assert other.recv(1) == b"3"
                reference.unserve(destroy=True)
                assert other.recv(1) == b""
        until(lambda: first.calls[-1] == second.calls[-1] == "stop")
        assert reference.is_active and is_socket(path)
    with pytest.raises(SockrefError):
        reference.set_max_connections(1)
    first.connections.clear()
    second.connections.clear()


def test_descriptor_to_handlers(path: Path) -> None:
    class Taking(End):
        def on_descriptor(self, connection: sockref.Connection, fd: int) -> None:
            self.fd = fd
            self.note("descriptor")

    served, dialled = Taking(), End()
    with pair(path, served, dialled) as (far, near):
        read, write = os.pipe()
        assert on_its_thread(near, lambda: near.send_fd(write, b"x")) is True
        os.close(write)
        until(lambda: served.data)
        assert served.calls == ["connection", "ready", "descriptor", "data"]
        os.write(served.fd, b"hello")
        os.close(served.fd)
        assert os.read(read, 9) == b"hello" and os.read(read, 1) == b""
        os.close(read)
        for wrong in (lambda: near.send_fd(-1, b"x"), lambda: near.send_fd(0, b"")):
            with pytest.raises(ValueError):
                on_its_thread(near, wrong)
    dialled.over()
    served.over()


def test_attempts_and_options_of_tcp() -> None:
    class Attempts(End):
        def on_attempt(
            self,
            connection: sockref.Connection,
            address: sockref.Address,
            event: AttemptEvent,
            error: SockrefError | None,
        ) -> None:
            self.note(event.name)
            assert (event is AttemptEvent.FAILED) == (error is not None)

    served, dialled = End(), Attempts()
    with sockref.listen("tcp:127.0.0.1:0") as reference:
        reference.serve(served, nodelay=True, keepalive=True, keepalive_delay_ms=5000)
        near = sockref.connect(
            reference.path,
            dialled,
            family=socket.AF_INET,
            one_by_one=True,
            attempt_delay_ms=5000,
            connect_timeout_ms=20000,
            local_host="127.0.0.1",
            nodelay=True,
        )
        until(lambda: served.connections)
        assert dialled.calls[:3] == ["BEGUN", "connect", "ready"]

        def look(connection: sockref.Connection) -> tuple[int, int, int]:
            with socket.socket(fileno=os.dup(connection.fileno())) as found:
                return (
                    found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                    found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                )

        far = served.connections[0]
        assert on_its_thread(far, lambda: look(far)) == (1, 1, 5)
        assert on_its_thread(near, lambda: look(near))[0] == 1
        on_its_thread(near, lambda: near.set_keepalive(True, 500))  # not rounded to nothing
        on_its_thread(near, lambda: near.set_nodelay(False))
        assert on_its_thread(near, lambda: look(near)) == (0, 1, 1)
        with pytest.raises(SockrefError) as caught:
            on_its_thread(near, lambda: near.send_fd(0, b"x"))
        assert caught.value.code == "ESOCKREF_UNSUPPORTED"
        on_its_thread(near, near.destroy_soon)
        dialled.over()
    served.over()
    del far, near


def test_wrong_options(path: Path) -> None:
    ours = End()
    for wrong, kind in (
        ({"whatever": 1}, TypeError),
        ({"timeout_ms": "x"}, TypeError),
        ({"timeout_ms": -1}, ValueError),
        ({"timeout_ms": 1 << 40}, ValueError),
        ({"family": socket.AF_UNIX}, ValueError),
        ({"local_host": 3}, TypeError),
        ({"local_host": "not numeric"}, ValueError),
    ):
        with pytest.raises(kind):
            sockref.connect(path, ours, **wrong)  # type: ignore[arg-type]
    for name, kind in (("", ValueError), (3, TypeError), (b"\0", ValueError), ("x" * 5000, OSError)):
        with pytest.raises(kind):
            sockref.connect(name, ours)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        sockref.connect(path, object())  # type: ignore[arg-type]
    with sockref.listen(path) as reference, pytest.raises(TypeError):
        reference.serve(ours, family=0)  # type: ignore[call-arg]
    assert ours.calls == []


def test_adopted_socket() -> None:
    near, far = socket.socketpair()
    ours = End()
    connection = sockref.adopt(near, ours, timeout_ms=60000)
    assert near.fileno() == -1
    far.settimeout(LIMIT)
    far.sendall(b"hello")
    until(lambda: bytes(ours.data) == b"hello")
    assert on_its_thread(connection, lambda: connection.try_write(b"back")) == 4
    assert far.recv(9) == b"back"
    far.close()
    until(lambda: "end" in ours.calls)
    on_its_thread(connection, connection.end)
    ours.over()
    assert ours.calls == ["ready", "data", "end", "close", "stop"]
    with socket.socket(socket.AF_UNIX) as unconnected:
        with pytest.raises(SockrefError):
            sockref.adopt(unconnected, ours)
        assert unconnected.fileno() >= 0


def test_connect_on_asyncio(path: Path) -> None:
    """Handlers run on the loop that runs at connect()."""
    import asyncio

    class Here(End):
        def on_close(self, connection: sockref.Connection, had_error: bool) -> None:
            super().on_close(connection, had_error)
            assert threading.get_ident() == thread
            closed.set()

    async def main() -> None:
        nonlocal thread, closed
        thread, closed = threading.get_ident(), asyncio.Event()
        with await sockref.start_listener(path) as reference:
            reference.serve_echo()
            ours = Here()
            connection = sockref.connect(path, ours)
            connection.write(b"hello")
            connection.end()
            await closed.wait()
            assert ours.calls[:5] == ["connect", "ready", "data", "end", "close"]
            assert bytes(ours.data) == b"hello"
            # Destroyed before it was made.
            closed.clear()
            ours = Here()
            sockref.connect(path, ours).destroy()
            await closed.wait()
            assert ours.calls[0] == "close"

    thread, closed = 0, asyncio.Event()
    run(main())


def test_large_writes_are_not_copied(path: Path) -> None:
    """What is queued is the bytes object itself; it is let go of when it is written."""
    import sys

    served, dialled = End(), End()
    with pair(path, served, dialled, paused=True) as (far, near):
        data = os.urandom(4 << 20)
        before = sys.getrefcount(data)
        on_its_thread(near, lambda: near.write(data))
        assert sys.getrefcount(data) > before
        far.call_soon_threadsafe(far.resume)
        until(lambda: len(served.data) == len(data))
        until(lambda: sys.getrefcount(data) == before)
        assert bytes(served.data) == data
    dialled.over()
    served.over()


def test_setters_give_back_what_they_take(path: Path) -> None:
    """100,000 times each, with the counts and the memory flat."""
    import resource

    served, dialled = End(), End()
    with pair(path, served, dialled) as (far, near):

        def work() -> None:
            for _ in range(100_000):
                near.set_timeout(1000), near.set_keepalive(True, 1000), near.set_nodelay(True)
                near.pause(), near.resume()

        on_its_thread(near, work)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        counts = sockref.live_counts()
        on_its_thread(near, work)
        assert sockref.live_counts() == counts
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048
    dialled.over()
    served.over()


def test_reset_of_a_standard_peer() -> None:
    served = End()
    with sockref.listen("tcp:127.0.0.1:0") as reference:
        reference.serve(served)
        address: Any = reference.local_address
        with socket.create_connection(address) as peer:
            until(lambda: served.connections)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: "close" in served.calls)
    served.over()
    assert served.calls == ["connection", "ready", "error", "close", "stop"]
    assert isinstance(served.errors[0], ConnectionResetError)
