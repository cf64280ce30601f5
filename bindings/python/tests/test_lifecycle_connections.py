"""Connections with handlers: the scenarios of tests/lifecycle.md by number."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from pathlib import Path

import pytest
from helpers import LIMIT, Echo, End, dial, is_socket, on_its_thread, pair, queue_until_full, round_trip, until

import sockref
from sockref import ConnectionState, SockrefError

EVERY_BYTE = bytes(range(256)) * 64


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
