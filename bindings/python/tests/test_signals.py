"""What a signal's handler raises ends the calls that block, and a cancelled task does not wait for them either."""

from __future__ import annotations

import _thread
import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType

import pytest
from helpers import LIMIT, code_of, is_socket, name_that_tells_nothing, run, script, until

import sockref
import sockref.aio
from sockref import _loops


class Signalled(RuntimeError):
    """Which is what a thread raises that cannot begin, too."""


@contextmanager
def signalled_soon() -> Iterator[None]:
    """The block would wait on the main thread for LIMIT, but for a signal whose handler raises."""

    def fail(number: int, frame: FrameType | None) -> None:
        raise Signalled

    old = signal.signal(signal.SIGUSR1, fail)
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    begun = time.monotonic()
    try:
        with pytest.raises(Signalled):
            timer.start()
            yield
        assert time.monotonic() - begun < LIMIT / 2
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, old)


@contextmanager
def start_that_is_not_told(registry: sockref.Registry, path: Path) -> Iterator[None]:
    """A start whose loop does not run, which drain() therefore waits for."""

    async def start() -> None:
        (await registry.start_listener(path)).close()

    host = asyncio.new_event_loop()
    task = host.create_task(start())
    host.call_soon(host.stop)
    host.run_forever()
    try:
        yield
    finally:
        host.run_until_complete(task)
        host.close()


def test_listen_is_interrupted() -> None:
    with name_that_tells_nothing() as (name, _), sockref.Registry() as registry:
        with signalled_soon():
            registry.listen(name, start_timeout_ms=int(LIMIT * 1000))
        registry.drain(LIMIT)
        assert registry.active_socket_count() == 0
        assert code_of(registry.listen, name, start_timeout_ms=20) == "ESOCKREF_BUSY"


