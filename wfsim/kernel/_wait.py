"""The waits that a design uses: fast in a simulation, asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wfsim.kernel._loop import VirtualLoop
from wfsim.kernel._tasks import LightTask, pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

_running_loop = asyncio._get_running_loop


def sleep(seconds: float) -> Awaitable[None]:
    """Wait `seconds`: virtual ones in a simulation, real ones on a plain asyncio loop."""
    if _running_loop().__class__ is VirtualLoop:
        return pause(seconds + 0.0)
    return asyncio.sleep(seconds)


def now() -> float:
    """Seconds on the clock that `sleep` waits on: since the run's start, or of the running loop."""
    return asyncio.get_running_loop().time()


def spawn(coro: Coroutine[Any, Any, Any]) -> LightTask | asyncio.Task[Any]:
    """Start a coroutine beside the caller: as a light task in a simulation, as an asyncio task elsewhere."""
    loop = asyncio.get_running_loop()
    if loop.__class__ is VirtualLoop:
        return loop.spawn(coro)
    return loop.create_task(coro)
