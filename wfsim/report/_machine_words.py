"""Sentences for what state machines tell: transitions, events, timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wfsim.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wfsim.history import History, Op

_LONGEST = 60


def machine_fact(op: Op) -> str | None:
    """Tell a fact of a state machine; None if this is none."""
    tell = _SENTENCES.get(op.kind)
    return None if tell is None else tell(op)


def guard_says(op: Op) -> str:
    """Tell what a guard answered: "says yes"."""
    return "says yes" if op.data.get("value") else "says no"


def _transition(op: Op) -> str | None:
    """``pending → building on build``; where a machine acts and stays: ``stays in review on vote``."""
    if "to" not in op.data:
        return None
    before, after = op.data.get("from") or (), op.data["to"]
    cue = str(op.data.get("on") or "")
    told = f" {cue}" if cue == "always" or cue.startswith("after ") else f" on {cue}" if cue else ""
    if not before:
        return f"starts in {_names(after)}"
    if before == after and not _left(op):
        return f"stays in {_names(after)}{told}"
    gone = [name for name in before if name not in after] or before
    new = [name for name in after if name not in before] or after
    return f"{_names(gone)} → {_names(new)}{told}"


def _left(op: Op) -> bool:
    return not any("(stays)" in str(name) for name in op.data.get("taken") or ())


def _drop(op: Op) -> str:
    where = _names(op.data.get("in") or ())
    return f"drops {op.name}: nothing in {where} answers it"


def _timer(op: Op) -> str:
    after = op.data.get("after_ns")
    return f"timer of {op.name} is due" + (
        f" after {format_duration(after)}" if isinstance(after, int) else ""
    )


def _resume(op: Op) -> str:
    timers = op.data.get("timers")
    armed = (
        "" if not timers else ", its timer set again" if timers == 1 else f", its {timers} timers set again"
    )
    return f"{op.name} goes on in {_names(op.data.get('in') or ())}{armed}"


def _done(op: Op) -> str:
    return f"{op.name} ends in {op.data.get('state')}"


def _trigger(op: Op) -> str:
    payload = op.data.get("payload")
    return f"event {op.name}" + ("" if payload is None else f" ({_short(payload)})")


_SENTENCES: Final[dict[str, Callable[[Op], str | None]]] = {
    "transition": _transition,
    "drop": _drop,
    "timer": _timer,
    "resume": _resume,
    "done": _done,
    "trigger": _trigger,
    "raise": lambda op: f"raises {op.name}",
    "machine": lambda op: f"{op.name} begins",
}


def told_elsewhere(history: History) -> set[int]:
    """Give what needs no line of its own: events and timers that a transition answered at the same moment.

    The transition's own line names them. ``done`` events, which a machine raises for itself, go the same way.
    """
    found = set()
    for op in history:
        if op.kind == "transition" and op.cause is not None:
            led = history[op.cause]
            if led.kind in {"trigger", "timer", "raise"} and led.time_ns == op.time_ns:
                found.add(led.index)
        elif op.kind == "raise" and op.name.startswith("done."):
            found.add(op.index)
    return found


def _names(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names)) or "no state"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
