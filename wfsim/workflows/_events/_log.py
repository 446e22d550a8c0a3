"""The log of an event store: every event in one order, and in the order of its stream. Nothing waits here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.errors import ConcurrencyError
from wfsim.kernel import event as record
from wfsim.workflows._events._stored import StoredEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.workflows._events._event import Event


class Log:
    """Events, append only. A stream's version is the number of its events."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.all: list[StoredEvent] = []
        self._streams: dict[str, list[StoredEvent]] = {}
        self._ids: dict[tuple[str, str], StoredEvent] = {}

    def stream(self, name: str) -> list[StoredEvent]:
        """Give the events of a stream; none if there is no such stream."""
        return self._streams.get(name, [])

    def known(self, stream: str, events: Sequence[Event]) -> tuple[StoredEvent, ...] | None:
        """Give the events as they are stored, if all of them are in the stream already."""
        found = [self._ids.get((stream, event.id)) for event in events if event.id is not None]
        stored = tuple(one for one in found if one is not None)
        return stored if events and len(stored) == len(events) else None

    def check(self, stream: str, expected_version: int | None) -> None:
        """Raise ConcurrencyError if the stream is not at this version."""
        actual = len(self.stream(stream))
        if expected_version is not None and expected_version != actual:
            raise ConcurrencyError(stream, expected_version, actual)

    def named(self, stream: str, events: Sequence[Event]) -> list[Event]:
        """Give each event an id, if it has none: that of its place in the stream."""
        version = len(self.stream(stream))
        return [event.with_id(f"{stream}@{version + number}") for number, event in enumerate(events, start=1)]

    def append(
        self, stream: str, events: Sequence[Event], *, is_told: bool = True
    ) -> tuple[StoredEvent, ...]:
        """Add events, and tell the history of them."""
        added = []
        line = self._streams.setdefault(stream, [])
        for event in events:
            version, position = len(line) + 1, len(self.all)
            place = {"stream": stream, "version": version, "position": position}
            data = {**event.describe(), **place}
            op = record("publish", event.topic, design=self.name, data=data) if is_told else None
            stored = StoredEvent(event, stream, version, position, op)
            line.append(stored)
            self.all.append(stored)
            self._ids[stream, str(event.id)] = stored
            added.append(stored)
        return tuple(added)
