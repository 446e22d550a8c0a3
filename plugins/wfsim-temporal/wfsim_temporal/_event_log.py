"""The event history of one execution, kept as plain values and turned into protobuf when somebody reads it."""

from __future__ import annotations

from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from wfsim_temporal._proto import ATTRIBUTES, EVENT

_BYTES_PER_EVENT = 200  # of an event without its payloads; the server counts what it stores


class EventLog:
    """Events in their order; their ids count from 1."""

    __slots__ = ("_events", "size")

    def __init__(self) -> None:
        self._events: list[tuple[int, int, dict[str, Any]]] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, kind: str, time_ns: int, attributes: dict[str, Any]) -> int:
        """Append an event of a kind ("TIMER_FIRED") and give its id."""
        self._events.append((EVENT[kind], time_ns, attributes))
        self.size += _BYTES_PER_EVENT + _payload_bytes(attributes)
        return len(self._events)

    def cut(self, length: int) -> None:
        """Forget all events after the first ``length``: those of a task that leaves no trace."""
        del self._events[length:]

    def event(self, number: int) -> HistoryEvent:
        """Give one event as protobuf, by its id; negative ids count from the end (-1 is the last)."""
        place = number - 1 if number > 0 else len(self._events) + number
        kind, time_ns, attributes = self._events[place]
        known = {name: value for name, value in attributes.items() if value is not None}
        made: dict[str, Any] = {"event_id": place + 1, "event_type": kind, ATTRIBUTES[kind]: known}
        event = HistoryEvent(**made)
        event.event_time.FromNanoseconds(time_ns)
        return event

    def count(self, kind: str) -> int:
        """Count the events of a kind."""
        wanted = EVENT[kind]
        return sum(one[0] == wanted for one in self._events)

    def events(self, first: int = 1) -> list[HistoryEvent]:
        """Give the events from id ``first`` on."""
        return [self.event(number) for number in range(first, len(self._events) + 1)]

    def workflow_history(self, workflow_id: str) -> WorkflowHistory:
        """Give what Temporal's own tools take: ``to_json`` of it is the file they read."""
        return WorkflowHistory(workflow_id, self.events())


def _payload_bytes(attributes: dict[str, Any]) -> int:
    held = attributes.get("input") or attributes.get("result")
    payloads = held.get("payloads", ()) if isinstance(held, dict) else ()
    return sum(len(one.data) for one in payloads)
