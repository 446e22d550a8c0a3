"""Simulated processes: what crashes as one and may be started again.

Tasks, timers and threads belong to the process whose code made them; they inherit it through their
context. A crash is that of a machine that loses power: nothing of the process runs any more, no `finally`,
no `except`, no `__exit__`. What has crashed is therefore never closed and never let go: closing or
deallocating a coroutine runs its `finally` blocks. Its frames stay in memory until the interpreter ends.
"""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import suppress
from contextvars import copy_context
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, ProcessCrashed
from wfsim.kernel._ambient import PROCESS, current
from wfsim.kernel._cause import PARENT
from wfsim.kernel._environment import PARKED
from wfsim.kernel._operation import call
from wfsim.kernel._tasks import park
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from wfsim.kernel._loop import VirtualLoop
    from wfsim.kernel._simulation import Simulation
    from wfsim.kernel._tasks import Driven


MAIN = "main"  # the name of the process in which the main function runs


def keep_for_ever(thing: object) -> None:
    """Let an object never be deallocated, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class Process:
    """A named process of a simulation; `await` it for the value of its function.

    Attributes:
        name: its name in the history.
        incarnation: 1 at first, one more after each restart.
        alive: whether it runs: neither ended nor crashed.
        crashes: how often it has crashed.
    """

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        restart_after_ns: int | None,
    ) -> None:
        self.name = name
        self.incarnation = 0
        self.alive = False
        self.crashes = 0
        self._simulation = simulation
        self._fn = fn
        self._args = args
        self._restart_after_ns = restart_after_ns
        running: Any = asyncio._get_running_loop()
        self._loop: VirtualLoop = running or simulation.loop
        self._ended: asyncio.Future[Any] = self._loop.create_future()

    def __repr__(self) -> str:
        state = "alive" if self.alive else "not alive"
        return f"<Process {self.name!r}, {state}, incarnation {self.incarnation}>"

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self._ended).__await__()

    def _start(self) -> None:
        self.incarnation += 1
        self.alive = True
        context = copy_context()
        context.run(PROCESS.set, self)
        context.run(PARENT.set, None)
        if self.incarnation > 1:
            self._simulation.recorder.event(
                "process", "", "restart", self.name, data={"incarnation": self.incarnation}
            )
        task = self._loop.create_task(self._call(), name=self.name, context=context)
        task.add_done_callback(self._end)

    def _call(self) -> Coroutine[Any, Any, Any]:
        is_blocking_main = self.name == MAIN and not iscoroutinefunction(self._fn)
        return self._in_main_thread() if is_blocking_main else call(self._fn, *self._args)

    async def _in_main_thread(self) -> Any:
        begun = self._simulation.bridge.begin(self._fn, self._args, copy_context(), is_main=True)
        value = begun.result() if begun.ended else await begun.awaited_in(self._loop)
        return await value if isawaitable(value) else value

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.alive = False
        if task.cancelled():
            self._ended.cancel()
        elif (error := task.exception()) is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(task.result())

    def has_crashed(self, incarnation: int) -> bool:
        """Whether that life of it ended by a crash. One that ended in order lives on in what it started."""
        return self.crashes >= incarnation

    def look_away(self) -> None:
        """Let nobody complain that the process's error was never looked at: it has been raised."""
        if self._ended.done() and not self._ended.cancelled():
            self._ended.exception()

    def detach(self) -> None:
        """Let go of a simulation that has ended."""
        self.alive = False
        del self._simulation, self._loop, self._fn, self._args

    def crash(self, restart_after: float | None = None) -> None:
        """Crash the process, and start its function anew after `restart_after` seconds if given.

        Code of the process itself that calls this goes on until it next waits; `await crash(...)` stops it
        at once.
        """
        if not self.alive:
            return
        self.alive = False
        self.crashes += 1
        simulation = self._simulation
        pause_ns = self._restart_after_ns if restart_after is None else round(restart_after * NS_PER_SECOND)
        simulation.recorder.event(
            "process",
            "",
            "crash",
            self.name,
            cause=PARENT.get(),
            data={"incarnation": self.incarnation, "restart_after_ns": pause_ns},
        )
        _kill(simulation, self)
        if pause_ns is not None:
            simulation.environment.call_at(simulation.now_ns + pause_ns, self._start)
        elif not self._ended.done():
            self._ended.set_exception(ProcessCrashed(f"process {self.name!r} crashed and was not restarted"))
            self._ended.exception()


