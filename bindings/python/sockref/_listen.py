"""What a server for asyncio listens on: a name, a socket that is bound already, or every address of its hosts."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Union

from ._client import tcp_name
from ._errors import EBUSY, EEXISTS, SockrefError, make_error
from ._options import ListenOptions
from ._paths import Path
from ._reference import SocketReference
from ._registry import Registry, chosen

#: A name; or, with a port, a host or several.
Names = Union[Path, Sequence[Union[str, None]]]


def held(reference: SocketReference | None, sock: socket.socket | None, registry: Registry | None) -> SocketReference:
    """A reference of our own to what is bound."""
    if reference is not None:
        if sock is not None or registry is not None:
            raise ValueError("reference was given, so sock and registry cannot be")
        return reference.dup()
    assert sock is not None
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(4096)
    return chosen(registry).register_new(None, sock)


async def listen(
    registry: Registry | None, name: Names | None, port: int | None, options: ListenOptions
) -> list[SocketReference]:
    """Listen on a name, or on every address of hosts: on all of them or on none."""
    using = chosen(registry)
    given: ListenOptions = {"exclusive": True, **options}
    references: list[SocketReference] = []
    try:
        if port is not None:
            await _listen_on_hosts(using, _hosts(name), port, given, references)
        elif name is None or isinstance(name, (str, bytes, os.PathLike)):
            references.append(await using.start_listener(name, **given))
        else:
            raise TypeError("several hosts need a port")
    except BaseException as error:
        for reference in references:
            reference.close()
        if isinstance(error, SockrefError) and error.status in (EEXISTS, EBUSY):
            raise make_error(-errno.EADDRINUSE, message=error.strerror) from error
        raise
    return references


def _hosts(name: Names | None) -> list[str | None]:
    if not name:
        return [None]
    if isinstance(name, str):
        return [name]
    if isinstance(name, (bytes, os.PathLike)):
        raise TypeError("with a port, name must be a host as str, or several")
    return list(name)


async def _listen_on_hosts(
    registry: Registry, hosts: list[str | None], port: int, options: ListenOptions, references: list[SocketReference]
) -> None:
    """Add a reference for each address. One that this system does not have is left out where there are others."""
    lacking: OSError | None = None
    for address in await _addresses(hosts, port):
        given: ListenOptions = {"ipv6_only": ":" in address, **options}
        try:
            references.append(await registry.start_listener(tcp_name(address, port), **given))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            lacking = error
    if lacking and not references:
        raise lacking


async def _addresses(hosts: list[str | None], port: int) -> list[str]:
    """The numeric addresses of hosts, each once; those of None are every one of each family."""
    lookup = asyncio.get_running_loop().getaddrinfo
    found = await asyncio.gather(
        *(lookup(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE) for host in hosts)
    )
    return list(dict.fromkeys(_numeric(*address) for infos in found for *_, address in infos))


def _numeric(host: str, port: int, flow: int = 0, scope: int = 0) -> str:
    return f"{host}%{scope}" if scope else host
