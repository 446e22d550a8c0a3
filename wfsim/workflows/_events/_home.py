"""Where a bus lives: in a simulation, or on a plain asyncio loop. It has the clock, and no process.

A bus is a machine of its own. What it has to do later must not die with the process that published, so its
timers and its helpers belong to nobody.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Protocol

from wfsim.kernel import Process, current, running_loop, spawn
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wfsim.kernel import Simulation, Stream


class Home(Protocol):
    """What a bus asks of the world that it lives in."""

    @property
    def place(self) -> object:
        """The simulation or the loop itself."""

    @property
    def simulation(self) -> Simulation | None:
        """The simulation, None on a plain loop."""

    def now_ns(self) -> int:
        """The time on the home's clock."""

    @property
    def at(self) -> Callable[..., object]:
        """``at(time_ns, fn, *args)`` calls ``fn(*args)`` then, whatever happens to the process that asks."""

    def after(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> object:
        """Do the same after a while."""

    def start(self, coro: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        """Start a coroutine in a context; in one of no process if none is given."""

    @property
    def stream(self) -> Callable[[str], Stream | None]:
        """Give the random numbers of a name; None outside of simulations."""


class SimulatedHome:
    """Virtual time."""

    def __init__(self, simulation: Simulation) -> None:
        self.place = simulation
        self.simulation = simulation
        self.stream = simulation.stream
        self.at = simulation.environment.call_at
        self._environment = simulation.environment

    def now_ns(self) -> int:
        return self._environment.now_ns

    def after(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> object:
        return self._environment.call_at(self._environment.now_ns + delay_ns, fn, *args)

    def start(self, coro: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        if context is None:
            context = Context()
        if running_loop() is None:  # a simulated thread: let the loop itself do it
            self._environment.call_at(self._environment.now_ns, context.run, spawn, coro)
        else:
            context.run(spawn, coro)


class PlainHome:
    """Real time, on a plain asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.place = self._loop = loop
        self.simulation = None
        self._tasks: dict[asyncio.Task[Any], None] = {}  # asyncio itself keeps but a weak reference

    def now_ns(self) -> int:
        return round(self._loop.time() * NS_PER_SECOND)

    def at(self, time_ns: int, fn: Callable[..., object], *args: Any) -> object:
        return self._loop.call_at(time_ns / NS_PER_SECOND, fn, *args)

    def after(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> object:
        return self._loop.call_later(delay_ns / NS_PER_SECOND, fn, *args)

    def start(self, coro: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        task = self._loop.create_task(coro, context=context or copy_context())
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def stream(self, _name: str) -> None:
        return None


def home() -> Home | None:
    """The home of what is done here and now; None if nothing runs that time could pass in."""
    simulation = current()
    if simulation is not None:
        return SimulatedHome(simulation)
    try:
        return PlainHome(asyncio.get_running_loop())
    except RuntimeError:
        return None


def own_process(context: Context) -> Process | None:
    """The simulated process that a context belongs to."""
    return next((value for value in context.values() if isinstance(value, Process)), None)


def has_crashed(process: Process | None, incarnation: int) -> bool:
    """Tell whether the process that was there has crashed. One that came to its end has not.

    What a process started lives on when its own function returns; in a crash it does not.
    """
    return process is not None and process.has_crashed(incarnation)


def run_now(value: Any) -> Any:
    """Give a value, or what the coroutine it is comes to, where no loop runs."""
    return asyncio.run(value) if iscoroutine(value) else value
