"""A DAG run as its history shows it: what each task waited for, ran, and came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wfsim.checkers._runs import DesignRun, design_runs, end_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wfsim.history import History, Op, Span

GOOD = "success"
BAD = ("failed", "upstream_failed")
WAITS = ""  # what has not ended


def task_of(unit: str) -> str:
    """Name the task that a call belongs to: ``resize[3]`` is a call of the mapped task ``resize``."""
    return unit.partition("[")[0] if unit.endswith("]") else unit


@dataclass(slots=True)
class TaskView:
    """One task of one run. Its *units* are its calls: itself, or one for each item that it is mapped over."""

    name: str
    needs: Sequence[str]
    rule: str = "all_success"
    kept: str | None = None
    expected: int = 1
    expanded: int | None = None
    """The operation with which a mapped task was made its calls."""
    kept_units: int = 0
    """How many of its calls succeeded in the run that this one goes on from; they are not among ``expected``."""
    units: dict[str, list[Span]] = field(default_factory=dict)
    skips: dict[str, Op] = field(default_factory=dict)

    @property
    def tries(self) -> list[Span]:
        """All tries of all units, in order."""
        return sorted((one for each in self.units.values() for one in each), key=lambda one: one.index)

    @property
    def first(self) -> Span | None:
        """The first try; None if it never ran."""
        return min((each[0] for each in self.units.values()), key=lambda one: one.index, default=None)

    def states(self, before: int | None = None) -> list[str]:
        """Tell how each unit had ended before an operation, or in the end; "" for those that had not."""
        if self.kept is not None:
            return [self.kept]
        if self.name in self.skips:
            return [
                _skip_state(self.skips[self.name])
                if _is_before(self.skips[self.name].index, before)
                else WAITS
            ]
        known = [self._state(unit, before) for unit in dict.fromkeys((*self.units, *self.skips))]
        return [GOOD] * self.kept_units + known + [WAITS] * (self.expected - len(known))

    def _state(self, unit: str, before: int | None) -> str:
        skip = self.skips.get(unit)
        if skip is not None:
            return _skip_state(skip) if _is_before(skip.index, before) else WAITS
        tries = self.units[unit]
        good = next((one for one in tries if one.outcome == "ok"), None)
        last = tries[-1] if good is None else good
        if last.outcome is None or not _is_before(end_of(last), before):
            return WAITS
        return "failed" if good is None else GOOD


def _is_before(index: int, other: int | None) -> bool:
    return other is None or index < other


def _skip_state(skip: Op) -> str:
    return str(skip.data.get("state", "upstream_failed" if skip.data.get("because") else "skipped"))


@dataclass(slots=True)
class DagView:
    """One run of a DAG."""

    run: DesignRun
    tasks: dict[str, TaskView]

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return self.run.title

    @property
    def data(self) -> Mapping[str, Any]:
        """What the DAG said of itself when it began."""
        return self.run.whole.data

    @property
    def was_stopped(self) -> bool:
        """Whether the run was cancelled or cut off, so that what did not happen was not up to the DAG."""
        error = str(self.run.whole.result.get("error", ""))
        return self.run.whole.outcome is None or error.endswith("CancelledError")

    def upstream(self, task: TaskView, before: int | None = None) -> list[str]:
        """Tell how what a task depends on had ended before an operation, call by call."""
        return [
            state for name in task.needs if name in self.tasks for state in self.tasks[name].states(before)
        ]

    def downstream(self, name: str) -> Iterator[TaskView]:
        """Give the tasks that depend on one."""
        return (task for task in self.tasks.values() if name in task.needs)

    def setups_of(self, task: TaskView) -> list[str]:
        """Give those that a task depends on and that set something up."""
        setups = self.data.get("setups") or ()
        return [name for name in task.needs if name in setups]


def edges_of(run: DesignRun) -> dict[str, list[str]]:
    """Give what each task of a run depends on, as the DAG said when it began."""
    tasks = run.whole.data.get("tasks")
    return {str(name): list(others) for name, others in tasks.items()} if isinstance(tasks, dict) else {}


def dag_views(history: History, design: str | None) -> list[DagView]:
    """Give the runs of DAGs, of one design if it is named."""
    return [_view(history, run) for run in design_runs(history, "dag", design)]


def _view(history: History, run: DesignRun) -> DagView:
    rules, kept = run.whole.data.get("trigger_rules") or {}, run.whole.data.get("kept") or {}
    tasks = {
        name: TaskView(name, needs, str(rules.get(name, "all_success")), kept.get(name))
        for name, needs in edges_of(run).items()
    }
    mapped = run.whole.data.get("over") or {}
    for unit, tries in run.by_name("task").items():
        name = task_of(unit) if task_of(unit) in mapped else unit
        if name in tasks:
            tasks[name].units[unit] = tries
            tasks[name].kept = None
    for op in history.children(run.whole.index):
        name = task_of(op.name) if task_of(op.name) in mapped else op.name
        if op.kind == "skip" and name in tasks:
            tasks[name].skips[op.name] = op
        elif op.kind == "expand" and name in tasks:
            tasks[name].expanded = op.index
            tasks[name].kept_units = int(op.data.get("kept", 0))
            tasks[name].expected = int(op.data.get("count", 1)) - tasks[name].kept_units
    return DagView(run, tasks)
