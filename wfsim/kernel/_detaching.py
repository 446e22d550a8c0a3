"""What has crashed is kept for ever; the simulation that it belonged to is not.

A crashed coroutine may never be deallocated: that would run its `finally` blocks (see `_process`). It is
suspended somewhere in the library or in asyncio, on a loop of the simulation, in a context of it. Over
thousands of runs with a crash in each, those references would keep thousands of histories. So when a run has
ended they are cut: in the library's own frames, in the loops and in the processes (and in the contexts, see
`Ambient`). What the user's own frames hold stays as it is: to let go of an object of theirs may run code of
theirs.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

from wfsim.kernel._environment import Environment
from wfsim.kernel._operation import span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

    from wfsim.kernel._simulation import Simulation
    from wfsim.kernel._tasks import Driven

_OWN = str(Path(__file__).parents[1])


def detach(simulation: Simulation, tasks: list[Driven], frames: list[FrameType]) -> None:
    """Let what is kept of crashed code keep nothing of the simulation, which has ended.

    Args:
        simulation: it.
        tasks: those that have crashed.
        frames: the innermost frames of the threads that have.
    """
    entries = simulation.recorder.entries
    for coro in [coro for task in tasks for coro in _chain(task._coro)]:
        _cut_spans(
            gc.get_referents(coro)
        )  # an open `with span(...)` stands on its stack, seen by nobody else
        if frame := getattr(coro, "cr_frame", None):
            _cut_locals(frame, entries)
    for frame in [frame for innermost in frames for frame in _stack(innermost)]:
        _cut_spans(frame.f_locals.values())
        _cut_locals(frame, entries)
    for process in simulation.processes.values():
        process.detach()
    stopped = Environment()
    stopped._now = simulation.environment._now
    for loop in simulation.loops:
        loop.detach(stopped)


def _chain(coro: Any) -> Iterator[Any]:
    while coro is not None:
        yield coro
        coro = getattr(coro, "cr_await", None)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _cut_spans(values: Iterable[Any]) -> None:
    for held in values:
        owner = held.__self__ if type(held) is MethodType else held
        if type(owner) is span:
            owner._where = None


def _cut_locals(frame: FrameType, entries: Any) -> None:
    code = frame.f_code
    if not code.co_filename.startswith(_OWN):
        return
    values = frame.f_locals
    for name in code.co_varnames:
        value = values.get(name)
        if name not in code.co_cellvars and (value is entries or _is_ours(value)):
            values[name] = None
    if sys.version_info < (3, 13):  # there `f_locals` is a copy
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def _is_ours(value: Any) -> bool:
    """Whether this is the library's own object, or a tuple with such in it."""
    if type(value) is tuple:
        return any(map(_is_ours, value))
    return type(value.__self__ if type(value) is MethodType else value).__module__.startswith("wfsim.")
