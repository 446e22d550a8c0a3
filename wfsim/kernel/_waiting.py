"""What waits when nothing is left to happen: the listing of a deadlock."""

from __future__ import annotations

import asyncio
import gc
import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfsim.kernel._ambient import PROCESS
from wfsim.kernel._faultpoint import FaultPoint

if TYPE_CHECKING:
    from types import FrameType

    from wfsim.kernel._simulation import Simulation
    from wfsim.kernel._tasks import Driven

_STANDARD = ("<frozen", sysconfig.get_path("stdlib") + os.sep, str(Path(__file__).parents[1]) + os.sep)
_INSTALLED = os.sep + "site-packages" + os.sep


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task or thread that waits when a run ends.

    Attributes:
        task: its name.
        process: the simulated process it belongs to.
        waits_for: what it waits for, such as "Queue.get" or "task 'charge'".
        where: the line of the user's code, "file.py:12 in consume"; empty if a fault keeps it from being reached.
    """

    task: str
    process: str
    waits_for: str
    where: str

    def __str__(self) -> str:
        return f"{self.task} waits for {self.waits_for}" + (f" at {self.where}" if self.where else "")


def waiting(simulation: Simulation) -> tuple[Waiting, ...]:
    """All that waits now, in the order in which it was started."""
    calls = {call._future: call for loop in simulation.loops for call in loop._calls}
    names: dict[Any, str] = {}
    tasks = []
    for task in [task for loop in simulation.loops for task in loop._tasks.values()]:
        call, frames = calls.get(task._future), _frames(task._coro)
        if call is not None and users_frame(frames) is None:
            names[call.thread] = (
                task.get_name()
            )  # it is there for its thread's sake: a process's blocking function
        else:
            tasks.append(describe(task, "" if call is None else f"thread {call.name()}"))
    return (*tasks, *simulation.bridge.waiting(names))


def describe(task: Driven, waits_for: str = "") -> Waiting:
    """What one task waits for, and where."""
    process = task._context.get(PROCESS)
    frames = _frames(task._coro)
    users = users_frame(frames)
    if users is not None:
        where = place(frames[users])
    elif frames:
        where = "" if _struck(frames) else place(frames[0])
    else:
        where = "its first step"
    name = "" if process is None else process.name
    return Waiting(task.get_name(), name, waits_for or _waits_for(task, frames), where)


def users_frame(frames: list[FrameType]) -> int | None:
    """Which of the frames, innermost first, is the user's own code; failing that, that of an installed library."""
    names = [frame.f_code.co_filename for frame in frames]
    own = [number for number, name in enumerate(names) if _is_own(name)]
    installed = [number for number, name in enumerate(names) if not name.startswith(_STANDARD)]
    return next(iter(own or installed), None)


def _is_own(name: str) -> bool:
    return _INSTALLED not in name and not name.startswith(_STANDARD)


def place(frame: FrameType) -> str:
    """A frame as "file.py:12 in function"."""
    code = frame.f_code
    return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_qualname}"


def _frames(coro: Any) -> list[FrameType]:
    """The frames of a suspended coroutine, innermost first."""
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
            or _wrapped(coro)
        )
    return frames[::-1]


_WRAPPERS = {"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"}


def _wrapped(awaitable: Any) -> Any:
    """What an awaitable of CPython's own drives, such as a step of an async generator: it has no attribute for it."""
    if type(awaitable).__name__ not in _WRAPPERS:
        return None
    inner = ("cr_frame", "gi_frame", "ag_frame")
    referents = gc.get_referents(awaitable)
    return next(
        (
            one
            for one in referents
            if type(one).__name__ in _WRAPPERS or any(hasattr(one, name) for name in inner)
        ),
        None,
    )


def _waits_for(task: Driven, frames: list[FrameType]) -> str:
    waiter = task._future
    if isinstance(waiter, asyncio.Task) or hasattr(waiter, "get_coro"):
        return f"task {waiter.get_name()!r}"
    if type(waiter).__name__ == "_GatheringFuture":
        return "gather"
    struck = _struck(frames)
    if struck is not None:
        return f"an injected fault to pass{_at(struck.f_locals.get('at'))}"
    if frames and frames[0].f_code.co_name == "_await_simpy_event":
        return f"SimPy's {type(frames[0].f_locals['self']).__name__}"
    return _primitive(frames) or (
        "a future that nobody resolves" if waiter is not None else "somebody to wake it"
    )


_IN_PLACE_OF_ASYNCIO = "wfsim.kernel._patched_asyncio"
_PLUMBING = {"call", "_call_blocking", "_recorded", "to_thread", "__await__"}


def _struck(frames: list[FrameType]) -> FrameType | None:
    """The frame in which a fault strikes, if that is what the coroutine waits in."""
    return next((frame for frame in frames[:2] if frame.f_code.co_name == "strike"), None)


def _at(point: Any) -> str:
    """Which call a fault has struck, since a hang keeps it from reaching the user's code."""
    if not isinstance(point, FaultPoint) or not point.name:
        return ""
    return f" at {point.name!r}" + (f" of {point.design!r}" if point.design not in {"", point.name} else "")


def _primitive(frames: list[FrameType]) -> str:
    """What a coroutine waits in, as its author called it: the outermost public function of a library."""
    if not frames or _is_own(frames[0].f_code.co_filename) or frames[0].f_code.co_name in _PLUMBING:
        return ""
    users = users_frame(frames)
    called = reversed(frames[:users]) if users is not None else ()
    frame = next((frame for frame in called if _is_public(frame.f_code.co_qualname)), frames[0])
    name = frame.f_code.co_qualname
    module = frame.f_globals["__name__"]
    library = "asyncio" if module == _IN_PLACE_OF_ASYNCIO else module.partition(".")[0]
    return name if "." in name else f"{library}.{name}"


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split(".")) and name not in _PLUMBING
