"""What waits when nothing is left to happen: the listing of a deadlock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfsim.kernel._ambient import PROCESS

if TYPE_CHECKING:
    from types import FrameType

    from wfsim.kernel._simulation import Simulation
    from wfsim.kernel._tasks import Driven

_LIBRARY = (str(Path(asyncio.__file__).parent), str(Path(__file__).parents[1]))

_PLUMBING = {"call", "perform", "to_thread", "__await__"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task or thread that waits when a run ends.

    Attributes:
        task: its name.
        process: the simulated process it belongs to.
        waits_for: what it waits for, such as "Queue.get" or "task 'charge'".
        where: the line of the user's code, "file.py:12 in consume".
    """

    task: str
    process: str
    waits_for: str
    where: str

    def __str__(self) -> str:
        return f"{self.task} waits for {self.waits_for} at {self.where}"


def waiting(simulation: Simulation) -> tuple[Waiting, ...]:
    """All that waits now, in the order in which it was started."""
    tasks = [describe(task) for loop in simulation.loops for task in loop._tasks.values()]
    return (*tasks, *simulation.bridge.waiting())


def describe(task: Driven) -> Waiting:
    """What one task waits for, and where."""
    process = task._context.get(PROCESS)
    frames = _frames(task._coro)
    where = next(
        (frame for frame in reversed(frames) if not _is_library(frame)), frames[-1] if frames else None
    )
    return Waiting(
        task.get_name(),
        "" if process is None else process.name,
        _waits_for(task, frames),
        "its first step" if where is None else place(where),
    )


def place(frame: FrameType) -> str:
    """A frame as "file.py:12 in function"."""
    code = frame.f_code
    return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_qualname}"


def _is_library(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_LIBRARY)


def _frames(coro: Any) -> list[FrameType]:
    """The frames of a suspended coroutine, outermost first."""
    frames = []
    while coro is not None:
        frame = (
            getattr(coro, "cr_frame", None)
            or getattr(coro, "gi_frame", None)
            or getattr(coro, "ag_frame", None)
        )
        if frame is not None:
            frames.append(frame)
        coro = (
            getattr(coro, "cr_await", None)
            or getattr(coro, "gi_yieldfrom", None)
            or getattr(coro, "ag_await", None)
        )
    return frames


def _waits_for(task: Driven, frames: list[FrameType]) -> str:
    waiter = task._future
    if isinstance(waiter, asyncio.Task) or hasattr(waiter, "get_coro"):
        return f"task {waiter.get_name()!r}"
    if type(waiter).__name__ == "_GatheringFuture":
        return "gather"
    if any(frame.f_code.co_name == "strike" for frame in frames[-2:]):
        return "an injected fault to pass"
    return _primitive(frames) or (
        "a future that nobody resolves" if waiter is not None else "somebody to wake it"
    )


def _primitive(frames: list[FrameType]) -> str:
    """The primitive of a library in which the coroutine waits, such as Queue.get."""
    innermost = frames[-1] if frames else None
    if innermost is None or not _is_library(innermost) or innermost.f_code.co_name in _PLUMBING:
        return ""
    return innermost.f_code.co_qualname
