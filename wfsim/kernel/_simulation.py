"""One simulation: a clock, a seed, a history, and the outside world replaced for as long as it runs."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from operator import index
from typing import TYPE_CHECKING, Any

from wfsim.errors import (
    Deadlock,
    DesignError,
    Livelock,
    OperationBoundReached,
    ProcessCrashed,
    SimulationError,
    StepBoundReached,
    TimeBoundReached,
)
from wfsim.history import Recorder
from wfsim.kernel import _ambient
from wfsim.kernel._blocking import Bridge
from wfsim.kernel._detaching import detach
from wfsim.kernel._environment import Environment
from wfsim.kernel._faultpoint import Watch
from wfsim.kernel._interrupts import Uninterrupted
from wfsim.kernel._loop import Enter, VirtualLoop
from wfsim.kernel._patched_asyncio import cancel_all_tasks, virtual_asyncio
from wfsim.kernel._process import MAIN, Process, abandon, keep_for_ever, launch
from wfsim.kernel._streams import Stream
from wfsim.kernel._waiting import Waiting, describe, waiting
from wfsim.kernel._world import World
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wfsim.kernel._faultpoint import Nemesis
    from wfsim.kernel._operation import Plan
    from wfsim.kernel._tasks import Driven

_YEAR_NS = 365 * 86_400 * NS_PER_SECOND
_GC_THRESHOLD = 20_000
_SHOWN = 20
_CLEANUP_NS = 86_400 * NS_PER_SECOND
_CLEANUP_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a run may go. Reaching a bound ends it with an outcome that has a name.

    Attributes:
        time_ns: virtual time, in nanoseconds ("max_time").
        steps: callbacks and resumptions of tasks ("max_steps").
        stalled_steps: those of them without any progress of time ("livelock").
        operations: records in the history ("max_operations"); looked at between batches of steps.
    """

    time_ns: int = 10 * _YEAR_NS
    steps: int = 50_000_000
    stalled_steps: int = 1_000_000
    operations: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: "ok", "error", "deadlock", "livelock", "max_time", "max_steps", "max_operations", "crashed"."""

    name: str
    value: Any
    error: BaseException | None
    duration_ns: int
    steps: int
    waiting: tuple[Waiting, ...]


_INTERRUPTS = (KeyboardInterrupt, SystemExit)

_OUTCOMES: tuple[tuple[type[SimulationError], str], ...] = (
    (Deadlock, "deadlock"),
    (Livelock, "livelock"),
    (TimeBoundReached, "max_time"),
    (StepBoundReached, "max_steps"),
    (OperationBoundReached, "max_operations"),
    (ProcessCrashed, "crashed"),
)


class Simulation:
    """A world in virtual time in which one main function runs.

    Args:
        seed: all chance of the run comes from it.
        start: the date on the virtual wall clock when the run begins; a datetime or its ISO 8601 text.
        bounds: how far the run may go.
        nemesis: who injects faults; None for none.
        debug: asyncio's debug mode.
        trace: record each step of each task in `trace`, for the detector of nondeterminism.
        record_arguments: record what each operation's function is called with, as `data["arguments"]`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        start: str | datetime = "2030-01-01T00:00:00+00:00",
        bounds: Bounds = Bounds(),
        nemesis: Nemesis | None = None,
        debug: bool = False,
        trace: bool = False,
        record_arguments: bool = False,
    ) -> None:
        self.seed = _whole(seed)
        self.start = _date(start)
        self.nemesis = nemesis
        self.watch = None if nemesis is None else Watch(nemesis)
        self.environment = Environment(
            time_bound_ns=bounds.time_ns, step_bound=bounds.steps, stalled_bound=bounds.stalled_steps
        )
        self.recorder = Recorder(self.environment._read_clock)
        self.environment.bound_operations(self.recorder, bounds.operations)
        _hide_from_gc(self.recorder.entries)
        self.processes: dict[str, Process] = {}
        self.witnesses: list[Callable[[BaseException], None]] = []  # they add notes to what ends a run
        self.loops: list[VirtualLoop] = []
        self.trace: list[tuple[int, str, str]] | None = [] if trace else None
        self.bridge = Bridge(self)
        self._ambient = _ambient.Ambient(self)
        self.coroutine_functions: dict[Any, bool] = {}
        self.plans: dict[tuple[str, str, str], Plan] = {}
        self.record_arguments = record_arguments
        self._streams: dict[str, Stream] = {}
        self._debug = debug
        self._used = self.is_running = False

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds since the start."""
        return self.environment._now

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.environment.now

    def stream(self, name: str) -> Stream:
        """The random numbers of that name: the same for the same seed, whatever other streams do."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Stream(self.seed, name)
        return stream

    def new_loop(self) -> VirtualLoop:
        """Another event loop on this simulation's clock."""
        if not self.is_running:
            raise RuntimeError("this simulation has ended, and its event loop policy with it")
        loop = VirtualLoop(self.environment, self)
        if self._debug:
            loop.set_debug(True)
        if self.trace is not None:
            loop.watchers = (self._watch, *loop.watchers)
        self.loops.append(loop)
        return loop

    def run(self, main: Callable[..., Any], *args: Any) -> Outcome:
        """Run `main(*args)`, a coroutine function or a plain function that may block, as process "main".

        Everything that is patched meanwhile is restored, also after an error. A simulation runs once.
        """
        if asyncio._get_running_loop() is not None and _ambient.current() is None:
            raise RuntimeError(
                "an event loop is running in this thread: start a simulation from a plain function or test, "
                "or by `await asyncio.to_thread(simulate, main)`"
            )
        if self._used:
            raise RuntimeError("a Simulation runs once; make a new one for another run")
        self._used = self.is_running = True
        with Uninterrupted() as interrupts:
            _ambient.enter(self)
            try:
                with World(self), self.bridge, virtual_asyncio(self), _patient_gc(), interrupts.heard():
                    return copy_context().run(self._run, main, args)
            finally:
                self.is_running = False
                _ambient.leave()
                self._let_go()

    def _let_go(self) -> None:
        self._ambient.end()
        for loop in list(self.loops):
            if loop.is_running():
                abandon(loop)  # its thread is buried
        buried = [task for loop in self.loops for task in loop.buried]
        frames = self.bridge.buried_frames()
        if buried or frames:
            detach(self, buried, frames)

    def _run(self, main: Callable[..., Any], args: tuple[Any, ...]) -> Outcome:
        _ambient.AMBIENT.set(self._ambient)
        self.loop = loop = self.new_loop()
        if iscoroutinefunction(
            main
        ):  # code that blocks has a loop of its own for the asking, as in any main thread
            asyncio.set_event_loop(loop)
        value, error = None, None
        left: tuple[Waiting, ...] = ()
        process = launch(self, MAIN, main, args)
        try:
            value = loop.run_until_complete(process._ended)
            self.bridge.finish()
        except BaseException as caught:  # noqa: BLE001  (it is the run's outcome)
            error = caught
            left = waiting(self) if isinstance(caught, SimulationError) else ()
        duration_ns, steps = self.now_ns, self.environment.steps
        if isinstance(error, (*_INTERRUPTS, SimulationError)):
            self._come_to_nothing()
        trouble = self._clean_up(loop)
        if isinstance(error, _INTERRUPTS):
            process.look_away()
            raise error
        error = trouble or error
        name = _outcome(error)
        if left:
            _tell(error, left)
        if isinstance(error, SimulationError):
            for witness in self.witnesses:
                witness(error)
        return Outcome(name, None if error else value, error, duration_ns, steps, left)

    def _come_to_nothing(self) -> None:
        self.recorder.mute()  # what the cancelled tasks do now is no part of the run
        for loop in self.loops:
            loop.come_to_nothing()

    def _clean_up(self, loop: VirtualLoop) -> BaseException | None:
        """What `asyncio.run` does at its end, in virtual time; an error in it never hides the run's own."""
        self.environment.allow_cleanup(time_ns=_CLEANUP_NS, steps=_CLEANUP_STEPS)
        trouble: BaseException | None = next(iter(loop._unawaited.values()), None)
        try:
            cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        except SimulationError:
            # A task refuses to be cancelled: the run is over all the same. To let its coroutine go would run it
            # on, with no clock to wait on: for ever.
            for task in [task for one in self.loops for task in one._tasks.values()]:
                keep_for_ever(task.get_coro())
        finally:
            asyncio.set_event_loop(None)
            for one in list(self.loops):
                if not one.is_running():
                    one.close()
        return trouble

    # -- the detector's trace

    def _watch(self, task: Driven, enter: Enter) -> Enter:
        def traced(send: Any, _value: None) -> Any:
            frames = describe(task)
            self.trace.append((self.now_ns, task.get_name(), frames.where))  # type: ignore[union-attr]
            return enter(send, None)

        return traced


def _whole(seed: Any) -> int:
    try:
        return index(seed)
    except TypeError:
        raise TypeError(f"a seed is a whole number, got {seed!r}") from None


def _date(start: str | datetime) -> datetime:
    try:
        date = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        raise DesignError(
            f"start is a date such as 2030-01-01 or 2030-01-01T09:00:00+00:00, not {start!r}"
        ) from None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), "error")


def _tell(error: BaseException | None, left: tuple[Waiting, ...]) -> None:
    assert error is not None  # noqa: S101
    shown = "\n".join(f"  {one}" for one in left[:_SHOWN])
    rest = f"\n  and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    error.add_note(f"still waiting:\n{shown}{rest}")


def _hide_from_gc(plain: list[Any]) -> None:
    """Spare the garbage collector a long list that holds plain data only, and so can be in no cycle."""
    ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(plain))


@contextmanager
def _patient_gc() -> Iterator[None]:
    """Collect garbage less often: a simulation makes many short-lived objects and hardly any cycle."""
    threshold = gc.get_threshold()
    gc.set_threshold(max(_GC_THRESHOLD, threshold[0]), *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
