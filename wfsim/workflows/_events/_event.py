"""The event: a fact that one part of a system tells to whoever wants to hear of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Mapping

WILDCARDS: Final = ("*", "#", "**")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, told on a topic.

    ``topic`` is one or more segments with dots between them, such as ``order.placed``. ``payload`` is the
    user's own. Events of one ``key`` (an order's number) can be kept in order. ``id`` tells one event from
    another, wherever and however often it is delivered; the bus gives one to an event that has none.
    ``correlation_id`` and ``reply_to`` tie a reply to its request; ``headers`` are for whatever else.

    Raise DesignError if the topic is no topic.
    """

    topic: str
    payload: Any = None
    key: str | int | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    correlation_id: str | None = field(default=None, kw_only=True)
    reply_to: str | None = field(default=None, kw_only=True)
    headers: Mapping[str, Any] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if type(self.topic) is not str:
            raise DesignError(
                f"the topic of an event must be a text such as 'order.placed', not {self.topic!r}"
            )
        checked_topic(self.topic)

    def with_id(self, number: str) -> Event:
        """Give the same event with an id; one that has an id keeps it."""
        if self.id is not None:
            return self
        return Event(
            self.topic,
            self.payload,
            key=self.key,
            id=number,
            correlation_id=self.correlation_id,
            reply_to=self.reply_to,
            headers=self.headers,
        )

    def with_payload(self, payload: Any) -> Event:
        """Give the same event with another payload."""
        return replace(self, payload=payload)

    def describe(self) -> dict[str, Any]:
        """Give the event as data, for the history and for a journal; what is not set is left out."""
        data = {"id": self.id, "key": self.key, "payload": self.payload}
        extra = {"correlation_id": self.correlation_id, "reply_to": self.reply_to, "headers": self.headers}
        return {name: value for name, value in (data | extra).items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Event:
        """Make an event from its data: what ``describe`` gave, and its topic."""
        return cls(**data)


@lru_cache(maxsize=4096)
def checked_topic(topic: str) -> tuple[str, ...]:
    """Give the segments of a topic. Raise DesignError if it is none, or if it is a pattern."""
    segments = tuple(topic.split("."))
    for segment in segments:
        if not segment or segment != segment.strip():
            raise DesignError(f"topic {topic!r} has an empty segment; write it as 'order.placed'")
        if any(sign in segment for sign in "*#"):
            raise DesignError(
                f"topic {topic!r} holds a wildcard; an event has one topic, wildcards are for subscribing"
            )
    return segments


@lru_cache(maxsize=4096)
def checked_pattern(pattern: str) -> tuple[str, ...]:
    """Give the segments of a pattern. Raise DesignError if it is none."""
    segments = tuple(pattern.split("."))
    for segment in segments:
        if not segment or segment != segment.strip():
            raise DesignError(f"pattern {pattern!r} has an empty segment; write it as 'order.*'")
        if segment not in WILDCARDS and any(sign in segment for sign in "*#"):
            raise DesignError(
                f"pattern {pattern!r}: a wildcard stands for whole segments, so {segment!r} matches nothing; "
                "write '*' for one segment and '#' or '**' for any number of them"
            )
    return segments
