"""A DAG described in the file itself: its tasks are calls of simulated services, or work for simulated agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.capacity import Pool
from wfsim.kernel import current
from wfsim.scenario._inline import Service, ServiceSpec
from wfsim.workflows import Agent, DAGWorkflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.scenario._inline_saga import JournalSpec
    from wfsim.workflows import Policy


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a DAG: who does it, what it gives, and what else is said of it.

    ``choose`` holds the probability of each task after a branch; ``items`` how many items the task gives.
    """

    name: str
    service: ServiceSpec | None
    retry: Policy | None
    options: Mapping[str, Any]
    pool: str | None = None
    choose: Mapping[str, float] | None = None
    items: int | None = None


@dataclass(frozen=True, slots=True)
class DagSpec:
    """A DAG described in a file."""

    name: str
    tasks: tuple[TaskSpec, ...]
    options: Mapping[str, Any]
    pools: Mapping[str, int]
    agents: tuple[Mapping[str, Any], ...]
    journal: JournalSpec | None = None
    kind = "dag"

    def names(self) -> tuple[str, ...]:
        """Return the names of the tasks."""
        return tuple(task.name for task in self.tasks)

    def make(self) -> DAGWorkflow:
        """Build the DAG of one run; its services have seen no key yet, its pools and agents are idle."""
        pools = {name: Pool(size) for name, size in self.pools.items()}
        agents = [Agent(**agent) for agent in self.agents]
        journal = None if self.journal is None else self.journal.make()
        dag = DAGWorkflow(name=self.name, agents=agents, journal=journal, **self.options)
        for task in self.tasks:
            dag.add_task(
                task.name,
                None if task.service is None else self._work(task, Service(self.name, task.service)),
                retry=task.retry,
                pool=pools[task.pool] if task.pool else None,
                branch=task.choose is not None,
                **task.options,
            )
        return dag.check()

    def _work(self, task: TaskSpec, service: Service) -> Callable[..., Any]:
        if task.items is None and task.choose is None:
            return service.work

        async def work(*results: object) -> Any:
            await service.work(*results)
            if task.items is not None:
                return list(range(1, task.items + 1))
            return self._draw(task)

        return work

    def _draw(self, task: TaskSpec) -> list[str]:
        """Choose each of the tasks after a branch with its probability, by one draw if they add up to 1."""
        simulation = current()
        assert simulation is not None  # noqa: S101 - the service has refused to work outside of one
        stream = simulation.stream(f"choice/{self.name}/{task.name}")
        left = stream.random()
        for name, probability in (task.choose or {}).items():
            left -= probability
            if left < 0:
                return [name]
        return []
