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
from pathlib import Path

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


def by_listen(pool: SocketPool, path: Path | str | None, count: int, registry: Registry) -> None:
    pool.listen(path, count, registry=registry)


def by_start(pool: SocketPool, path: Path | str | None, count: int, registry: Registry) -> None:
    run(pool.start(path, count, registry=registry))


def on_a_thread(pool: SocketPool, path: Path | str | None, count: int, registry: Registry) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            pool.listen(path, count, registry=registry)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


Begin = Callable[[SocketPool, "Path | str | None", int, Registry], None]
ways = pytest.mark.parametrize("begin", [by_listen, by_start, on_a_thread], ids=lambda way: way.__name__)


@ways
def test_g42_several_names_behind_one(begin: Begin, path: Path, directory: Path) -> None:
    with Registry() as registry, SocketPool() as pool:
        begin(pool, path, 3, registry)
        names = [f"{path}.{i}" for i in range(3)]
        assert len(pool) == 3 and members(pool) == names == sockets_in(directory)
        for _ in names:
            with pool.pick() as member:
                assert member.is_owner and member.reference_count == 2
                member.serve_echo()
        assert [round_trip(name, b"x") for name in names] == [b"x"] * 3
        pool.close()
        assert left_in(directory) == [] and registry.active_socket_count() == 0


@ways
def test_g42_ports(begin: Begin) -> None:
    with Registry() as registry, SocketPool() as pool:
        begin(pool, "tcp:127.0.0.1:0", 3, registry)
        ports = [int(name.rpartition(":")[2]) for name in members(pool)]
        assert len(set(ports)) == 3 and 0 not in ports


@ways
def test_g42_ports_in_a_row(begin: Begin) -> None:
    for _ in range(20):  # somebody else may have the second one
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        with Registry() as registry, SocketPool() as pool:
            try:
                begin(pool, f"tcp:127.0.0.1:{first}", 2, registry)
            except OSError:
                continue
            assert members(pool) == [f"tcp:127.0.0.1:{first}", f"tcp:127.0.0.1:{first + 1}"]
            return
    pytest.fail("no two free ports were found")


@ways
def test_g42_ports_end(begin: Begin) -> None:
    with Registry() as registry, SocketPool() as pool:
        assert code_of(begin, pool, "tcp:127.0.0.1:65535", 2, registry) == "ESOCKREF_PATH"
        assert len(pool) == registry.active_socket_count() == 0


@ways
def test_g42_fresh_names(begin: Begin, directory: Path) -> None:
    with Registry(directory=directory) as registry, SocketPool() as pool:
        begin(pool, None, 3, registry)
        begin(pool, None, 1, registry)
        assert sorted(members(pool)) == sockets_in(directory) and len(pool) == 4


@ways
def test_g42_all_or_none(begin: Begin, path: Path, directory: Path) -> None:
    taken = Path(f"{path}.2")
    taken.write_text("mine")
    with Registry() as registry, SocketPool() as pool:
        assert code_of(begin, pool, path, 4, registry) == "ESOCKREF_FOREIGN"
        assert len(pool) == 0
        until(lambda: registry.active_socket_count() == 0)
        registry.drain(LIMIT)
        assert left_in(directory) == [] and taken.read_text() == "mine"
        taken.unlink()
        begin(pool, path, 3, registry)
        assert code_of(begin, pool, path, 4, registry) == "ESOCKREF_EXISTS"
        assert len(pool) == registry.active_socket_count() == 3


@ways
def test_g42_no_such_number(begin: Begin, path: Path) -> None:
    with Registry() as registry, SocketPool() as pool:
        for wrong in (0, -1, 1025, 1 << 40):
            assert code_of(begin, pool, path, wrong, registry) == "EINVAL"
        with pytest.raises(TypeError):
            begin(pool, path, "2", registry)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            begin(pool, 3, 2, registry)  # type: ignore[arg-type]
        assert len(pool) == registry.active_socket_count() == 0


@ways
def test_g42_what_names_are_made_of_is_a_name(begin: Begin, directory: Path) -> None:
    with Registry() as registry, SocketPool() as pool:
        for wrong in ("", "relative", "@", f"{directory}/", f"{directory}/..", "tcp:127.0.0.1", "tcp:127.0.0.1:http"):
            assert code_of(begin, pool, wrong, 2, registry) == "ESOCKREF_PATH"
        assert len(pool) == 0 and os.listdir(directory) == []


