"""What the functions and methods of sockref.aio take, beside what asyncio's take."""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
from asyncio import trsock
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from nets import Net, Recorder, pair, port_of
from test_aio_tcp import free_port, has_ipv6

import sockref.aio


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(name, found.kind, found.default) for name, found in inspect.signature(function).parameters.items()][1:]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (asyncio.Transport, sockref.aio.Transport),
        (asyncio.Server, sockref.aio.Server),
        (trsock.TransportSocket, sockref.aio.TransportSocket),
    ],
)
def test_methods_take_what_those_of_asyncio_take(theirs: type, ours: type) -> None:
    compared = []
    for name, function in inspect.getmembers(theirs, inspect.isfunction):
        wanted = parameters(function)
        any_number = any(kind is inspect.Parameter.VAR_POSITIONAL for _, kind, _ in wanted)
        if name.startswith("_") or any_number or name == "getsockbyname":  # which no socket has
            continue
        assert parameters(getattr(ours, name)) == wanted, name
        compared.append(name)
    assert len(compared) >= 6


def test_arguments_by_name(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            client.transport.write(data=b"one")
            client.transport.writelines(list_of_data=[b"t", b"wo"])
            assert await server.got(6) == b"onetwo"
            client.transport.set_protocol(protocol=(another := Recorder()))
            assert client.transport.get_protocol() is another
            for method, name in ("write", "data"), ("writelines", "list_of_data"), ("set_protocol", "protocol"):
                call = getattr(client.transport, method)
                for arguments, keywords in ((), {}), ((), {"other": b"x"}), ((b"x",), {name: b"x"}), ((b"x", b"x"), {}):
                    with pytest.raises(TypeError):
                        call(*arguments, **keywords)

    net.run(main())


def keywords_of(function: Any) -> set[str]:
    """All that a function takes, but for what one name stands for with ours."""
    found = inspect.signature(function).parameters.values()
    taken = {parameter.name for parameter in found} - {"self", "host", "path", "options", "asyncios", "kwds"}
    for parameter in found:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and parameter.name != "kwds":
            (options,) = get_args(get_type_hints(function)[parameter.name])
            taken |= options.__optional_keys__
    return taken


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (asyncio.SelectorEventLoop.create_server, sockref.aio.create_server),
        (asyncio.SelectorEventLoop.create_unix_server, sockref.aio.create_server),
        (asyncio.SelectorEventLoop.create_connection, sockref.aio.create_connection),
        (asyncio.SelectorEventLoop.create_unix_connection, sockref.aio.create_connection),
        (asyncio.start_server, sockref.aio.start_server),
        (asyncio.start_unix_server, sockref.aio.start_server),
        (asyncio.open_connection, sockref.aio.open_connection),
        (asyncio.open_unix_connection, sockref.aio.open_connection),
    ],
)
def test_keywords_of_asyncio_are_known(theirs: Callable[..., Any], ours: Callable[..., Any]) -> None:
    assert keywords_of(theirs) - keywords_of(ours) == set()
    base = {sockref.aio.start_server: sockref.aio.create_server, sockref.aio.open_connection: sockref.aio.create_connection}
    if ours in base:
        assert keywords_of(base[ours]) - keywords_of(ours) == {"protocol_factory", "descriptors"}


FAMILIES = [
    (socket.AF_INET, "127.0.0.1", "0.0.0.0"),
    pytest.param(socket.AF_INET6, "::1", "::", marks=pytest.mark.skipif(not has_ipv6(), reason="there is no ::1")),
]


@pytest.mark.parametrize(("family", "local", "every"), FAMILIES)
def test_family_of_a_server(net: Net, family: socket.AddressFamily, local: str, every: str) -> None:
    async def main() -> None:
        places = {local: local, None: every}
        for host, address in places.items():
            async with await net.create_tcp_server(Recorder, host, 0, family=family) as server:
                assert [found.getsockname()[0] for found in server.sockets] == [address]
        with pytest.raises(socket.gaierror):
            await net.create_tcp_server(Recorder, "127.0.0.1" if ":" in local else "::1", 0, family=family)
        with pytest.raises(socket.gaierror):
            await net.create_tcp_server(Recorder, "localhost", 0, flags=socket.AI_NUMERICHOST)

    net.run(main())


