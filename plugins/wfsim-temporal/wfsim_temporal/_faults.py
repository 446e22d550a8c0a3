"""Faults that only Temporal has, and the short ways to write rules for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from wfsim.errors import DesignError
from wfsim.nemesis import Crash, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.kernel import FaultPoint, Simulation
    from wfsim.units import Duration

WORKFLOW_TASK = "workflow_task"


@dataclass(frozen=True, slots=True)
class Evict:
    """After a workflow task the worker drops the workflow from its cache: the next task replays it.

    It strikes workflow tasks only (``on="workflow_task"``).
    """

    kind: ClassVar[str] = "evict"
    point: ClassVar[str] = "reply"
    never_at: ClassVar[tuple[str, ...]] = ("call",)

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind}

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:  # noqa: ARG002
        """Let the worker carry it out. Raises DesignError where there is no cache to evict from."""
        if at.kind != WORKFLOW_TASK:
            raise DesignError(
                f"evict strikes workflow tasks, not {at.kind} {at.name!r}; say on: {WORKFLOW_TASK}"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        for name in data:
            if name != "kind":
                raise DesignError(f"fault 'evict' has no option {name!r}; it has none")
        return cls()


def evict(workflow: str | None = None, *, tasks: int | Sequence[int] | None = None) -> Rule:
    """Evict a type of workflow (a name or glob; None for all) from the cache after its n-th workflow tasks."""
    return Rule(Evict(), step=workflow, on=WORKFLOW_TASK, attempt=tasks)


def crash_worker(
    workflow: str | None = None,
    *,
    task: int | Sequence[int] | None = None,
    restart_after: Duration | None = "1s",
    count: int | None = 1,
    process: str | None = None,
) -> Rule:
    """Crash the worker as it begins the n-th workflow task of a run; the task is done again after a replay.

    ``process`` is the worker's (``{task_queue}-worker-{n}``, or a glob). With ``restart_after=None`` it stays
    away, and another worker has to take over.
    """
    return Rule(
        Crash(restart_after), step=workflow, on=WORKFLOW_TASK, attempt=task, count=count, process=process
    )
