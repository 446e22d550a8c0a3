"""What can be said of a workload as a whole: rates, counts, times, and how the run ended.

Like all checkers these are pure functions: of the history, or (``outcome``) of the Run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from wfsim.checkers import Verdict
from wfsim.errors import DesignError
from wfsim.harness._experiment import INSTANCE
from wfsim.units import format_duration

if TYPE_CHECKING:
    from wfsim.harness._run import Run
    from wfsim.history import History, Span

_NAMED_MAX = 3
_ROUNDING = 1e-9
_PERCENT = 100


def success_rate(history: History, *, at_least: float = 1.0, at_most: float = 1.0) -> Verdict:
    """Judge the share of instances that returned (and did not raise, crash or hang)."""
    for word, share in (("at_least", at_least), ("at_most", at_most)):
        if not 0 <= share <= 1:
            percent = f"; for {share:g} % write {share / 100:g}" if 1 < share <= _PERCENT else ""
            raise DesignError(f"{word}={share:g} of success_rate must be from 0 to 1{percent}")
    _check_order(at_least, at_most, "success_rate")
    instances = _instances(history)
    if not instances:
        return Verdict("success_rate", "unknown", "no instance was started", ())
    failed = [instance for instance in instances if instance.outcome != "ok"]
    rate = 1 - len(failed) / len(instances)
    message = f"{len(instances) - len(failed)} of {len(instances)} instances succeeded ({rate:.0%})"
    if failed:
        message += f"; not {_some(failed)}"
    valid = at_least - _ROUNDING <= rate <= at_most + _ROUNDING
    wanted = f", expected at least {at_least:.0%}" + (f" and at most {at_most:.0%}" if at_most < 1 else "")
    ops = tuple(instance.index for instance in failed)
    return Verdict("success_rate", valid, message if valid else message + wanted, ops)


def completes_within(history: History, *, duration_ns: int, percentile: float = 100.0) -> Verdict:
    """Judge that ``percentile`` percent of the instances end, well or not, within ``duration_ns``.

    The time of an instance counts from its arrival; restarts after a crash are part of it.
    """
    if not 0 < percentile <= _PERCENT:
        raise DesignError(f"percentile={percentile:g} of completes_within must be above 0 and at most 100")
    instances = _instances(history)
    if not instances:
        return Verdict("completes_within", "unknown", "no instance was started", ())
    late = [instance for instance in instances if _time_ns(instance) > duration_ns]
    allowed = math.floor(len(instances) * (1 - percentile / 100) + _ROUNDING)
    slowest = max(instances, key=_time_ns)
    took = (
        "never ended"
        if slowest.duration_ns is None
        else f"took {format_duration(slowest.duration_ns, decimals=1)}"
    )
    message = f"{slowest.name}, the slowest of {len(instances)}, {took}"
    if len(late) > allowed:
        message += f"; {_some(late)} took longer than {format_duration(duration_ns)}"
    ops = tuple(instance.index for instance in late)
    return Verdict("completes_within", len(late) <= allowed, message, ops)


def effect_count(
    history: History,
    *,
    name: str,
    exactly: int | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
) -> Verdict:
    """Judge how often an effect happened in the world. Without bounds: at least once."""
    found = tuple(op.index for op in history.where(kind="effect", name=name))
    return _counted("effect_count", f"effect {name}", found, (exactly, at_least, at_most))


def effect_undone(history: History, *, name: str, by: str) -> Verdict:
    """Judge that each effect ``name`` was followed, for the same key, by an effect ``by`` that undoes it.

    It looks at the world alone: also at what happened without the orchestrator's knowledge.
    """
    done, undone = history.where(kind="effect", name=name), list(history.where(kind="effect", name=by))
    if not done:
        return Verdict(
            "effect_undone", "unknown", f"effect {name} never happened, so there was nothing to undo", ()
        )
    left = []
    for op in done:
        match = next(
            (one for one in undone if one.index > op.index and one.data["key"] == op.data["key"]), None
        )
        if match is None:
            left.append(op)
        else:
            undone.remove(match)
    of = ", ".join(str(op.data["key"]) for op in left[:_NAMED_MAX] if op.data["key"] is not None)
    message = f"effect {name}: {len(done) - len(left)} of {len(done)} undone by {by}"
    if left and of:
        message += f"; left behind: {of}" + (" and others" if len(left) > _NAMED_MAX else "")
    return Verdict("effect_undone", not left, message, tuple(op.index for op in left))


def op_count(
    history: History,
    *,
    kind: str | None = None,
    type: str | None = None,
    name: str | None = None,
    process: str | None = None,
    exactly: int | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
) -> Verdict:
    """Judge how many operations of the history have these values. Without bounds: at least one."""
    found = history.where(kind=kind, type=type, name=name, process=process)  # type: ignore[arg-type]
    what = " ".join(word for word in (kind, name, type, process and f"in {process}") if word) or "operation"
    return _counted("op_count", what, tuple(op.index for op in found), (exactly, at_least, at_most))


Expected = Literal[
    "ok", "error", "crashed", "deadlock", "livelock", "max_time", "max_steps", "max_operations"
]


def outcome(run: Run, *, expected: Expected = "ok", error: str | None = None) -> Verdict:
    """Judge how the run ended: "ok", "error", "crashed", "deadlock", "livelock", or at a bound ("max_time").

    It is "error" when an instance raised; ``error`` then is the name of the exception's class, or of a base.
    """
    names = [cls.__name__ for cls in type(run.error).__mro__] if run.error else []
    valid = run.outcome == expected and (error is None or error in names)
    message = f"the run ended with outcome {run.outcome}"
    if run.error is not None:
        message += f" ({': '.join(filter(None, (type(run.error).__name__, str(run.error))))})"
    if not valid:
        message += f", expected {expected}" + (f" with {error}" if error else "")
    return Verdict("outcome", valid, message, ())


outcome.judges_run = True  # type: ignore[attr-defined]


def _instances(history: History) -> list[Span]:
    """Return each instance of the workload, from its arrival to its last end, restarts included."""
    return [span for span in history.spans() if span.kind == INSTANCE]


def _time_ns(instance: Span) -> float:
    """How long an instance took; infinite if it never ended."""
    return math.inf if instance.duration_ns is None else instance.duration_ns


def _counted(
    checker: str, what: str, found: tuple[int, ...], bounds: tuple[int | None, int | None, int | None]
) -> Verdict:
    exactly, at_least, at_most = bounds
    _check_counts(checker, exactly, at_least, at_most)
    if bounds == (None, None, None):
        at_least = 1
    low = exactly if exactly is not None else at_least or 0
    high = exactly if exactly is not None else math.inf if at_most is None else at_most
    valid = low <= len(found) <= high
    message = f"{what}: {len(found)}" + ("" if valid else f", expected {_wanted(exactly, at_least, at_most)}")
    return Verdict(checker, valid, message, found)


def _check_counts(checker: str, exactly: int | None, at_least: int | None, at_most: int | None) -> None:
    for word, bound in (("exactly", exactly), ("at_least", at_least), ("at_most", at_most)):
        if bound is not None and bound < 0:
            raise DesignError(f"{word}={bound} of {checker} must be 0 or more: it is a count")
    if exactly is not None and (at_least, at_most) != (None, None):
        raise DesignError(
            f"{checker} is given exactly and a bound too; give exactly, or at_least and at_most"
        )
    if at_least is not None and at_most is not None:
        _check_order(at_least, at_most, checker)


def _check_order(at_least: float, at_most: float, checker: str) -> None:
    if at_least > at_most:
        raise DesignError(f"at_least={at_least:g} of {checker} is above at_most={at_most:g}; swap them")


def _wanted(exactly: int | None, at_least: int | None, at_most: int | None) -> str:
    parts = (("exactly", exactly), ("at least", at_least), ("at most", at_most))
    return " and ".join(f"{word} {bound}" for word, bound in parts if bound is not None)


def _some(instances: list[Span]) -> str:
    """Name the first few and count the rest."""
    shown = ", ".join(instance.name for instance in instances[:_NAMED_MAX])
    rest = len(instances) - _NAMED_MAX
    return shown if rest <= 0 else f"{shown} and {rest} more"
