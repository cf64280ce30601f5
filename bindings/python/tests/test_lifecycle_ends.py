"""Ends: the scenarios of tests/lifecycle.md by number, and a file that is kept."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest
from helpers import LIMIT, Agent, beside, code_of, dial, execute, is_socket, left_in, run, script, until

import sockref
import sockref.aio
from sockref import Registry, SockrefError


def test_l09_dropped_without_close(path: Path) -> None:
    reference = sockref.listen(path)
    assert is_socket(path)
    del reference
    gc.collect()
    assert not os.path.lexists(path)


def test_l10_close_then_finalizer(path: Path) -> None:
    first, second = sockref.listen(path), sockref.listen(path)
    second.close()
    del second
    gc.collect()
    assert first.reference_count == 1
    first.close()


def test_l23_cleanup(path: Path) -> None:
    old, same = sockref.listen(path), sockref.listen(path)
    sockref.cleanup(path)
    assert not path.exists()
    assert not old.is_active and old.reference_count == 2 and old.path == str(path)
    new = sockref.listen(path)
    old.close()
    same.close()
    assert new.is_active and new.reference_count == 1
    dial(path).close()
    new.close()


def test_l24_cleanup_unknown(directory: Path) -> None:
    plain = directory / "plain"
    plain.write_text("mine")
    for unknown in (plain, directory / "none"):
        with pytest.raises(FileNotFoundError) as caught:
            sockref.cleanup(unknown)
        assert isinstance(caught.value, SockrefError)
        assert caught.value.code == "ESOCKREF_NOTFOUND"
    assert plain.read_text() == "mine"


def test_l25_cleanup_all(directory: Path) -> None:
    references = [sockref.listen(directory / f"{number}.sock") for number in range(5)]
    assert sockref.cleanup_all() == 5
    assert left_in(directory) == []
    assert not any(reference.is_active for reference in references)
    assert sockref.active_socket_count() == 0
    for reference in references:
        reference.close()


def test_l28_cleanup_delay(path: Path, directory: Path) -> None:
    sockref.listen(path, cleanup_delay_ms=600_000).close()
    assert is_socket(path) and not sockref.is_socket_active(path)
    inode = os.lstat(path).st_ino
    with sockref.listen(path):
        assert os.lstat(path).st_ino == inode
        sockref.cleanup(path)
    short = directory / "short.sock"
    sockref.listen(short, cleanup_delay_ms=100).close()
    until(lambda: not short.exists(), "the removal")


def test_l32_cancelled_start(directory: Path) -> None:
    async def main() -> None:
        for turns in range(6):
            task = asyncio.create_task(sockref.start_listener(directory / f"{turns}.sock"))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = task.done()
            task.cancel()
            try:
                reference = await task
            except asyncio.CancelledError:
                pass
            else:
                assert done
                reference.close()
        # The outcome is there, and the task is cancelled before it sees it.
        task = asyncio.create_task(sockref.start_listener(directory / "last.sock"))
        while not is_socket(directory / "last.sock") and not task.done():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result().close()
        await sockref.aio.drain(5)
        assert sockref.active_socket_count() == 0
        assert left_in(directory) == []

    run(main())


def test_l35_shutdown(path: Path, directory: Path) -> None:
    with Registry() as registry:
        reference = registry.listen(path)
        told = threading.Event()
        reference.watch(lambda event: told.set() if event == sockref.WatchEvent.SHUTDOWN else None)
        waiter = threading.Thread(target=registry.shutdown, args=(LIMIT,))
        waiter.start()
        assert told.wait(LIMIT)
        assert waiter.is_alive() and reference.is_active
        reference.close()
        waiter.join(LIMIT)
        assert not waiter.is_alive()
        assert code_of(registry.listen, path) == "ESOCKREF_SHUTDOWN"
        with pytest.raises(SockrefError) as caught:
            run(registry.start_listener(path))
        assert caught.value.code == "ESOCKREF_SHUTDOWN"
    with Registry() as registry:
        left = registry.listen(path)
        with pytest.raises(TimeoutError) as late:
            run(sockref.aio.shutdown(0.01, registry=registry))
        assert isinstance(late.value, SockrefError) and late.value.code == "ESOCKREF_TIMEOUT"
        assert not left.is_active and not path.exists()
        left.close()
    sockref.shutdown(0)
    with sockref.listen(path) as reference:
        assert reference.is_active


def test_l36_drain(path: Path) -> None:
    with sockref.listen(path) as reference:
        reference.serve_echo()
        client = dial(path)
    sockref.drain(LIMIT)
    run(sockref.aio.drain(LIMIT))
    client.close()


def test_l39_sweep(directory: Path) -> None:
    with Registry(directory=directory) as registry:
        live = registry.listen()
        dead = directory / "sockref-5194301-0123456789abcdef.sock"
        name = Path(live.path).name
        # The form of a default name, of a process that is gone.
        dead = directory / name.replace(f"-{os.getpid()}-", "-5194301-")
        plain, other = directory / name.replace(f"-{os.getpid()}-", "-2-"), directory / "other.sock"
        for found in (dead, other):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(found))
        plain.write_text("mine")
        assert registry.sweep() == 1
        assert not dead.exists() and plain.read_text() == "mine" and is_socket(other) and is_socket(live.path)
        assert run(sockref.aio.sweep(directory)) == 0
        other.unlink()
        with Agent() as agent:
            agent.start(other, guard=0)
            agent.kill()
        assert set(os.listdir(directory)) > {other.name} | beside(other)
        assert registry.sweep() == 1
        assert not set(os.listdir(directory)) & ({other.name} | beside(other))
        assert is_socket(live.path)
        live.close()


def test_l44_start_waits_without_blocking(directory: Path, tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "tests" / "harness" / "slow-unlink.c"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not source.exists() or compiler is None:
        pytest.skip("needs a C compiler and tests/harness/slow-unlink.c")
    shim = tmp_path / "slow-unlink.so"
    done = execute([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, source, "-ldl"])
    assert done.returncode == 0, done.stderr
    out = script(
        """
        import asyncio, os, sys, threading, time, sockref
        path = sys.argv[1]
        async def main():
            loop = asyncio.get_running_loop()
            held = sockref.listen(path)
            closer = threading.Thread(target=held.close)
            closer.start()
            while sockref.is_socket_active(path):
                await asyncio.sleep(0)
            ticks, longest = 0, 0.0
            began = last = time.monotonic()
            start = asyncio.create_task(sockref.start_listener(path))
            while not start.done():
                await asyncio.sleep(0.001)
                now = time.monotonic()
                ticks, longest, last = ticks + 1, max(longest, now - last), now
            waited = time.monotonic() - began
            reference = start.result()
            closer.join()
            assert reference.is_active and reference.reference_count == 1
            assert os.path.lexists(path)
            closing = asyncio.create_task(asyncio.to_thread(reference.close))
            await closing
            print(ticks, longest, waited)
            assert waited > 0.2, waited
            assert ticks > 10, ticks
            assert longest < waited / 2, longest
        asyncio.run(main())
        """,
        directory / "slow.sock",
        environment={"LD_PRELOAD": str(shim), "SLOW_UNLINK_MS": "500"},
    )
    assert out


def test_a_kept_file_stays(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.fspath(path))
    server.listen()
    with Registry(keep_file=True) as registry:
        registry.register_new(path, server).close()
    assert path.is_socket()
    path.unlink()
