"""Whether a saga that turned back is undone: in reverse order, completely, and once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from wfsim.checkers._evidence import Evidence, Fate, crash_after, fates
from wfsim.checkers._runs import DesignRun, design_runs, end_of, error_of, times
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.history import History, Span


def compensated_in_reverse(history: History, *, design: str | None = None) -> Verdict:
    """Each saga compensated the step that succeeded last first, and one step after the other.

    A compensation that is tried again counts as one, from the first try to the end of the last. ``design``
    names the saga to judge, all if None.
    """
    findings = Findings("compensated_in_reverse")
    for run in design_runs(history, "saga", design):
        _judge_order(run, findings)
    return findings.verdict("saga run", "compensated in reverse order", "no saga compensated anything")


def _judge_order(run: DesignRun, findings: Findings) -> None:
    forwards, compensations = run.by_name("forward"), run.by_name("compensate")
    findings.judged += bool(compensations)
    for later, earlier in _pairs(run, forwards, compensations):
        last, first = compensations[later][-1], compensations[earlier][0]
        if first.index > end_of(last):
            continue
        how = "before" if first.index < compensations[later][0].index else "before the end of"
        what = f"{later!r}" if how == "before" else f"the compensation of {later!r}"
        message = f"{run.title}: {earlier!r} was compensated {how} {what}"
        if how == "before":
            message += ", which depended on it" if run.has_branches else ", which succeeded after it"
        findings.breach(message, first.index, last.index)


def _pairs(
    run: DesignRun, forwards: Mapping[str, Sequence[Span]], compensations: Mapping[str, object]
) -> list[tuple[str, str]]:
    """Give the steps of which the second must be compensated after the first.

    In a saga with branches only those that depend on each other; else each step and the one before it.
    """
    if run.has_branches:
        befores = run.befores()
        return [
            (one, other) for one in compensations for other in befores.get(one, ()) if other in compensations
        ]
    due = sorted(compensations, key=lambda name: _success(forwards.get(name, ())), reverse=True)
    return list(pairwise(due))


def _success(tries: Sequence[Span]) -> int:
    """Give the place in the history at which a step succeeded, or at which it was last heard of."""
    return next((end_of(one) for one in tries if one.outcome == "ok"), end_of(tries[-1]) if tries else -1)


def compensated_exactly_once(
    history: History, *, design: str | None = None, allow_stuck: bool = False
) -> Verdict:
    """Each saga that turned back undid all that took effect, once; one that succeeded undid nothing.

    It finds steps left behind (also one whose reply was lost, and those of a saga that a crash cut off),
    compensations that ran twice, that undid a step which never succeeded, that failed for good, or whose
    failure was swallowed. Where a timeout or the end of the run hides what happened, the verdict is
    "unknown".

    ``design`` names the saga to judge, all if None. With ``allow_stuck`` a saga may fail to undo a step, if
    it says so.
    """
    findings = Findings("compensated_exactly_once")
    runs = design_runs(history, "saga", design)
    evidence = Evidence(history)
    for place, run in enumerate(runs):
        steps = fates(run, evidence)
        if run.succeeded:
            _judge_success(steps, findings)
        elif run.stuck_ahead:
            _judge_stuck_ahead(steps, findings)
        elif run.turned_back:
            findings.judged += any(step.took_effect or step.undoings for step in steps)
            for step in steps:
                _judge_way_back(step, findings, allow_stuck=allow_stuck)
        else:
            left = [step for step in steps if step.took_effect and not step.undone and step.compensatable]
            crash = crash_after(history, run.whole)
            if crash is None:
                _judge_unfinished(run, left, findings)
            else:
                _judge_crashed(run, left, findings, crash, runs[place + 1 :])
    return findings.verdict(
        "saga run",
        "each step that took effect was undone exactly once",
        "no saga turned back after a step had succeeded, so nothing had to be compensated",
    )


def _judge_success(steps: Sequence[Fate], findings: Findings) -> None:
    for step in steps:
        if step.undoings:
            findings.breach(f"{step.who} was compensated although the saga succeeded", *step.calls)
        if step.tries and not step.succeeded:
            failed = f"{step.name!r} failed ({error_of(step.tries[-1])})"
            findings.breach(f"{step.run.title} reported success although {failed}", *step.calls)


def _judge_stuck_ahead(steps: Sequence[Fate], findings: Findings) -> None:
    for step in steps:
        if step.undoings:
            message = f"{step.who} was compensated although the saga was past its pivot"
            findings.breach(message, *step.calls)


def _judge_way_back(step: Fate, findings: Findings, *, allow_stuck: bool) -> None:
    if len(step.undone) > 1 and step.had_to_be_undone_once:
        lost = "" if step.undone[0].outcome == "ok" else "; the reply of the first was lost"
        findings.breach(f"{step.who} was compensated {times(len(step.undone))}{lost}", *step.calls)
    elif step.undoings and step.atomic and not step.took_effect and not step.in_doubt:
        findings.breach(f"{step.who} was compensated although it never succeeded", *step.calls)
    elif step.undone and step.succeeded and step.undoings[0].index < _success(step.tries):
        findings.breach(f"{step.who} was compensated before it succeeded", *step.calls)
    elif not step.undone and step.compensatable and (step.took_effect or step.may_stand):
        if step.undoings:
            _judge_stuck(step, findings, allow_stuck=allow_stuck)
        else:
            _judge_left_behind(step, findings)


def _judge_left_behind(step: Fate, findings: Findings) -> None:
    failed = step.run.whole.result.get("failed")
    if step.succeeded:
        after = f" after {failed!r} failed" if failed else ""
        findings.breach(f"{step.who} succeeded but was never compensated{after}", *step.calls)
    elif step.took_effect:
        findings.breach(
            f"{step.who} took effect, its reply was lost, and it was never compensated", *step.calls
        )
    else:
        findings.doubt(f"{step.who} may have taken effect and was not compensated", *step.calls)


def _judge_stuck(step: Fate, findings: Findings, *, allow_stuck: bool) -> None:
    said = step.name in (step.run.whole.result.get("undone") or ())
    if step.may_be_undone:
        findings.doubt(f"{step.who} may be left undone; its compensation was cut off", *step.calls)
    elif not step.took_effect:
        findings.doubt(f"{step.who} may have taken effect; its compensation failed", *step.calls)
    elif not (said and allow_stuck):
        told = "the saga reports it as stuck" if said else "the saga does not say so"
        why = f"its compensation failed {times(len(step.undoings))}, with {error_of(step.undoings[-1])}"
        findings.breach(f"{step.who} is left undone, because {why}; {told}", *step.calls)


def _judge_unfinished(run: DesignRun, left: Sequence[Fate], findings: Findings) -> None:
    if left:
        names = ", ".join(repr(step.name) for step in left)
        message = f"{run.title} had not ended when the run did; not undone so far: {names}"
        findings.doubt(message, run.whole.index)


def _judge_crashed(
    run: DesignRun, left: Sequence[Fate], findings: Findings, crash: int, later: Sequence[DesignRun]
) -> None:
    """Judge a saga that a crash cut off. A later run in its process may carry it on."""
    stands = [step for step in left if not any(_carries_on(step, other) for other in later)]
    if stands:
        names = ", ".join(repr(step.name) for step in stands)
        message = f"{run.title} was cut off when process {run.whole.process!r} crashed; left behind: {names}"
        findings.breach(message, run.whole.index, crash, *(end_of(step.tries[-1]) for step in stands))


def _carries_on(step: Fate, other: DesignRun) -> bool:
    mine, its = step.run.whole, other.whole
    if (its.design, its.process) != (mine.design, mine.process) or other.key != step.run.key:
        return False
    undoings = other.by_name("compensate").get(step.name, ())
    return other.succeeded or any(step.evidence.happened(one) for one in undoings)


def no_forward_after_compensation(history: History, *, design: str | None = None) -> Verdict:
    """A saga that has begun to compensate takes no step forward any more, not even after a crash.

    ``design`` names the saga to judge, all if None.
    """
    findings = Findings("no_forward_after_compensation")
    for run in design_runs(history, "saga", design):
        turn = next((part.index for part in run.parts if part.kind == "compensate"), None)
        findings.judged += turn is not None
        for part in run.parts:
            if turn is not None and part.kind == "forward" and part.index > turn:
                again = "again " if any(one.index < turn for one in run.by_name("forward")[part.name]) else ""
                message = f"{run.title} ran {part.name!r} {again}after it had begun to compensate"
                findings.breach(message, turn, part.index)
    return findings.verdict("saga run", "no step forward after the turn", "no saga compensated anything")


def pivot_respected(history: History, *, design: str | None = None) -> Verdict:
    """After its pivot has succeeded a saga compensates nothing; what follows the pivot begins after it.

    ``design`` names the saga to judge, all if None.
    """
    findings = Findings("pivot_respected")
    for run in design_runs(history, "saga", design):
        declared, befores = run.declared(), run.befores()
        pivot = next((name for name, step in declared.items() if step.get("pivot")), None)
        ends = [end_of(one) for one in run.by_name("forward").get(pivot or "", ()) if one.outcome == "ok"]
        findings.judged += bool(ends)
        for part in run.parts:
            if ends and part.kind == "compensate" and part.index > ends[0]:
                message = (
                    f"{run.title}: {part.name!r} was compensated after the pivot {pivot!r} had succeeded"
                )
                findings.breach(message, ends[0], part.index)
            if (
                part.kind == "forward"
                and pivot in befores.get(part.name, ())
                and part.index < min(ends, default=part.index + 1)
            ):
                message = f"{run.title}: {part.name!r} began before the pivot {pivot!r} had succeeded"
                findings.breach(message, part.index)
    return findings.verdict("saga run", "the pivot decided", "no pivot succeeded")
