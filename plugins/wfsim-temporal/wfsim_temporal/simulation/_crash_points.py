"""Where a worker can crash: each workflow task, attempt of an activity, heartbeat and Nexus request that a run had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from wfsim.errors import DesignError
from wfsim.nemesis import Crash, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.history import Op
    from wfsim.units import Duration
    from wfsim_temporal.simulation._simulate import TemporalRun

_Place: TypeAlias = tuple[str, str, int]
_CALLS = ("activity", "local_activity", "nexus")
_STARTED = "WORKFLOW_TASK_STARTED"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One place: the n-th workflow task of a type of workflow, attempt of an activity or try of a Nexus operation.

    ``point`` is "call" (before anything is done) or "reply" (after the effect, before the server hears of it). A
    heartbeat is a place in the middle of an attempt: the server does not hear of it, but of those before. What
    has the same step and attempt, such as an activity that a workflow calls in a loop, is told apart by ``occurrence``,
    from 1 in the order of time.
    """

    on: str
    step: str
    attempt: int
    point: str
    occurrence: int = 1

    def rule(self, restart_after: Duration | None = "1s") -> Rule:
        """Give the rule that crashes the worker there, once."""
        return Rule(
            Crash(restart_after),
            step=self.step,
            on=self.on,
            attempt=self.attempt,
            point=self.point,
            count=1,
            skip=self.occurrence - 1,
        )


def crash_points(run: TemporalRun) -> list[CrashPoint]:
    """List where the workers of a run could have crashed, so that a search can try each. In order, each once."""
    if not hasattr(run, "logs"):
        name = type(run).__name__
        raise DesignError(f"a {name} has no crash points; give what wfsim_temporal.simulate returns")
    calls = [op for op in run.history if op.type == "invoke" and op.kind in _CALLS]
    answered = [op for op in calls if (end := run.history.completion(op.index)) and end.type != "fail"]
    at_call = _numbered([*_tasks(run), *map(_place, calls)])
    at_reply = set(_numbered([*_tasks(run), *map(_place, answered)]))
    beats = _numbered(("heartbeat", f"{name}.heartbeat", attempt) for name, attempt in run.heartbeats)
    return [
        *(
            CrashPoint(*place, point, occurrence)
            for place, occurrence in at_call
            for point in ("call", "reply")
            if point == "call" or (place, occurrence) in at_reply
        ),
        *(CrashPoint(*place, "call", occurrence) for place, occurrence in beats),
    ]


def _place(op: Op) -> _Place:
    return op.kind, op.name, op.attempt


def _tasks(run: TemporalRun) -> list[_Place]:
    """Give the workflow tasks of all runs: by type, the first ones of all, then the second ones, and so on."""
    tasks: dict[str, Counter[int]] = {}
    for log in (log for _, log in run.logs):
        name = log.event(1).workflow_execution_started_event_attributes.workflow_type.name
        tasks.setdefault(name, Counter()).update(range(1, log.count(_STARTED) + 1))
    return [
        ("workflow_task", name, number)
        for name, counts in tasks.items()
        for number in sorted(counts)
        for _ in range(counts[number])
    ]


def _numbered(places: Iterable[_Place]) -> list[tuple[_Place, int]]:
    """Number what is the same: the first such place is 1."""
    seen: Counter[_Place] = Counter()
    numbered = []
    for place in places:
        seen[place] += 1
        numbered.append((place, seen[place]))
    return numbered
