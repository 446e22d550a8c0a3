"""The kernel: virtual time, the event loop that lives in it, and what a design tells the history through it.

It knows no workflow. `Simulation` runs a function in a world of its own; `perform`, `span`, `event` and
`fault_point` are how the floors above write to the history and ask the nemesis; `sleep`, `spawn`,
`start_process` and `Stream` are what they wait and draw with.
"""

from __future__ import annotations

from wfsim.kernel._ambient import ambient_of_context, current, current_process, running_loop, running_task
from wfsim.kernel._cause import cause_of
from wfsim.kernel._distributions import Distribution, constant, empirical, exponential, lognormal, uniform
from wfsim.kernel._environment import PARKED, Environment
from wfsim.kernel._faultpoint import Decide, Fault, FaultPoint, Nemesis, fault_point
from wfsim.kernel._loop import VirtualLoop
from wfsim.kernel._operation import (
    AfterFailure,
    Where,
    begin,
    call,
    effect,
    end,
    event,
    is_coroutine_function,
    perform,
    perform_in,
    span,
)
from wfsim.kernel._process import Process, crash, start_process
from wfsim.kernel._signals import as_program
from wfsim.kernel._simulation import Bounds, Outcome, Simulation
from wfsim.kernel._streams import Stream
from wfsim.kernel._tasks import LightTask, park, sleep, wake
from wfsim.kernel._threads import in_real_thread
from wfsim.kernel._wait import check_interruption, now, raise_in_thread, spawn
from wfsim.kernel._waiting import Waiting

__all__ = [
    "PARKED",
    "AfterFailure",
    "Bounds",
    "Decide",
    "Distribution",
    "Environment",
    "Fault",
    "FaultPoint",
    "LightTask",
    "Nemesis",
    "Outcome",
    "Process",
    "Simulation",
    "Stream",
    "VirtualLoop",
    "Waiting",
    "Where",
    "ambient_of_context",
    "as_program",
    "begin",
    "call",
    "cause_of",
    "check_interruption",
    "constant",
    "crash",
    "current",
    "current_process",
    "effect",
    "empirical",
    "end",
    "event",
    "exponential",
    "fault_point",
    "in_real_thread",
    "is_coroutine_function",
    "lognormal",
    "now",
    "park",
    "perform",
    "perform_in",
    "raise_in_thread",
    "running_loop",
    "running_task",
    "sleep",
    "span",
    "spawn",
    "start_process",
    "uniform",
    "wake",
]
