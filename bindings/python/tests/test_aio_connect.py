"""Connecting: errors, cancelling, what a transport knows, descriptors, threads."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import sys
import threading
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers import dial
from nets import Net, Recorder, pair, port_of
from test_aio_streams import echo

import sockref.aio
from sockref import _client


def test_errors_of_paths(net: Net, directory: Path) -> None:
    dead = directory / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    (directory / "file").write_text("")

    async def main() -> None:
        for name, kind, number in (
            ("nothing", FileNotFoundError, errno.ENOENT),
            ("dead.sock", ConnectionRefusedError, errno.ECONNREFUSED),
            ("file", ConnectionRefusedError, errno.ECONNREFUSED),
            ("file/below", NotADirectoryError, errno.ENOTDIR),
        ):
            with pytest.raises(kind) as caught:
                await net.open_connection(directory / name)
            assert caught.value.errno == number
            if net.ours:
                assert isinstance(caught.value, sockref.SockrefError)
                assert caught.value.filename == str(directory / name)

    net.run(main())
    dead.unlink()


def test_factory_that_fails(ours: Net, path: Path) -> None:
    def fail() -> asyncio.Protocol:
        raise ZeroDivisionError

    async def main() -> None:
        async with await ours.create_server(Recorder, path):
            with pytest.raises(ZeroDivisionError):
                await ours.create_connection(fail, path)

    ours.run(main())


def test_factory_of_a_server_that_fails(ours: Net, path: Path) -> None:
    def fail() -> asyncio.Protocol:
        raise ZeroDivisionError

    async def main() -> None:
        async with await ours.create_server(fail, path):
            _, client = await ours.create_connection(Recorder, path)
            await client.has("lost")
        assert [type(report["exception"]) for report in ours.reports] == [ZeroDivisionError]

    ours.run(main())


def test_factory_that_stops_an_iteration(ours: Net, path: Path) -> None:
    def fail() -> asyncio.Protocol:
        return next(iter(()))

    async def main() -> None:
        async with await ours.create_server(Recorder, path):
            with pytest.raises(RuntimeError, match="StopIteration") as caught:
                await ours.create_connection(fail, path)
            assert isinstance(caught.value.__cause__, StopIteration)

    ours.run(main())


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_task_that_cannot_be_told(ours: Net, path: Path, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    """It fails in the midst of a turn: that goes to the interpreter, or ends the program, and the turn goes on."""
    told: list[object] = []
    settle = _client._settle

    def fail(host: Any, waiter: Any, *outcome: Any) -> None:
        host.call_soon(settle, host, waiter, *outcome)
        raise kind("of the task")

    async def main() -> None:
        async with await ours.create_server(Recorder, path):
            _, client = await ours.create_connection(Recorder, path)
            client.transport.close()
            await client.has("lost")

    monkeypatch.setattr(_client, "_settle", fail)
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append(what.exc_type))
    if kind is ValueError:
        ours.run(main())
        assert told == [ValueError]
    else:
        with pytest.raises(KeyboardInterrupt, match="of the task"):
            ours.run(main())
        assert told == []


def test_factory_that_makes_no_protocol(ours: Net, path: Path) -> None:
    """It is told where a factory that raises is, and nothing more is called of it."""

    def make() -> Any:
        return object()

    async def main() -> None:
        async with await ours.create_server(Recorder, path):
            with pytest.raises(AttributeError, match="connection_made"):
                await ours.create_connection(make, path)
        async with await ours.create_server(make, path):
            _, client = await ours.create_connection(Recorder, path)
            await client.has("lost")
        (report,) = ours.reports
        assert report["message"] == "Error on transport creation for incoming connection"
        assert isinstance(report["exception"], AttributeError)

    ours.run(main())


def test_socket_that_is_connected_already(ours: Net) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        transport, protocol = await sockref.aio.create_connection(Recorder, sock=near)
        assert near.fileno() == -1
        far.sendall(b"hello")
        assert await protocol.got(5) == b"hello"
        transport.write(b"back")
        far.settimeout(20)
        assert far.recv(4) == b"back"
        far.close()
        await protocol.has("lost")
        with socket.socket(socket.AF_UNIX) as unconnected, pytest.raises(OSError) as caught:
            await sockref.aio.create_connection(Recorder, sock=unconnected)
        assert caught.value.errno == errno.ENOTCONN
        with pytest.raises(ValueError):
            await sockref.aio.create_connection(Recorder)
        with pytest.raises(ValueError):
            await sockref.aio.create_connection(Recorder, "/x", sock=far)

    ours.run(main())


def test_extra_info_of_a_unix_socket(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            transport = client.transport
            assert transport.get_extra_info("peername") == str(path)
            assert transport.get_extra_info("sockname") == ""
            assert server.transport.get_extra_info("sockname") == str(path)
            assert transport.get_extra_info("sslcontext") is None
            assert transport.get_extra_info("whatever", 7) == 7
            found = transport.get_extra_info("socket")
            assert (found.family, found.type, found.proto) == (socket.AF_UNIX, socket.SOCK_STREAM, 0)
            with found.dup() as real:
                assert isinstance(real, socket.socket)
            assert not found.get_inheritable()
            assert found.gettimeout() == 0
            found.setblocking(False)
            with pytest.raises(ValueError):
                found.setblocking(True)
            if net.ours:
                assert server.transport.get_extra_info("peercred") == (os.getpid(), os.getuid(), os.getgid())
                assert found is transport.get_extra_info("socket")
            transport.close()
            await client.has("lost")
            await asyncio.sleep(0)
            assert transport.get_extra_info("peername") == str(path)  # it was asked before
            if net.ours:
                assert found.fileno() == -1
                with pytest.raises(OSError):
                    found.getpeername()
                assert transport.get_protocol() is None
                assert transport.get_write_buffer_size() == 0

    net.run(main())


@pytest.mark.parametrize("method", ["getpeername", "dup"])
def test_interrupt_while_a_socket_is_looked_at(net: Net, path: Path, method: str) -> None:
    """It does not close what is the transport's."""

    class Interrupt(Exception):
        pass

    def interrupt(frame: FrameType, event: str, value: object) -> None:
        if event == "return" and frame.f_code.co_qualname == "socket.__init__":
            raise Interrupt

    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            found = client.transport.get_extra_info("socket")
            sys.setprofile(interrupt)
            try:
                getattr(found, method)()
            except Interrupt:
                pass
            finally:
                sys.setprofile(None)
            os.fstat(found.fileno())
            client.transport.write(b"on")
            assert await server.got(2) == b"on"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the copy, which dup() made
        net.run(main())


