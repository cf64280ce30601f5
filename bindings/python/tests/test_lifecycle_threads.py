"""Many threads and many starts: the scenarios of tests/lifecycle.md by number."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from helpers import is_socket, left_in, run, sockets_in

import sockref
from sockref import SocketReference, SockrefError


def test_l08_close_races_calls(path: Path) -> None:
    keeper = sockref.listen(path)
    for _ in range(50):
        reference = keeper.dup()
        failures: list[BaseException] = []
        go = threading.Barrier(4)

        def call(reference: SocketReference = reference, go: threading.Barrier = go) -> None:
            go.wait()
            for _ in range(50):
                try:
                    assert reference.path == str(path)
                    assert reference.reference_count in (0, *range(1, 10))
                    reference.is_active
                    reference.dup().close()
                    os.close(reference.fd())
                except SockrefError as error:
                    if error.code != "ESOCKREF_CLOSED":
                        failures.append(error)
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        go.wait()
        reference.close()
        for thread in threads:
            thread.join()
        assert failures == []
    assert keeper.reference_count == 1
    keeper.close()


def test_l29_hundred_starts_of_one_path(path: Path, directory: Path) -> None:
    async def main() -> None:
        references = await asyncio.gather(*(sockref.start_listener(path) for _ in range(100)))
        assert sockets_in(directory) == [str(path)]
        assert references[0].reference_count == 100
        for reference in references:
            reference.close()
        assert references[0].reference_count == 0

    run(main())
    assert not path.exists()


def test_l30_hundred_paths(directory: Path) -> None:
    async def main() -> None:
        paths = [directory / f"{number}.sock" for number in range(100)]
        references = await asyncio.gather(*(sockref.start_listener(path) for path in paths))
        assert len(sockets_in(directory)) == 100
        await asyncio.gather(*(asyncio.to_thread(reference.close) for reference in references))
        assert left_in(directory) == []

    run(main())


def test_l41_many_threads(path: Path) -> None:
    keeper = sockref.listen(path)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                with keeper.dup() as mine, mine.dup() as more:
                    assert mine.is_active and more.reference_count >= 3
                    assert is_socket(path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert keeper.reference_count == 1
    keeper.close()
    assert not path.exists()
