"""What can be said of a workload as a whole: rates, counts, times, and how the run ended.

Like all checkers these are pure functions: of the history, or (``outcome``) of the Run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wfsim.checkers import Verdict
from wfsim.harness._run import Run
from wfsim.units import format_duration

if TYPE_CHECKING:
    from wfsim.history import History, Span

INSTANCE = "process"


def success_rate(history: History, *, at_least: float = 1.0, at_most: float = 1.0) -> Verdict:
    """Judge the share of instances that returned (and did not raise, crash or hang)."""
    instances = _instances(history)
    if not instances:
        return Verdict("success_rate", "unknown", "no instance was started", ())
    failed = [name for name, spans in instances.items() if not _returned(spans)]
    rate = 1 - len(failed) / len(instances)
    message = f"{len(instances) - len(failed)} of {len(instances)} instances succeeded ({rate:.0%})"
    if failed:
        message += f"; not {_some(failed)}"
    valid = at_least - 1e-9 <= rate <= at_most + 1e-9
    wanted = f", expected at least {at_least:.0%}" + (f" and at most {at_most:.0%}" if at_most < 1 else "")
    ops = tuple(instances[name][-1].index for name in failed)
    return Verdict("success_rate", valid, message if valid else message + wanted, ops)


def completes_within(history: History, *, duration_ns: int, percentile: float = 100.0) -> Verdict:
    """Judge that ``percentile`` percent of the instances end, well or not, within ``duration_ns`` of arrival."""
    instances = _instances(history)
    if not instances:
        return Verdict("completes_within", "unknown", "no instance was started", ())
    times = {name: _time_ns(spans) for name, spans in instances.items()}
    late = [name for name, time_ns in times.items() if time_ns > duration_ns]
    allowed = math.floor(len(times) * (1 - percentile / 100) + 1e-9)
    slowest = max(times, key=lambda name: times[name])
    took = "never ended" if math.isinf(times[slowest]) else f"took {format_duration(int(times[slowest]))}"
    message = f"{slowest}, the slowest of {len(times)}, {took}"
    if len(late) > allowed:
        message += f"; {_some(late)} took longer than {format_duration(duration_ns)}"
    ops = tuple(instances[name][0].index for name in late)
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


def op_count(
    history: History,
    *,
    kind: str | None = None,
    type: str | None = None,  # noqa: A002 - the operation's own word
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


def outcome(run: Run, *, expected: str = "ok", error: str | None = None) -> Verdict:
    """Judge how the run ended: "ok", "error", "crashed", "deadlock", "livelock", "max_time", "max_steps".

    It is "error" when an instance raised; ``error`` then is the name of the exception's class, or of one of its bases.
    """
    names = [cls.__name__ for cls in type(run.error).__mro__] if run.error else []
    valid = run.outcome == expected and (error is None or error in names)
    message = f"the run ended with outcome {run.outcome}"
    if run.error is not None:
        message += f" ({type(run.error).__name__}: {run.error})"
    if not valid:
        message += f", expected {expected}" + (f" with {error}" if error else "")
    return Verdict("outcome", valid, message, ())


outcome.judges_run = True  # type: ignore[attr-defined]


def _instances(history: History) -> dict[str, list[Span]]:
    """Group the spans of the workload's instances by process; a restarted process has several."""
    found: dict[str, list[Span]] = {}
    for span in history.spans():
        if span.kind == INSTANCE:
            found.setdefault(span.process, []).append(span)
    return found


def _returned(spans: list[Span]) -> bool:
    return any(span.outcome == "ok" for span in spans)


def _time_ns(spans: list[Span]) -> float:
    """How long an instance took from its arrival to its last end; infinite if it never ended."""
    end_ns = spans[-1].end_ns
    return math.inf if end_ns is None else end_ns - spans[0].start_ns


def _counted(
    checker: str, what: str, found: tuple[int, ...], bounds: tuple[int | None, int | None, int | None]
) -> Verdict:
    exactly, at_least, at_most = bounds
    if bounds == (None, None, None):
        at_least = 1
    low = exactly if exactly is not None else at_least or 0
    high = exactly if exactly is not None else math.inf if at_most is None else at_most
    valid = low <= len(found) <= high
    message = f"{what}: {len(found)}" + ("" if valid else f", expected {_wanted(exactly, at_least, at_most)}")
    return Verdict(checker, valid, message, found)


def _wanted(exactly: int | None, at_least: int | None, at_most: int | None) -> str:
    parts = (("exactly", exactly), ("at least", at_least), ("at most", at_most))
    return " and ".join(f"{word} {bound}" for word, bound in parts if bound is not None)


def _some(names: list[str]) -> str:
    """Name the first few and count the rest."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"  # noqa: PLR2004 - a few
