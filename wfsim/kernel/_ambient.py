"""Which simulation runs the code that asks."""

from __future__ import annotations

import asyncio
from _thread import get_ident
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from wfsim.kernel._environment import CURRENT_TASKS, Environment
from wfsim.kernel._loop import VirtualLoop

if TYPE_CHECKING:
    from wfsim.kernel._process import Process
    from wfsim.kernel._simulation import Simulation

# The simulated process that owns the running code: inherited by tasks, timers and threads through their
# context.
PROCESS: ContextVar[Process] = ContextVar("wfsim_process")


class Ambient:
    """What a context knows of the simulation whose code runs in it, until that has ended.

    Contexts outlive it: those of crashed code are kept for ever, and must not keep a whole run.
    """

    __slots__ = ("environment", "simulation")

    def __init__(self, simulation: Simulation) -> None:
        self.simulation: Simulation | None = simulation
        self.environment = simulation.environment

    def end(self) -> None:
        """Forget it."""
        self.simulation, self.environment = None, _NOWHERE


_NOWHERE = Environment()

# The simulation that runs the code, inherited likewise. To ask a context is cheap; asyncio's running loop is
# a system call on Python 3.11, which looks whether the process has forked.
AMBIENT: ContextVar[Ambient | None] = ContextVar("wfsim_ambient", default=None)

# By this name because the method of an imported object is looked up anew at each call.
ambient_of_context = AMBIENT.get

_running: dict[int, Simulation] = {}


def current() -> Simulation | None:
    """The simulation that runs this code; None outside of one, so also on a plain asyncio loop."""
    ambient = AMBIENT.get()
    if ambient is not None:
        return ambient.simulation
    # A new thread begins with an empty context.
    return _running.get(get_ident()) if _running else None


def running_loop() -> VirtualLoop | None:
    """The virtual loop whose callback or task is running, None if there is none."""
    ambient = AMBIENT.get()
    if ambient is not None and getcurrent() is ambient.environment.hub:
        return ambient.environment.runner
    loop = asyncio._get_running_loop()
    return loop if isinstance(loop, VirtualLoop) else None


def running_task() -> Any:
    """The task that is running, of whatever loop; None outside of one."""
    ambient = AMBIENT.get()
    if ambient is not None and getcurrent() is ambient.environment.hub:
        return CURRENT_TASKS.get(ambient.environment.runner)
    return None if asyncio._get_running_loop() is None else asyncio.current_task()


def enter(simulation: Simulation) -> None:
    """Make `simulation` the one that runs in this thread."""
    if get_ident() in _running:
        raise RuntimeError(
            "a simulation is running in this thread already; inside it, `await` the design or the coroutine"
        )
    _running[get_ident()] = simulation


def leave() -> None:
    """Undo `enter`."""
    del _running[get_ident()]


def current_process() -> Process | None:
    """The simulated process that runs this code; None outside of one."""
    return PROCESS.get(None)


def process_name() -> str:
    """The name of the simulated process that runs this code; "" outside of one."""
    process = PROCESS.get(None)
    return "" if process is None else process.name
