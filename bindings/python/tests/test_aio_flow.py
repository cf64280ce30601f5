"""Flow control of transports: one program on asyncio's own and on sockref.aio, with one outcome."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import run
from nets import Net, Recorder, pair

import sockref
import sockref.aio


def test_pause_and_resume_reading(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            server.transport.pause_reading()
            server.transport.pause_reading()
            assert not server.transport.is_reading()
            client.transport.write(b"later")
            for _ in range(5):
                await asyncio.sleep(0.002)
            assert server.calls == ["made"]
            server.transport.resume_reading()
            server.transport.resume_reading()
            assert server.transport.is_reading()
            assert await server.got(5) == b"later"
            server.transport.close()
            assert not server.transport.is_reading()

    net.run(main())


def test_flow_control(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            transport = client.transport
            assert transport.get_write_buffer_limits() == (16384, 65536)
            transport.set_write_buffer_limits(high=200_000)
            assert transport.get_write_buffer_limits() == (50_000, 200_000)
            transport.set_write_buffer_limits(low=1000)
            assert transport.get_write_buffer_limits() == (1000, 4000)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(high=1, low=2)
            for wrong in ({"high": -1}, {"low": -1}, {"high": -(1 << 70)}):
                with pytest.raises(ValueError):
                    transport.set_write_buffer_limits(**wrong)
            for much in ({"low": 1 << 62}, {"high": 1 << 70}):  # means without end
                transport.set_write_buffer_limits(**much)
                assert min(transport.get_write_buffer_limits()) >= 1 << 60
            transport.set_write_buffer_limits(high=300_000, low=100_000)
            server.transport.pause_reading()
            written = 0
            while "pause" not in client.calls:
                before = transport.get_write_buffer_size()
                transport.write(bytes(50_000))
                written += 50_000
            assert before <= 300_000 < transport.get_write_buffer_size()
            transport.write(bytes(50_000))
            assert client.calls == ["made", "pause"]
            server.transport.resume_reading()
            await client.has("resume")
            assert transport.get_write_buffer_size() <= 100_000
            await server.got(written + 50_000)
            assert client.calls == ["made", "pause", "resume"]

    net.run(main())


def test_lower_limits_pause_at_once(net: Net, path: Path) -> None:
    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            server.transport.pause_reading()
            client.transport.set_write_buffer_limits(high=1 << 30)
            client.transport.write(bytes(4 << 20))
            assert client.calls == ["made"]
            client.transport.set_write_buffer_limits(high=0)
            assert client.transport.get_write_buffer_limits() == (0, 0)
            assert client.calls == ["made", "pause"]
            server.transport.resume_reading()
            await client.has("resume")
            assert client.transport.get_write_buffer_size() == 0

    net.run(main())


def test_huge_write_arrives_whole(net: Net, path: Path) -> None:
    data = os.urandom(1 << 20) * 24 + b"end"
    view = memoryview(data)

    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            client.transport.write(data)
            client.transport.write(view[:100_000])
            client.transport.write(bytearray(b"last"))
            got = await server.got(len(data) + 100_004)
            assert hashlib.sha1(got).digest() == hashlib.sha1(data + data[:100_000] + b"last").digest()
            await client.until(lambda: client.calls[-1] == "resume")
            assert client.calls == ["made", "pause", "resume"]

    net.run(main())


def test_writing_to_a_peer_that_is_gone(net: Net, path: Path) -> None:
    """Who writes until he is told to stop comes to an end, and hears why."""

    async def main() -> None:
        async with pair(net, path, Recorder, Recorder) as (server, client):
            server.transport.abort()
            await server.has("lost")
            client.transport.pause_reading()
            while not client.transport.is_closing() and "pause" not in client.calls:
                client.transport.write(b"x")
            await client.has("lost")
            assert isinstance(client.lost_with, BrokenPipeError)

    net.run(main())


class Sipping(Recorder):
    """Reads until the other side, which is of this process, has less than half of low queued, and then no more."""

    other: Any = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.other and self.other.get_write_buffer_size() <= 0.45 * self.other.get_write_buffer_limits()[0]:
            self.other = None
            self.transport.pause_reading()


@pytest.mark.parametrize("piece", [100, 1000, 7000, 9000, 30_000, 60_000, 300_000, 4_000_000])
@pytest.mark.parametrize("limits", [{}, {"high": 2_000_000, "low": 1_000_000}, {"high": 300_000, "low": 250_000}])
def test_resume_comes_at_the_low_mark(net: Net, path: Path, piece: int, limits: dict[str, int]) -> None:
    """Not only when nothing is queued: the peer may read no further."""
    if not net.ours and limits.get("high", 0) > 10_000 * piece:
        pytest.skip("asyncio adds up all pieces at each write, from Python 3.12 on")

    async def main() -> None:
        async with pair(net, path, Sipping, Recorder) as (server, client):
            transport = client.transport
            transport.set_write_buffer_limits(**limits)
            server.transport.pause_reading()
            for _ in range(2):
                while client.calls.count("pause") == client.calls.count("resume"):
                    transport.write(bytes(piece))
                server.other = transport
                server.transport.resume_reading()
                await client.until(lambda: client.calls[-1] == "resume")
                assert transport.get_write_buffer_size() <= transport.get_write_buffer_limits()[0]
                server.transport.pause_reading()
            server.transport.abort()

    net.run(main())


@pytest.mark.parametrize("piece", [100, 9000, 300_000])
def test_who_writes_on_is_resumed_too(net: Net, path: Path, piece: int) -> None:
    async def main() -> None:
        async with pair(net, path, Sipping, Recorder) as (server, client):
            server.transport.pause_reading()
            while "pause" not in client.calls:
                client.transport.write(bytes(piece))
            for _ in range(50):
                client.transport.write(bytearray(piece))
            server.other = client.transport
            server.transport.resume_reading()
            await client.until(lambda: client.calls[-1] == "resume")
            assert client.calls == ["made", "pause", "resume"]
            server.transport.abort()

    net.run(main())


def test_writelines_keeps_nothing_that_is_written(path: Path) -> None:
    async def main() -> None:
        _, writer = await sockref.aio.open_connection(path)
        data = os.urandom(100)  # alone it is what is joined
        before = sys.getrefcount(data)
        writer.writelines([data])
        assert sys.getrefcount(data) == before
        writer.close()
        await writer.wait_closed()

    with sockref.listen(path) as reference:
        reference.serve_echo()
        run(main())
