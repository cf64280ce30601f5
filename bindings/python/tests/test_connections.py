"""What else connections with handlers can do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any, Unpack

import pytest
from helpers import LIMIT, Echo, End, dial, is_socket, on_its_thread, pair, run, until
from test_aio_tcp import has_ipv6

import sockref
from sockref import AttemptEvent, ConnectionOptions, ConnectionState, ConnectOptions, SockrefError


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


def test_a_collection_while_it_connects_loses_nothing(path: Path) -> None:
    """What runs in it lets the thread of the handlers go on, which may be as far as the outcome then."""
    served, busy = End(), End()

    def let_it_go_on(phase: str, _: object) -> None:
        if phase == "start" and threading.current_thread() is threading.main_thread():
            for _ in range(2):
                turned = threading.Event()
                other.call_soon_threadsafe(turned.set)
                assert turned.wait(LIMIT)

    with pair(path, served, busy) as (_, other):
        thresholds = gc.get_threshold()
        for number in range(6):
            dialled = End()
            spare = [[] for _ in range(number)]  # what is made then begins a collection each time elsewhere
            gc.callbacks.append(let_it_go_on)
            gc.set_threshold(1)
            try:
                near = sockref.connect(path, dialled)
            finally:
                gc.set_threshold(*thresholds)
                gc.callbacks.remove(let_it_go_on)
            until(lambda: dialled.calls == ["connect", "ready"], f"{dialled.calls} with {len(spare)}")
            near.call_soon_threadsafe(near.destroy)
            dialled.over()
            served.connections[1:] = []


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


class Attempts(End):
    """Notes also what becomes of addresses, and the descriptors that are open at each BEGUN."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: list[int] = []

    def on_attempt(
        self,
        connection: sockref.Connection,
        address: sockref.Address,
        event: AttemptEvent,
        error: SockrefError | None,
    ) -> None:
        self.note(event.name)
        assert (event is AttemptEvent.BEGUN) == (error is None)
        if event is AttemptEvent.BEGUN:
            self.descriptors.append(len(os.listdir("/proc/self/fd")))


def test_a_host_whose_first_address_is_late() -> None:
    found = socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)
    if len(found) < 2 or not has_ipv6():  # which may stand in /etc/hosts all the same
        pytest.skip("localhost has one address")
    (first, *_, (first_host, *_)), (second, *_, (second_host, *_)) = found[:2]
    with socket.socket(first) as full, socket.socket(second) as free, contextlib.ExitStack() as fill:
        full.bind((first_host, 0))
        full.listen(0)
        port = full.getsockname()[1]
        free.bind((second_host, port))
        free.listen()
        for _ in range(3):  # the queue takes one or two
            peer = fill.enter_context(socket.socket(first))
            peer.setblocking(False)
            peer.connect_ex((first_host, port))

        def attempts(**options: Unpack[ConnectOptions]) -> Attempts:
            dialled = Attempts()
            connection = sockref.connect(f"tcp:localhost:{port}", dialled, connect_timeout_ms=400, **options)
            until(lambda: "ready" in dialled.calls or "stop" in dialled.calls)
            if "ready" in dialled.calls:
                on_its_thread(connection, connection.destroy)
                dialled.over()
            return dialled

        side_by_side = attempts(attempt_delay_ms=10)
        assert side_by_side.calls[:4] == ["BEGUN", "LATE", "BEGUN", "connect"]
        one_by_one = attempts(attempt_delay_ms=10, one_by_one=True)
        assert one_by_one.calls[:4] == ["BEGUN", "LATE", "BEGUN", "connect"]
        assert one_by_one.descriptors[1] < side_by_side.descriptors[1]
        assert attempts(attempt_delay_ms=int(LIMIT * 1000)).calls[:2] == ["BEGUN", "error"]
        assert attempts(attempt_delay_ms=10, first_only=True).calls[:2] == ["BEGUN", "error"]


def test_attempts_and_options_of_tcp() -> None:
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
            timeout_ms=7000,
        )
        until(lambda: served.connections)
        assert on_its_thread(near, near.info).timeout_ms == 7000
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
    elsewhere = End()
    sockref.connect("tcp:127.0.0.1:1", elsewhere, family=socket.AF_INET6)
    elsewhere.over()
    (error,) = elsewhere.errors
    assert isinstance(error, socket.gaierror)


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


def test_who_ends_our_side(path: Path) -> None:
    """Unless on_end is overridden, or half_open says otherwise, our end follows the peer's; with auto_end in any case."""

    class Silent(sockref.Handlers):
        def __init__(self) -> None:
            self.connections: list[sockref.Connection] = []

        def on_connection(self, connection: sockref.Connection) -> None:
            self.connections.append(connection)

    ends: list[tuple[End | Silent, ConnectionOptions]] = [(Silent(), {}), (End(), {"auto_end": True})]
    stay: list[tuple[End | Silent, ConnectionOptions]] = [(Silent(), {"half_open": True}), (End(), {})]
    with sockref.listen(path) as reference:
        for handlers, options in ends + stay:
            reference.serve(handlers, **options)
            with dial(path) as client:
                client.shutdown(socket.SHUT_WR)
                if (handlers, options) in ends:
                    assert client.recv(1) == b""
                else:
                    until(lambda: handlers.connections)
                    (far,) = handlers.connections
                    until(lambda: on_its_thread(far, far.info).state == ConnectionState.WRITE_ONLY)
                    on_its_thread(far, lambda: far.write(b"x"))
                    assert client.recv(1) == b"x"
                reference.unserve(destroy=True)
            handlers.connections.clear()


def test_try_write_lets_go_of_its_buffer(path: Path) -> None:
    dialled = End()
    with sockref.listen(path) as reference:
        reference.serve_echo()
        near = sockref.connect(path, dialled)
        until(lambda: "ready" in dialled.calls)
        data = bytearray(b"x")
        assert on_its_thread(near, lambda: near.try_write(data)) == 1
        on_its_thread(near, near.destroy)
        dialled.over()
    data += b"x"  # a BufferError where somebody still has it


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
