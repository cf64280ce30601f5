"""The objects as Python has them: what they say of themselves, copies, pickles, ``with``, numbers, documentation."""

from __future__ import annotations

import copy
import inspect
import math
import os
import pickle
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import End, code_of, on_its_thread, pair, run, until

import sockref
import sockref.aio
import sockref.compat


def test_objects_say_what_they_are(path: Path) -> None:
    async def main() -> None:
        made: list[Any] = []
        async with await sockref.aio.start_server(lambda reader, writer: made.append(writer), path) as server:
            assert repr(server) == f"<sockref.aio.Server {str(path)!r} serving>"
            _, writer = await sockref.aio.open_connection(path)
            transport: Any = writer.transport
            found = transport.get_extra_info("socket")
            assert repr(transport) == f"<sockref.aio.Transport open fd={found.fileno()}>"
            assert repr(found).startswith(f"<sockref.aio.TransportSocket fd={found.fileno()} family=")
            transport.pause_reading()
            assert repr(transport).endswith(" reading-paused>")
            writer.close()
            assert repr(transport).startswith("<sockref.aio.Transport closing ")
            await writer.wait_closed()
            assert repr(transport) == "<sockref.aio.Transport closed fd=-1 reading-paused>"
            until(lambda: made)
            made.pop().close()
        assert repr(server) == f"<sockref.aio.Server {str(path)!r} closed>"

    run(main())
    served, dialled = End(), End()
    with pair(path, served, dialled) as (_, near):
        fd = on_its_thread(near, near.fileno)
        assert repr(near) == f"<sockref.Connection fd={fd}>"
    assert repr(near) == "<sockref.Connection closed fd=-1>"
    with sockref.Registry() as registry, registry.listen(path) as reference:
        assert repr(registry) == "<sockref.Registry active=1>"
        assert repr(reference) == f"<sockref.SocketReference {str(path)!r} active references=1>"
    assert repr(reference) == f"<sockref.SocketReference {str(path)!r} closed references=0>"
    assert repr(registry) == "<sockref.Registry active=0>"


def test_nothing_that_is_alive_is_copied_or_pickled(path: Path) -> None:
    async def main() -> None:
        async with await sockref.aio.start_server(lambda reader, writer: writer.close(), path) as server:
            _, writer = await sockref.aio.open_connection(path)
            transport = writer.transport
            refuse(server, server.reference, transport, transport.get_extra_info("socket"))
            writer.close()
            await writer.wait_closed()

    def refuse(*objects: object) -> None:
        attempts: list[Callable[[object], object]] = [copy.copy, copy.deepcopy, pickle.dumps]
        for one in objects:
            for attempt in attempts:
                with pytest.raises(TypeError, match="cannot copy or pickle"):
                    attempt(one)

    run(main())
    served, dialled = End(), End()
    with pair(path, served, dialled) as ends, sockref.Registry() as registry:
        refuse(*ends, registry)


def test_with_wants_what_is_open(path: Path) -> None:
    reference, registry = sockref.listen(path), sockref.Registry()
    with reference, registry:
        pass
    for closed in (reference, registry):
        assert code_of(closed.__enter__) == "ESOCKREF_CLOSED"


def test_numbers_that_do_not_fit(path: Path) -> None:
    served, dialled = End(), End()
    with pair(path, served, dialled) as (_, near):

        def refuse() -> None:
            for wrong in (-1, 1 << 31, 1 << 32, 1 << 70, -(1 << 70)):
                with pytest.raises(ValueError):
                    near.set_timeout(wrong)
                with pytest.raises(ValueError):
                    near.set_keepalive(True, wrong)
            for text in ("1", 1.5, None):
                with pytest.raises(TypeError):
                    near.set_timeout(text)
            near.set_timeout((1 << 31) - 1)
            assert near.info().timeout_ms == (1 << 31) - 1

        on_its_thread(near, refuse)
    with sockref.listen(path) as reference:
        for wrong in (-1, 1 << 64):
            with pytest.raises(ValueError):
                reference.set_max_connections(wrong)
        with pytest.raises(TypeError):
            reference.set_max_connections("1")  # type: ignore[arg-type]


def test_times_of_any_length(path: Path) -> None:
    sockref.drain(math.inf)
    with pytest.raises(ValueError):
        sockref.drain(math.nan)
    with sockref.Registry() as registry, registry.listen(path, cleanup_delay_ms=60_000):
        pass
    with pytest.raises(FileNotFoundError):
        run(sockref.aio.open_connection(path, timeout=math.inf, happy_eyeballs_delay=math.inf))


def test_sockets_share_their_state_with_no_copy(path: Path) -> None:
    """A copy that is blocking would make the one that the loop reads from blocking as well."""

    async def main() -> None:
        async with await sockref.aio.start_server(lambda reader, writer: writer.close(), path) as server:
            _, writer = await sockref.aio.open_connection(path)
            transport = writer.transport
            fd = transport.get_extra_info("socket").fileno()
            with transport.get_extra_info("socket").dup() as other, other.dup() as third:
                assert other.gettimeout() == third.gettimeout() == 0
            assert not os.get_blocking(fd)
            with server.reference.socket() as listener, listener.dup() as copied, server.sockets[0].dup() as another:
                assert listener.gettimeout() == copied.gettimeout() == another.gettimeout() == 0
                assert not os.get_blocking(listener.fileno())
            writer.close()
            await writer.wait_closed()

    run(main())


def documented(module: ModuleType) -> list[tuple[str, Any]]:
    """Every public class and function of a module, and every public member of its classes."""
    names = [name for name in module.__all__ if name not in ("Address", "Path")]  # of types, which have no text
    found = [(f"{module.__name__}.{name}", getattr(module, name)) for name in names]
    for name, value in list(found):
        if inspect.isclass(value):
            members = [(member, getattr(value, member)) for member in vars(value) if not member.startswith("_")]
            found += [
                (f"{name}.{member}", what) for member, what in members if callable(what) or isinstance(what, property)
            ]
    return found


@pytest.mark.parametrize("module", [sockref, sockref.aio, sockref.compat], ids=lambda module: module.__name__)
def test_everything_is_documented(module: ModuleType) -> None:
    lacking = [name for name, value in documented(module) if not inspect.getdoc(value)]
    assert lacking == []


@pytest.mark.parametrize("module", [sockref, sockref.aio, sockref.compat], ids=lambda module: module.__name__)
def test_every_annotation_can_be_looked_up(module: ModuleType) -> None:
    for _, value in documented(module):
        if not isinstance(value, str):
            typing.get_type_hints(value.fget if isinstance(value, property) else value)
