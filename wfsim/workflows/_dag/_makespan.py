"""How long a DAG takes when slots, pools and agents are scarce: found by running it with waits for work."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, SimulationError
from wfsim.kernel import Simulation, current, now, sleep, span
from wfsim.workflows._dag._latency import sample_s
from wfsim.workflows._dag._run import Run
from wfsim.workflows._dag._schedule import distributions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.kernel import Distribution
    from wfsim.workflows._dag._latency import Latency
    from wfsim.workflows._dag._plan import Plan

_Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Makespan:
    """How long runs took, in seconds, sorted."""

    samples: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return math.fsum(self.samples) / len(self.samples)

    @property
    def confidence(self) -> tuple[float, float]:
        """The interval that holds the true mean with a confidence of 95 % (normal approximation)."""
        count, mean = len(self.samples), self.mean
        if count == 1:
            return -math.inf, math.inf
        variance = math.fsum((one - mean) ** 2 for one in self.samples) / (count - 1)
        half = _Z95 * math.sqrt(variance / count)
        return mean - half, mean + half

    def percentile(self, percent: float) -> float:
        """Give the time within which this share of the runs ended (nearest rank)."""
        if not 0 < percent <= 100:  # noqa: PLR2004 - per cent
            raise DesignError(f"a percentile lies above 0 and up to 100, not at {percent!r}")
        return self.samples[max(0, math.ceil(len(self.samples) * percent / 100) - 1)]


def expected_makespan(
    plan: Plan, durations: Mapping[str, Latency] | Latency, *, runs: int, seed: int
) -> Makespan:
    """Simulate runs in which each task only takes its time."""
    if type(runs) is not int or runs < 1:
        raise DesignError(f"runs={runs!r} must be 1 or more")
    took = distributions(plan, durations)
    idle = copy(plan)
    idle.passes = [False] * len(plan.tasks)
    idle.works = [_wait(plan.name, task, took[task]) for task in plan.names]
    return Makespan(tuple(sorted(_simulate(idle, seed + number) for number in range(runs))))


def _wait(design: str, task: str, latency: Distribution) -> Callable[..., Any]:
    async def wait() -> None:
        simulation = current()
        assert simulation is not None  # noqa: S101 - it is run below and nowhere else
        await sleep(sample_s(latency, simulation.stream(f"makespan/{design}/{task}")))

    return wait


def _simulate(plan: Plan, seed: int) -> float:
    async def run() -> float:
        begin = now()
        with span("dag", plan.name, plan.name) as whole:
            await Run(plan, (), whole, None).play()
        return now() - begin

    outcome = Simulation(seed=seed).run(run)
    if outcome.name != "ok":
        raise outcome.error or SimulationError(f"the dag ended with outcome {outcome.name!r}")
    took: float = outcome.value
    return took
