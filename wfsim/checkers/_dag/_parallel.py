"""Whether no more ran side by side than was allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._dag._view import DagView, dag_views, task_of
from wfsim.checkers._verdict import Findings, Verdict
from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wfsim.history import History, Span


def parallelism_respected(
    history: History,
    *,
    design: str | None = None,
    limit: int | None = None,
    tasks: Sequence[str] | None = None,
) -> Verdict:
    """At no time were more tasks of a DAG run at work than its ``max_parallel`` allows.

    With ``limit`` it is the tasks of all runs together, or those named by ``tasks``, of which no more than
    that may be at work: so a pool is judged that runs share. ``design`` names the DAG to judge, all if None.
    """
    if limit is not None and limit < 1:
        raise DesignError(f"limit={limit} of parallelism_respected must be 1 or more")
    findings = Findings("parallelism_respected")
    views = dag_views(history, design)
    if limit is not None:
        tries = [one for view in views for one in _tries(view, tasks)]
        _judge(tries, limit, "the tasks" if tasks is None else " and ".join(tasks), findings)
        return findings.verdict("limit", "never more at work at a time", "no such task was run")
    for view in views:
        allowed = view.data.get("max_parallel")
        if isinstance(allowed, int):
            _judge(_tries(view, tasks), allowed, view.title, findings)
    return findings.verdict("DAG run", "never more at work at a time than max_parallel", "no DAG had a limit")


def _tries(view: DagView, tasks: Sequence[str] | None) -> list[Span]:
    chosen = [one for task in view.tasks.values() for one in task.tries]
    return [one for one in chosen if tasks is None or one.name in tasks or task_of(one.name) in tasks]


def _judge(tries: Sequence[Span], limit: int, who: str, findings: Findings) -> None:
    findings.judged += bool(tries)
    at_work: dict[int, Span] = {}
    for _index, one, begins in sorted(_moments(tries), key=lambda moment: moment[0]):
        if not begins:
            at_work.pop(one.index, None)
            continue
        at_work[one.index] = one
        if len(at_work) > limit:
            names = ", ".join(each.name for each in at_work.values())
            message = f"{who}: {len(at_work)} were at work at once, {limit} are allowed: {names}"
            findings.breach(message, *at_work)
            return


def _moments(tries: Iterable[Span]) -> Iterable[tuple[int, Span, bool]]:
    for one in tries:
        yield one.index, one, True
        if one.completion is not None:
            yield one.completion, one, False
