"""Each test has its own directory, and leaves nothing alive."""

from __future__ import annotations

import gc
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from helpers import LONGEST, left_in, until
from nets import NETS, Net

import sockref


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sockref-test-") as name:
        yield Path(name)


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "a.sock"


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there before the first test is not looked at again by each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def not_for_ever() -> Iterator[None]:
    """A test that hangs fails. Where a native call is stuck, faulthandler_timeout ends the run soon after."""

    def fail(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"not done in {LONGEST} s")

    old = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.fixture(autouse=True)
def nothing_left(not_for_ever: None, directory: Path) -> Iterator[None]:
    """Handles, names, buffers, threads and files are after a test what they were before."""
    before = sockref.live_counts()
    threads = threading.active_count()
    active = sockref.active_socket_count()
    yield
    gc.collect()
    assert left_in(directory) == []
    assert sockref.active_socket_count() == active
    sockref.drain(5)
    until(lambda: sockref.live_counts() == before, f"{before} instead of {sockref.live_counts()}")
    # One thread that drives handlers, and one that takes events, stay.
    assert threading.active_count() <= threads + 2


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> Net:
    """asyncio's own transports, and those of sockref.aio on asyncio's loop and on uvloop."""
    return NETS[request.param]()


@pytest.fixture(params=[name for name in NETS if NETS[name]().ours])
def ours(request: pytest.FixtureRequest) -> Net:
    """What sockref.aio alone has, on either loop."""
    return NETS[request.param]()
