"""An experiment: a design under a workload and faults, with what is expected of it; and how to run it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from wfsim.errors import ProcessCrashed
from wfsim.harness._run import START, Run, nemesis_of, run_of
from wfsim.harness._target import Target, target_of
from wfsim.harness._workload import Workload
from wfsim.history import describe_error
from wfsim.kernel import Bounds, Simulation, cause_of, sleep, start_process
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from wfsim.checkers import Verdict
    from wfsim.harness._expectation import Expectation
    from wfsim.kernel import Process
    from wfsim.nemesis import Rule

SETTLE_NS = 10 * NS_PER_SECOND
INSTANCE = "instance"
"""The kind of operation that stands for one instance of the workload, from its arrival to its end."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A design, its workload, the faults it meets, and what is expected of it, for some seeds.

    ``design`` is a function, a design, a ``Factory`` or a ``Target``. Each instance of the workload
    runs as process ``{design}-{i}``, counted from 1. When all have ended (or ``heal_after_ns`` is over,
    if given) the faults stop; tasks that are left behind get ``settle_ns`` to end; then the
    expectations are judged. ``source`` is the file the experiment came from.
    """

    name: str
    design: Any
    workload: Workload = field(default_factory=Workload)
    faults: tuple[Rule, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    seeds: tuple[int, ...] = (0,)
    bounds: Bounds = field(default_factory=Bounds)
    start: str | datetime = START
    heal_after_ns: int | None = None
    settle_ns: int = SETTLE_NS
    description: str = ""
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One expectation and the verdict on one run. ``met`` is True, False or "unknown"."""

    expectation: Expectation
    verdict: Verdict

    @property
    def met(self) -> bool | str:
        """Whether the verdict is what was expected; a break that was expected and found is met."""
        return self.expectation.met(self.verdict)


