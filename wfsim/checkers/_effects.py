"""Whether the world felt something more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._runs import DESIGN_KINDS, times
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from wfsim.history import History, Op


def effect_at_most_once(history: History, *, name: str | None = None) -> Verdict:
    """Each effect happened at most once: no second charge of one order.

    Effects of one name are told apart by their key. Those without a key are counted for each run of a design,
    or outside of any for each process. ``name`` says which effects to judge, all if None.
    """
    findings = Findings("effect_at_most_once")
    found: dict[tuple[object, ...], list[Op]] = {}
    for op in history.where(kind="effect", name=name):
        found.setdefault(_identity(history, op), []).append(op)
    for ops in found.values():
        findings.judged += 1
        if len(ops) > 1:
            key = ops[0].data.get("key")
            which = f"effect {ops[0].name!r}" + ("" if key is None else f" of {key!r}")
            why = _why(history, ops[0])
            findings.breach(f"{which} happened {times(len(ops))}{why}", *(op.index for op in ops))
    wanted = f"effect {name!r}" if name else "effect"
    return findings.verdict("effect", "happened once", f"no {wanted} happened")


def _identity(history: History, op: Op) -> tuple[object, ...]:
    key = op.data.get("key")
    return (op.name, repr(key)) if key is not None else (op.name, None, run_around(history, op))


def run_around(history: History, op: Op) -> object:
    """Give the run of a design that most closely encloses an operation; the process, if none does."""
    runs = _runs_around(history, op)
    return runs[0].index if runs else op.process


def instance_around(history: History, op: Op) -> object:
    """Give the instance that an operation belongs to: the outermost run of a design around it.

    By name if the instance has one, for it may have several lives; the process, if there is no run.
    """
    runs = _runs_around(history, op)
    if not runs:
        return op.process
    key = runs[-1].data.get("key")
    return runs[-1].index if key is None else (runs[-1].design, str(key))


def _runs_around(history: History, op: Op) -> list[Op]:
    found = []
    parent = op.parent
    while parent is not None:
        above = history[parent]
        if above.kind in DESIGN_KINDS:
            found.append(above)
        parent = above.parent
    return found


def whose(history: History, op: Op, by: str) -> tuple[tuple[object, ...], str]:
    """Tell to what an effect belongs, by a field of it or else by where it happened; and its title."""
    value = op.data.get(by)
    if value is not None:
        return (by, repr(value)), str(value)
    return ("", instance_around(history, op)), op.process


def _why(history: History, first: Op) -> str:
    """Say so if the first one was done in a call whose reply was lost: then whoever called tried again."""
    end = None if first.parent is None else history.completion(first.parent)
    if end is None or end.type == "ok":
        return ""
    if end.data.get("effect") == "happened":
        return f"; the reply of {end.name!r} was lost after the first"
    return f"; {end.name!r} failed after the first"
