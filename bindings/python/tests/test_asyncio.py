"""What is asyncio's own: loops that come and go, cancelling, handlers that raise."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from helpers import Echo, dial, is_socket, run, script, sockets_in, until

import sockref
import sockref.aio
from sockref import Registry, SockrefError, _loops


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_one_loop_for_each_asyncio_loop(directory: Path) -> None:
    sockref.listen(directory / "first").close()  # the guard's descriptor stays
    before = descriptors()
    references = [run(sockref.start_listener(directory / str(number))) for number in range(20)]
    listeners = descriptors() - before
    for reference in references:
        reference.close()
    # A listener has its socket, its directory, lock file and control socket; closed asyncio loops have nothing.
    assert listeners <= 4 * 20 + 4
    assert descriptors() <= before + 4


def test_many_starts_share_one_loop(directory: Path) -> None:
    async def main() -> None:
        (await sockref.start_listener(directory / "first")).close()
        before = descriptors()
        for number in range(50):
            (await sockref.start_listener(directory / str(number))).close()
        assert descriptors() <= before + 2

    run(main())


def test_loop_that_is_collected_without_close(path: Path) -> None:
    loop = asyncio.new_event_loop()
    reference = loop.run_until_complete(sockref.start_listener(path))
    weak = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert weak() is None
    assert reference.is_active
    reference.close()


def test_closing_the_loop_ends_its_connections_only(path: Path) -> None:
    handlers = Echo()

    async def serve() -> sockref.SocketReference:
        reference = await sockref.start_listener(path)
        reference.serve(handlers)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.transport.abort()
        return reference

    reference = run(serve())
    until(lambda: handlers.calls[-1] == "stop")
    assert handlers.calls[-2:] == ["close", "stop"]
    assert reference.is_active
    with pytest.raises((SockrefError, RuntimeError)):
        handlers.connections[0].write(b"late")
    reference.serve_echo()
    with dial(path) as client:
        client.sendall(b"anew")
        assert client.recv(4) == b"anew"
    handlers.connections.clear()
    reference.close()


def test_exception_in_a_handler(path: Path) -> None:
    told: list[dict[str, object]] = []

    class Bad(Echo):
        def on_connection(self, connection: sockref.Connection) -> None:
            super().on_connection(connection)
            raise ValueError("mine")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        with await sockref.start_listener(path) as reference:
            reference.serve(Bad())
            for _ in range(2):
                reader, writer = await asyncio.open_unix_connection(str(path))
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                writer.close()
                await writer.wait_closed()

    run(main())
    assert [str(context["exception"]) for context in told] == ["mine", "mine"]


def test_no_memory_for_a_connection(path: Path) -> None:
    """It ends, and its handler's loop is told."""
    memory = pytest.importorskip("_testcapi")

    class Silent(sockref.Handlers):
        on_connection = staticmethod(callable)  # type: ignore[assignment]  # which takes no memory

    async def main() -> None:
        host = asyncio.get_running_loop()
        told: list[object] = []
        host.set_exception_handler(lambda loop, context: told.append(type(context["exception"])))
        with await sockref.start_listener(path) as reference:
            reference.serve(Silent())
            dispatch = _loops.of_asyncio(host).dispatch
            dispatch()
            for number in range(32):
                with dial(path) as client:
                    client.setblocking(False)
                    try:
                        memory.set_nomemory(number, number + 1)
                        dispatch()
                        dispatch()
                    except MemoryError:
                        pass  # of what traces this test
                    finally:
                        memory.remove_mem_hooks()
                    dispatch()
                    with contextlib.suppress(BlockingIOError):
                        assert (client.recv(1), told) == (b"", [MemoryError])
                        return
                    told.clear()
        assert not "ended one"

    run(main())


def test_exception_in_a_handler_on_a_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(str(what.exc_value)))

    class Bad(Echo):
        def on_data(self, connection: sockref.Connection, data: bytes) -> None:
            connection.write(data)
            if data == b"exit":
                raise SystemExit(3)
            raise ValueError("mine")

    with sockref.listen(path) as reference:
        reference.serve(Bad())
        for data in (b"once", b"exit", b"more"):
            with dial(path) as client:
                client.sendall(data)
                assert client.recv(4) == data
    until(lambda: len(told) == 3)
    assert told == ["mine", "3", "mine"]


def broken_hook(what: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("hook", [sys.__unraisablehook__, broken_hook])
def test_our_threads_go_on_whatever_is_raised_on_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, hook: Callable[[object], None]
) -> None:
    """The interpreter's hook takes nothing but what the interpreter has made, and a program's own may raise itself."""
    monkeypatch.setattr("sys.unraisablehook", hook)
    told: list[str] = []

    class Bad(Echo):
        def on_data(self, connection: sockref.Connection, data: bytes) -> None:
            connection.write(data)
            raise SystemExit(3)

    def note(record: sockref.LogRecord) -> None:
        told.append(record.event)
        raise ValueError("mine")

    sockref.set_log(note)
    try:
        with sockref.listen(path) as reference:
            until(lambda: told)
            noted = len(told)
            reference.serve(Bad())
            for _ in range(2):
                with dial(path) as client:
                    client.sendall(b"x")
                    assert client.recv(2) == b"x"
        until(lambda: len(told) > noted)
    finally:
        sockref.set_log(None)