@dataclass(frozen=True, slots=True)
class ExperimentRun:
    """One run of an experiment with one seed, and the judgement of every expectation."""

    experiment: Experiment
    run: Run
    judgements: tuple[Judgement, ...]

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.run.seed

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The checkers' verdicts, in the order of the expectations."""
        return tuple(judgement.verdict for judgement in self.judgements)

    @property
    def passed(self) -> bool:
        """Whether this run alone meets every expectation; nothing to judge ("unknown") is not enough."""
        return all(judgement.met is True for judgement in self.judgements)


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """One expectation over all seeds.

    What must hold is met when some run shows it and none contradicts it; what must break is met
    when some run shows the break. ``deciding`` is the run that decided it, if one did.
    """

    expectation: Expectation
    met: bool | str
    deciding: ExperimentRun | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """All runs of an experiment and what they say together."""

    experiment: Experiment
    runs: tuple[ExperimentRun, ...]
    expectations: tuple[ExpectationResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every expectation is met."""
        return all(result.met is True for result in self.expectations)

    @property
    def unmatched(self) -> tuple[Rule, ...]:
        """The fault rules that spoke of no fault point of any run: most likely a name in them is misspelt."""
        missed = [
            rule for rule in self.experiment.faults if all(rule in run.run.unmatched for run in self.runs)
        ]
        return tuple(missed)

    @property
    def telling(self) -> ExperimentRun:
        """The run to show: one that fails an expectation, else shows a break, else is struck by a fault."""
        failed = [result for result in self.expectations if result.met is not True]
        broken = [result for result in self.expectations if result.expectation.breaks]
        for result in (*failed, *broken):
            if result.deciding is not None:
                return result.deciding
        struck = (run for run in self.runs if run.run.history.where(kind="fault"))
        return next(struck, self.runs[0])


def run(experiment: Experiment, seed: int | None = None) -> ExperimentRun:
    """Run ``experiment`` once and judge it. Without ``seed`` the first of its seeds is taken."""
    done = play(experiment, experiment.seeds[0] if seed is None else seed)
    judgements = tuple(Judgement(expected, expected.judge(done)) for expected in experiment.expectations)
    return ExperimentRun(experiment, done, judgements)


def run_all(
    experiment: Experiment,
    seeds: Iterable[int] | None = None,
    on_run: Callable[[ExperimentRun], object] | None = None,
) -> ExperimentResult:
    """Run ``experiment`` with each of its seeds (or ``seeds``) and judge them together.

    ``on_run`` is called after each run, to show progress.
    """
    runs = []
    for seed in experiment.seeds if seeds is None else seeds:
        runs.append(run(experiment, seed))
        if on_run is not None:
            on_run(runs[-1])
    return judge_runs(experiment, runs)


def judge_runs(experiment: Experiment, runs: Sequence[ExperimentRun]) -> ExperimentResult:
    """Join the judgements of ``runs`` (at least one) into the result of the experiment."""
    results = [_judge_over(runs, number) for number in range(len(experiment.expectations))]
    return ExperimentResult(experiment, tuple(runs), tuple(results))


def _judge_over(runs: Sequence[ExperimentRun], number: int) -> ExpectationResult:
    """Join one expectation's judgements: a violation decides (for good or ill), then whatever shows it."""
    expectation = runs[0].judgements[number].expectation
    for valid in (False, True):
        for run_ in runs:
            verdict = run_.judgements[number].verdict
            if verdict.valid is valid:
                return ExpectationResult(expectation, expectation.met(verdict), run_, verdict)
    return ExpectationResult(expectation, "unknown", None, runs[0].judgements[number].verdict)


def play(experiment: Experiment, seed: int, *, trace: bool = False) -> Run:
    """Run ``experiment`` once, without judging it."""
    target = target_of(experiment.design)
    design = target.describe().name
    nemesis = nemesis_of(experiment.faults)
    simulation = Simulation(
        seed=seed, start=experiment.start, bounds=experiment.bounds, nemesis=nemesis, trace=trace
    )
    heal = nemesis.heal if nemesis else _nothing
    stage = _Stage(experiment, target, design, simulation, heal)
    outcome = simulation.run(stage.play)
    again = partial(play, experiment, seed, trace=trace)
    return run_of(experiment.name, simulation, outcome, again)


def _nothing() -> None:
    """Stand in for healing where there is no nemesis."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What one simulation of an experiment does, from the first arrival to the last task left behind."""

    experiment: Experiment
    target: Target
    design: str
    simulation: Simulation
    heal: Callable[[], None]

    async def play(self) -> Any:
        """Run all instances, heal, settle; return the value(s), or raise the first instance's error."""
        system = await self.target.start()
        healer = self._heal_later()
        results = await asyncio.gather(*[watch async for watch in self._launch(system)])
        if healer is not None:
            healer.cancel()
        self.heal()
        await self._settle()
        for result in results:
            if isinstance(result, _Failed):
                raise result.error
        return results[0] if len(results) == 1 else results

    async def _launch(self, system: Any) -> AsyncIterator[Awaitable[Any]]:
        """Start each instance, when it arrives, as a process of its own, and yield what waits for its end."""
        simulation, workload, design = self.simulation, self.experiment.workload, self.design
        gaps_ns = workload.gaps_ns(simulation.stream("workload/arrivals"))
        for number, gap_ns in enumerate(gaps_ns, start=1):
            if gap_ns:
                await sleep(gap_ns / NS_PER_SECOND)
            name = f"{design}-{number}"
            instance = simulation.recorder.invoke(INSTANCE, design, name, name, attempt=0)
            process = start_process(name, self._drive, system, *workload.arguments(number, simulation.stream))
            yield asyncio.create_task(self._ended(process, instance), name=f"end of {name}")

    async def _drive(self, system: Any, *args: Any) -> Any:
        """Run one instance. A design that ends its program fails: it must not end ours, and with its exit code."""
        try:
            return await self.target.drive(system, *args)
        except SystemExit as error:
            raise RuntimeError(f"the design ended its program by sys.exit({error.code!r})") from error

    async def _ended(self, process: Process, instance: int) -> Any:
        """Wait until an instance has ended and record how; return its value, or its error wrapped."""
        complete = self.simulation.recorder.complete
        try:
            value = await process
        except (ProcessCrashed, asyncio.CancelledError) as error:
            if process.alive:  # it is this wait that is cancelled: the run ends
                raise
            complete("info", instance, data=describe_error(error))
            return _Failed(error)
        except Exception as error:  # noqa: BLE001 - an instance may fail in any way
            complete("fail", instance, cause_of(error), describe_error(error))
            return _Failed(error)
        complete("ok", instance)
        return value

    def _heal_later(self) -> Any:
        if self.experiment.heal_after_ns is None:
            return None
        return asyncio.create_task(self._heal_at(self.experiment.heal_after_ns / NS_PER_SECOND), name="heal")

    async def _heal_at(self, seconds: float) -> None:
        await sleep(seconds)
        self.heal()

    async def _settle(self) -> None:
        """Give what the instances left running the time to end; no time passes if there is nothing."""
        left = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=lambda task: task.get_name())
        if left and self.experiment.settle_ns:
            await asyncio.wait(left, timeout=self.experiment.settle_ns / NS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class _Failed:
    """The error of one instance, kept until all have ended."""

    error: BaseException
