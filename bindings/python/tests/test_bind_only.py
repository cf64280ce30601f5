"""Names that are only bound, and connections from them."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, Agent, End, code_of, dial, is_empty, is_socket, on_its_thread, round_trip, until
from nets import Net

import sockref
import sockref.aio
from sockref import Address

ANY_PORT = "tcp:127.0.0.1:0"


class Seeing(End):
    """Notes where its peers come from."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Address] = []

    def on_connection(self, connection: sockref.Connection) -> None:
        self.seen.append(connection.info().remote)


def destroy(connection: sockref.Connection, ours: End) -> None:
    on_its_thread(connection, connection.destroy)
    ours.over()


def test_l68_it_listens_when_it_is_served(path: Path) -> None:
    with sockref.listen(path, bind_only=True) as reference:
        assert is_socket(path) and reference.is_owner
        with pytest.raises(ConnectionRefusedError):
            dial(path)
        reference.serve_echo()
        assert round_trip(path, b"hello") == b"hello"
    assert not path.exists()


def test_from_a_port() -> None:
    far, near = Seeing(), End()
    with sockref.listen(ANY_PORT) as server, sockref.listen(ANY_PORT, bind_only=True) as bound:
        server.serve(far)
        address = bound.local_address
        connection = sockref.connect(server.path, near, from_=bound)
        assert bound.reference_count == 2
        until(lambda: near.calls[-1:] == ["ready"] and far.seen)
        assert on_its_thread(connection, connection.info).local == address
        assert far.seen == [address]
        destroy(connection, near)
        assert bound.reference_count == 1


def test_l68_from_a_path(path: Path, directory: Path) -> None:
    """The connection has a reference of its own, and the file goes with it."""
    own = directory / "own.sock"
    far, near = Seeing(), End()
    with sockref.listen(path) as server:
        server.serve(far)
        with sockref.listen(own, bind_only=True) as bound:
            connection = sockref.connect(path, near, from_=bound)
        until(lambda: near.calls[-1:] == ["ready"] and far.seen)
        assert far.seen == [str(own)]
        assert is_socket(own) and sockref.is_socket_active(own)
        destroy(connection, near)
        assert not own.exists() and not sockref.is_socket_active(own)


@pytest.mark.parametrize("how", ["destroy", "reset"])
def test_the_peer_sees_the_end_also_where_the_name_is_held(how: str) -> None:
    near = End()
    with sockref.listen(ANY_PORT, bind_only=True) as bound, socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)
        address = bound.local_address
        connection = sockref.connect(f"tcp:127.0.0.1:{server.getsockname()[1]}", near, from_=bound)
        with server.accept()[0] as peer:
            peer.settimeout(LIMIT)
            assert peer.getpeername() == address
            until(lambda: near.calls[-1:] == ["ready"])
            on_its_thread(connection, getattr(connection, how))
            near.over()
            assert bound.reference_count == 1
            with pytest.raises(ConnectionResetError) if how == "reset" else contextlib.nullcontext():
                assert peer.recv(1) == b""


def test_what_is_refused(path: Path) -> None:
    near, second = End(), End()
    with sockref.listen(path) as listener, sockref.listen(ANY_PORT, bind_only=True) as bound:
        listener.serve_echo()
        with pytest.raises(ValueError, match="bind only") as caught:
            sockref.connect(path, near, from_=listener)
        assert isinstance(caught.value, sockref.SockrefError) and caught.value.code == "EINVAL"
        for beside in ({"local_host": "127.0.0.1"}, {"local_port": 1}):
            assert code_of(sockref.connect, path, near, from_=bound, **beside) == "EINVAL"
        for wrong in (3, path, bound.fd):
            with pytest.raises(TypeError, match="from_"):
                sockref.connect(path, near, from_=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="from_"):
            bound.serve(near, from_=bound)  # type: ignore[call-arg]
        assert bound.reference_count == 1 and near.calls == []
        with sockref.listen(ANY_PORT) as server:
            server.serve_echo()
            connection = sockref.connect(server.path, near, from_=bound)
            until(lambda: near.calls[-1:] == ["ready"])
            assert code_of(sockref.connect, server.path, second, from_=bound) == "ESOCKREF_BUSY"
            assert code_of(bound.serve, second) == "ESOCKREF_BUSY"
            destroy(connection, near)
        assert code_of(sockref.connect, path, second, from_=bound) == "ESOCKREF_BUSY"
    assert code_of(sockref.connect, path, second, from_=bound) == "ESOCKREF_CLOSED"
    assert second.calls == []


def test_a_failure_lets_go_of_the_name(path: Path, directory: Path) -> None:
    near = End()
    own = directory / "own.sock"
    with sockref.listen(own, bind_only=True) as bound:
        sockref.connect(path, near, from_=bound)
        near.over()
        assert isinstance(near.errors[0], FileNotFoundError)
        assert bound.reference_count == 1
    assert not own.exists()


def test_references_are_given_back(path: Path) -> None:
    """What is refused keeps neither the object nor its reference."""
    near = End()
    with sockref.listen(path) as listener:
        handle = listener._handle
        before = sys.getrefcount(handle)
        for _ in range(100):
            with contextlib.suppress(ValueError):
                sockref.connect(path, near, from_=listener)
        assert sys.getrefcount(handle) == before
        assert listener.reference_count == 1
    assert not path.exists()


def test_on_asyncio(ours: Net, path: Path, directory: Path) -> None:
    own = directory / "own.sock"

    async def main() -> None:
        async def connected(reader: Any, writer: Any) -> None:
            writer.write(writer.get_extra_info("peername").encode())
            writer.close()

        async with await sockref.aio.start_server(connected, path):
            with await sockref.start_listener(own, bind_only=True) as bound:
                reader, writer = await sockref.aio.open_connection(path, from_=bound)
            assert writer.get_extra_info("sockname") == str(own)
            assert await reader.read() == os.fsencode(own)
            assert is_socket(own)
            writer.close()
            await writer.wait_closed()
            assert not own.exists()
            # At once again, also after a failure.
            for _ in range(3):
                with sockref.listen(own, bind_only=True) as bound:
                    with pytest.raises(FileNotFoundError):
                        await sockref.aio.open_connection(directory / "nobody", from_=bound)
                assert not own.exists()
            with sockref.listen(own, bind_only=True) as bound:
                with pytest.raises(ValueError):
                    await sockref.aio.open_connection(path, from_=bound, local_addr=("127.0.0.1", 0))

    ours.run(main())


def test_the_guard_removes_what_is_bound(directory: Path) -> None:
    with Agent() as agent:
        assert agent.start(directory / "own.sock", bind_only=True)["owner"]
        assert is_socket(directory / "own.sock")
        agent.kill()
        is_empty(directory)
