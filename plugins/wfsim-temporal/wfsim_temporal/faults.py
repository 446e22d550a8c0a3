"""Faults that only Temporal has, and the short ways to write rules for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from wfsim.errors import DesignError
from wfsim.kernel import sleep
from wfsim.nemesis import Crash, Duplicate, Rule
from wfsim.units import NS_PER_SECOND, Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.kernel import FaultPoint, Simulation

WORKFLOW_TASK = "workflow_task"
TASK_QUEUE = "task_queue"
BACKLOG = "backlog"
SIGNAL = "signal"
DELIVER = "deliver"


@dataclass(frozen=True, slots=True)
class Evict:
    """After a workflow task the worker drops the workflow from its cache: the next task replays it.

    It strikes workflow tasks only (``on="workflow_task"``).
    """

    kind: ClassVar[str] = "evict"
    point: ClassVar[str] = "reply"
    on: ClassVar[str] = WORKFLOW_TASK
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
        _check_options(cls.kind, data, ())
        return cls()


@dataclass(frozen=True, slots=True)
class Backlog:
    """A task waits in its queue ``by`` so long before a worker sees it: there is a backlog.

    It strikes at the point "backlog" of a task queue. The step is the name of the queue; the design is what the task
    is for (a type of activity or of workflow); the attempt is its number in that queue.
    """

    by: Duration
    kind: ClassVar[str] = "backlog"
    point: ClassVar[str] = BACKLOG
    never_at: ClassVar[tuple[str, ...]] = ("call", "reply")

    def __post_init__(self) -> None:
        object.__setattr__(self, "by", _in_one_spelling(self.by, "by of a backlog"))

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind, "by": self.by}

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:  # noqa: ARG002
        """Let the task wait. Raises DesignError where there is no task queue."""
        _check_place(self.kind, at)
        await sleep(parse_duration(self.by) / NS_PER_SECOND)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        _check_options(cls.kind, data, ("by",))
        if "by" not in data:
            raise DesignError("fault 'backlog' needs by: how long a task waits, such as 30s")
        return cls(data["by"])


@dataclass(frozen=True, slots=True)
class Away:
    """The workers of a queue take no task until ``back_at``, counted from the start of the run.

    It strikes where ``Backlog`` does. What they do already goes on.
    """

    back_at: Duration
    kind: ClassVar[str] = "away"
    point: ClassVar[str] = BACKLOG
    never_at: ClassVar[tuple[str, ...]] = ("call", "reply")

    def __post_init__(self) -> None:
        object.__setattr__(self, "back_at", _in_one_spelling(self.back_at, "back_at of away"))

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind, "back_at": self.back_at}

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:
        """Let the task wait until they are back. Raises DesignError where there is no task queue."""
        _check_place(self.kind, at)
        left_ns = parse_duration(self.back_at) - simulation.now_ns
        if left_ns > 0:
            await sleep(left_ns / NS_PER_SECOND)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        _check_options(cls.kind, data, ("back_at",))
        if "back_at" not in data:
            raise DesignError("fault 'away' needs back_at: when the workers are back, such as 10m")
        return cls(data["back_at"])


def _in_one_spelling(value: Duration, what: str) -> str:
    return format_duration(parse_duration(value, what))


def _check_place(kind: str, at: FaultPoint) -> None:
    if at.kind != TASK_QUEUE:
        raise DesignError(f"{kind} strikes task queues, not {at.kind} {at.name!r}; say on: {TASK_QUEUE}")


def _check_options(kind: str, data: Mapping[str, Any], options: Sequence[str]) -> None:
    for name in data:
        if name != "kind" and name not in options:
            known = ", ".join(options) or "none"
            raise DesignError(f"fault {kind!r} has no option {name!r}; it has {known}")


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


def backlog(
    task_queue: str | None = None,
    by: Duration = "1m",
    *,
    of: str | None = None,
    tasks: int | Sequence[int] | None = None,
    after: Duration | None = None,
    before: Duration | None = None,
    count: int | None = None,
) -> Rule:
    """Let tasks of a queue (a name or glob) wait so long before a worker sees them.

    ``of`` narrows it to tasks for a type of activity or workflow, ``tasks`` to the n-th of the queue,
    ``after`` and ``before`` to those that come in that time.
    """
    options: dict[str, Any] = {
        "design": of,
        "attempt": tasks,
        "after": after,
        "before": before,
        "count": count,
    }
    return Rule(Backlog(by), step=task_queue, on=TASK_QUEUE, **options)


def away(
    task_queue: str | None = None,
    *,
    after: Duration = "0s",
    back_at: Duration,
    of: str | None = None,
) -> Rule:
    """Let the workers of a queue (a name or glob) take no task from ``after`` until ``back_at``.

    ``of`` narrows it to tasks for a type of activity or workflow: only the workers that do those are away.
    """
    return Rule(Away(back_at), design=of, step=task_queue, on=TASK_QUEUE, after=after, before=back_at)


def duplicate_signal(
    signal: str | None = None,
    *,
    copies: int = 1,
    workflow: str | None = None,
    count: int | None = None,
    probability: float = 1.0,
) -> Rule:
    """Deliver a signal (a name or glob) more than once: whoever sent it did not know that it had arrived.

    ``workflow`` narrows it to signals for a type of workflow.
    """
    fault = Duplicate(copies)
    return Rule(fault, design=workflow, step=signal, on=SIGNAL, count=count, probability=probability)
