"""Pools: several sockets behind one name, and which of them is picked (G42, G43)."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Unpack

import pytest
from helpers import LIMIT, code_of, left_in, name_that_tells_nothing, round_trip, run, script, sockets_in, until

import sockref
from sockref import Registry, SocketPool, SocketReference, SockrefError


def members(pool: SocketPool) -> list[str]:
    """The path of each member, in their order."""
    paths = []
    for _ in range(len(pool)):
        with pool.pick() as member:
            paths.append(member.path)
    return paths


def by_listen(path: Path | str | None, count: int, registry: Registry) -> SocketPool:
    return SocketPool.listen(path, count, registry=registry)


def by_start(path: Path | str | None, count: int, registry: Registry) -> SocketPool:
    return run(SocketPool.start(path, count, registry=registry))


def on_a_thread(path: Path | str | None, count: int, registry: Registry) -> SocketPool:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(by_listen, path, count, registry).result()


Begin = Callable[["Path | str | None", int, Registry], SocketPool]
ways = pytest.mark.parametrize("begin", [by_listen, by_start, on_a_thread], ids=lambda way: way.__name__)


@ways
def test_g42_several_names_behind_one(begin: Begin, path: Path, directory: Path) -> None:
    with Registry() as registry, begin(path, 3, registry) as pool:
        names = [f"{path}.{i}" for i in range(3)]
        assert len(pool) == 3 and members(pool) == names == sockets_in(directory)
        for _ in names:
            with pool.pick() as member:
                assert member.is_owner and member.reference_count == 2
                member.serve_echo()
        assert [round_trip(name, b"x") for name in names] == [b"x"] * 3
        pool.close()
        assert left_in(directory) == [] and registry.active_socket_count() == 0


def test_l72_two_names_in_turn(path: Path, directory: Path) -> None:
    pool = SocketPool.listen(path, 2)
    assert members(pool) == [f"{path}.0", f"{path}.1"]
    with pool.pick() as picked:
        assert picked.path == f"{path}.0"
        pool.close()
        assert sockets_in(directory) == [picked.path]
    assert os.listdir(directory) == []


@ways
def test_g42_ports(begin: Begin) -> None:
    with Registry() as registry, begin("tcp:127.0.0.1:0", 3, registry) as pool:
        ports = [int(name.rpartition(":")[2]) for name in members(pool)]
        assert len(set(ports)) == 3 and min(ports) >= 1024


@ways
def test_g42_ports_in_a_row(begin: Begin) -> None:
    for _ in range(20):  # somebody else may have the second one
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        with Registry() as registry:
            try:
                pool = begin(f"tcp:127.0.0.1:{first}", 2, registry)
            except OSError:
                continue
            with pool:
                assert members(pool) == [f"tcp:127.0.0.1:{first}", f"tcp:127.0.0.1:{first + 1}"]
            return
    pytest.fail("no two free ports were found")


@ways
def test_g42_ports_end(begin: Begin) -> None:
    with Registry() as registry:
        assert code_of(begin, "tcp:127.0.0.1:65535", 2, registry) == "ESOCKREF_PATH"
        assert registry.active_socket_count() == 0


@ways
def test_g42_fresh_names(begin: Begin, directory: Path) -> None:
    with Registry(directory=directory) as registry:
        with begin(None, 3, registry) as pool, begin(None, 1, registry) as other:
            assert sorted(members(pool) + members(other)) == sockets_in(directory)
            assert (len(pool), len(other)) == (3, 1)


@ways
def test_g42_all_or_none(begin: Begin, path: Path, directory: Path) -> None:
    taken = Path(f"{path}.2")
    taken.write_text("mine")
    with Registry() as registry:
        assert code_of(begin, path, 4, registry) == "ESOCKREF_FOREIGN"
        until(lambda: registry.active_socket_count() == 0)
        registry.drain(LIMIT)
        assert left_in(directory) == [] and taken.read_text() == "mine"
        taken.unlink()
        with begin(path, 4, registry) as pool:
            assert len(pool) == registry.active_socket_count() == 4


@ways
def test_g42_names_that_are_started_are_shared(begin: Begin, path: Path) -> None:
    with Registry() as registry, registry.listen(f"{path}.1") as reference:
        with begin(path, 2, registry), begin(path, 2, registry):
            assert reference.reference_count == 3
        assert reference.reference_count == registry.active_socket_count() == 1


@ways
def test_g42_no_such_number(begin: Begin, path: Path) -> None:
    with Registry() as registry:
        for wrong in (0, -1, 1025, 1 << 40):
            assert code_of(begin, path, wrong, registry) == "EINVAL"
        with pytest.raises(TypeError):
            begin(path, "2", registry)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            begin(3, 2, registry)  # type: ignore[arg-type]
        assert registry.active_socket_count() == 0


@ways
def test_g42_what_names_are_made_of_is_a_name(begin: Begin, directory: Path) -> None:
    with Registry() as registry:
        for wrong in ("", "relative", "@", f"{directory}/", f"{directory}/..", "tcp:127.0.0.1", "tcp:127.0.0.1:http"):
            assert code_of(begin, wrong, 2, registry) == "ESOCKREF_PATH"
        assert os.listdir(directory) == []


@ways
def test_g42_names_of_which_one_is_too_long_are_not_begun(begin: Begin, directory: Path) -> None:
    """Of eleven, ten have room in a socket's address."""
    name = f"@{directory.name}".ljust(105, "x")
    with Registry() as registry:
        assert code_of(begin, name, 11, registry) == "ESOCKREF_PATHLEN"
        assert registry.stats().created == 0
        with begin(name, 10, registry) as pool:
            assert len(pool) == 10