def test_system_exit_in_a_handler_ends_asyncio(path: Path) -> None:
    class Bad(Echo):
        def on_connection(self, connection: sockref.Connection) -> None:
            raise KeyboardInterrupt

    async def main() -> None:
        with await sockref.start_listener(path) as reference:
            reference.serve(Bad())
            client = dial(path)
            try:
                await asyncio.Event().wait()
            finally:
                client.close()

    with pytest.raises(KeyboardInterrupt):
        run(main())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_a_start_is_told_ends_asyncio(path: Path, kind: type[BaseException]) -> None:
    class Interrupted(asyncio.SelectorEventLoop):
        armed = False

        def is_closed(self) -> bool:
            if self.armed:
                self.armed = False
                raise kind
            return super().is_closed()

    loop = Interrupted()
    start = loop.create_task(asyncio.wait_for(sockref.start_listener(path), 20))
    loop.call_later(0, loop.call_soon, setattr, loop, "armed", True)
    with pytest.raises(kind):
        loop.run_until_complete(start)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(start)
    loop.close()
    gc.collect()
    until(lambda: not sockets_in(path.parent))
    assert sockref.active_socket_count() == 0


def test_back_pressure(path: Path) -> None:
    size = 8 << 20
    handlers = Echo()

    async def main() -> None:
        with await sockref.start_listener(path) as reference:
            reference.serve(handlers)
            reader, writer = await asyncio.open_unix_connection(str(path))

            async def send() -> None:
                for _ in range(size >> 16):
                    writer.write(bytes(1 << 16))
                    await writer.drain()
                writer.write_eof()

            sending = asyncio.create_task(send())
            while handlers.pauses == 0:
                await asyncio.sleep(0.001)
            got = 0
            while data := await reader.read(1 << 16):
                got += len(data)
            await sending
            assert got == size
            writer.close()
            await writer.wait_closed()

    run(main())
    assert handlers.calls.count("drain") >= 1


def test_limit_of_buffered_bytes(path: Path) -> None:
    codes: list[str] = []

    class Big(Echo):
        def on_connection(self, connection: sockref.Connection) -> None:
            with pytest.raises(SockrefError) as caught:
                for _ in range(1000):
                    connection.write(bytes(1 << 16))
            codes.append(caught.value.code)
            with pytest.raises(TypeError):
                connection.write("text")  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                type(connection)()
            connection.destroy()
            connection.destroy()
            with pytest.raises(SockrefError) as late:
                connection.write(b"x")
            codes.append(late.value.code)

    handlers = Big()
    with sockref.listen(path, max_buffered=1 << 20) as reference:
        reference.serve(handlers)
        with dial(path) as client:
            until(lambda: "close" in handlers.calls)
            client.close()
    assert codes == ["ESOCKREF_LIMIT", "ESOCKREF_CLOSED"]


def test_connection_of_another_thread(path: Path) -> None:
    handlers = Echo()
    with sockref.listen(path) as reference:
        reference.serve(handlers)
        with dial(path):
            until(lambda: handlers.connections)
            connection = handlers.connections[0]
            connection.data = handlers
            for call in (connection.end, connection.pause, connection.resume, connection.destroy):
                with pytest.raises(RuntimeError):
                    call()
            with pytest.raises(RuntimeError):
                connection.write(b"x")
        until(lambda: connection.is_closed)
    handlers.connections.clear()


def test_closing_inside_a_handler(path: Path) -> None:
    class Last(Echo):
        def on_data(self, connection: sockref.Connection, data: bytes) -> None:
            super().on_data(connection, data)
            reference.close()
            other.append(sockref.listen(path))
            other[-1].serve(Echo())

    handlers = Last()
    other: list[sockref.SocketReference] = []
    reference = sockref.listen(path)
    reference.serve(handlers)
    with dial(path) as client:
        client.sendall(b"x")
        until(lambda: "stop" in handlers.calls)
    assert handlers.calls == ["connection", "data", "close", "stop"]
    with dial(path) as client:
        client.sendall(b"second life")
        assert client.recv(6) == b"second"
    handlers.connections.clear()
    other[0].close()


def test_finalizer_of_a_served_name(path: Path) -> None:
    handlers = Echo()
    reference = sockref.listen(path)
    reference.serve(handlers)
    del reference
    gc.collect()
    assert not is_socket(path)
    until(lambda: handlers.calls == ["stop"])


def test_second_serve_is_busy(path: Path) -> None:
    with sockref.listen(path) as reference:
        reference.serve(Echo())
        with pytest.raises(SockrefError) as caught:
            reference.serve(Echo())
        assert caught.value.code == "ESOCKREF_BUSY"


