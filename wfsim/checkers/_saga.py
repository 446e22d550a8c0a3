"""Whether a saga that turned back is undone: in reverse order, completely, and once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from wfsim.checkers._runs import DesignRun, design_runs, end_of, error_of, times
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from wfsim.history import History, Span


def compensated_in_reverse(history: History, *, design: str | None = None) -> Verdict:
    """Each saga compensated the step that succeeded last first, and one step after the other.

    A compensation that is tried again counts as one, from the first try to the end of the last. ``design``
    names the saga to judge, all if None.
    """
    findings = Findings("compensated_in_reverse")
    for run in design_runs(history, "saga", design):
        _judge_order(run, findings)
    return findings.verdict(
        "{} saga runs compensated in reverse order",
        "no saga compensated anything, so no order was put to the test",
    )


def _judge_order(run: DesignRun, findings: Findings) -> None:
    forwards, compensations = run.by_name("forward"), run.by_name("compensate")
    findings.judged += bool(compensations)
    due = sorted(compensations, key=lambda name: _success(forwards.get(name, ())), reverse=True)
    for later, earlier in pairwise(due):
        last, first = compensations[later][-1], compensations[earlier][0]
        if first.index > end_of(last):
            continue
        how = "before" if first.index < compensations[later][0].index else "before the end of"
        what = f"{later!r}" if how == "before" else f"the compensation of {later!r}"
        message = f"{run.title}: {earlier!r} was compensated {how} {what}, which succeeded after it"
        if how != "before":
            message = f"{run.title}: {earlier!r} was compensated {how} {what}"
        findings.breach(message, first.index, last.index)


def _success(tries: Sequence[Span]) -> int:
    """Give the place in the history at which a step succeeded, or at which it was last heard of."""
    return next((end_of(one) for one in tries if one.outcome == "ok"), end_of(tries[-1]) if tries else -1)


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of one step of a saga run."""

    name: str
    tries: Sequence[Span]
    undoings: Sequence[Span]
    compensatable: bool
    spared: AbstractSet[int]  # the calls that a fault struck before they did anything

    @property
    def succeeded(self) -> bool:
        return any(one.outcome == "ok" for one in self.tries)

    @property
    def took_effect(self) -> bool:
        """Whether the step did its work, if or if not the saga learned of it."""
        return any(_happened(one) for one in self.tries)

    @property
    def in_doubt(self) -> bool:
        """Whether the saga cannot know if the step did its work: a try was cut off, or ended in a timeout."""
        return any(one.outcome in {"info", None} for one in self.tries)

    @property
    def may_stand(self) -> bool:
        """Whether the history cannot tell either."""
        return self._open(self.tries)

    @property
    def may_be_undone(self) -> bool:
        """Whether the history cannot tell if a compensation did its work."""
        return self._open(self.undoings)

    def _open(self, calls: Sequence[Span]) -> bool:
        return any(one.outcome in {"info", None} and one.index not in self.spared for one in calls)

    @property
    def undone(self) -> Sequence[Span]:
        """The compensations that did their work."""
        return [one for one in self.undoings if _happened(one)]


def _happened(span: Span) -> bool:
    return span.outcome == "ok" or (span.outcome == "info" and span.result.get("effect") == "happened")


def _spared(history: History) -> AbstractSet[int]:
    """Find the calls that ended by a fault which struck before they began: these certainly did nothing."""
    faults = {op.index for op in history.where(kind="fault") if op.data.get("point") == "call"}
    return {op.invoke for op in history if op.invoke is not None and op.cause in faults}


def _fates(run: DesignRun, spared: AbstractSet[int]) -> list[_Fate]:
    declared, forwards, compensations = run.declared(), run.by_name("forward"), run.by_name("compensate")
    names = dict.fromkeys((*declared, *forwards, *compensations))
    return [
        _Fate(
            name,
            forwards.get(name, ()),
            compensations.get(name, ()),
            bool(declared.get(name, {}).get("compensatable", True)),
            spared,
        )
        for name in names
    ]


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
    crashes = [op for op in history.where(kind="process") if op.name == "crash"]
    spared = _spared(history) if runs else frozenset()
    for place, run in enumerate(runs):
        fates = _fates(run, spared)
        if run.whole.outcome == "ok":
            _judge_success(run, fates, findings)
        elif run.turned_back:
            findings.judged += any(fate.took_effect or fate.undoings for fate in fates)
            for fate in fates:
                _judge_way_back(run, fate, findings, allow_stuck=allow_stuck)
        else:
            own = [
                op.index for op in crashes if op.process == run.whole.process and op.index > run.whole.index
            ]
            _judge_cut_off(run, fates, findings, own[0] if own else None, runs[place + 1 :])
    return findings.verdict(
        "{} saga runs that turned back undid each step exactly once",
        "no saga turned back after a step had succeeded, so nothing had to be compensated",
    )


