"""Sentences: an operation told in the design's own words.

Nothing here knows a page, a colour or an order; ``_story`` arranges the sentences.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wfsim.report._dag_words import dag_fact
from wfsim.report._machine_words import guard_says, machine_fact
from wfsim.report._saga_words import saga_fact, saga_place
from wfsim.report._sentence_words import sentence_fact
from wfsim.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.history import Op

_LONGEST_MESSAGE = 300
_LONGEST_VALUE = 40
_SIGNIFICANT_DIGITS = 3


def about(ns: int) -> str:
    """Write a duration as a person says it: three significant digits, "1.23s", "2m 5s"."""
    if ns >= 60 * 10**9:
        return format_duration(round(ns, -9))
    return format_duration(round(ns, _SIGNIFICANT_DIGITS - len(str(ns))))


def plural(count: int, word: str) -> str:
    """Write a number with its noun: "1 run", "3 runs"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def subject(op: Op, cause: Op | None = None) -> str:
    """Name what was called: "charge", "compensate charge"; a user's own kind comes before the name.

    What handles an event names the event too, which is its ``cause``.
    """
    if op.kind == "handle" and cause is not None:
        return f"{op.name} handles {cause.name}"
    name = op.name or op.design or op.kind
    if op.kind in {
        "forward",
        "task",
        "action",
        "enter",
        "exit",
        "saga",
        "dag",
        "machine",
        "call",
        "instance",
        "",
    }:
        return name
    return name if name == op.kind else f"{op.kind} {name}"


def with_attempt(op: Op, cause: Op | None = None) -> str:
    """Name what was called and which try it was, from the second on."""
    name = subject(op, cause)
    return f"{name}, attempt {op.attempt}," if op.attempt > 1 else name


def error_of(data: Mapping[str, Any]) -> str:
    """Write the error of a completion on one line: "ConnectionError: bank is down"."""
    kind = str(data.get("error", "")).rpartition(".")[2]
    message = " ".join(str(data.get("message", "")).split())
    text = ": ".join(part for part in (kind, message) if part)
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def ending(end: Op, faults: Sequence[Op], *, is_flow: bool = False) -> str:
    """Tell how an operation ended: "ok", "failed: ConnectionError: bank is down (injected)".

    A flow that ends by a timeout has failed; of a single call no one knows then whether it took effect.
    """
    kinds = list(dict.fromkeys(fault.name for fault in faults))
    asides = [_ASIDES.get(kind, f"{kind} injected") for kind in kinds]
    return " ".join([_outcome(end, kinds, is_flow=is_flow), *(f"({aside})" for aside in asides)])


_ASIDES = {"fail": "injected", "lose_reply": "injected", "hang": "injected"}
"""What the nemesis had to do with an ending, where the name of the fault would only repeat it."""


def _outcome(end: Op, faults: Sequence[str], *, is_flow: bool) -> str:
    if end.type == "ok":
        return guard_says(end) if end.kind == "guard" else "ok"
    error = error_of(end.data)
    if is_flow and error == "CancelledError":
        return "cancelled"
    if end.type == "fail" or is_flow:
        return f"failed: {error}" if error else "failed"
    if "lose_reply" in faults or end.data.get("effect") == "happened":
        return "took effect, but its reply is lost"
    kind = error.partition(":")[0]
    if "hang" in faults and kind == "CancelledError":
        return "hangs until it is cancelled"
    known = {"CancelledError": "cancelled, outcome unknown", "TimeoutError": "timed out, outcome unknown"}
    return known.get(kind, f"ended, outcome unknown: {error}" if error else "ended, outcome unknown")


def effects_of(end: Op, effects: Sequence[Op]) -> str:
    """Tell the effects that happened as a call ended: ", effect: card charged (order-1)"."""
    named = [(f": {effect.name}" if effect.name != end.name else "") + _details(effect) for effect in effects]
    return "".join(f", effect{one}" for one in named)


def fact(op: Op, source: Op | None = None) -> str:
    """Tell a bare fact: an effect, a wait, a crash, a user's own. ``source``: the fault or failed try it came from."""
    if op.kind == "effect":
        return f"effect: {op.name}{_details(op)}"
    if op.kind == "retry":
        return _retry(op, source)
    if op.kind == "process":
        return _process(op, source)
    if op.kind == "fault":
        return f"fault: {op.name}{_place_of(op)} (injected)"
    words = (
        "" if "in" in op.data else _EVENT_WORDS.get(op.kind, "")
    )  # a machine drops events in its own words
    return (
        words.format_map(_Known({"name": op.name, **op.data}))
        or machine_fact(op)
        or dag_fact(op)
        or saga_fact(op)
        or sentence_fact(op)
        or f"{subject(op)}{_details(op)}"
    )


_EVENT_WORDS = {
    "subscribe": "{name} subscribes to {topic}",
    "unsubscribe": "{name} unsubscribes",
    "join": "a member joins {name}",
    "redeliver": "{event} is to be delivered to {name} again: {because}",
    "duplicate": "{name} has handled {event} before",
    "drop": "{event} is dropped: {because}",
    "dead_letter": "{event} becomes a dead letter of {name}: {because}",
    "redrive": "{event} is taken back for {name}",
}
"""What happens to events and their subscribers."""


class _Known(dict[str, Any]):
    """What is known of a fact; a user's own fact of the same kind may hold less."""

    def __missing__(self, name: str) -> str:
        return f"some {name}"


def _place_of(fault: Op) -> str:
    """Say at which step, or at which fault point of the user's own, a fault struck; of an event on which way."""
    if fault.data.get("point") == "ack" and "topic" in fault.data:
        return f" on the acknowledgement of {fault.data['topic']} by {fault.data['step']}"
    if "topic" in fault.data:
        return f" on {fault.data['topic']} to {fault.data['step']}"
    if saga_place(fault):
        return saga_place(fault)
    place = fault.data.get("step") or fault.data.get("point")
    return f" at {place}" if place else ""


def _retry(op: Op, failed: Op | None) -> str:
    undoing = failed is not None and failed.kind == "compensate"
    gave_up = op.data.get("gave_up")
    given_up = f"gives up {'compensating' if undoing else 'on'} {op.name}"
    if gave_up == "attempts":
        times = "once" if op.attempt == 1 else f"{op.attempt} times"
        return f"{given_up} after trying {times}"
    if gave_up:
        return f"{given_up} at once: the error is {gave_up}"
    delay_ns = op.data.get("delay_ns")
    again = f"tries {'to compensate ' if undoing else ''}{op.name} again"
    return f"waits {about(delay_ns)}, then {again}" if delay_ns else f"{again} at once"


def _process(op: Op, fault: Op | None) -> str:
    word = _PROCESS_WORDS.get(op.name, op.name)
    pause_ns = op.data.get("restart_after_ns")
    after = f", restarts in {about(pause_ns)}" if isinstance(pause_ns, int) else ""
    by = f"{_place_of(fault)} (injected)" if fault is not None else ""
    return f"process {op.process or op.name} {word}{by}{after}"


_PROCESS_WORDS = {"crash": "crashes", "restart": "restarts", "start": "starts", "end": "ends"}


def _details(op: Op) -> str:
    """Write what else is known of a fact: ``(order-1, amount=20)``; the key of an effect needs no label."""
    known = {key: value for key, value in op.data.items() if value is not None}
    if known.get("key") == op.process:  # the key of who has no other: it says nothing
        del known["key"]
    parts = [_value(value) if key == "key" else f"{key}={_value(value)}" for key, value in known.items()]
    return f" ({', '.join(parts)})" if parts else ""


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
