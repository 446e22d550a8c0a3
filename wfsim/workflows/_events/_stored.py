"""What an event store keeps: events with their places, and snapshots of what they add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfsim.workflows._events._event import Event


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event in the store: the ``version``-th of its stream (from 1), at a ``position`` of all (from 0)."""

    event: Event
    stream: str
    version: int
    position: int
    op: int | None = field(default=None, repr=False, compare=False)
    """The operation that stored it, in a recorded run."""

    @property
    def topic(self) -> str:
        """The topic of the event."""
        return self.event.topic

    @property
    def payload(self) -> Any:
        """The payload of the event."""
        return self.event.payload


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the events of a stream up to a version add up to."""

    stream: str
    version: int
    state: Any
