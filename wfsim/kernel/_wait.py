"""The clock and the tasks of whichever loop runs: a simulation's, or asyncio's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wfsim.kernel._loop import VirtualLoop
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from wfsim.kernel._tasks import LightTask

_running_loop = asyncio._get_running_loop


def now() -> float:
    """Seconds on the clock that `sleep` waits on: since the run's start, or of the running loop."""
    loop = _running_loop()
    if loop.__class__ is VirtualLoop:
        return loop.environment._now / NS_PER_SECOND
    return asyncio.get_running_loop().time()


def spawn(coro: Coroutine[Any, Any, Any]) -> LightTask | asyncio.Task[Any]:
    """Start a coroutine beside the caller: as a light task in a simulation, as an asyncio task elsewhere."""
    loop = _running_loop()
    if loop.__class__ is VirtualLoop:
        return loop.spawn(coro)
    return asyncio.get_running_loop().create_task(coro)