def test_abstract_name(ours: Net) -> None:
    name = f"@sockref-test-{os.getpid()}-{random.randrange(1 << 30)}"

    async def main() -> None:
        async with await sockref.aio.start_server(echo, name):
            reader, writer = await sockref.aio.open_connection(name)
            assert writer.get_extra_info("peername") == b"\0" + name[1:].encode()
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()
            with dial(b"\0" + name[1:].encode()):
                pass

    ours.run(main())


def test_tls_is_refused(ours: Net, path: Path) -> None:
    import ssl

    context = ssl.create_default_context()

    async def main() -> None:
        for call in (sockref.aio.open_connection(path, ssl=context), sockref.aio.start_server(echo, path, ssl=context)):
            with pytest.raises(NotImplementedError) as caught:
                await call
            assert "asyncio" in str(caught.value)
        async with await sockref.aio.start_server(echo, path):
            _, writer = await sockref.aio.open_connection(path)
            with pytest.raises((NotImplementedError, TypeError)):
                await writer.start_tls(context, server_hostname="x")
            with pytest.raises((NotImplementedError, TypeError)):
                await asyncio.get_running_loop().start_tls(
                    writer.transport, writer.transport.get_protocol(), context, server_hostname="x"
                )
            writer.close()
            await writer.wait_closed()

    ours.run(main())


