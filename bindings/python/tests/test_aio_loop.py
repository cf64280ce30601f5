"""sockref.aio and the loop that it lives on: fairness, fork, threads, memory."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import is_socket, script
from nets import NETS, Net, Recorder
from test_aio_streams import echo

import sockref.aio


async def keep_busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event) -> int:
    """Round trips until told to stop."""
    trips = 0
    while not stop.is_set():
        writer.write(b"x" * 64)
        await reader.readexactly(64)
        trips += 1
    writer.close()
    await writer.wait_closed()
    return trips


def test_nobody_starves(ours: Net, directory: Path) -> None:
    """Sockets of ours, sockets of the loop's own, and its timers, all at once."""
    mine, its = directory / "mine.sock", directory / "its.sock"

    async def main() -> None:
        stop = asyncio.Event()
        async with await sockref.aio.start_server(echo, mine):
            server = await asyncio.start_unix_server(echo, str(its))
            at_mine = [await sockref.aio.open_connection(mine) for _ in range(32)]
            at_its = [await asyncio.open_unix_connection(str(its)) for _ in range(32)]
            busy = [asyncio.create_task(keep_busy(*streams, stop)) for streams in at_mine + at_its]
            ticks = 0
            deadline = time.monotonic() + 20
            # The timer must tick 50 times while both kinds go on; a machine that is slow takes longer.
            while ticks < 50 and time.monotonic() < deadline:
                await asyncio.sleep(0.005)
                ticks += 1
            stop.set()
            trips = await asyncio.gather(*busy)
            server.close()
            await server.wait_closed()
        assert ticks == 50
        assert min(trips) > 0
        ratio = sum(trips[:32]) / sum(trips[32:])
        assert 0.1 < ratio < 10, trips

    ours.run(main())
    its.unlink(missing_ok=True)


def test_flood_does_not_stop_the_loop(ours: Net, path: Path) -> None:
    """A protocol that answers every byte of a peer that never stops sending leaves the loop its turns."""

    class Flood(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)  # type: ignore[attr-defined]

    async def main() -> None:
        async with await sockref.aio.create_server(Flood, path):
            made = [await sockref.aio.create_connection(Flood, path) for _ in range(8)]
            for transport, _ in made:
                transport.write(bytes(100_000))  # goes to and fro without end
            for _ in range(50):
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                for _ in range(20):
                    await asyncio.sleep(0.005)
            for transport, _ in made:
                transport.abort()

    ours.run(main())


def test_fork_with_open_transports(path: Path) -> None:
    out = script(
        """
        import asyncio, os, sys, sockref, sockref.aio

        class Keeps(asyncio.Protocol):
            def connection_made(self, transport):
                made.append(transport)
            def data_received(self, data):
                made[0].write(data.upper()) if self is not client else got.set_result(data)
            def connection_lost(self, error):
                lost.append(error)

        async def main():
            global client, got
            server = await sockref.aio.create_server(Keeps, sys.argv[1])
            client = Keeps()
            transport, _ = await sockref.aio.create_connection(lambda: client, sys.argv[1])
            while len(made) < 2:
                await asyncio.sleep(0.001)
            if made[0] is transport:
                made.reverse()
            child = os.fork()
            if child == 0:
                for call in (transport.close, transport.abort, transport.pause_reading, transport.write_eof):
                    call()
                try:
                    made[0].write(b"from the child")
                except OSError as error:
                    assert error.code == "ESOCKREF_FORKED", error
                else:
                    os._exit(3)
                with sockref.listen(sys.argv[1] + "2") as own:
                    assert own.is_owner
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert lost == []
            got = asyncio.get_running_loop().create_future()
            transport.write(b"hello")
            assert await asyncio.wait_for(got, 20) == b"HELLO"
            transport.close()
            server.close()
            await server.wait_closed()
            while len(lost) < 2:
                await asyncio.sleep(0.001)
            print("fine")

        made, lost = [], []
        asyncio.run(main())
        """,
        path,
    )
    assert out == "fine\n"


