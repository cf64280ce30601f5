"""What a server for asyncio listens on: a name, a socket that is bound already, or every address of its hosts."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Union, cast

from ._client import refuse, tcp_name
from ._errors import EBUSY, EEXISTS, EPATH, SockrefError, make_error
from ._options import ListenOptions
from ._paths import Path
from ._reference import SocketReference
from ._registry import Registry, chosen


class ServerOptions(ListenOptions, total=False):
    """Options of a server: of the start, and what asyncio takes besides."""

    family: int
    """TCP: only addresses of socket.AF_INET or socket.AF_INET6. Default: both."""
    flags: int
    """Of the lookup of hosts. Default socket.AI_PASSIVE."""
    keep_alive: bool | None
    """As keepalive."""
    reuse_address: bool | None
    """True, or None: TCP: connections that are not over yet do not keep the port from a new start."""
    cleanup_socket: bool
    """True: the socket file goes with the name."""
    ssl_handshake_timeout: float | None
    """None, as the next: there is no TLS."""
    ssl_shutdown_timeout: float | None


ASYNCIOS = ServerOptions.__optional_keys__ - ListenOptions.__optional_keys__
ONLY: dict[str, tuple[object, ...]] = {"reuse_address": (None, True), "cleanup_socket": (True,)}

#: A name; or, with a port, a host or several.
Names = Union[Path, Sequence[Union[str, None]]]


def held(
    reference: SocketReference | None, sock: socket.socket | None, registry: Registry | None, backlog: int | None
) -> SocketReference:
    """A reference of our own to what is bound."""
    if reference is not None:
        if sock is not None or registry is not None:
            raise ValueError("reference was given, so sock and registry cannot be")
        return reference.dup()
    assert sock is not None
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"only a stream socket can be served, not {sock!r}")
    if backlog is not None or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(4096 if backlog is None else backlog)
    return chosen(registry).register_new(None, sock)


async def listen(
    registry: Registry | None, name: Names | None, port: int | None, options: ServerOptions
) -> list[SocketReference]:
    """Listen on a name, or on every address of hosts: on all of them or on none."""
    using = chosen(registry)
    family, flags = options.get("family", 0), options.get("flags", socket.AI_PASSIVE)
    given = cast(ListenOptions, {"exclusive": True, **options_of_start(options)})
    references: list[SocketReference] = []
    if family and port is None:
        name, port = _host_and_port(name)
    try:
        if port is not None:
            addresses = await _addresses(_hosts(name), port, family, flags)
            await _listen_on(using, addresses, port, given, references)
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


def options_of_start(options: ServerOptions) -> dict[str, object]:
    return {name: value for name, value in options.items() if name not in ASYNCIOS}


def _host_and_port(name: Names | None) -> tuple[str, int]:
    """Those of a TCP name, to look the host up."""
    if isinstance(name, (str, bytes, os.PathLike)):
        scheme, _, rest = os.fsdecode(name).partition(":")
        host, _, port = rest.rpartition(":")
        if scheme == "tcp" and port.isdecimal():
            return host.strip("[]"), int(port)
    raise ValueError(f"only a TCP name has a family, not {name!r}")


def _hosts(name: Names | None) -> list[str | None]:
    if name is None or name == "":
        return [None]
    if isinstance(name, str):
        return [name]
    if isinstance(name, (bytes, os.PathLike)):
        raise TypeError("with a port, name must be a host as str, or several")
    return list(name)


async def _listen_on(
    registry: Registry, addresses: list[str], port: int, options: ListenOptions, references: list[SocketReference]
) -> None:
    """Add a reference for each address. One that this system does not have is left out where there are others."""
    lacking: OSError | None = None
    for address in addresses:
        given: ListenOptions = {"ipv6_only": ":" in address, **options}
        try:
            references.append(await registry.start_listener(tcp_name(address, port), **given))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            lacking = error
    try:
        if not references:
            raise lacking or make_error(-errno.EADDRNOTAVAIL, message="there is no host to listen on")
    finally:
        lacking = None  # else the exception refers to itself, by its traceback


async def _addresses(hosts: list[str | None], port: int, family: int, flags: int) -> list[str]:
    """The numeric addresses of hosts, each once; those of None are every one of each family."""
    for host in hosts:
        if isinstance(host, str) and "\0" in host:  # the lookup would take what is before it
            raise make_error(EPATH, message=f"a host cannot contain a NUL byte: {host!r}")
    lookup = asyncio.get_running_loop().getaddrinfo
    found = await asyncio.gather(
        *(lookup(host, port, family=family, type=socket.SOCK_STREAM, flags=flags) for host in hosts)
    )
    return list(dict.fromkeys(_numeric(*address) for infos in found for *_, address in infos))


def _numeric(host: object, port: object, flow: object = 0, scope: object = 0) -> str:
    return f"{host}%{scope}" if scope else str(host)
