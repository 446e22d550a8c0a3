"""Whether each task ran, or did not, as its trigger rule says.

The rules are written down here a second time, in another way than the DAG itself has them: a judge must not
ask the accused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from wfsim.checkers._dag._view import BAD, GOOD, WAITS, DagView, TaskView, dag_views
from wfsim.checkers._runs import end_of
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from wfsim.history import History

Rule = Callable[[Sequence[str]], bool]


def _is_bad(state: str) -> bool:
    return state in BAD


_MAY_START: Final[dict[str, Rule]] = {
    "all_success": lambda states: all(one == GOOD for one in states),
    "all_failed": lambda states: all(map(_is_bad, states)),
    "all_done": lambda states: WAITS not in states,
    "all_skipped": lambda states: all(one == "skipped" for one in states),
    "one_success": lambda states: GOOD in states,
    "one_failed": lambda states: any(map(_is_bad, states)),
    "one_done": lambda states: GOOD in states or "failed" in states,
    "none_failed": lambda states: all(one in {GOOD, "skipped"} for one in states),
    "none_failed_min_one_success": lambda states: (
        GOOD in states and all(one in {GOOD, "skipped"} for one in states)
    ),
    "none_skipped": lambda states: not {WAITS, "skipped"} & set(states),
    "all_done_min_one_success": lambda states: GOOD in states and not {WAITS, "skipped"} & set(states),
    "all_done_setup_success": lambda states: WAITS not in states,
    "always": lambda _states: True,
}


def dependencies_respected(history: History, *, design: str | None = None) -> Verdict:
    """No task started before what it depends on had ended as its trigger rule wants it: had succeeded.

    ``design`` names the DAG to judge, all if None.
    """
    findings = Findings("dependencies_respected")
    for view in dag_views(history, design):
        findings.judged += any(task.needs and task.units for task in view.tasks.values())
        for task in view.tasks.values():
            if task.first is not None and task.needs:
                _judge_start(view, task, findings)
    return findings.verdict(
        "DAG run", "each task waited for what it depends on", "no task that depends on another was run"
    )


def may_run(view: DagView, task: TaskView, before: int | None = None) -> bool:
    """Tell whether what had ended before an operation, or in the end, is what the rule of a task wants."""
    states = view.upstream(task, before)
    rule = _MAY_START.get(task.rule)
    if task.rule == "all_done_setup_success":
        setups = [state for name in view.setups_of(task) for state in view.tasks[name].states(before)]
        if setups and GOOD not in setups:
            return False
    return rule is None or rule(states)


def _judge_start(view: DagView, task: TaskView, findings: Findings) -> None:
    start = task.first.index  # type: ignore[union-attr]
    if task.rule == "all_success":
        for name in task.needs:
            _judge_need(view, task, name, start, findings)
    elif not may_run(view, task, start):
        told = ", ".join(f"{name} {_word(view, name, start)}" for name in task.needs)
        findings.breach(
            f"{view.title}: {task.name!r} started, though its rule is {task.rule} and {told}", start
        )


def _judge_need(view: DagView, task: TaskView, name: str, start: int, findings: Findings) -> None:
    other = view.tasks.get(name)
    states = other.states(start) if other is not None else [WAITS]
    if all(state == GOOD for state in states):
        return
    finally_good = other is not None and all(state == GOOD for state in other.states())
    if other is not None and finally_good:
        ended = max(end_of(one) for one in other.tries)
        message = f"{view.title}: {task.name!r} started before {name!r}, which it depends on, had succeeded"
        findings.breach(message, start, ended)
        return
    had = "never ran" if other is None or not (other.units or other.skips) else "failed"
    if other is not None and other.skips:
        had = "was skipped"
    findings.breach(
        f"{view.title}: {task.name!r} started although {name!r}, which it depends on, {had}", start
    )


def _word(view: DagView, name: str, before: int | None) -> str:
    states = view.tasks[name].states(before) if name in view.tasks else [WAITS]
    words = {
        GOOD: "succeeded",
        WAITS: "had not ended",
        "upstream_failed": "could not run",
        "failed": "failed",
    }
    return " and ".join(dict.fromkeys(words.get(state, f"was {state}") for state in states))


def skipped_as_ruled(history: History, *, design: str | None = None) -> Verdict:
    """No task was left out although its trigger rule asked for it to run.

    Left out rightly is also what skipped itself, what a branch did not choose, what lives on a setup that
    did not succeed, and what was not run because the DAG stopped or nothing needed it. ``design`` names the
    DAG to judge, all if None.
    """
    findings = Findings("skipped_as_ruled")
    for view in dag_views(history, design):
        for task in view.tasks.values():
            skip = task.skips.get(task.name)
            if skip is None:
                continue
            findings.judged += 1
            if task.needs and may_run(view, task) and not _excused(view, task):
                told = ", ".join(f"{name} {_word(view, name, None)}" for name in task.needs)
                message = (
                    f"{view.title}: {task.name!r} was left out, though its rule is {task.rule} and {told}"
                )
                findings.breach(message, skip.index)
    return findings.verdict("skipped task", "left out as its rule says", "no task was skipped")


def _excused(view: DagView, task: TaskView) -> bool:
    stops = view.data.get("fail_fast") or view.data.get("cancel_unneeded")
    branches = view.data.get("branches") or ()
    return bool(
        task.units  # it began, and then skipped itself
        or stops
        or view.was_stopped
        or view.data.get("setups")
        or view.data.get("over", {}).get(task.name)
        or any(name in branches for name in task.needs)
    )
