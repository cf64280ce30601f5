"""Owners that end in order: L49 and L50 of tests/lifecycle.md, and what is Python's own in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Agent, Echo, Watcher, dial, is_empty, round_trip, run, until

import sockref
import sockref.aio
from sockref import Registry, WatchEvent


@contextlib.contextmanager
def never_refused(path: Path) -> Iterator[None]:
    """Dial from before to after; nobody has to serve."""
    refusals: list[OSError] = []
    dialled = 0
    stop = threading.Event()

    def work() -> None:
        nonlocal dialled
        while not stop.wait(0.001):
            try:
                dial(path).close()
            except BlockingIOError:
                pass  # the queue is full
            except OSError as error:
                refusals.append(error)
                return
            dialled += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: dialled > 5 or refusals)
        yield
        before = dialled
        until(lambda: dialled > before + 5 or refusals)
    finally:
        stop.set()
        thread.join()
    assert refusals == []


def test_l49_handed_over_to_here(path: Path) -> None:
    with Agent() as agent:
        agent.start(path)
        reference = sockref.listen(path)
        watcher = Watcher(reference)
        inode = os.lstat(path).st_ino
        with never_refused(path):
            agent.do("close")
            watcher.hears(WatchEvent.OWNER)
            assert reference.is_owner and reference.holder_count == 1
        assert os.lstat(path).st_ino == inode
        reference.serve(Echo())
        assert agent.do("dial", path=path, text="the new owner")["text"] == "the new owner"
    reference.close()
    is_empty(path.parent)


def test_l49_handed_over_from_here(path: Path) -> None:
    with Agent() as agent:
        reference = sockref.listen(path)
        agent.start(path)
        inode = os.lstat(path).st_ino
        with never_refused(path):
            reference.close()
            agent.hear("owner")
        assert agent.ask("status") == {"active": True, "owner": True, "holders": 1, "count": 1}
        assert os.lstat(path).st_ino == inode
        agent.do("serve")
        assert round_trip(path, b"x") == b"x"
    is_empty(path.parent)


def test_l49_on_asyncio_nobody_in_the_queue_is_lost(path: Path) -> None:
    handlers = Echo()

    async def main() -> None:
        with Agent() as agent:
            agent.start(path)
            reference = await sockref.start_listener(path)
            owns = asyncio.Event()

            def told(event: WatchEvent) -> None:
                assert event is WatchEvent.OWNER and reference.is_owner
                reference.serve(handlers)
                owns.set()

            reference.watch(told)
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"queued before")
            writer.write_eof()
            await asyncio.to_thread(agent.do, "close")
            await owns.wait()
            assert await reader.read() == b"queued before"
            writer.close()
            await writer.wait_closed()
            reference.close()

    run(main())
    assert handlers.calls[0] == "connection"
    is_empty(path.parent)


def test_l49_end_of_a_process_that_holds(path: Path) -> None:
    with sockref.Registry() as registry, Agent() as agent:
        agent.start(path)
        reference = registry.listen(path)
        watcher = Watcher(reference)
        inode = os.lstat(path).st_ino
        with never_refused(path):
            agent.do("exit")
            watcher.hears(WatchEvent.OWNER)
        assert reference.is_owner and os.lstat(path).st_ino == inode
        reference.close()
    is_empty(path.parent)


def test_l50_owner_that_serves_ends_its_last_reference(path: Path) -> None:
    with Agent() as agent:
        agent.start(path)
        agent.do("serve")
        reference = sockref.listen(path)
        agent.do("close")
        assert reference.is_active and not reference.is_owner and reference.holder_count == 1
        assert round_trip(path, b"served on") == b"served on"
        reference.close()
        is_empty(path.parent)
        # Its process is still there, and may begin again.
        assert agent.start(path)["owner"] is True
        agent.do("close")


@pytest.mark.parametrize("where", ["asyncio", "thread"])
def test_l50_handlers_in_python(where: str, path: Path) -> None:
    handlers = Echo()

    async def main() -> None:
        with Agent() as agent:
            with sockref.listen(path) as reference:
                if where == "asyncio":
                    reference.serve(handlers)
                else:
                    await asyncio.to_thread(reference.serve, handlers)
                agent.start(path)
            assert not sockref.is_socket_active(path)
            answer = await asyncio.to_thread(agent.do, "dial", path=path, text="served on")
            assert answer["text"] == "served on"
            assert "stop" not in handlers.calls
            agent.do("close")
            while "stop" not in handlers.calls:
                await asyncio.sleep(0.001)
        assert handlers.calls[-1] == "stop"

    run(main())
    is_empty(path.parent)


def test_two_registries_hand_over(path: Path) -> None:
    with Registry() as one, Registry() as two:
        first, second = one.listen(path), two.listen(path)
        watcher = Watcher(second)
        inode = os.lstat(path).st_ino
        with never_refused(path):
            first.close()
            watcher.hears(WatchEvent.OWNER)
        assert second.is_owner and second.holder_count == 1 and os.lstat(path).st_ino == inode
        second.close()
    is_empty(path.parent)


def test_dropped_owner_hands_over(path: Path) -> None:
    """The finalizer does as close() does."""
    with Registry() as one, Registry() as two:
        first, second = one.listen(path), two.listen(path)
        watcher = Watcher(second)
        del first
        watcher.hears(WatchEvent.OWNER)
        assert second.is_owner
        second.close()
    is_empty(path.parent)


def test_no_hand_over(path: Path) -> None:
    with Registry(handover=False) as one, Registry() as two:
        first, second = one.listen(path), two.listen(path)
        watcher = Watcher(second)
        first.close()
        watcher.hears(WatchEvent.LOST)
        assert not second.is_active
        second.close()
    is_empty(path.parent)


def test_third_holder_hears_of_the_new_owner(path: Path) -> None:
    with Registry() as one, Registry() as two, Registry() as three:
        first, second, third = one.listen(path), two.listen(path), three.listen(path)
        watchers = Watcher(second), Watcher(third)
        first.close()
        for watcher in watchers:
            watcher.hears(WatchEvent.OWNER)
        until(lambda: second.is_owner != third.is_owner)
        assert second.is_active and third.is_active and second.holder_count == third.holder_count == 2
        second.close()
        third.close()
    is_empty(path.parent)


def test_loop_of_a_lingering_service_is_closed(path: Path) -> None:
    """The last reference is gone, others hold the name, and then what served it goes too."""
    handlers = Echo()
    with Agent() as agent:

        async def main() -> None:
            with await sockref.start_listener(path) as reference:
                reference.serve(handlers)
                agent.start(path)

        run(main())
        until(lambda: "stop" in handlers.calls)
        agent.hear("owner")
        agent.do("serve")
        assert round_trip(path, b"x") == b"x"
        agent.do("close")
    is_empty(path.parent)
