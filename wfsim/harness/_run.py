"""One run of one thing: ``simulate`` and the ``Run`` it returns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from wfsim.errors import DesignError, SimulationError
from wfsim.harness._target import refuse_generator
from wfsim.kernel import Bounds, Outcome, Simulation, Waiting
from wfsim.nemesis import Rule, Rules
from wfsim.units import NS_PER_SECOND, Duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from wfsim.checkers import Verdict
    from wfsim.history import History
    from wfsim.kernel import Nemesis

START = "2030-01-01T00:00:00+00:00"
"""The date on the wall clock when a simulation starts, unless told otherwise."""

TraceStep = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """What one simulation did.

    ``outcome`` is "ok", "error", "crashed", "deadlock", "livelock", "max_time", "max_steps" or "max_operations";
    ``value`` what the main function returned, ``error`` what it raised (or what ended the run).
    ``waiting`` names each task that still waited when the run ended, with the line it waits in;
    ``unmatched`` the fault rules that spoke of no fault point of the run, most likely by a misspelt name.
    Two runs with equal ``fingerprint`` wrote the same history, byte for byte.
    """

    name: str
    outcome: str
    value: Any
    error: BaseException | None
    history: History
    duration_ns: int
    seed: int
    steps: int
    waiting: tuple[Waiting, ...] = ()
    unmatched: tuple[Rule, ...] = ()
    trace: Sequence[TraceStep] = field(default=(), repr=False)
    again: Callable[[], Run] | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the main function returned."""
        return self.outcome == "ok"

    @property
    def duration(self) -> float:
        """Virtual seconds from the start of the simulation to its end."""
        return self.duration_ns / NS_PER_SECOND

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the history's bytes."""
        return self.history.fingerprint()

    def result(self) -> Any:
        """Return the value, or raise the error that ended the run."""
        __tracebackhide__ = True
        if self.ok:
            return self.value
        if self.error is not None:
            raise self.error
        raise SimulationError(f"the run of {self.name} ended with outcome {self.outcome}")

    def check(self, *checkers: Callable[[History], Verdict]) -> list[Verdict]:
        """Let each checker judge the history; a checker with options comes as ``partial(checker, ...)``."""
        for checker in checkers:
            if not callable(checker):
                raise DesignError(
                    f"{checker!r} is no checker; hand over the function itself, uncalled, and options by partial: "
                    "check(partial(effect_at_most_once, name='charge'))"
                )
        return [checker(self.history) for checker in checkers]


def simulate(
    main: Any,
    *args: Any,
    seed: int = 0,
    faults: Sequence[Rule] | Callable[[], Nemesis] = (),
    start: str | datetime = START,
    max_time: Duration | None = None,
    max_steps: int | None = None,
    max_stalled_steps: int | None = None,
    max_operations: int | None = None,
    debug: bool = False,
    trace: bool = False,
    record_arguments: bool = False,
) -> Run:
    """Run ``main(*args)`` in virtual time under ``faults`` and return what happened.

    ``main`` is a coroutine function, a plain function that blocks, or a design (whatever has
    ``run``). ``faults`` are rules such as ``wfsim.fail("charge")``, or a function that makes the nemesis of
    a run: a new one for each, since it counts. ``max_time`` bounds virtual
    time (seconds, or "2h"), ``max_steps`` the number of steps, ``max_stalled_steps`` the steps in which
    time stands still, ``max_operations`` the records of the history; to reach a bound is an outcome, not an
    error. ``trace`` records each step of each task in ``Run.trace``. ``record_arguments`` adds to the history
    what each call was given, as plain data: ``op.data["arguments"]``. An error of ``main`` is in ``Run.error``;
    ``Run.result()`` raises it.
    """
    options = {"start": start, "debug": debug, "trace": trace, "record_arguments": record_arguments}
    bounds = bounds_of(max_time, max_steps, max_stalled_steps, max_operations)
    function = main_of(main)

    def play() -> Run:
        simulation = Simulation(seed=seed, bounds=bounds, nemesis=nemesis_of(faults), **options)  # type: ignore[arg-type]
        outcome = simulation.run(function, *args)
        return run_of(name_of(main), simulation, outcome, play)

    return play()


@overload
def nemesis_of(faults: Sequence[Rule]) -> Rules | None: ...
@overload
def nemesis_of(faults: Sequence[Rule] | Callable[[], Nemesis]) -> Nemesis | None: ...
def nemesis_of(faults: Sequence[Rule] | Callable[[], Nemesis]) -> Nemesis | None:
    """Return a fresh nemesis for one run: its counts start at zero. No rules need no nemesis."""
    if callable(faults):
        return faults()
    return Rules(faults) if faults else None


def bounds_of(
    time: Duration | None, steps: int | None, stalled_steps: int | None, operations: int | None = None
) -> Bounds:
    """Return the kernel's bounds with those replaced that are given."""
    counts: dict[str, Any] = {"steps": steps, "stalled_steps": stalled_steps, "operations": operations}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise DesignError(f"max_{name}={count!r} must be a whole number of 1 or more")
    given = {"time_ns": None if time is None else parse_duration(time, "max_time"), **counts}
    return Bounds(**{name: value for name, value in given.items() if value is not None})


def main_of(main: Any) -> Callable[..., Any]:
    """Return the function to run: a design's ``run``, or the function itself."""
    function = getattr(main, "run", main)
    if inspect.iscoroutine(main):
        main.close()  # else Python warns that it was never awaited
        raise DesignError(
            f"{main.__name__}() was called already; pass the function itself, then its arguments"
        )
    refuse_generator(function)
    if not callable(function):
        raise DesignError(
            f"cannot simulate {main!r}: it is neither a function nor a design with a run method"
        )
    return function  # type: ignore[no-any-return]


def name_of(main: Any) -> str:
    """Return how to call ``main`` in messages: a design's name, or the function's."""
    name = getattr(main, "name", None) or getattr(main, "__name__", None)
    return name if isinstance(name, str) else type(main).__name__


def run_of(name: str, simulation: Simulation, outcome: Outcome, again: Callable[[], Run] | None) -> Run:
    """Return the Run that tells how ``simulation`` ended."""
    return Run(
        name=name,
        outcome=outcome.name,
        value=outcome.value,
        error=outcome.error,
        history=simulation.recorder.history(),
        duration_ns=outcome.duration_ns,
        seed=simulation.seed,
        steps=outcome.steps,
        waiting=outcome.waiting,
        unmatched=simulation.nemesis.unmatched() if isinstance(simulation.nemesis, Rules) else (),
        trace=tuple(getattr(simulation, "trace", None) or ()),
        again=again,
    )
