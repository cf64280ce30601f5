"""Random scripts: the same calls on asyncio's own transports and on sockref.aio must leave the same trace.

A script that fails names its seed: SEED=n plays that one alone, SCRIPTS=n as many, from SEED on.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import uvloop
from nets import Net, OfAsyncio

#: What is told at one point of a script: of each end, in words.
Point = tuple[object, ...]
Play = Callable[[Net, Path, random.Random, "Trace"], Coroutine[object, object, None]]

TURNS = 8  # of the loop in which nothing changes, before a script goes on
LATE = 2.0  # seconds that the second of the two may take to come where the first one was


class Trace:
    """What a script has told, point by point."""

    def __init__(self, expected: list[Point] | None, patience: float) -> None:
        self.points: list[Point] = []
        self._expected = expected
        self._patience = patience

    async def settle(self, state: Callable[[], Point]) -> None:
        """Note the state when it changes no more. Both ends are of this process, so that is soon."""
        still, last = 0, state()
        await asyncio.sleep(self._patience)
        while still < TURNS:
            await asyncio.sleep(0)
            now = state()
            still, last = (still + 1, last) if now == last else (0, now)
        wanted = self._wanted()
        deadline = time.monotonic() + LATE
        while wanted is not None and last != wanted and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
            last = state()
        self.points.append(last)

    def _wanted(self) -> Point | None:
        number = len(self.points)
        return self._expected[number] if self._expected and number < len(self._expected) else None


def _played(play: Play, net: Net, place: Path, seed: int, expected: list[Point] | None, patience: float) -> list[Point]:
    trace = Trace(expected, patience)
    net.run(play(net, place, random.Random(seed), trace))
    return trace.points


def seeds(count: int) -> range:
    """Those of a run: fixed, unless the environment wants others."""
    if "SEED" in os.environ:
        count = 1
    first = int(os.environ.get("SEED", 0))
    return range(first, first + int(os.environ.get("SCRIPTS", count)))


def compare(play: Play, place: Path, count: int) -> None:
    """Play scripts on both, on uvloop now and then. What differs is played again with time to spare."""
    for seed in seeds(count):
        for patience in (0, 0.02):
            wanted = _played(play, OfAsyncio(), place, seed, None, patience)
            ours = Net(uvloop.new_event_loop) if seed % 4 == 3 else Net()
            got = _played(play, ours, place, seed, wanted, patience)
            if got == wanted:
                break
        gc.collect()
        for number, (theirs, mine) in enumerate(zip(wanted, got)):
            assert mine == theirs, f"SEED={seed}, point {number}"
        assert len(got) == len(wanted), f"SEED={seed}"