def test_memory_of_many_connections_is_flat(path: Path) -> None:
    out = script(
        """
        import asyncio, sys, sockref, sockref.aio

        def resident():
            with open("/proc/self/statm") as found:
                return int(found.read().split()[1]) * 4096

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
            def data_received(self, data):
                self.transport.write(data)

        class Once(Echo):
            def connection_made(self, transport):
                self.transport = transport
                self.over = asyncio.get_running_loop().create_future()
                transport.write(b"x" * 100)
            def data_received(self, data):
                self.transport.close()
            def connection_lost(self, error):
                self.over.set_result(None)

        async def cycles(count):
            for _ in range(count):
                _, protocol = await sockref.aio.create_connection(Once, sys.argv[1])
                await protocol.over

        async def main():
            async with await sockref.aio.create_server(Echo, sys.argv[1]):
                await cycles(1000)
                before = resident()
                await cycles(4000)
                print(resident() - before)

        asyncio.run(main(), debug=False)
        """,
        path,
    )
    assert int(out) < 512 << 10


def test_connections_are_small(path: Path) -> None:
    """Beside the protocol and its own context, a few hundred bytes each."""
    out = script(
        """
        import asyncio, socket, sys, sockref, sockref.aio

        def resident():
            with open("/proc/self/statm") as found:
                return int(found.read().split()[1]) * 4096

        class Idle(asyncio.Protocol):
            __slots__ = ("transport",)
            def connection_made(self, transport):
                self.transport = transport

        async def connect(count):
            loop = asyncio.get_running_loop()
            for _ in range(count):
                client = socket.socket(socket.AF_UNIX)
                client.connect(sys.argv[1])
                kept.append(client.detach())
                await asyncio.sleep(0)
            while len(server._clients) < len(kept):
                await asyncio.sleep(0.001)

        async def main():
            global server
            server = await sockref.aio.create_server(Idle, sys.argv[1])
            await connect(200)
            before = resident()
            await connect(2000)
            print((resident() - before) // 2000)
            server.abort_clients()
            server.close()
            await server.wait_closed()

        kept = []
        asyncio.run(main(), debug=False)
        """,
        path,
    )
    assert int(out) <= 1200, out  # asyncio's own takes about 3000


def test_a_loop_in_each_thread(directory: Path) -> None:
    """Each with a server, and clients of the next one's."""
    import threading

    count = 4
    ready = threading.Barrier(count, timeout=20)
    done = threading.Barrier(count, timeout=20)
    failures: list[BaseException] = []

    async def main(number: int) -> None:
        async with await sockref.aio.start_server(echo, directory / f"{number}.sock"):
            await asyncio.to_thread(ready.wait)
            for _ in range(20):
                reader, writer = await sockref.aio.open_connection(directory / f"{(number + 1) % count}.sock")
                message = os.urandom(50_000)
                writer.write(message)
                assert await reader.readexactly(len(message)) == message
                writer.close()
                await writer.wait_closed()
            await asyncio.to_thread(done.wait)

    def work(number: int) -> None:
        try:
            Net().run(main(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_one_context_for_a_connection(ours: Net, path: Path) -> None:
    """The callbacks of one connection, and what they begin, see what those before have set; nobody else does."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    class Contextual(Recorder):
        def __init__(self, name: str) -> None:
            super().__init__(keep_open=True)
            self.seen = [variable.get()]
            self.tasks: list[asyncio.Task[str]] = []
            variable.set(f"{name} init")

        def note(self, call: str) -> None:
            self.seen.append(variable.get())
            variable.set(call)
            self.tasks.append(asyncio.get_running_loop().create_task(read()))
            super().note(call)

    async def read() -> str:
        return variable.get()

    async def main() -> None:
        made: list[Contextual] = []

        def factory() -> Contextual:
            made.append(Contextual("accepted"))
            return made[-1]

        variable.set("serving")
        server = await ours.create_server(factory, path)
        variable.set("connecting")
        for _ in range(2):  # what the first one sets, the second one does not see
            transport, client = await ours.create_connection(lambda: Contextual("connected"), path)
            variable.set("writing")
            transport.write(b"x")
            transport.write_eof()
            await client.has("made")
            while not made:
                await asyncio.sleep(0)
            accepted = made.pop()
            await accepted.has("eof")
            accepted.transport.close()
            await accepted.has("lost")
            await client.has("eof")
            transport.close()
            await client.has("lost")
            assert accepted.seen == ["serving", "accepted init", "made", "data", "eof"]
            assert await asyncio.gather(*accepted.tasks) == ["made", "data", "eof", "lost"]
            assert client.seen == ["connecting", "connected init", "made", "eof"]
            assert await asyncio.gather(*client.tasks) == ["made", "eof", "lost"]
            assert variable.get() == "writing"
            variable.set("connecting")
        server.close()
        await server.wait_closed()

    ours.run(main())


class LoopThatClosesNothing(asyncio.SelectorEventLoop):
    """asyncio's own closes itself when it is collected."""

    def __del__(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["asyncio", "sockref"])  # uvloop keeps each loop that has a reader
@pytest.mark.parametrize("queued", [0, 4_000_000])
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, LoopThatClosesNothing])
def test_loop_that_is_dropped_is_collected(
    kind: str, queued: int, new_loop: Callable[[], asyncio.AbstractEventLoop], path: Path
) -> None:
    """With all that is open on it."""
    net = NETS[kind]()
    refs: list[weakref.ref[Any]] = []

    def protocol() -> Recorder:
        made = Recorder()
        refs.append(weakref.ref(made))
        return made

    async def main() -> None:
        await net.create_server(protocol, path)
        _, client = await net.create_connection(protocol, path)
        client.transport.pause_reading()
        while len(refs) < 2 or not all(made().transport for made in refs):
            await asyncio.sleep(0)
        for made in refs:
            made().transport.write(bytes(queued))

    loop = new_loop()
    loop.run_until_complete(main())
    refs.append(weakref.ref(loop))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        gc.collect()
    for bound in net.bound:
        bound.unlink()
    assert [ref() for ref in refs] == [None] * 3
    assert not is_socket(path)


