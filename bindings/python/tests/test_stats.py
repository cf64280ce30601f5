"""Counters, their text, health, and how long events have waited (G39, G40, G41, T15)."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import code_of, dial, round_trip, run, script, until

import sockref
import sockref.aio
from sockref import Health, Registry

BOUNDS = tuple(1000 * 4**i for i in range(14))


def is_whole(histogram: sockref.Histogram) -> None:
    """Nothing here takes longer than the last bound."""
    assert tuple(bound for bound, _ in histogram.buckets) == BOUNDS
    assert sum(number for _, number in histogram.buckets) == histogram.count
    assert (histogram.sum_ns > 0) == (histogram.count > 0)


def test_g39_registry_counts_what_happens(path: Path, directory: Path) -> None:
    with Registry() as registry, Registry() as other:
        zero = sockref.RegistryStats(
            0, 0, 0, 0, 0, 0, 0, 0, 0, None, sockref.Histogram(0, 0, tuple((bound, 0) for bound in BOUNDS))
        )
        assert registry.stats() == zero
        first = registry.listen(path)
        assert registry.stats() == dataclasses.replace(zero, created=1)
        run(registry.start_listener(path)).close()
        assert registry.stats() == dataclasses.replace(zero, created=1, reused=1)
        assert code_of(registry.listen, path, exclusive=True) == "ESOCKREF_EXISTS"
        assert registry.stats() == dataclasses.replace(zero, created=1, reused=1, failed=1)
        with other.listen(path):
            assert (other.stats().created, other.stats().joined) == (0, 1)
        first.close()
        told = registry.stats()
        assert (told.closed, told.revoked, told.removed, told.remove_failed) == (1, 0, 1, 0)
        assert told.removal.count == 1
        is_whole(told.removal)
        with registry.listen(path):
            registry.cleanup(path)
        told = registry.stats()
        assert (told.created, told.closed, told.revoked, told.removed) == (2, 1, 1, 2)
        assert told.last_remove_error is None and told.removal.count == 2


def test_l69_counters_of_a_name(path: Path) -> None:
    with Registry() as registry:
        with registry.listen(path) as reference, registry.listen(path):
            told = registry.stats()
            assert (told.created, told.reused, told.closed) == (1, 1, 0)
            assert reference.stats().references == 2
        told = registry.stats()
        assert (told.created, told.closed, told.removed, told.removal.count) == (1, 1, 1, 1)


def test_l70_counters_of_a_service(path: Path) -> None:
    with sockref.listen(path) as reference:
        reference.serve_echo()
        assert round_trip(path, b"hello") == b"hello"
        until(lambda: reference.stats().connections == 0)
        told = reference.stats()
        assert (told.accepted, told.refused, told.bytes_read, told.bytes_written) == (1, 0, 5, 5)


def test_l71_health_of_a_removed_file(path: Path) -> None:
    with sockref.listen(path) as reference:
        told = reference.check_health()
        assert (told.is_file_ours, told.is_reachable) == (True, True)
        path.unlink()
        told = reference.check_health()
        assert (told.is_file_ours, told.is_reachable) == (False, False)


def test_g39_default_registry(path: Path) -> None:
    before = sockref.stats()
    sockref.listen(path).close()
    after = sockref.stats()
    assert (after.created, after.closed) == (before.created + 1, before.closed + 1)


def test_g39_refused_removal_is_counted(directory: Path) -> None:
    """By a process that may not remove the file, which root always may."""
    told = script(
        """
        import os, sys, sockref
        if os.getuid() == 0:
            os.chown(sys.argv[1], 65534, 65534)
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        with sockref.Registry(guard=0) as registry:
            reference = registry.listen(sys.argv[1] + "/a.sock", share=False)
            os.chmod(sys.argv[1], 0o500)
            reference.close()
            told = registry.stats()
            print(told.removed, told.remove_failed, told.last_remove_error, told.removal.count)
            os.chmod(sys.argv[1], 0o700)
        """,
        directory,
    )
    assert told.split() == ["0", "1", "EACCES", "1"]
    (directory / "a.sock").unlink()


def test_g39_what_is_told_is_a_value(path: Path) -> None:
    with sockref.listen(path) as reference:
        for told in (sockref.stats(), reference.stats(), reference.check_health(), sockref.loop_stats()):
            assert pickle.loads(pickle.dumps(told)) == told
            field = dataclasses.fields(told)[0].name
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(told, field, 0)


def families_of(text: str) -> dict[str, Any]:
    """The families of OpenMetrics text, by a parser that takes nothing else."""
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def test_g39_metrics_are_openmetrics(path: Path) -> None:
    with Registry() as registry, registry.listen(path) as reference:
        registry.listen(f"{path}.2").close()
        reference.serve_echo()
        assert round_trip(path, b"hello") == b"hello"
        until(lambda: reference.connection_count == 0)
        stats, of_name, text = registry.stats(), reference.stats(), registry.metrics()
    families = families_of(text)
    assert all(name.startswith("sockref_") and family.documentation for name, family in families.items())
    values = {
        (sample.name, sample.labels.get("path"), sample.labels.get("le")): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["sockref_names_bound_total", None, None] == stats.created == 2
    assert values["sockref_names_closed_total", None, None] == stats.closed == 1
    assert values["sockref_name_accepted_total", str(path), None] == of_name.accepted == 1
    assert values["sockref_name_read_bytes_total", str(path), None] == of_name.bytes_read == 5
    assert values["sockref_removal_seconds_bucket", None, "+Inf"] == stats.removal.count == 1
    assert ("sockref_loop_pending", None, None) in values


def test_g39_metrics_of_any_names(directory: Path) -> None:
    """Of more than the first attempt has room for, and of letters that the text has to escape."""
    odd = [os.fspath(directory / name) for name in ('q"uote', "back\\slash", "ü")]
    with Registry() as registry:
        held = [registry.listen(directory / f"{i}-{'x' * 40}", share=False) for i in range(200)]
        held += [registry.listen(name, share=False) for name in odd]
        held.append(registry.listen(os.fsencode(directory) + b"/\xff", share=False))
        text = registry.metrics()
        families = families_of(text)
        paths = {s.labels["path"] for family in families.values() for s in family.samples if "path" in s.labels}
        assert len(text) > 1 << 14 and text.endswith("\n# EOF\n")
        assert len(paths) == len(held) and paths >= {reference.path for reference in held[:-1]}
        for reference in held:
            reference.close()


def test_g39_metrics_of_the_default_registry(path: Path) -> None:
    with sockref.listen(path):
        assert str(path) in sockref.metrics()
    assert str(path) not in sockref.metrics()


def test_g41_a_served_name_counts_its_connections(path: Path) -> None:
    with sockref.listen(path, max_connections=1) as reference, reference.dup():
        told = reference.stats()
        assert told == sockref.SocketStats(2, 0, 0, 0, 0, 0, 0)
        reference.serve_echo()
        for number in range(1, 4):
            assert round_trip(path, b"x" * 1000) == b"x" * 1000
            until(lambda: reference.connection_count == 0)
            told = reference.stats()
            assert (told.connections, told.accepted, told.refused) == (0, number, 0)
            assert told.bytes_read == told.bytes_written == number * 1000
        with dial(path) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            later = reference.stats()
            assert later.connections == 1 and later.served_ns > told.served_ns > 0


def test_g41_refused_connections(path: Path) -> None:
    class Dropping(sockref.Handlers):
        def on_connection(self, connection: sockref.Connection) -> None:
            pass

        def on_drop(self, *arguments: object) -> None:
            pass

    with sockref.listen(path, max_connections=1) as reference:
        reference.serve(Dropping())
        with dial(path):
            until(lambda: reference.connection_count == 1)
            with dial(path) as second:
                assert second.recv(1) == b""
            until(lambda: reference.stats().refused)
            told = reference.stats()
            assert (told.accepted, told.refused, told.connections) == (1, 1, 1)


def test_g41_loops_count_connects(path: Path) -> None:
    async def main() -> None:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()
            await writer.wait_closed()

        before = sockref.loop_stats()
        async with await sockref.aio.start_server(shout, path):
            for _ in range(3):
                reader, writer = await sockref.aio.open_connection(path)
                writer.write(b"hello\n")
                assert await reader.read() == b"HELLO\n"
                writer.close()
                await writer.wait_closed()
        with pytest.raises(FileNotFoundError):
            await sockref.aio.open_connection(path)
        after = sockref.loop_stats()
        for told, number in (("accepted", 3), ("connected", 3), ("connect_failed", 1), ("refused", 0)):
            assert getattr(after, told) - getattr(before, told) == number, told
        assert after.bytes_read - before.bytes_read == after.bytes_written - before.bytes_written == 2 * 3 * 6
        assert after.callbacks > before.callbacks
        assert after.connect.count - before.connect.count == 3
        is_whole(after.connect)

    run(main())


def test_g41_loops_that_ended_are_counted(path: Path) -> None:
    async def connect() -> None:
        _, writer = await sockref.aio.open_connection(path)
        writer.close()
        await writer.wait_closed()

    before = sockref.loop_stats().connected
    with sockref.listen(path):
        for _ in range(2):
            run(connect())
    assert sockref.loop_stats().connected == before + 2


def test_t15_how_long_events_have_waited(path: Path) -> None:
    """A loop that does not turn lets the outcome of a start wait."""
    before = sockref.loop_stats()

    async def main() -> None:
        task = asyncio.create_task(sockref.start_listener(path))
        await asyncio.sleep(0)  # it begins; this loop is blocked from now on
        until(lambda: sockref.loop_stats().is_starving)
        told = sockref.loop_stats()
        assert told.pending >= before.pending + 1
        assert told.oldest_ns > 1_000_000_000 and told.oldest_ns >= told.newest_ns > 0
        assert told.starved == before.starved
        (await task).close()
        told = sockref.loop_stats()
        assert (told.pending, told.is_starving) == (before.pending, False)
        assert told.starved == before.starved + 1

    run(main())


def test_g40_a_served_name_is_well(path: Path) -> None:
    with sockref.listen(path) as reference:
        assert reference.check_health() == Health(True, True, False)
        reference.serve_echo()
        until(lambda: reference.check_health().is_accepting)  # from the next turn of its loop on
        assert reference.check_health() == Health(is_file_ours=True, is_reachable=True, is_accepting=True)
        reference.unserve()
        assert reference.check_health().is_accepting is False
        assert reference.stats().accepted == 0


def test_g40_a_full_service_does_not_accept(path: Path) -> None:
    with sockref.listen(path, max_connections=1) as reference:
        reference.serve_echo()
        with dial(path):
            until(lambda: reference.check_health().is_accepting is False)
        until(lambda: reference.check_health().is_accepting)


def test_g40_a_loop_that_does_not_run_does_not_accept(path: Path) -> None:
    loop = asyncio.new_event_loop()

    async def serve() -> sockref.SocketReference:
        reference = await sockref.start_listener(path)
        reference.serve(sockref.Handlers())
        return reference

    reference = loop.run_until_complete(serve())
    with dial(path):
        until(lambda: reference.check_health().is_accepting is False)
        assert reference.check_health() == Health(True, True, False)
    reference.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_g40_a_file_that_is_gone_or_not_ours(path: Path) -> None:
    with sockref.listen(path) as reference:
        path.unlink()
        assert reference.check_health() == Health(False, False, False)
        path.write_text("mine")
        assert reference.check_health().is_file_ours is False
        path.unlink()


def test_g40_names_without_a_file() -> None:
    for name in (f"@sockref-test-{os.getpid()}", "tcp:127.0.0.1:0"):
        with sockref.listen(name) as reference:
            reference.serve_echo()
            until(lambda: reference.check_health() == Health(None, True, True))


def test_g40_a_joined_name(path: Path) -> None:
    with Registry() as registry, sockref.listen(path) as owner, registry.listen(path) as joined:
        owner.serve_echo()
        assert joined.check_health() == Health(True, True, None)


def test_g40_what_is_not_there_has_no_health(path: Path) -> None:
    with sockref.get_or_create(path) as reference:
        assert code_of(reference.check_health) == "ESOCKREF_CLOSED"
        assert reference.stats().references == 1
    reference = sockref.listen(path)
    sockref.cleanup(path)
    assert code_of(reference.check_health) == "ESOCKREF_CLOSED"
    assert reference.stats().references == 1
    reference.close()
    with pytest.raises(OSError) as caught:
        reference.check_health()
    assert caught.value.errno == errno.EBADF
    assert code_of(reference.stats) == "ESOCKREF_CLOSED"


def test_closed_registry_tells_nothing() -> None:
    registry = Registry()
    registry.close()
    assert code_of(registry.stats) == code_of(registry.metrics) == "ESOCKREF_CLOSED"


def test_it_is_told_while_others_work(path: Path) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                sockref.stats()
                sockref.loop_stats()
                assert sockref.metrics().endswith("# EOF\n")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        with sockref.listen(path) as reference:
            reference.serve_echo()
            assert round_trip(path, b"x") == b"x"
            reference.stats()
            reference.check_health()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_fork_begins_anew(path: Path) -> None:
    script(
        """
        import os, sys, sockref
        reference = sockref.listen(sys.argv[1])
        own = sockref.Registry()
        pid = os.fork()
        if pid == 0:
            for call in (reference.stats, reference.check_health, own.stats, own.metrics):
                try:
                    call()
                except sockref.SockrefError as error:
                    assert error.code == "ESOCKREF_FORKED", error
                else:
                    raise AssertionError("not forked")
            assert sockref.stats().created == 0
            assert sockref.loop_stats().callbacks >= 0
            sockref.metrics()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert sockref.stats().created == 1
        """,
        path,
    )