def _judge_success(run: DesignRun, fates: Sequence[_Fate], findings: Findings) -> None:
    for fate in fates:
        if fate.undoings:
            message = f"{run.title}: {fate.name!r} was compensated although the saga succeeded"
            findings.breach(message, fate.undoings[0].index, run.whole.completion)
        if fate.tries and not fate.succeeded:
            message = (
                f"{run.title} reported success although {fate.name!r} failed ({error_of(fate.tries[-1])})"
            )
            findings.breach(message, fate.tries[-1].completion, run.whole.completion)


def _judge_way_back(run: DesignRun, fate: _Fate, findings: Findings, *, allow_stuck: bool) -> None:
    shown = [one.index for one in (*fate.tries, *fate.undoings)]
    if len(fate.undone) > 1:
        lost = "; the reply of the first was lost" if fate.undone[0].outcome == "info" else ""
        findings.breach(f"{run.title}: {fate.name!r} was compensated {times(len(fate.undone))}{lost}", *shown)
    elif fate.undoings and not fate.took_effect and not fate.in_doubt:
        findings.breach(f"{run.title}: {fate.name!r} was compensated although it never succeeded", *shown)
    elif fate.undone and fate.succeeded and fate.undoings[0].index < _success(fate.tries):
        findings.breach(f"{run.title}: {fate.name!r} was compensated before it succeeded", *shown)
    elif not fate.undone and fate.compensatable and (fate.took_effect or fate.may_stand):
        _judge_left_behind(run, fate, findings, allow_stuck=allow_stuck)


def _judge_left_behind(run: DesignRun, fate: _Fate, findings: Findings, *, allow_stuck: bool) -> None:
    shown = [one.index for one in (*fate.tries, *fate.undoings)]
    if fate.undoings:
        _judge_stuck(run, fate, findings, allow_stuck=allow_stuck)
    elif fate.succeeded:
        failed = run.whole.result.get("failed")
        after = f" after {failed!r} failed" if failed else ""
        findings.breach(f"{run.title}: {fate.name!r} succeeded but was never compensated{after}", *shown)
    elif fate.took_effect:
        message = f"{run.title}: {fate.name!r} took effect, its reply was lost, and it was never compensated"
        findings.breach(message, *shown)
    else:
        findings.doubt(f"{run.title}: {fate.name!r} may have taken effect and was not compensated", *shown)


def _judge_stuck(run: DesignRun, fate: _Fate, findings: Findings, *, allow_stuck: bool) -> None:
    last = fate.undoings[-1]
    shown = [one.index for one in (*fate.tries, *fate.undoings)]
    said = fate.name in (run.whole.result.get("undone") or ())
    if fate.may_be_undone:
        findings.doubt(f"{run.title}: {fate.name!r} may be left undone; its compensation was cut off", *shown)
    elif not fate.took_effect:
        findings.doubt(f"{run.title}: {fate.name!r} may have taken effect; its compensation failed", *shown)
    elif not (said and allow_stuck):
        told = "the saga reports it as stuck" if said else "the saga does not say so"
        failed = f"its compensation failed {times(len(fate.undoings))}, with {error_of(last)}"
        findings.breach(f"{run.title}: {fate.name!r} is left undone, because {failed}; {told}", *shown)


def _judge_cut_off(
    run: DesignRun, fates: Sequence[_Fate], findings: Findings, crash: int | None, later: Sequence[DesignRun]
) -> None:
    """Judge a saga that never ended. If a crash cut it off, a later run in its process may carry it on."""
    left = [fate for fate in fates if fate.took_effect and not fate.undone and fate.compensatable]
    if crash is not None:
        left = [fate for fate in left if not any(_carries_on(run, other, fate.name) for other in later)]
    if not left:
        return
    findings.judged += 1
    names = ", ".join(repr(fate.name) for fate in left)
    if crash is None:
        findings.doubt(
            f"{run.title} had not ended when the run did; not undone so far: {names}", run.whole.index
        )
    else:
        process = run.whole.process
        message = f"{run.title} was cut off when process {process!r} crashed; left behind: {names}"
        findings.breach(message, run.whole.index, crash, *(end_of(fate.tries[-1]) for fate in left))


def _carries_on(run: DesignRun, other: DesignRun, step: str) -> bool:
    if (other.whole.design, other.whole.process) != (run.whole.design, run.whole.process):
        return False
    return other.whole.outcome == "ok" or any(
        _happened(one) for one in other.by_name("compensate").get(step, ())
    )