def test_loop_that_is_dropped_takes_its_handlers_with_it(path: Path) -> None:
    class Keeper(sockref.Handlers):
        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.made = asyncio.Event()

        def on_connection(self, connection: sockref.Connection) -> None:
            connection.data = self
            self.made.set()

    async def main() -> weakref.ref[Keeper]:
        handlers = Keeper()
        reference.serve(handlers)
        sockref.connect(path, handlers)
        await handlers.made.wait()
        return weakref.ref(handlers)

    with sockref.listen(path) as reference:
        loop = asyncio.new_event_loop()
        refs: list[weakref.ref[Any]] = [weakref.ref(loop), loop.run_until_complete(main())]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del loop
            gc.collect()
        assert [ref() for ref in refs] == [None] * 2
        reference.serve_echo()


class LoopThatCounts(asyncio.SelectorEventLoop):
    """It tells how often it was asked to come back soon."""

    asked = 0

    def call_soon(self, callback: Any, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        self.asked += getattr(callback, "__name__", "") == "_dispatch_soon"
        return super().call_soon(callback, *args, **options)


class Closer(Recorder):
    """It closes as soon as it is told anything."""

    def data_received(self, data: bytes) -> None:
        self.transport.close()


def test_a_turn_is_asked_for_once(path: Path) -> None:
    """However many transports end in it; and not by what ends inside of one, or in a child."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with await sockref.aio.create_server(Closer, path):
            clients = [(await sockref.aio.create_connection(Recorder, path))[1] for _ in range(4)]
            before = loop.asked
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                clients[0].transport.close()
                os._exit(loop.asked - before)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            clients[0].transport.write(b"x")
            await clients[0].has("lost")
            assert loop.asked == before
            for client in clients:
                client.transport.abort()
            assert loop.asked == before + 1
            for client in clients:
                await client.has("lost")

    Net(LoopThatCounts).run(main())


def test_transport_outlives_its_loop(ours: Net, path: Path) -> None:
    async def main() -> Any:
        async with await sockref.aio.create_server(Recorder, path) as server:
            transport, _ = await sockref.aio.create_connection(Recorder, path)
            server.close_clients()
        return transport

    transport = ours.run(main())
    gc.collect()
    for end in transport.close, transport.abort:
        end()
    assert transport.is_closing()
