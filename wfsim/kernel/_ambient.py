"""Which simulation runs the code that asks."""

from __future__ import annotations

import asyncio
from _thread import get_ident
from contextvars import ContextVar
from typing import TYPE_CHECKING

from wfsim.kernel._loop import VirtualLoop

if TYPE_CHECKING:
    from wfsim.kernel._process import Process
    from wfsim.kernel._simulation import Simulation

# The simulated process that owns the running code: inherited by tasks, timers and threads through their
# context.
PROCESS: ContextVar[Process] = ContextVar("wfsim_process")

_running: dict[int, Simulation] = {}


def current() -> Simulation | None:
    """The simulation that runs this code; None outside of one, so also on a plain asyncio loop."""
    loop = asyncio._get_running_loop()
    if loop.__class__ is VirtualLoop:
        return loop.simulation
    if loop is None and _running:
        return _running.get(get_ident())
    return None


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


def process_name() -> str:
    """The name of the simulated process that runs this code; "" outside of one."""
    process = PROCESS.get(None)
    return "" if process is None else process.name