def test_cancelled_start_waits_no_longer() -> None:
    async def main(name: str, registry: sockref.Registry) -> None:
        task = asyncio.ensure_future(registry.start_listener(name, start_timeout_ms=int(LIMIT * 1000)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sockref.aio.drain(LIMIT / 4, registry=registry)

    with name_that_tells_nothing() as (name, _), sockref.Registry() as registry:
        run(main(name, registry))


def test_listen_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it could cancel its start: what that brings is given back."""
    kept: list[Signalled] = []

    def interrupt(*arguments: object) -> bool:
        raise Signalled("again")

    monkeypatch.setattr(_loops, "_cancel", interrupt)
    with name_that_tells_nothing() as (name, owner), sockref.Registry() as registry:
        with signalled_soon():
            try:
                registry.listen(name, start_timeout_ms=int(LIMIT * 1000))
            except Signalled as error:
                kept.append(error)  # and its frames with it
                raise
        owner.close()
        registry.drain(LIMIT)
        assert (str(kept[0]), registry.active_socket_count()) == ("again", 0)


def test_listen_waits_for_the_name() -> None:
    with name_that_tells_nothing() as (name, owner), sockref.Registry() as registry:
        end = threading.Timer(0.05, owner.close)
        end.start()
        with registry.listen(name, start_timeout_ms=int(LIMIT * 1000)) as reference:
            assert reference.is_owner
        end.join()


def test_listen_of_a_pool_is_interrupted() -> None:
    """G42: all of its names, or none."""
    name = f"@sockref-test-{os.getpid()}"
    with name_that_tells_nothing(name + ".1"), sockref.Registry() as registry:
        with signalled_soon():
            sockref.SocketPool.listen(name, 2, registry=registry, start_timeout_ms=int(LIMIT * 1000))
        registry.drain(LIMIT)
        assert registry.active_socket_count() == 0
        assert code_of(sockref.SocketPool.listen, name, 2, registry=registry, start_timeout_ms=20) == "ESOCKREF_BUSY"
        assert registry.active_socket_count() == 0


def test_listen_of_a_pool_waits_for_its_names() -> None:
    """G42: where it has to wait, the names are started one by one."""
    name = f"@sockref-test-{os.getpid()}"
    with name_that_tells_nothing(name + ".1") as (_, owner), sockref.Registry() as registry:
        end = threading.Timer(0.05, owner.close)
        end.start()
        with sockref.SocketPool.listen(name, 2, registry=registry, start_timeout_ms=int(LIMIT * 1000)) as pool:
            end.join()
            assert len(pool) == registry.active_socket_count() == 2
            for i in range(2):
                with pool.pick() as member:
                    assert (member.path, member.reference_count) == (f"{name}.{i}", 2)


def test_drain_is_interrupted(path: Path) -> None:
    with sockref.Registry() as registry:
        with start_that_is_not_told(registry, path):
            with signalled_soon():
                registry.drain(LIMIT)
            assert code_of(registry.drain, 0.12) == "ESOCKREF_TIMEOUT"
        registry.drain(LIMIT)


def test_shutdown_is_interrupted_and_goes_on(path: Path) -> None:
    threads = _thread._count()
    with sockref.Registry() as registry, registry.listen(path) as reference:
        with signalled_soon():
            registry.shutdown(LIMIT)
        assert code_of(registry.listen, path) == "ESOCKREF_SHUTDOWN"
        assert reference.is_active
        reference.close()
        until(lambda: _thread._count() == threads)


def test_shutdown_where_no_thread_begins(path: Path) -> None:
    """As in an atexit handler of Python 3.12."""
    usual = threading.stack_size(2**50)
    try:
        with sockref.Registry() as registry, registry.listen(path):
            assert code_of(registry.shutdown, 0) == "ESOCKREF_TIMEOUT"
            assert code_of(registry.listen, path) == "ESOCKREF_SHUTDOWN"
    finally:
        threading.stack_size(usual)


def test_shutdown_inside_a_handler_is_refused(path: Path) -> None:
    """Also where another thread does the waiting."""
    with sockref.Registry() as registry:

        async def main() -> None:
            codes: list[str] = []

            class Ending(sockref.Handlers):
                def on_connection(self, connection: sockref.Connection) -> None:
                    codes.append(code_of(registry.shutdown, LIMIT))
                    codes.append(code_of(registry.drain, LIMIT))
                    connection.destroy()

            with await registry.start_listener(path) as reference:
                reference.serve(Ending())
                reader, writer = await asyncio.open_unix_connection(path)
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
            assert codes == ["ESOCKREF_BUSY", "ESOCKREF_BUSY"]

        asyncio.run(main())


async def cancelled(wait: Coroutine[object, object, None]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait, 0.1)


def test_cancelled_drain_lets_asyncio_end(path: Path) -> None:
    with sockref.Registry() as registry, start_that_is_not_told(registry, path):
        asyncio.run(cancelled(sockref.aio.drain(registry=registry)))


def test_cancelled_shutdown_lets_asyncio_end(path: Path) -> None:
    threads = _thread._count()
    with sockref.Registry() as registry, registry.listen(path) as reference:
        asyncio.run(cancelled(sockref.aio.shutdown(registry=registry)))
        assert code_of(registry.listen, path) == "ESOCKREF_SHUTDOWN"
        reference.close()
        until(lambda: _thread._count() == threads)


@contextmanager
def interrupted_after(*calls: str) -> Iterator[None]:
    """What a handler raises comes out right after one of these native calls, before anything else is done."""

    def interrupt(frame: FrameType, event: str, called: object) -> None:
        if event == "c_return" and getattr(called, "__name__", None) in calls:
            raise Signalled

    with pytest.raises(Signalled):
        sys.setprofile(interrupt)
        try:
            yield
        finally:
            sys.setprofile(None)


def interrupted_at(step: int, call: Callable[[], object]) -> bool:
    """Whether a call comes to that step in Python; what a handler raises there comes out of it as it is."""
    left = step

    def interrupt(frame: FrameType, event: str, called: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Signalled

    try:
        sys.setprofile(interrupt)
        try:
            call()
        finally:
            sys.setprofile(None)
    except Signalled:
        return True
    assert left >= 0, f"what was raised at step {step} was lost"
    return False


def test_interrupt_at_each_step_of_shutdown(path: Path) -> None:
    def shut_down(step: int) -> bool:
        with sockref.Registry() as registry:
            registry.listen(path).close()
            return interrupted_at(step, lambda: registry.shutdown(LIMIT))

    assert next(step for step in count() if not shut_down(step)) > 10


def test_interrupt_at_each_step_of_listen() -> None:
    with name_that_tells_nothing() as (name, _), sockref.Registry() as registry:

        def listen(step: int) -> bool:
            return interrupted_at(step, lambda: code_of(registry.listen, name, start_timeout_ms=1))

        assert next(step for step in count() if not listen(step)) > 10
        registry.drain(LIMIT)
        assert registry.active_socket_count() == 0


def is_only_of_the_library(given: socket.socket) -> None:
    """Else the program's socket would close whatever has the number then."""
    assert given.fileno() == -1
    given.close()


def test_interrupt_after_a_socket_was_registered(path: Path) -> None:
    given = socket.socket(socket.AF_UNIX)
    given.bind(str(path))
    given.listen()
    with interrupted_after("sockref_registry_register_new", "call_and_detach"):
        sockref.register_new(path, given)
    is_only_of_the_library(given)
    assert not is_socket(path)


def test_interrupt_after_a_socket_was_adopted() -> None:
    class Ended(sockref.Handlers):
        def on_stop(self) -> None:
            over.set()

    over = threading.Event()
    given, peer = socket.socketpair()
    with interrupted_after("adopt_handlers", "call_and_detach"):
        sockref.adopt(given, Ended())
    is_only_of_the_library(given)
    peer.close()
    assert over.wait(LIMIT)


def test_interrupt_after_a_socket_became_a_transport() -> None:
    async def main() -> None:
        given, peer = socket.socketpair()
        with interrupted_after("adopt_transport", "call_and_detach"):
            await sockref.aio.create_connection(asyncio.Protocol, sock=given)
        is_only_of_the_library(given)
        reader, writer = await asyncio.open_connection(sock=peer)
        assert await reader.read() == b""  # nobody wants the connection
        writer.close()
        await writer.wait_closed()

    run(main())


def test_interrupted_program_ends_in_order(path: Path) -> None:
    told = script(
        """
        import os, signal, sys, threading
        import sockref

        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where this suite runs in the background
        reference = sockref.listen(sys.argv[1])
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            sockref.shutdown()
        except KeyboardInterrupt:
            print("interrupted", os.path.exists(sys.argv[1]))
        """,
        path,
    )
    assert told == "interrupted True\n"