def test_streams_of_asyncio_over_our_socket(path: Path) -> None:
    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()

        with await sockref.start_listener(path) as reference:
            server = await asyncio.start_unix_server(echo, sock=reference.socket())
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"x")
            writer.write_eof()
            assert await reader.read() == b"x"
            writer.close()
            await writer.wait_closed()
            server.close()
        assert not path.exists()

    run(main())


def test_registry_closed_with_a_start_under_way(directory: Path, path: Path) -> None:
    async def main() -> None:
        registry = Registry()
        tasks = [asyncio.create_task(registry.start_listener(directory / str(n))) for n in range(20)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(registry.close))
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, sockref.SocketReference):
                outcome.close()
            else:
                assert isinstance(outcome, SockrefError)
                assert outcome.code in ("ESOCKREF_CANCELED", "ESOCKREF_CLOSED", "ESOCKREF_SHUTDOWN")
        await closing

    run(main())
    assert sockets_in(directory) == []


def test_start_is_cancelled_when_another_thread_has_closed_its_registry(path: Path) -> None:
    async def main() -> None:
        registry = sockref.Registry()
        task = asyncio.create_task(registry.start_listener(path))
        await asyncio.sleep(0)
        closer = threading.Thread(target=registry.close)
        closer.start()
        closer.join()  # what it tells waits for the next turn of this loop
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_drain_while_the_loop_goes_on(path: Path) -> None:
    async def main() -> None:
        start = asyncio.create_task(sockref.start_listener(path))
        await asyncio.sleep(0)
        await sockref.aio.drain(10)
        (await start).close()

    run(main())


def test_what_is_no_registry_is_refused(path: Path) -> None:
    calls: list[Callable[[Any], Coroutine[object, object, object]]] = [
        lambda registry: sockref.aio.sweep(path.parent, registry=registry),
        lambda registry: sockref.aio.drain(0, registry=registry),
        lambda registry: sockref.aio.shutdown(0, registry=registry),
        lambda registry: sockref.aio.start_server(print, path, registry=registry),
    ]

    async def main() -> None:
        for call in calls:
            for wrong in ("", 0, "registry", sockref):
                with pytest.raises(TypeError):
                    await call(wrong)

    run(main())


def test_two_hundred_loops_at_random_points(directory: Path) -> None:
    """Loops in threads, started and closed at random points, with starts, services and clients under way."""
    failures: list[BaseException] = []
    slots = threading.Semaphore(16)

    async def work(chance: random.Random) -> None:
        name = directory / str(chance.randrange(4))
        tasks = [asyncio.create_task(sockref.start_listener(name)) for _ in range(chance.randrange(1, 5))]
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            return  # asyncio.run cancels the rest
        references = [r for r in await asyncio.gather(*tasks, return_exceptions=True) if not isinstance(r, BaseException)]
        if references and chance.random() < 0.7:
            try:
                references[0].serve(Echo())
            except SockrefError as error:
                assert error.code in ("ESOCKREF_BUSY", "ESOCKREF_CLOSED"), error
            try:
                _, writer = await asyncio.open_unix_connection(str(name))
                writer.write(b"x" * chance.randrange(1, 5000))
                writer.transport.abort()
            except (ConnectionRefusedError, FileNotFoundError):
                pass
        if chance.random() < 0.5:
            for reference in references:
                reference.close()

    def thread(seed: int) -> None:
        try:
            chance = random.Random(seed)
            if chance.random() < 0.2:
                loop = asyncio.new_event_loop()
                try:
                    loop.run_until_complete(asyncio.wait_for(work(chance), 20))
                finally:
                    for task in asyncio.all_tasks(loop):
                        task.cancel()
                    loop.run_until_complete(asyncio.sleep(0))
                    loop.close()
            else:
                run(work(chance))
        except BaseException as error:
            failures.append(error)
        finally:
            slots.release()

    threads = []
    for seed in range(200):
        slots.acquire()
        threads.append(threading.Thread(target=thread, args=(seed,)))
        threads[-1].start()
    for one in threads:
        one.join()
    gc.collect()
    assert failures == []
    until(lambda: sockets_in(directory) == [], "the end of the last reference")


def test_memory_of_many_starts_is_flat(path: Path) -> None:
    out = script(
        """
        import asyncio, resource, sys, sockref
        def resident():
            with open("/proc/self/statm") as found:
                return int(found.read().split()[1]) * 4096
        async def main():
            async def cycles(count):
                for _ in range(count):
                    (await sockref.start_listener(sys.argv[1])).close()
                    try:
                        sockref.listen(sys.argv[1] + "/x/y")
                    except OSError:
                        pass
                    sockref.live_counts(), sockref.is_socket_active(sys.argv[1])
            await cycles(500)
            before = resident()
            await cycles(2000)
            print(resident() - before)
        asyncio.run(main())
        """,
        path,
    )
    assert int(out) < 1 << 20


def test_reference_of_a_task_that_fails(path: Path) -> None:
    async def main() -> None:
        reference = await sockref.start_listener(path)
        assert reference.is_active
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main())
    gc.collect()
    assert not is_socket(path)
