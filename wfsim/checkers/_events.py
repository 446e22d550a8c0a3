"""What a history says of events: which were published, who was there to hear, and who handled what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

from wfsim.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wfsim.history import History, Op, Span

_END_OF_TIME: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Published:
    """An event that was published; more than once under one id counts as once, the first time."""

    op: Op
    id: str
    key: object

    @property
    def title(self) -> str:
        """What to call it in a message: ``order.placed (bus-1)``."""
        return f"{self.op.name} ({self.id})"


@dataclass(slots=True)
class Subscriber:
    """A subscriber, or a group of them: one queue of a bus, one reader of a store.

    ``until`` is the operation that ended it. ``from_position`` is where a reader of a store began.
    """

    op: Op
    name: str
    topic: str
    from_position: int | None
    until: int = _END_OF_TIME

    def wants(self, event: Published) -> bool:
        """Tell whether it subscribed to the event's topic, on its bus or store."""
        return event.op.design == self.op.design and topic_fits(self.topic, event.op.name)

    def should_get(self, event: Published) -> bool:
        """Tell whether it was there when the event was published, or reads from before it on."""
        if not self.wants(event) or event.op.index > self.until:
            return False
        if self.from_position is None:
            return self.op.index < event.op.index
        position = event.op.data.get("position")
        return isinstance(position, int) and position >= self.from_position


@dataclass(slots=True)
class Handlings:
    """What one subscriber did with one event."""

    spans: list[Span] = field(default_factory=list)

    @property
    def done(self) -> list[Span]:
        """Those that succeeded."""
        return [span for span in self.spans if span.outcome == "ok"]

    @property
    def is_open(self) -> bool:
        """Whether the last one may have succeeded: it never came to its end, or nobody knows how."""
        return bool(self.spans) and self.spans[-1].outcome in {None, "info"}


class EventLog:
    """A history's events, subscribers and handlings, put in relation."""

    def __init__(self, history: History, topic: str | None = None, subscriber: str | None = None) -> None:
        self.history = history
        self._topic = topic
        self._subscriber = subscriber

    @cached_property
    def published(self) -> list[Published]:
        """The events whose publisher was not told that it went wrong, in order."""
        found: dict[tuple[str, str], Published] = {}
        for op in self.history.where(kind="publish"):
            if op.invoke is None and not self._went_wrong(op):
                number = str(op.data.get("id", f"#{op.index}"))
                found.setdefault((op.design, number), Published(op, number, op.data.get("key")))
        return [one for one in found.values() if self._topic is None or topic_fits(self._topic, one.op.name)]

    def _went_wrong(self, op: Op) -> bool:
        if op.type != "invoke":
            return False
        end = self.history.completion(op.index)
        if end is not None:
            return end.type != "ok"
        crashes = self.history.where(kind="process", name="crash", process=op.process)
        return any(crash.index > op.index for crash in crashes)  # it cut the publishing off

    @cached_property
    def subscribers(self) -> list[Subscriber]:
        """All subscribers in the order in which they came."""
        found: list[Subscriber] = []
        here: dict[tuple[str, str], Subscriber] = {}
        for op in self.history:
            if op.kind == "subscribe":
                known = here.get((op.design, op.name))
                if known is not None and known.from_position is not None:
                    continue  # a durable reader that crashed goes on
                if known is not None:
                    known.until = op.index  # it crashed, and came again
                one = Subscriber(op, op.name, str(op.data["topic"]), op.data.get("from_position"))
                here[op.design, op.name] = one
                found.append(one)
            elif op.kind == "unsubscribe" and (op.design, op.name) in here:
                here.pop((op.design, op.name)).until = op.index
        return [one for one in found if self._subscriber is None or fnmatchcase(one.name, self._subscriber)]

    @cached_property
    def _handlings(self) -> dict[tuple[str, str, str], Handlings]:
        found: dict[tuple[str, str, str], Handlings] = {}
        for span in self.history.spans():
            number = self.event_of(span.cause) if span.kind == "handle" else None
            if number is not None:
                found.setdefault((span.design, span.name, number), Handlings()).spans.append(span)
        return found

    def event_of(self, index: int | None) -> str | None:
        """Give the id of the event that an operation published."""
        op = None if index is None else self.history[index]
        return None if op is None or op.kind != "publish" else str(op.data.get("id", f"#{op.index}"))

    def handlings(self, event: Published, subscriber: Subscriber) -> Handlings:
        """Give what a subscriber did with an event."""
        return self._handlings.get((event.op.design, subscriber.name, event.id), Handlings())

    def crashed_after(self, index: int, subscriber: Subscriber) -> bool:
        """Tell whether a process in which the subscriber lived crashed after an operation."""
        homes = {
            op.process
            for kind in ("join", "handle")
            for op in self.history.where(kind=kind, name=subscriber.name)
            if op.design == subscriber.op.design
        } or {subscriber.op.process}
        crashes = self.history.where(kind="process", name="crash")
        return any(op.index > index and op.process in homes for op in crashes)

    def all_handlings(self) -> Iterator[tuple[str, str, Handlings]]:
        """Give subscriber, event id and handlings, each pair of the two once, in order."""
        for (_, name, number), handlings in self._handlings.items():
            if self._subscriber is None or fnmatchcase(name, self._subscriber):
                yield name, number, handlings

    @cached_property
    def dead(self) -> dict[tuple[str, str, str], Op]:
        """The dead letters, by bus, subscriber and event."""
        return {
            (op.design, op.name, str(op.data.get("event"))): op
            for op in self.history.where(kind="dead_letter")
        }

    def faults_on(self, event: Published, subscriber: str = "") -> list[Op]:
        """Give the faults that struck an event, on its way to the bus or to one subscriber."""
        cause = event.op.index
        faults = [op for op in self.history.where(kind="fault") if op.cause == cause]
        return [op for op in faults if op.data.get("point") == "publish" or op.data.get("step") == subscriber]

    @cached_property
    def healed_ns(self) -> int:
        """When the last fault struck."""
        return max((op.time_ns for op in self.history.where(kind="fault")), default=0)

    @property
    def end_ns(self) -> int:
        """When the last operation was recorded."""
        return self.history[-1].time_ns if len(self.history) else 0


@lru_cache(maxsize=1024)
def _pattern(topic: str) -> re.Pattern[str]:
    """Make a regular expression of a topic's pattern: ``*`` one segment, ``#`` and ``**`` any number."""
    parts = [r"[^.]+" if part == "*" else re.escape(part) for part in topic.split(".")]
    text = ""
    for part, raw in zip(parts, topic.split("."), strict=True):
        text += r"(?:\.[^.]+)*" if raw in {"#", "**"} else rf"\.{part}"
    return re.compile(text)


def topic_fits(pattern: str, topic: str) -> bool:
    """Tell whether a topic fits a pattern, by the rules of the event bus."""
    return pattern == topic or _pattern(pattern).fullmatch(f".{topic}") is not None


def apart(later: int, earlier: int) -> str:
    """Say how much later something was: ``2s``."""
    return format_duration(later - earlier, decimals=1)
