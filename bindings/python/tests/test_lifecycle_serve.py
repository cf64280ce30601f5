"""Services: the scenarios of tests/lifecycle.md by number."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from helpers import BLOB, Echo, round_trip, run, until

import sockref


def test_l06_echo(path: Path) -> None:
    with sockref.listen(path) as reference:
        reference.serve_echo()
        assert round_trip(path, b"\0zero\0") == b"\0zero\0"
        assert round_trip(path, BLOB) == BLOB


def test_l16_served_abstract_name_starts_again() -> None:
    name = f"@sockref-test-again-{os.getpid()}"
    for _ in range(20):
        with sockref.listen(name) as reference:
            reference.serve_echo()


def test_l42_handlers_on_asyncio(path: Path) -> None:
    handlers = Echo()
    threads: set[int] = set()

    class Here(Echo):
        def on_data(self, connection: sockref.Connection, data: bytes) -> None:
            threads.add(threading.get_ident())
            super().on_data(connection, data)

    handlers = Here()

    async def main() -> None:
        with await sockref.start_listener(path) as reference:
            reference.serve(handlers)
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(BLOB)
            writer.write_eof()
            assert await reader.read() == BLOB
            writer.close()
            await writer.wait_closed()
            while "close" not in handlers.calls:
                await asyncio.sleep(0.001)
        while "stop" not in handlers.calls:
            await asyncio.sleep(0.001)

    run(main())
    calls = [call for call in handlers.calls if call not in ("data", "drain")]
    assert calls == ["connection", "end", "close", "stop"]
    assert handlers.calls[1] == "data" and handlers.received == len(BLOB)
    assert threads == {threading.get_ident()}


def test_l42_handlers_on_a_thread(path: Path) -> None:
    handlers = Echo()
    reference = sockref.listen(path)
    reference.serve(handlers)
    assert round_trip(path, BLOB) == BLOB
    until(lambda: "close" in handlers.calls)
    reference.close()
    until(lambda: "stop" in handlers.calls)
    calls = [call for call in handlers.calls if call not in ("data", "drain")]
    assert calls == ["connection", "end", "close", "stop"]
