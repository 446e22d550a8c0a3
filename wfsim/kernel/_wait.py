"""The clock and the tasks of whichever loop runs: a simulation's, or asyncio's own."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from wfsim.kernel._ambient import ambient_of_context, current, running_loop
from wfsim.kernel._tasks import LightTask

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context


def now() -> float:
    """Seconds on the clock that `sleep` waits on: since the run's start, or of the running loop.

    In a simulation code that blocks reads it too, in whatever thread. Elsewhere a loop must be running.
    """
    loop = running_loop()
    if loop is not None:
        return loop.time()
    simulation = current()
    return asyncio.get_running_loop().time() if simulation is None else simulation.now


def raise_in_thread(ident: int, error: BaseException | type[BaseException]) -> bool:
    """Let a simulated thread raise an error when its sleep or its wait for an event, a queue or a future is over.

    That is how CPython delivers such an error (``PyThreadState_SetAsyncExc``): no wait is cut short. In the thread
    itself it is raised at once. False if no simulation runs here, or if no simulated thread has this identifier.
    """
    simulation = current()
    return simulation is not None and simulation.bridge.interrupt(ident, error)


def check_interruption() -> None:
    """Raise what `raise_in_thread` has left for this thread: for code that in the real world would wait here."""
    simulation = current()
    if simulation is not None:
        simulation.bridge.be_interrupted()


def spawn(
    coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
) -> LightTask | asyncio.Task[Any]:
    """Start a coroutine beside the caller: as a light task in a simulation, as an asyncio task elsewhere.

    ``name`` and ``context`` are those of `asyncio.create_task`: without a context it gets a copy of the caller's.
    """
    ambient = ambient_of_context()
    if ambient is not None and getcurrent() is ambient.environment.hub:
        loop = ambient.environment.runner
    else:
        loop = running_loop()
    if loop is None:
        return asyncio.get_running_loop().create_task(coro, name=name, context=context)
    task = LightTask()
    task._must_cancel = False
    task._callbacks = None
    task._loop = loop
    task._coro = coro
    task._send = coro.send
    task._context = context = copy_context() if context is None else context
    task._enter = context.run
    if name is not None:
        task._name = name
    if loop.watchers:
        loop.watch(task)
    loop._tasks[coro] = task
    loop._ready.append(task)
    return task
