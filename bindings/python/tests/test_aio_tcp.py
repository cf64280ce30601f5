"""TCP for asyncio: addresses, hosts, errors; one program on asyncio's own and on sockref.aio where both have it."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from typing import Any

import pytest
from nets import Net, Recorder, port_of
from test_aio_streams import echo

import sockref.aio


def has_ipv6(host: str = "::1") -> bool:
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind((host, 0))
    except OSError:
        return False
    return True


HOSTS = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="there is no ::1"))]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_errors_of_tcp(net: Net) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as refused:
            await net.create_tcp_connection(Recorder, "127.0.0.1", free_port())
        assert refused.value.errno == errno.ECONNREFUSED
        with pytest.raises(socket.gaierror) as unknown:
            await net.create_tcp_connection(Recorder, "there-is-no-such-host.invalid", 1)
        assert isinstance(unknown.value, OSError)

    net.run(main())


@pytest.mark.parametrize("host", HOSTS)
def test_tcp(net: Net, host: str) -> None:
    async def main() -> None:
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        server = await net.create_tcp_server(factory, host, 0)
        port = port_of(server)
        transport, client = await net.create_tcp_connection(Recorder, host, port)
        transport.write(b"x" * 100_000)
        while not made or not made[0].transport:
            await asyncio.sleep(0)
        (accepted,) = made
        await accepted.got(100_000)
        peer, name = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        assert peer[:2] == (host, port) and len(peer) == (4 if ":" in host else 2)
        assert accepted.transport.get_extra_info("peername") == name
        assert accepted.transport.get_extra_info("sockname") == peer
        found = transport.get_extra_info("socket")
        assert found.family == (socket.AF_INET6 if ":" in host else socket.AF_INET)
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert found.getpeername() == peer and found.fileno() >= 0
        # A reset is told.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await accepted.has("lost")
        assert isinstance(accepted.lost_with, ConnectionResetError) and accepted.lost_with.errno == errno.ECONNRESET
        assert accepted.transport.get_extra_info("peername") == name
        server.close()
        await server.wait_closed()

    net.run(main())


def test_name_of_tcp(ours: Net) -> None:
    async def main() -> None:
        async with await sockref.aio.start_server(echo, "tcp:127.0.0.1:0") as server:
            assert server.reference.path == f"tcp:127.0.0.1:{port_of(server)}"
            reader, writer = await sockref.aio.open_connection(server.reference.path)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await sockref.aio.open_connection(server.reference.path)

    ours.run(main())


def test_server_by_the_name_of_a_host(ours: Net) -> None:
    async def main() -> None:
        async with await sockref.aio.start_server(echo, "localhost", 0) as server:
            reader, writer = await sockref.aio.open_connection("localhost", port_of(server))
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()
        with pytest.raises(socket.gaierror):
            await sockref.aio.start_server(echo, "there-is-no-such-host.invalid", 0)

    ours.run(main())


async def trip(net: Net, host: str, port: int) -> tuple[Any, ...]:
    """What a server sees as the client's address, after a round trip."""
    transport, client = await net.create_tcp_connection(Recorder, host, port)
    transport.write(b"x")
    assert await client.got(1) == b"x"
    transport.abort()
    await client.has("lost")
    name: tuple[Any, ...] = transport.get_extra_info("sockname")
    return name


class EchoWithAddress(asyncio.Protocol):
    peers: list[tuple[Any, ...]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.peers.append(transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.mark.parametrize(
    ("hosts", "wanted"),
    [
        (["127.0.0.1", "127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (None, ["0.0.0.0", "::"]),
    ],
)
def test_every_address_of_hosts(net: Net, hosts: list[str] | None, wanted: list[str]) -> None:
    if "::1" in wanted and not has_ipv6():
        pytest.skip("there is no ::1")

    async def main() -> None:
        server: Any = await net.create_tcp_server(EchoWithAddress, hosts, 0)
        bound = dict(listening.getsockname()[:2] for listening in server.sockets)
        assert sorted(bound) == [host for host in wanted if host != "::" or has_ipv6(host)]
        places = [({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port) for host, port in bound.items()]
        places = [place for place in places if place[0] != "::1" or has_ipv6()]
        for place in places:
            assert await trip(net, *place) == EchoWithAddress.peers[-1]
        server.close()
        await server.wait_closed()
        assert tuple(server.sockets) == ()
        for place in places:
            with pytest.raises(ConnectionRefusedError):
                await net.create_tcp_connection(Recorder, *place)

    net.run(main())


def test_no_host_is_not_every_address(ours: Net) -> None:
    """A list of hosts that is empty, or has an empty one, is most likely a mistake."""

    async def main() -> None:
        for hosts in [], ():
            with pytest.raises(OSError) as caught:
                await ours.create_tcp_server(Recorder, hosts, 0)
            assert caught.value.errno == errno.EADDRNOTAVAIL
        for hosts in [""], ["127.0.0.1", ""]:
            with pytest.raises(socket.gaierror):
                await ours.create_tcp_server(Recorder, hosts, 0)

    ours.run(main())


def test_host_is_not_cut_at_a_nul(net: Net) -> None:
    async def main() -> None:
        for hosts in "127.0.0.1\0.example", ["127.0.0.1", "localhost\0"]:
            with pytest.raises(ValueError):
                await net.create_tcp_server(Recorder, hosts, 0)
        with pytest.raises(ValueError):
            await net.create_tcp_connection(Recorder, "127.0.0.1\0", free_port())

    net.run(main())


def test_host_in_other_letters(net: Net) -> None:
    """Nameprep makes them those of ASCII."""

    async def main() -> None:
        server: Any = await net.create_tcp_server(EchoWithAddress, "127.0.0.1", 0)
        await trip(net, "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", port_of(server))
        server.close()
        await server.wait_closed()

    net.run(main())


def test_all_addresses_or_none(net: Net) -> None:
    async def main() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            port = other.getsockname()[1]
            with pytest.raises(OSError) as caught:
                await net.create_tcp_server(Recorder, ["127.0.0.1", "127.0.0.2"], port)
            assert caught.value.errno == errno.EADDRINUSE
            with pytest.raises(ConnectionRefusedError):
                await net.create_tcp_connection(Recorder, "127.0.0.1", port)

    net.run(main())


def test_an_address_that_this_system_lacks_is_left_out(ours: Net) -> None:
    async def main() -> None:
        async with await ours.create_tcp_server(Recorder, ["192.0.2.1", "127.0.0.1"], 0) as server:
            assert [listening.getsockname()[0] for listening in server.sockets] == ["127.0.0.1"]
        with pytest.raises(OSError) as caught:
            await ours.create_tcp_server(Recorder, ["192.0.2.1"], 0)
        assert caught.value.errno == errno.EADDRNOTAVAIL
        for name in ["a", "b"], b"localhost":
            with pytest.raises(TypeError):
                await sockref.aio.create_server(Recorder, name, None if name == ["a", "b"] else 0)

    ours.run(main())


def test_localhost_with_a_server_of_one_family(ours: Net) -> None:
    async def main() -> None:
        async with await sockref.aio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await sockref.aio.open_connection(
                "localhost", port_of(server), happy_eyeballs_delay=0.1, local_addr=("127.0.0.1", 0), timeout=20
            )
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            assert writer.get_extra_info("peername")[0] == "127.0.0.1"
            writer.close()
            await writer.wait_closed()

    ours.run(main())
