"""The critical path: what decides how long a DAG takes when nobody has to wait for a slot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import Stream
from wfsim.workflows._dag._latency import as_distribution, sample_s
from wfsim.workflows._naming import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.kernel import Distribution
    from wfsim.workflows._dag._latency import Latency
    from wfsim.workflows._dag._plan import Plan

_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Schedule:
    """When tasks run if each starts as soon as what it depends on has ended; times in seconds."""

    makespan: float
    """How long the whole takes."""
    critical_path: tuple[str, ...]
    """The tasks, in order, of which none can take longer without the whole taking longer."""
    start: Mapping[str, float]
    """The earliest start of each task."""
    slack: Mapping[str, float]
    """How much later than that each task may start without the whole taking longer."""


def distributions(plan: Plan, durations: Mapping[str, Latency] | Latency) -> dict[str, Distribution]:
    """Give the distribution of each task's duration. Raise DesignError if one is missing or unknown."""
    if not hasattr(durations, "keys"):
        one = as_distribution(durations, "the duration of all tasks")
        return dict.fromkeys(plan.names, one)
    given: dict[str, Any] = dict(durations)  # type: ignore[arg-type]
    for name in given:
        if name not in plan.number:
            hint = did_you_mean(name, plan.number)
            raise DesignError(
                f"there is a duration for {name!r}, but dag {plan.name!r} has no such task{hint}"
            )
    missing = [name for name in plan.names if name not in given]
    if missing:
        raise DesignError(f"dag {plan.name!r} needs a duration for {', '.join(missing)} too")
    return {name: as_distribution(given[name], f"the duration of task {name!r}") for name in plan.names}


def _mean_s(latency: Distribution, name: str) -> float:
    stream = Stream(0, f"schedule/{name}")
    draws = [sample_s(latency, stream) for _ in range(_DRAWS if not hasattr(latency, "duration_ns") else 1)]
    return math.fsum(draws) / len(draws)


def schedule(plan: Plan, durations: Mapping[str, Latency] | Latency) -> Schedule:
    """Work out the critical path."""
    import networkx as nx  # late: it takes longer to import than all of wfsim

    took = {name: _mean_s(one, name) for name, one in distributions(plan, durations).items()}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(plan.names)
    graph.add_edges_from((other, task.name) for task in plan.tasks for other in task.depends_on)
    order = list(nx.lexicographical_topological_sort(graph, key=plan.number.__getitem__))
    start: dict[str, float] = {}
    for name in order:
        start[name] = max((start[up] + took[up] for up in graph.pred[name]), default=0.0)
    makespan = max(start[name] + took[name] for name in order)
    latest: dict[str, float] = {}
    for name in reversed(order):
        latest[name] = min((latest[down] for down in graph.succ[name]), default=makespan) - took[name]
    slack = {name: _none_if_tiny(latest[name] - start[name], makespan) for name in plan.names}
    return Schedule(
        makespan, _critical(order, graph, start, took), {name: start[name] for name in plan.names}, slack
    )


def _none_if_tiny(slack: float, makespan: float) -> float:
    return 0.0 if slack < makespan * 1e-12 else slack


def _critical(
    order: list[str], graph: Any, start: dict[str, float], took: dict[str, float]
) -> tuple[str, ...]:
    """Walk back from the task that ends last, each time to the one that was waited for."""
    path = [max(order, key=lambda name: start[name] + took[name])]
    while graph.pred[path[-1]]:
        before = [name for name in order if name in graph.pred[path[-1]]]
        path.append(max(before, key=lambda name: start[name] + took[name]))
    return tuple(reversed(path))
