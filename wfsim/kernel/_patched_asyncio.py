"""asyncio as it is inside a simulation: virtual loops, faster sleep, and no order that depends on addresses.

asyncio keeps tasks in sets, whose order follows the addresses of their members and so differs from run to
run. Where that order shows (who is cancelled first when a run ends, which coroutine `as_completed` starts
first) it is replaced by the order in which things were made.
"""

from __future__ import annotations

import asyncio
import asyncio.runners
import asyncio.tasks
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from wfsim.kernel import _patching, _tasks
from wfsim.kernel._ambient import ambient_of_context
from wfsim.kernel._environment import CURRENT_TASKS
from wfsim.kernel._loop import Policy, VirtualLoop
from wfsim.kernel._tasks import Driven

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wfsim.kernel._simulation import Simulation

stock_sleep = asyncio.sleep
stock_as_completed = asyncio.as_completed
stock_cancel_all_tasks = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]
_REGISTRY = "_all_tasks" if hasattr(asyncio.tasks, "_all_tasks") else "_scheduled_tasks"
_running_loop = asyncio._get_running_loop
# Sleeps of other lengths, in seconds (nothing, NaN, infinity), are left to asyncio itself.
_SHORTEST, _LONGEST = 1e-9, 3e9


async def sleep(delay: float, result: Any = None) -> Any:
    """`asyncio.sleep` while a simulation runs: the same, without a future and a timer for each call."""
    ambient = ambient_of_context()
    if ambient is None or getcurrent() is not ambient.environment.hub or not _SHORTEST <= delay < _LONGEST:
        return await stock_sleep(delay, result)
    # A task of asyncio's own making does not know the library's wait.
    if not isinstance(CURRENT_TASKS.get(ambient.environment.runner), Driven):
        return await stock_sleep(delay, result)
    await _tasks.sleep(delay)
    return result


def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
    """`asyncio.as_completed` while a simulation runs: coroutines are started in the order given."""
    if _running_loop().__class__ is VirtualLoop and not asyncio.iscoroutine(fs) and not asyncio.isfuture(fs):
        fs = [asyncio.ensure_future(one) for one in dict.fromkeys(fs)]
    return stock_as_completed(fs, timeout=timeout)


def cancel_all_tasks(loop: Any) -> None:
    """What `asyncio.run` does with the tasks that are left, in the order in which they were made."""
    if not isinstance(loop, VirtualLoop):
        stock_cancel_all_tasks(loop)
        return
    tasks: list[Any] = list(loop._tasks.values())
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {
                    "message": "unhandled exception during asyncio.run() shutdown",
                    "exception": error,
                    "task": task,
                }
            )


_patching.replace(stock_sleep, sleep)
_patching.replace(stock_as_completed, as_completed)
_patching.replace(stock_cancel_all_tasks, cancel_all_tasks)


class _AllTasks:
    """What `asyncio.all_tasks` looks through: asyncio's own set and the tasks of a simulation's loops."""

    def __init__(self, stock: Any, simulation: Simulation) -> None:
        self._stock = stock
        self._simulation = simulation

    def __iter__(self) -> Iterator[Any]:
        yield from self._stock
        for loop in self._simulation.loops:
            yield from loop._tasks.values()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stock, name)


@contextmanager
def virtual_asyncio(simulation: Simulation) -> Iterator[None]:
    """Let asyncio make virtual loops and know their tasks; the world puts the functions above in place."""
    policy = asyncio.get_event_loop_policy()
    registry = getattr(asyncio.tasks, _REGISTRY)
    asyncio.set_event_loop_policy(Policy(simulation.new_loop))
    setattr(asyncio.tasks, _REGISTRY, _AllTasks(registry, simulation))
    try:
        yield
    finally:
        setattr(asyncio.tasks, _REGISTRY, registry)
        asyncio.set_event_loop_policy(policy)