@pytest.mark.parametrize(("family", "local", "every"), FAMILIES)
def test_family_of_a_name(ours: Net, path: Path, family: socket.AddressFamily, local: str, every: str) -> None:
    async def main() -> None:
        for name in "tcp::0", b"tcp::0", f"tcp:[{every}]:0":
            if name != "tcp:[0.0.0.0]:0":
                async with await ours.create_server(Recorder, name, family=family) as server:
                    (found,) = server.sockets
                    assert found.getsockname()[0] == every
                    if family == socket.AF_INET6:
                        assert found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        for name in path, "tcp:localhost", "@name", None, ["a"]:
            with pytest.raises(ValueError):
                await ours.create_server(Recorder, name, family=family)
        for option in {"exclusive": True}, {"reuse_port": True}:
            with socket.socket() as bound, pytest.raises(ValueError):
                await sockref.aio.create_server(Recorder, sock=bound, **option)  # type: ignore[arg-type]

    ours.run(main())


def test_port_of_two(ours: Net) -> None:
    async def main() -> None:
        with sockref.Registry() as one, sockref.Registry() as other:
            first = await ours.create_tcp_server(Recorder, "127.0.0.1", 0, reuse_port=True, registry=one)
            port = port_of(first)
            second = await ours.create_tcp_server(Recorder, "127.0.0.1", port, reuse_port=True, registry=other)
            for server in first, second:
                server.close()
                await server.wait_closed()

    ours.run(main())


def test_options_that_mean_what_is_so(ours: Net, path: Path) -> None:
    same: dict[str, Any] = {"reuse_address": True, "cleanup_socket": True, "ssl_handshake_timeout": None}

    async def main() -> None:
        async with await ours.create_tcp_server(Recorder, "127.0.0.1", 0, keep_alive=True, **same) as server:
            for host in "127.0.0.1", None, "":
                transport, _ = await ours.create_tcp_connection(
                    Recorder, host, port_of(server), interleave=1, proto=socket.IPPROTO_TCP, happy_eyeballs_delay=0
                )
                found = transport.get_extra_info("socket")
                assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
                transport.abort()
            while not server._clients:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            for client in server._clients:  # type: ignore[attr-defined]
                found = client.get_extra_info("socket")
                assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
            async with await sockref.aio.create_server(Recorder, sock=bound, backlog=1) as server:
                assert server.is_serving()

    ours.run(main())


def test_options_that_are_refused(ours: Net, path: Path) -> None:
    async def main() -> None:
        for option in {"reuse_address": False}, {"cleanup_socket": False}, {"ssl_shutdown_timeout": 1.0}:
            with pytest.raises(NotImplementedError) as caught:
                await ours.create_server(Recorder, path, **option)
            assert next(iter(option)) in str(caught.value) or "TLS" in str(caught.value)
        for client in {"proto": 262}, {"flags": socket.AI_NUMERICHOST}, {"interleave": 2}, {"server_hostname": "x"}:
            with pytest.raises(NotImplementedError):
                await ours.create_tcp_connection(Recorder, "127.0.0.1", 1, **client)
        for call in ours.create_tcp_connection, ours.create_tcp_server:
            with pytest.raises(TypeError, match="there_is_none"):
                await call(Recorder, "127.0.0.1", 1, there_is_none=1)

    ours.run(main())


def test_all_errors(net: Net) -> None:
    if not net.ours and sys.version_info < (3, 12):
        pytest.skip("since 3.12")

    async def main() -> None:
        port = free_port()
        options: dict[str, Any] = {"all_errors": True, "family": socket.AF_INET}
        for more in [{}, {"one_by_one": True}] if net.ours else [{}]:
            with pytest.raises(ExceptionGroup) as caught:
                await net.create_tcp_connection(Recorder, "localhost", port, **options, **more)
            assert caught.value.message == "create_connection failed"
            *_, refused = caught.value.exceptions  # of 127.0.0.1
            assert isinstance(refused, ConnectionRefusedError)
            if net.ours:
                assert isinstance(refused, sockref.SockrefError) and refused.path == f"tcp:127.0.0.1:{port}"
        with pytest.raises(socket.gaierror):
            await net.create_tcp_connection(Recorder, "there-is-no-such-host.invalid", port, all_errors=True)

    net.run(main())


def test_all_errors_with_what_is_not_of_connecting(ours: Net) -> None:
    """The first address refuses, and the factory of what the second one makes fails."""
    if not has_ipv6():
        pytest.skip("there is no ::1")
    found = socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)
    if len({address[0] for *_, address in found}) != 2:
        pytest.skip("localhost has one address")

    def fail() -> asyncio.Protocol:
        raise OSError(5, "of the factory")

    async def main() -> None:
        with socket.socket(found[1][0]) as listening:
            listening.bind((found[1][4][0], 0))
            listening.listen()
            with pytest.raises(OSError, match="of the factory"):
                await ours.create_tcp_connection(fail, "localhost", listening.getsockname()[1], all_errors=True)

    ours.run(main())