@ways
def test_g42_a_port_of_any_length_is_refused(begin: Begin) -> None:
    with Registry() as registry:
        assert code_of(begin, f"tcp:127.0.0.1:{'1' * 5000}", 2, registry) == "ESOCKREF_PATH"


@ways
def test_g42_the_name_without_ending_may_be_used_up(begin: Begin, path: Path) -> None:
    with Registry(max_references=2) as registry, registry.listen(path) as reference, reference.dup():
        with begin(path, 2, registry):
            assert registry.active_socket_count() == 3


class Counted(Registry):
    """As long as it has no names, it is false."""

    def __len__(self) -> int:
        return self.active_socket_count()


@ways
def test_g42_a_registry_that_is_false(begin: Begin, path: Path) -> None:
    with Counted() as registry, begin(path, 2, registry):
        assert registry.active_socket_count() == 2 and sockref.active_socket_count() == 0
    for wrong in ("", 0, "registry", sockref):
        with pytest.raises(TypeError):
            begin(path, 2, wrong)  # type: ignore[arg-type]


def test_g42_options_are_those_of_a_start(path: Path) -> None:
    with pytest.raises(TypeError):
        SocketPool.listen(path, 2, max_sockets=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        run(SocketPool.start(path, 2, whatever=3))  # type: ignore[call-arg]
    for pool in (run(SocketPool.start(path, 2, mode=0o640)), SocketPool.listen(path, 2, mode=0o640)):
        with pool:
            assert {os.stat(name).st_mode & 0o777 for name in members(pool)} == {0o640}


def test_g42_starts_go_side_by_side_and_are_cancelled_together() -> None:
    async def main() -> None:
        task = asyncio.create_task(SocketPool.start(name, 3, registry=registry, start_timeout_ms=int(LIMIT * 1000)))
        while registry.active_socket_count() < 2:  # while the first one waits
            assert not task.done()
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    name = f"@sockref-test-{os.getpid()}"
    with name_that_tells_nothing(name + ".0"), Registry() as registry:
        run(main())
        registry.drain(LIMIT)
        assert registry.active_socket_count() == 0


class WithAStartThatWaits(Registry):
    """Of the first name of a pool nothing is ever heard."""

    async def start_listener(
        self, path: sockref.Path | None = None, **options: Unpack[sockref.ListenOptions]
    ) -> SocketReference:
        if os.fsdecode(path or "").endswith(".0"):
            await asyncio.Event().wait()
        return await super().start_listener(path, **options)


def test_g42_a_start_that_fails_ends_those_that_wait(path: Path, directory: Path) -> None:
    taken = Path(f"{path}.2")
    taken.write_text("mine")
    with WithAStartThatWaits() as registry:
        assert code_of(by_start, path, 3, registry) == "ESOCKREF_FOREIGN"
        registry.drain(LIMIT)
        assert left_in(directory) == []
    taken.unlink()


def test_g42_listen_lets_go_of_the_gil() -> None:
    """On another thread, where it waits in the library."""
    name = f"@sockref-test-{os.getpid()}"
    with Registry() as registry, ThreadPoolExecutor(1) as executor:
        with name_that_tells_nothing(name + ".1"):
            told = executor.submit(
                SocketPool.listen, name, 2, registry=registry, start_timeout_ms=int(LIMIT * 1000)
            )
            until(registry.active_socket_count)
            assert not told.done()
        with told.result() as pool:
            assert members(pool) == [name + ".0", name + ".1"]


def test_g42_add_and_remove(path: Path, directory: Path) -> None:
    with SocketPool() as pool, Registry() as registry:
        first, second = sockref.listen(path), registry.listen(directory / "b")
        pool.add(first)
        pool.add(second)
        assert len(pool) == 2 and first.reference_count == 2
        with first.dup() as again:
            assert code_of(pool.add, again) == "ESOCKREF_EXISTS"
        assert len(pool) == 2 and first.reference_count == 2
        pool.remove(first)
        assert len(pool) == first.reference_count == 1
        assert code_of(pool.remove, first) == "ESOCKREF_NOTFOUND"
        second.close()
        assert code_of(pool.add, second) == code_of(pool.remove, second) == "ESOCKREF_CLOSED"
        sockref.cleanup(path)
        assert code_of(pool.add, first) == "ESOCKREF_CLOSED"
        first.close()
        assert members(pool) == [str(directory / "b")]


def test_g42_a_revoked_member_gives_its_place_to_the_next_life(path: Path) -> None:
    with SocketPool.listen(path, 2) as pool:
        names = members(pool)
        sockref.cleanup(names[0])
        with sockref.listen(names[0]) as again:
            pool.add(again)
            assert len(pool) == again.reference_count == 2
            assert sorted(members(pool)) == names


def test_g43_in_turn(path: Path) -> None:
    with SocketPool.listen(path, 3) as pool:
        names = [f"{path}.{i}" for i in range(3)]
        assert members(pool) + members(pool) == names * 2
        picked = pool.pick(policy="round-robin")
        assert picked.path == names[0]
        sockref.cleanup(names[1])
        assert [pool.pick().path for _ in range(3)] == [names[2], names[0], names[2]]
        picked.close()
        sockref.cleanup_all()
        assert len(pool) == 3 and code_of(pool.pick) == "ESOCKREF_NOTFOUND"
        with pytest.raises(FileNotFoundError):
            pool.pick("least-references")
    assert code_of(SocketPool().pick) == "ESOCKREF_NOTFOUND"


def test_g43_least_references(path: Path) -> None:
    with SocketPool.listen(path, 3) as pool:
        held = [pool.pick("least-references") for _ in range(6)]
        assert {reference.reference_count for reference in held} == {3}
        free = held.pop(4)
        free.close()
        with pool.pick("least-references") as picked:
            assert picked.path == free.path and picked.reference_count == 3
        for reference in held:
            reference.close()


def test_g43_as_many_references_as_there_may_be(path: Path) -> None:
    with Registry(max_references=2) as registry, SocketPool.listen(path, 2, registry=registry) as pool:
        held = [pool.pick(), pool.pick()]
        assert {code_of(pool.pick), code_of(pool.pick, "least-references")} == {"ESOCKREF_LIMIT"}
        held.pop().close()
        with pool.pick() as picked:
            assert picked.path == f"{path}.1"
        held.pop().close()


def test_wrong_arguments(path: Path) -> None:
    with SocketPool() as pool, sockref.listen(path) as reference:
        pool.add(reference)
        for policy in ("", "random", "round_robin"):
            with pytest.raises(ValueError):
                pool.pick(policy)  # type: ignore[arg-type]
        for wrong in (None, 1, [], b"round-robin"):
            with pytest.raises(TypeError):
                pool.pick(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                pool.add(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                pool.remove(wrong)  # type: ignore[arg-type]
        assert reference.reference_count == 2


def test_closed_pool(path: Path) -> None:
    pool = SocketPool.listen(path, 2)
    assert repr(pool) == "<sockref.SocketPool open members=2>"
    picked = pool.pick()
    with pool:
        pass
    pool.close()
    assert len(pool) == 0 and repr(pool) == "<sockref.SocketPool closed members=0>"
    for call in (lambda: pool.add(picked), lambda: pool.remove(picked), pool.pick, pool.__enter__):
        assert code_of(call) == "ESOCKREF_CLOSED"
    assert picked.is_active and picked.reference_count == 1
    picked.close()


def test_closed_registry_starts_no_pool(path: Path, directory: Path) -> None:
    registry = Registry()
    registry.close()
    for begin in (by_listen, by_start):
        assert code_of(begin, path, 2, registry) == "ESOCKREF_CLOSED"

    async def main() -> None:
        registry = Registry()
        task = asyncio.create_task(SocketPool.start(path, 3, registry=registry))
        await asyncio.sleep(0)
        registry.close()
        with pytest.raises(SockrefError):
            await task

    run(main())
    sockref.drain(LIMIT)
    assert left_in(directory) == []


def test_registry_that_ends_with_a_call_that_fails() -> None:
    """Starts that its end cancels are told while the error of the call waits to be raised."""

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            registry = Registry()
            failing = executor.submit(SocketPool.listen, name, 2, registry=registry, start_timeout_ms=200)
            while not registry.active_socket_count():
                await asyncio.sleep(0.002)
            waiting = asyncio.create_task(registry.start_listener(name + ".1"))
            await asyncio.sleep(0)
            registry.close()  # the call is the last one that uses it
            for told, code in ((asyncio.wrap_future(failing), "ESOCKREF_BUSY"), (waiting, "ESOCKREF_CANCELED")):
                with pytest.raises(SockrefError) as caught:
                    await told
                assert caught.value.code == code

    name = f"@sockref-test-{os.getpid()}"
    with name_that_tells_nothing(name + ".1"):
        run(main())


def test_forgotten_pool(path: Path, directory: Path) -> None:
    pool = SocketPool.listen(path, 2)
    del pool
    gc.collect()
    assert left_in(directory) == []


def test_nothing_is_copied_or_pickled() -> None:
    attempts: list[Callable[[object], object]] = [copy.copy, copy.deepcopy, pickle.dumps]
    with SocketPool() as pool:
        for attempt in attempts:
            with pytest.raises(TypeError, match="cannot copy or pickle"):
                attempt(pool)


def test_many_threads_use_one_pool(path: Path) -> None:
    failures: list[BaseException] = []
    with SocketPool.listen(path, 3) as pool, sockref.listen(path) as extra:

        def work(number: int) -> None:
            try:
                for turn in range(200):
                    with pool.pick("least-references" if turn % 2 else "round-robin") as member:
                        assert member.is_active and len(pool) in (3, 4)
                    if number == 0:
                        pool.add(extra)
                        pool.remove(extra)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and len(pool) == 3 and extra.reference_count == 1


def test_close_races_calls(path: Path) -> None:
    with sockref.listen(path) as extra:
        for _ in range(50):
            pool = SocketPool()
            pool.add(extra)
            failures: list[BaseException] = []
            go = threading.Barrier(4)

            def call(
                pool: SocketPool = pool, go: threading.Barrier = go, failures: list[BaseException] = failures
            ) -> None:
                go.wait()
                for _ in range(50):
                    try:
                        assert len(pool) in (0, 1)
                        pool.pick().close()
                    except SockrefError as error:
                        if error.code != "ESOCKREF_CLOSED":
                            failures.append(error)
                    except BaseException as error:
                        failures.append(error)

            threads = [threading.Thread(target=call) for _ in range(3)]
            for thread in threads:
                thread.start()
            go.wait()
            pool.close()
            for thread in threads:
                thread.join()
            assert failures == []
        assert extra.reference_count == 1


def test_fork_with_a_pool(path: Path, directory: Path) -> None:
    script(
        """
        import os, sys, sockref
        pool = sockref.SocketPool.listen(sys.argv[1], 2)
        extra = sockref.listen(sys.argv[1])
        pid = os.fork()
        if pid == 0:
            for call in (pool.pick, lambda: pool.add(extra), lambda: pool.remove(extra)):
                try:
                    call()
                except sockref.SockrefError as error:
                    assert error.code == "ESOCKREF_FORKED", error
                else:
                    raise AssertionError("not forked")
            pool.close()
            own = sockref.SocketPool.listen(sys.argv[1], 2)
            with own.pick() as member:
                assert member.is_active and not member.is_owner
            own.close()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        with pool.pick() as member:
            assert member.is_owner and os.path.exists(member.path)
        """,
        path,
    )
    assert left_in(directory) == []


def test_picked_reference_is_one_as_any_other(path: Path) -> None:
    async def main() -> None:
        with await SocketPool.start(path, 2) as pool:
            first = pool.pick()
            assert isinstance(first, SocketReference)
            first.serve_echo()
            reader, writer = await asyncio.open_unix_connection(first.path)
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            first.close()
            pool.close()
            assert await reader.read() == b""  # served no more
            writer.close()
            await writer.wait_closed()

    run(main())
