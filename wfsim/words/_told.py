"""What else a run tells: events, timers, states, effects, how instances ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wfsim.errors import DesignError
from wfsim.history import plain_data
from wfsim.units import format_duration
from wfsim.words._instances import INSTANCE
from wfsim.words._lives import RESTS, SCHEDULED
from wfsim.workflows import Event, topic_matches

if TYPE_CHECKING:
    from wfsim.history import History, Op, Span

ExpectedEvent: TypeAlias = str | Event | Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Published:
    """An event that was published, or handled by ``by``."""

    event: Event
    op: int
    time_ns: int
    by: str = ""

    def __str__(self) -> str:
        key = "" if self.event.key is None else f" ({self.event.key})"
        payload = "" if self.event.payload is None else f" {self.event.payload!r}"
        return f"{f'{self.by} handles ' if self.by else ''}{self.event.topic}{key}{payload}"


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is due later: ``in_ns`` from where the sentence ends, ``at_ns`` from the run's start."""

    names: tuple[str, ...]
    in_ns: int
    at_ns: int
    instance: str
    op: int
    payload: Any = None

    def __str__(self) -> str:
        return f"{self.names[0]} in {format_duration(self.in_ns)}"


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happened in the world."""

    name: str
    key: Any
    op: int

    def __str__(self) -> str:
        return self.name if self.key is None else f"{self.name} ({self.key})"


def published_in(history: History, since: int) -> tuple[Published, ...]:
    """Give the events that were published after an operation."""
    return tuple(
        Published(_event(span), span.index, span.start_ns)
        for span in history.spans()
        if span.kind == "publish" and span.index > since
    )


def handled_in(history: History, since: int, ended: str = "ok") -> tuple[Published, ...]:
    """Give the events that were handled after an operation (or not, if it failed), with the subscriber's name."""
    return tuple(
        Published(_origin(history, span), span.index, span.start_ns, span.name)
        for span in history.spans()
        if span.kind == "handle" and span.index > since and (span.outcome == "ok") == (ended == "ok")
    )


def dead_in(history: History, since: int) -> tuple[Published, ...]:
    """Give the events that became dead letters after an operation."""
    known = {one.event.id: one.event for one in published_in(history, -1)}
    found = [op for op in history.where(kind="dead_letter") if op.index > since]
    return tuple(Published(known.get(op.data["event"], _UNKNOWN), op.index, op.time_ns) for op in found)


def _origin(history: History, span: Span) -> Event:
    """Find the event that a handler was given: what it was caused by, however often it was delivered."""
    for op in history.lineage(span.index):
        if op.kind == "publish":
            return _event(op)
    return _UNKNOWN


def _event(op: Span | Op) -> Event:
    data = {name: op.data[name] for name in _FIELDS if name in op.data}
    return Event(op.name, **data)


_UNKNOWN: Final = Event("unknown")  # its publishing is not in the history
_FIELDS: Final = ("payload", "key", "id", "correlation_id", "reply_to", "headers")


def fits_event(expected: ExpectedEvent, actual: Published) -> bool:
    """Tell whether an event is as expected: by its topic (or a pattern), its fields, or a function of it."""
    event = actual.event
    if isinstance(expected, str):
        return topic_matches(expected, event.topic)
    if isinstance(expected, Event):
        named = {name: value for name, value in expected.describe().items() if name != "payload"}
        same = expected.topic == event.topic and _plain(expected.payload) == event.payload
        return same and all(_plain(value) == getattr(event, name) for name, value in named.items())
    return bool(expected(event))


def _plain(value: Any) -> Any:
    return plain_data({"value": value})["value"]


def checked_event(one: Any) -> ExpectedEvent:
    """Refuse what no event could be compared with."""
    if isinstance(one, str | Event) or callable(one):
        return one  # type: ignore[no-any-return]
    raise DesignError(
        f"{one!r} is no event; write its topic, Event('order.paid', {{...}}), or a function of the event"
    )


def event_words(one: ExpectedEvent) -> str:
    """Write an expected event."""
    if isinstance(one, str):
        return one
    return str(Published(one, 0, 0)) if isinstance(one, Event) else getattr(one, "__name__", "an event")


def due_in(history: History, end_ns: int) -> tuple[Due, ...]:
    """Give what was due later when the sentence ended: timers that were set, tries that were to come."""
    found = [_timer(op) for op in history.where(kind=SCHEDULED)]
    return (*found, *_retries(history, end_ns))


def _timer(op: Op) -> Due:
    data = op.data
    names = (op.name, str(data.get("event") or ""), str(data.get("from") or ""), *data.get("to", ()))
    kept = tuple(dict.fromkeys(name for name in names if name))
    return Due(kept, data["in_ns"], op.time_ns + data["in_ns"], op.process, op.index, data.get("payload"))


def _retries(history: History, end_ns: int) -> list[Due]:
    """Find the waits before a next try that were not over at the end."""
    found = []
    for op in history.where(kind="retry"):
        delay_ns = op.data.get("delay_ns")
        over = [
            one
            for one in history[op.index + 1 :]
            if (one.type == "invoke" and (one.name, one.process) == (op.name, op.process))
            or (one.invoke is not None and one.invoke == op.parent)  # what it was part of ended without it
        ]
        if delay_ns is None or over:
            continue
        at_ns = op.time_ns + delay_ns
        found.append(Due((f"retry {op.name}", op.name), max(0, at_ns - end_ns), at_ns, op.process, op.index))
    return found


def fired_in(history: History, since: int) -> tuple[Due, ...]:
    """Give the timers that came due after an operation and were answered."""
    found = []
    for op in history[since + 1 :]:
        if op.kind == "transition" and str(op.data.get("on", "")).startswith("after "):
            names = (op.name, *op.data.get("from", ()), *op.data.get("to", ()))
            found.append(Due(tuple(dict.fromkeys(names)), 0, op.time_ns, op.process, op.index))
        elif (
            op.kind == "timer" and "after_ns" not in op.data
        ):  # an event that was sent; else its transition tells
            found.append(Due((op.name,), 0, op.time_ns, op.process, op.index))
    return tuple(found)


def effects_in(history: History, since: int) -> tuple[Effect, ...]:
    """Give what happened in the world after an operation."""
    ops = [op for op in history.where(kind="effect") if op.index > since]
    return tuple(Effect(op.name, op.data.get("key"), op.index) for op in ops)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a state machine is, with all states that are active and its data as far as it is known."""

    instance: str
    states: tuple[str, ...]
    within: tuple[str, ...]
    data: dict[str, Any] | None
    op: int
    done: bool = False

    def __str__(self) -> str:
        return f"{self.instance} in {' and '.join(self.states)}"


def places_in(history: History) -> dict[str, Place]:
    """Give where each machine is, by instance: what its last transition said, or it itself at the end."""
    found: dict[str, Place] = {}
    for op in history:
        if op.kind == "transition" and "to" in op.data:
            states = tuple(op.data["to"])
            found[op.process] = Place(op.process, states, states, None, op.index)
        elif op.kind == RESTS:
            data = op.data
            states, within = tuple(data["state"]), tuple(data["within"])
            found[op.process] = Place(
                op.process, states, (*within, *states), dict(data["data"]), op.index, data["done"]
            )
    return found


def instances_in(history: History) -> dict[str, Span]:
    """Give the instances by name, each with its beginning and its end."""
    return {span.name: span for span in history.spans() if span.kind == INSTANCE}
