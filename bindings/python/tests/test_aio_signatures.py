"""What the functions and methods of sockref.aio take, beside what asyncio's take."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import trsock
from pathlib import Path
from typing import Any

import pytest
from nets import Net, Recorder, pair

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