def test_g42_options_are_those_of_a_start(path: Path) -> None:
    with SocketPool() as pool:
        with pytest.raises(TypeError):
            pool.listen(path, 2, max_sockets=3)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            run(pool.start(path, 2, whatever=3))  # type: ignore[call-arg]
        run(pool.start(path, 2, mode=0o640))
        assert {os.stat(name).st_mode & 0o777 for name in members(pool)} == {0o640}


def test_g42_starts_go_side_by_side_and_are_cancelled_together() -> None:
    async def main() -> None:
        task = asyncio.create_task(pool.start(name, 3, registry=registry, start_timeout_ms=int(LIMIT * 1000)))
        while registry.active_socket_count() < 2:  # while the first one waits
            assert not task.done()
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    name = f"@sockref-test-{os.getpid()}"
    with name_that_tells_nothing(name + ".0"), Registry() as registry, SocketPool() as pool:
        run(main())
        assert len(pool) == 0
        registry.drain(LIMIT)
        assert registry.active_socket_count() == 0


def test_g42_listen_lets_go_of_the_gil() -> None:
    """On another thread, where it waits in the library; the pool can be used meanwhile."""
    name = f"@sockref-test-{os.getpid()}"
    with Registry() as registry, SocketPool() as pool:

        def work() -> None:
            pool.listen(name, 2, registry=registry, start_timeout_ms=int(LIMIT * 1000))

        thread = threading.Thread(target=work)
        with name_that_tells_nothing(name + ".1"):
            thread.start()
            until(registry.active_socket_count)
            assert len(pool) == 0 and code_of(pool.pick) == "ESOCKREF_NOTFOUND"
        thread.join()
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


def test_g43_in_turn(path: Path, directory: Path) -> None:
    with SocketPool() as pool:
        pool.listen(path, 3)
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
    with SocketPool() as pool:
        pool.listen(path, 3)
        held = [pool.pick("least-references") for _ in range(6)]
        assert {reference.reference_count for reference in held} == {3}
        free = held.pop(4)
        free.close()
        with pool.pick("least-references") as picked:
            assert picked.path == free.path and picked.reference_count == 3
        for reference in held:
            reference.close()


def test_g43_as_many_references_as_there_may_be(path: Path) -> None:
    with Registry(max_references=2) as registry, SocketPool() as pool:
        pool.listen(path, 2, registry=registry)
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
    pool = SocketPool()
    pool.listen(path, 2)
    assert repr(pool) == "<sockref.SocketPool open members=2>"
    picked = pool.pick()
    with pool:
        pass
    pool.close()
    assert len(pool) == 0 and repr(pool) == "<sockref.SocketPool closed members=0>"
    for call in (lambda: pool.add(picked), lambda: pool.remove(picked), pool.pick, pool.__enter__):
        assert code_of(call) == "ESOCKREF_CLOSED"
    assert code_of(pool.listen, path, 2) == code_of(lambda: run(pool.start(path, 2))) == "ESOCKREF_CLOSED"
    assert picked.is_active and picked.reference_count == 1
    picked.close()


def test_close_while_names_start(path: Path, directory: Path) -> None:
    async def main() -> None:
        pool = SocketPool()
        task = asyncio.create_task(pool.start(path, 3))
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(SockrefError, match="closed"):
            await task

    run(main())
    sockref.drain(LIMIT)
    assert left_in(directory) == []


def test_forgotten_pool(path: Path, directory: Path) -> None:
    pool = SocketPool()
    pool.listen(path, 2)
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
    with SocketPool() as pool, sockref.listen(path) as extra:
        pool.listen(path, 3)

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

            def call(pool: SocketPool = pool, go: threading.Barrier = go, failures: list[BaseException] = failures) -> None:
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
        pool = sockref.SocketPool()
        pool.listen(sys.argv[1], 2)
        pid = os.fork()
        if pid == 0:
            for call in (pool.pick, lambda: pool.listen(sys.argv[1] + "x", 2)):
                try:
                    call()
                except sockref.SockrefError as error:
                    assert error.code == "ESOCKREF_FORKED", error
                else:
                    raise AssertionError("not forked")
            pool.close()
            own = sockref.SocketPool()
            own.listen(sys.argv[1], 2)
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
        with SocketPool() as pool:
            await pool.start(path, 2)
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
