"""The detector of nondeterminism that the simulation does not control: run twice, compare."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.harness._run import Run, simulate
from wfsim.units import format_duration

if TYPE_CHECKING:
    from wfsim.history import History, Op

_CAUSES = (
    "Usual causes: iterating a set, ordering by id() or hash(), state that outlives a run (globals, caches), "
    "or a source of time or chance that was captured before the run."
)

_ADDRESS = re.compile(r"at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two runs differ.

    ``what`` is "operation" (of the history), "step" (of a task, where the code records nothing) or
    "outcome". ``first`` and ``second`` say what each run did there; ``None`` says that it had ended.
    """

    what: str
    index: int
    first: str | None
    second: str | None
    first_time_ns: int | None = None
    second_time_ns: int | None = None

    def __str__(self) -> str:
        """Lay both versions side by side, one under the other."""
        lines = [f"the runs differ at {self.what} {self.index}:"]
        for label, text, time_ns in (
            ("first run", self.first, self.first_time_ns),
            ("second run", self.second, self.second_time_ns),
        ):
            time = "" if time_ns is None else f"at {format_duration(time_ns)}: "
            lines.append(f"  {label:<11} {time}{text or 'had already ended'}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Determinism:
    """Whether two runs of one seed did the same. ``first_difference`` is None if they did."""

    valid: bool
    first_difference: Difference | None
    message: str
    runs: tuple[Run, Run]

    def __bool__(self) -> bool:
        """Read as a truth value: ``assert check_determinism(main)``."""
        return self.valid


def check_determinism(main: Any, *args: Any, **options: Any) -> Determinism:
    """Run ``main(*args)`` twice with the same seed and report the first operation that differs.

    Takes the options of ``simulate``. The recorded operations, the steps of every task, and the value or error
    at the end are compared, so code that records nothing is checked too. Both runs share one process and so one
    PYTHONHASHSEED: a set of strings shows its order only between processes; compare the fingerprints of two of them
    for that.
    """
    options["trace"] = True
    return compare(simulate(main, *args, **options), simulate(main, *args, **options))


def compare(first: Run, second: Run) -> Determinism:
    """Report the first operation in which two runs differ; failing that, the first step or the outcome."""
    step = _step_difference(first, second)
    difference = _op_difference(first.history, second.history) or step or _outcome_difference(first, second)
    if difference is None:
        message = (
            f"both runs of {first.name} did the same: {len(first.history)} operations, {first.steps} steps"
        )
        return Determinism(True, None, message, (first, second))
    lines = [str(difference)]
    if step is not None and difference is not step:
        lines.append(f"before that, {step}")
    lines.append(_CAUSES)
    return Determinism(False, difference, "\n".join(lines), (first, second))


def _op_difference(first: History, second: History) -> Difference | None:
    one, two = first.to_jsonl().splitlines(), second.to_jsonl().splitlines()
    index = _first_unequal(one, two)
    if index is None:
        return None
    times = [history[index].time_ns if index < len(history) else None for history in (first, second)]
    texts = [_told(history[index]) if index < len(history) else None for history in (first, second)]
    if texts[0] == texts[1]:  # the short form hides the difference: show all of it
        texts = [one[index], two[index]]
    return Difference("operation", index, texts[0], texts[1], times[0], times[1])


def _told(op: Op) -> str:
    """Say on one line what an operation was."""
    where = f" of {op.design}" if op.design and op.design != op.name else ""
    attempt = f", attempt {op.attempt}" if op.attempt > 1 else ""
    data = f" {json.dumps(dict(op.data))}" if op.data else ""
    return f"{op.type} {op.kind} {op.name}{where} in process {op.process}{attempt}{data}"


def _step_difference(first: Run, second: Run) -> Difference | None:
    index = _first_unequal(first.trace, second.trace)
    if index is None:
        return None
    steps = [run.trace[index] if index < len(run.trace) else None for run in (first, second)]
    texts = [f"{step[1]} at {step[2]}" if step else None for step in steps]
    times = [step[0] if step else None for step in steps]
    return Difference("step", index, texts[0], texts[1], times[0], times[1])


def _outcome_difference(first: Run, second: Run) -> Difference | None:
    texts = [_end_told(run) for run in (first, second)]
    if texts[0] == texts[1] and first.duration_ns == second.duration_ns:
        return None
    return Difference(
        "outcome", len(first.history), texts[0], texts[1], first.duration_ns, second.duration_ns
    )


def _end_told(run: Run) -> str:
    """Say how a run ended, without the addresses that objects happen to have."""
    if run.ok:
        return (
            f"{run.outcome} {run.value!r}" if run.value is not None and _is_plain(run.value) else run.outcome
        )
    error = f" {type(run.error).__name__}: {run.error}" if run.error else ""
    return run.outcome + _ADDRESS.sub("at some address", error)


def _is_plain(value: Any) -> bool:
    """Whether equal values are written alike: of what has an order of its own, or none to show."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(one) for key, one in value.items())
    return value is None or isinstance(value, bool | int | float | str | bytes)


def _first_unequal(one: Any, two: Any) -> int | None:
    """Return the first index at which two sequences differ, counting a missing end; None if equal."""
    for index, (left, right) in enumerate(zip(one, two, strict=False)):
        if left != right:
            return index
    return None if len(one) == len(two) else min(len(one), len(two))
