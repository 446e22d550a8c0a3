"""Where a worker can crash: each workflow task, attempt of an activity and Nexus request that a run had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wfsim.nemesis import Crash, Rule

if TYPE_CHECKING:
    from wfsim.units import Duration
    from wfsim_temporal.simulation._simulate import TemporalRun

_CALLS = ("activity", "local_activity", "nexus")
_STARTED = "WORKFLOW_TASK_STARTED"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One place: the n-th workflow task of a type of workflow, attempt of an activity or try of a Nexus operation.

    ``point`` is "call" (before anything is done) or "reply" (after the effect, before the server hears of it).
    """

    on: str
    step: str
    attempt: int
    point: str

    def rule(self, restart_after: Duration | None = "1s") -> Rule:
        """Give the rule that crashes the worker there, once."""
        return Rule(
            Crash(restart_after), step=self.step, on=self.on, attempt=self.attempt, point=self.point, count=1
        )


def crash_points(run: TemporalRun) -> list[CrashPoint]:
    """List where the workers of a run could have crashed, so that a search can try each. In order, each once."""
    tasks: dict[str, int] = {}
    for log in (log for _, log in run.logs):
        name = log.event(1).workflow_execution_started_event_attributes.workflow_type.name
        tasks[name] = max(tasks.get(name, 0), log.count(_STARTED))
    places = [
        ("workflow_task", name, number) for name, most in tasks.items() for number in range(1, most + 1)
    ]
    calls = [op for op in run.history if op.type == "invoke" and op.kind in _CALLS]
    places += [(op.kind, op.name, op.attempt) for op in calls]
    return [CrashPoint(*place, point) for place in dict.fromkeys(places) for point in ("call", "reply")]