def start_process(
    name: str, fn: Callable[..., Any], *args: Any, restart_after: float | None = None
) -> Process:
    """Run `fn(*args)` as a simulated process of its own.

    Args:
        name: its name; no other process that is alive may have it.
        fn: a coroutine function or a plain function that may block. A restart calls it again with the same
        arguments:
            whatever survives the crash (a disk, another process's state) must come in through them.
        args: its arguments.
        restart_after: seconds after which a crash is followed by a restart, unless the crash says otherwise.
    """
    simulation = current()
    if simulation is None:
        raise RuntimeError(
            "start_process() works inside a simulation only: call it from code that simulate() runs"
        )
    return launch(simulation, name, fn, args, restart_after)


def launch(
    simulation: Simulation,
    name: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    restart_after: float | None = None,
) -> Process:
    """`start_process` for a simulation at hand."""
    other = simulation.processes.get(name)
    if other is not None and other.alive:
        raise DesignError(f"a process named {name!r} is running already; give each process a name of its own")
    pause_ns = None if restart_after is None else round(restart_after * NS_PER_SECOND)
    process = simulation.processes[name] = Process(simulation, name, fn, args, pause_ns)
    process._start()
    return process


async def crash(process_name: str, restart_after: float | None = None) -> None:
    """Crash a process by name. If it is the caller's own, this never returns."""
    simulation = current()
    if simulation is None:
        raise RuntimeError("crash() works inside a simulation only")
    process = simulation.processes.get(process_name)
    if process is None:
        known = ", ".join(sorted(simulation.processes))
        raise DesignError(f"there is no process {process_name!r} to crash; there are: {known}")
    own = PROCESS.get(None) is process
    process.crash(restart_after)
    if own:
        await park()


def _kill(simulation: Simulation, process: Process) -> None:
    for loop in simulation.loops:
        for task in [task for task in loop._tasks.values() if task._context.get(PROCESS) is process]:
            _bury(loop, task)
        _drop_generators(loop, process)
        mine = [item for item in loop._ready if _owner(item) is process]
        for item in mine:
            loop._ready.remove(item)
        loop._on_signal = {key: handle for key, handle in loop._on_signal.items() if key[0] is not process}
    simulation.environment.drop(lambda item: _owner(item) is process)
    simulation.bridge.crash(lambda context: context.get(PROCESS) is process)


def _owner(item: Any) -> Process | None:
    context = getattr(item, "_context", None)
    return None if context is None else context.get(PROCESS)


def _bury(loop: VirtualLoop, task: Driven) -> None:
    keep_for_ever(task._coro)
    loop.buried.append(task)
    _leave_line(task)
    if task._future is not None:
        task._future.remove_done_callback(task._wakeup)
        task._future = None
    task._leave_wait()
    task._enter = _never
    loop._tasks.pop(task._coro, None)


def abandon(loop: VirtualLoop) -> None:
    """Close a loop that a thread was running which has crashed, or which the run has left behind."""
    for task in list(loop._tasks.values()):
        _bury(loop, task)
    for generator in list(loop._asyncgens):  # type: ignore[attr-defined]
        keep_for_ever(generator)
    loop._asyncgens.clear()  # type: ignore[attr-defined]
    loop._thread_id = None
    loop.close()


def _never(_send: object, _value: None) -> Any:
    return PARKED


def _leave_line(task: Driven) -> None:
    """Give up the place in the line of an asyncio primitive, which would hand a turn or an item to the dead.

    Only asyncio's own innermost coroutine is told, as if it were cancelled; it passes on what it was given.
    """
    coro: Any = task._coro
    while hasattr(inner := getattr(coro, "cr_await", None), "cr_frame"):
        coro = inner
    frame = getattr(coro, "cr_frame", None)
    if frame is None or frame.f_globals.get("__name__") not in {"asyncio.locks", "asyncio.queues"}:
        return
    primitive = frame.f_locals.get("self")
    if isinstance(primitive, asyncio.Condition):  # cancelled, it would take its lock again
        with suppress(ValueError):
            primitive._waiters.remove(frame.f_locals.get("fut"))
        return
    with suppress(asyncio.CancelledError):
        coro.throw(asyncio.CancelledError())


def _drop_generators(loop: VirtualLoop, process: Process) -> None:
    """Take the process's async generators from the loop, which would close them at its end."""
    for generator in list(loop._asyncgens):  # type: ignore[attr-defined]
        if loop._generator_owner.get(generator) is process:
            keep_for_ever(generator)
            loop._asyncgens.discard(generator)  # type: ignore[attr-defined]
