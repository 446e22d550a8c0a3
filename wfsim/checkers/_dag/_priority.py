"""Whether what matters more went first."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.checkers._dag._rules import may_run
from wfsim.checkers._dag._view import dag_views
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wfsim.checkers._dag._view import DagView, TaskView
    from wfsim.history import History, Span


@dataclass(frozen=True, slots=True)
class _Rival:
    """A task that stands in the line at hand."""

    view: DagView
    task: TaskView
    priority: int

    def waits_at(self, start: Span, before: int) -> str | None:
        """Name the task (of a mapped one a call) that could run all the while and does not when another starts.

        ``before`` is the first operation of that moment: of what becomes ready in it nobody can say what came first,
        save that what waits for nothing is ready when its run begins.
        """
        whole = self.view.run.whole
        if not self.task.needs:
            before = start.index
        if whole.index >= before or _is_over(whole, start) or not self._is_ready(before):
            return None
        begun = [unit for unit, tries in self.task.units.items() if tries[0].index < start.index]
        gone = [unit for unit, skip in self.task.skips.items() if skip.index < start.index]
        if self.task.name in gone or len(begun) + len(gone) >= self.task.expected:
            return None
        late = [unit for unit in self.task.units if unit not in begun]
        return late[0] if late else self.task.name

    def _is_ready(self, before: int) -> bool:
        if self.task.name in (self.view.data.get("over") or {}) and (
            self.task.expanded is None or self.task.expanded >= before
        ):
            return False
        return self.task.kept is None and may_run(self.view, self.task, before)


def _is_over(whole: Span, start: Span) -> bool:
    return whole.completion is not None and whole.completion < start.index


def priority_respected(
    history: History, *, design: str | None = None, tasks: Sequence[str] | None = None
) -> Verdict:
    """No task of a DAG waited, though it could have run, while one with a lower priority was started.

    Judged is the line before the slots of a DAG with ``max_parallel``: its tasks but those that wait elsewhere, for
    a pool or an agent, and teardowns. With ``tasks`` it is one line in which those stand, of all runs together: so a
    pool is judged that runs share. ``design`` names the DAG to judge, all if None. A DAG with a journal is not
    judged: its tasks are ready when a record is written, which no history tells.
    """
    findings = Findings("priority_respected")
    views = dag_views(history, design)
    moments = [op.time_ns for op in history]
    lines = [[one for view in views for one in _rivals(view, tasks)]] if tasks else map(_line_of, views)
    for rivals in lines:
        _judge(rivals, moments, findings)
    return findings.verdict(
        "task", "none started before one with a higher priority that waited", "no tasks of unequal priority"
    )


def _line_of(view: DagView) -> list[_Rival]:
    return list(_rivals(view, None)) if view.data.get("max_parallel") else []


def _rivals(view: DagView, tasks: Sequence[str] | None) -> Iterator[_Rival]:
    data: dict[str, Any] = dict(view.data)
    if view.run.key is not None:
        return
    elsewhere = [*data.get("pools", ()), *data.get("agents", ())] if tasks is None else ()
    priorities = data.get("priorities") or {}
    for name, task in view.tasks.items():
        # What lives on a setup waits for it too, whatever its rule; of all_success that makes no difference.
        waits_for_more = name in data.get("teardowns", ()) or (
            data.get("setups") and task.rule != "all_success"
        )
        if (tasks is None or name in tasks) and name not in elsewhere and not waits_for_more:
            yield _Rival(view, task, int(priorities.get(name, 0)))


def _judge(rivals: Sequence[_Rival], moments: Sequence[int], findings: Findings) -> None:
    for one in rivals:
        above = [other for other in rivals if other.priority > one.priority]
        for start in one.task.tries if above else ():
            findings.judged += 1
            before = bisect_left(moments, start.start_ns)
            for other in above:
                waiting = other.waits_at(start, before)
                if waiting is not None:
                    findings.breach(
                        f"{one.view.title}: {start.name!r} (priority {one.priority}) was started while {waiting!r} "
                        f"(priority {other.priority}) waited",
                        start.index,
                    )
                    break