def test_cancelled_at_any_point(ours: Net, path: Path) -> None:
    """Whatever step it was cancelled at, protocols are told both their begin and their end, or nothing."""
    protocols: list[Recorder] = []

    def factory() -> Recorder:
        protocols.append(Recorder())
        return protocols[-1]

    async def main() -> None:
        async with await sockref.aio.start_server(echo, path):
            async with await sockref.aio.start_server(echo, "127.0.0.1", 0) as tcp:
                for turn in range(60):
                    name: Any = (path, None) if turn % 2 else ("localhost", port_of(tcp))
                    task = asyncio.create_task(sockref.aio.create_connection(factory, *name))
                    for _ in range(turn // 6):
                        await asyncio.sleep(0)
                    task.cancel()
                    try:
                        transport, _ = await task
                        transport.abort()
                    except asyncio.CancelledError:
                        pass
        for protocol in protocols:
            if "made" in protocol.calls:
                await protocol.has("lost")

    ours.run(main())


def test_timeout(ours: Net, directory: Path) -> None:
    """A listener whose queue is full makes who connects wait."""
    full = directory / "full.sock"

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(full))
            listener.listen(0)
            waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(str(full))
            with pytest.raises((TimeoutError, BlockingIOError)):
                await sockref.aio.open_connection(full, timeout=0.05)
            for client in waiting:
                client.close()
        full.unlink()

    ours.run(main())


def test_descriptors(ours: Net, path: Path) -> None:
    class Taker(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.fds: list[int] = []

        def descriptor_received(self, fd: int) -> None:
            assert not os.get_inheritable(fd)
            self.fds.append(fd)
            self.note("descriptor")

    async def main() -> None:
        made: list[Taker] = []

        def factory() -> Taker:
            made.append(Taker())
            return made[-1]

        async with await sockref.aio.create_server(factory, path, descriptors=True):
            transport, client = await sockref.aio.create_connection(Recorder, path)
            read, write = os.pipe()
            transport.write(b"before ")
            transport.send_fd(write, b"with it")
            os.close(write)
            while not made or not made[0].fds:
                await asyncio.sleep(0.001)
            assert await made[0].got(14) == b"before with it"
            os.write(made[0].fds[0], b"through the pipe")
            assert os.read(read, 100) == b"through the pipe"
            os.close(made[0].fds[0])
            assert os.read(read, 1) == b""  # nobody else has it
            # Who does not take descriptors in gets none, and nothing is left open.
            count = len(os.listdir("/proc/self/fd"))
            made[0].transport.send_fd(read, b"x")
            assert await client.got(1) == b"x"
            assert len(os.listdir("/proc/self/fd")) == count
            os.close(read)
            for wrong in ((-1, b"x"), (0, b""), ("text", b"x"), (0, "text")):
                with pytest.raises((TypeError, ValueError, OSError)):
                    transport.send_fd(*wrong)
            transport.close()
            with pytest.raises(OSError):
                transport.send_fd(0, b"x")

    ours.run(main())


def test_other_threads_are_refused(ours: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(ours, path, Recorder, Recorder) as (server, client):
            refused: list[str] = []

            def work() -> None:
                for call in ("close", "abort", "pause_reading", "write_eof", "get_write_buffer_size"):
                    try:
                        getattr(client.transport, call)()
                    except RuntimeError:
                        refused.append(call)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert len(refused) == 5
            client.transport.write(b"x")
            await server.got(1)

    ours.run(main())


def test_loop_that_moves_to_another_thread(ours: Net, path: Path) -> None:
    loop = ours.new_loop()
    transport, client = None, None

    async def begin() -> None:
        nonlocal transport, client
        await sockref.aio.start_server(echo, path)
        transport, client = await sockref.aio.create_connection(Recorder, path)

    async def go_on() -> None:
        transport.write(b"x")
        await client.got(1)
        transport.abort()
        await client.has("lost")
        sockref.cleanup(path)
        await asyncio.sleep(0.01)

    loop.run_until_complete(begin())
    failures: list[BaseException] = []

    def work() -> None:
        try:
            loop.run_until_complete(asyncio.wait_for(go_on(), 20))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    loop.close()
    assert failures == []
