"""What blocks, as coroutines: the same calls on a worker thread, while the asyncio loop goes on.

Cancelling the coroutine does not stop the call that runs; its outcome is then dropped.
"""

from __future__ import annotations

import asyncio

from ._paths import Path
from ._registry import Registry, default

__all__ = ["drain", "shutdown", "sweep"]


async def sweep(directory: Path | None = None, *, registry: Registry | None = None) -> int:
    """As Registry.sweep; without a registry on the default one."""
    return await asyncio.to_thread((registry or default).sweep, directory)


async def drain(timeout: float | None = None, *, registry: Registry | None = None) -> None:
    """As Registry.drain; without a registry on the default one."""
    await asyncio.to_thread((registry or default).drain, timeout)


async def shutdown(timeout: float | None = None, *, registry: Registry | None = None) -> None:
    """As Registry.shutdown; without a registry on the default one."""
    await asyncio.to_thread((registry or default).shutdown, timeout)
