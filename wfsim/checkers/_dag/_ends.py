"""Whether each task came to an end, and the whole told the truth about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._dag._view import GOOD, WAITS, DagView, TaskView, dag_views
from wfsim.checkers._evidence import crash_after
from wfsim.checkers._runs import end_of, times
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wfsim.history import History

# Rules by which a task runs although something before it failed, and deals with it.
_DEALS_WITH_FAILURE = ("one_success", "one_failed", "one_done", "all_failed", "all_done_min_one_success")


def every_task_decided(history: History, *, design: str | None = None) -> Verdict:
    """Every task of a DAG was run or skipped: none waits for ever.

    Tasks of a run that was cut off by the crash of its process are not judged. ``design`` names the DAG to
    judge, all if None.
    """
    findings = Findings("every_task_decided")
    for view in dag_views(history, design):
        if view.run.whole.outcome is None and crash_after(history, view.run.whole) is not None:
            continue
        findings.judged += bool(view.tasks)
        for task in view.tasks.values():
            if task.kept is None and not task.units and not task.skips:
                _tell_waiting(view, task, findings)
    return findings.verdict("DAG run", "each task was run or skipped", "no DAG ran to an end")


def _tell_waiting(view: DagView, task: TaskView, findings: Findings) -> None:
    message = f"{view.title}: {task.name!r} was neither run nor skipped"
    known = [name for name in task.needs if name in view.tasks]
    open_ones = [name for name in known if WAITS in view.tasks[name].states()]
    skipped = [name for name in known if view.tasks[name].skips]
    if skipped:
        message += f"; it waits for {skipped[0]!r}, which was skipped"
        findings.breach(
            message, view.run.whole.index, *(view.tasks[name].skips[name].index for name in skipped)
        )
    elif not open_ones or not _hangs(view, open_ones[0], [task.name]):
        findings.breach(message, view.run.whole.index)


def _hangs(view: DagView, name: str, seen: list[str]) -> bool:
    """Tell whether a task has begun and not ended, or waits for one that has: then that one is to blame."""
    task = view.tasks[name]
    if task.units:
        return True
    seen.append(name)
    known = [other for other in task.needs if other in view.tasks and other not in seen]
    waited_for = [other for other in known if WAITS in view.tasks[other].states()]
    return any(_hangs(view, other, seen) for other in waited_for)


def failures_surface(history: History, *, design: str | None = None) -> Verdict:
    """No DAG called itself successful although a task failed and none that deals with failures ran after it.

    The trap is Airflow's: only the leaves count, so a clean-up at the end that runs ``all_done`` hides what
    failed before it. A failed teardown is no failure, unless it said so. ``design`` names the DAG to judge, all
    if None.
    """
    findings = Findings("failures_surface")
    for view in dag_views(history, design):
        teardowns = view.data.get("teardowns") or {}
        failed = [
            task
            for task in view.tasks.values()
            if "failed" in task.states()
            and (task.name not in teardowns or teardowns[task.name].get("fails_dag"))
        ]
        findings.judged += bool(failed)
        if view.run.whole.outcome != "ok":
            continue
        for task in failed:
            if not _is_dealt_with(view, task):
                message = (
                    f"{view.title} reported success although {task.name!r} failed{_who_hid_it(view, task)}"
                )
                findings.breach(message, end_of(task.tries[-1]), view.run.whole.completion)
    return findings.verdict(
        "DAG run with a failed task", "the failure was dealt with or told", "no task failed"
    )


def _is_dealt_with(view: DagView, task: TaskView) -> bool:
    downs = list(view.downstream(task.name))
    if any(down.rule in _DEALS_WITH_FAILURE and GOOD in down.states() for down in downs):
        return True
    # What could not run because of it passes the question on.
    lost = [down for down in downs if "upstream_failed" in down.states()]
    return bool(lost) and all(_is_dealt_with(view, down) for down in lost)


def _who_hid_it(view: DagView, task: TaskView) -> str:
    seen, queue = {task.name: None}, [task]
    for one in queue:  # grows while it is walked
        for down in view.downstream(one.name):
            if GOOD in down.states():
                return f": {down.name!r} ran after it by its rule {down.rule}"
            if down.name not in seen:
                seen[down.name] = None
                queue.append(down)
    return ""


def torn_down(history: History, *, design: str | None = None) -> Verdict:
    """What was set up was taken down: once, and after all that lived on it had ended.

    Judged is each teardown of a DAG whose setup succeeded, also if the run failed or was cancelled; of one that a
    crash cut off, the run that carried it on. ``design`` names the DAG to judge, all if None.
    """
    findings = Findings("torn_down")
    views = dag_views(history, design)
    for place, view in enumerate(views):
        if view.run.whole.outcome is None and any(_carries_on(later, view) for later in views[place + 1 :]):
            continue
        for name, told in (view.data.get("teardowns") or {}).items():
            setups = [
                one for one in told.get("of", ()) if one in view.tasks and GOOD in view.tasks[one].states()
            ]
            if setups and name in view.tasks:
                findings.judged += 1
                _judge_teardown(history, view, view.tasks[name], setups, findings)
    return findings.verdict(
        "teardown", "ran when all that lived on its setup had ended", "no setup succeeded"
    )


def _carries_on(later: DagView, view: DagView) -> bool:
    key = view.run.key
    return key is not None and (later.run.whole.design, later.run.key) == (view.run.whole.design, key)


def _judge_teardown(
    history: History, view: DagView, task: TaskView, setups: list[str], findings: Findings
) -> None:
    setup, first = setups[0], task.first
    if task.kept is not None:
        return
    if first is None:
        crash = crash_after(history, view.run.whole)
        why = f", because process {view.run.whole.process!r} crashed" if crash is not None else ""
        message = f"{view.title}: {task.name!r} never took down what {setup!r} had set up{why}"
        findings.breach(message, *(end_of(one) for one in view.tasks[setup].tries), crash)
        return
    good = [one for one in task.tries if one.outcome == "ok"]
    if len(good) > 1:
        message = f"{view.title}: {task.name!r} took down {times(len(good))} what {setup!r} had set up"
        findings.breach(message, *(one.index for one in good))
    for name in _between(view, setups, task):
        late = [
            one for one in view.tasks[name].tries if one.completion is None or one.completion > first.index
        ]
        if late:
            message = f"{view.title}: {task.name!r} began before {name!r} had ended, which lives on {setup!r}"
            findings.breach(message, first.index, late[0].index)


def _between(view: DagView, setups: list[str], teardown: TaskView) -> list[str]:
    """Name the tasks on the ways from the setups to a teardown."""
    before = _walk(teardown.name, lambda name: view.tasks[name].needs if name in view.tasks else ())
    after = {
        name: None
        for setup in setups
        for name in _walk(setup, lambda one: [down.name for down in view.downstream(one)])
    }
    return [name for name in view.tasks if name in before and name in after]


def _walk(start: str, step: Callable[[str], Iterable[str]]) -> dict[str, None]:
    found: dict[str, None] = {}
    queue = [start]
    for name in queue:  # grows while it is walked
        for other in step(name):
            if other not in found:
                found[other] = None
                queue.append(other)
    return found


def no_task_repeated(history: History, *, design: str | None = None) -> Verdict:
    """No task that had succeeded was run again: not in its run, and not in one that resumed from it.

    ``design`` names the DAG to judge, all if None.
    """
    findings = Findings("no_task_repeated")
    for view in dag_views(history, design):
        kept = view.data.get("kept") or {}
        for task in view.tasks.values():
            for unit, tries in task.units.items():
                findings.judged += 1
                good = [one for one in tries if one.outcome == "ok"]
                again = [one for one in tries if good and one.index > end_of(good[0])]
                if again:
                    message = f"{view.title}: {unit!r} was run again after it had succeeded"
                    findings.breach(message, good[0].index, again[0].index)
                elif kept.get(unit) == GOOD:
                    message = (
                        f"{view.title}: {unit!r} was run again, though it had succeeded in the run before"
                    )
                    findings.breach(message, tries[0].index)
    return findings.verdict("task", "run until it succeeded, and no more", "no task was run")
