"""The event history of one execution, kept as plain values and turned into protobuf when somebody reads it."""

from __future__ import annotations

from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from wfsim_temporal.wire import ATTRIBUTES, EVENT

_MAY_IGNORE = frozenset(
    EVENT.get(kind)
    for kind in (
        "WORKFLOW_EXECUTION_PAUSED",
        "WORKFLOW_EXECUTION_UNPAUSED",
        "NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED",
        "NEXUS_OPERATION_CANCEL_REQUEST_FAILED",
        "WORKFLOW_EXECUTION_OPTIONS_UPDATED",
    )
)
"""What the server marks as nothing that a worker has to know."""
_NAMES = {number: name for name, number in EVENT.items()}
_BYTES_PER_EVENT = 200  # of an event without its payloads; the server counts what it stores


class EventLog:
    """Events in their order; their ids count from 1."""

    # Three lists and not one of tuples: what a run keeps, the garbage collector walks through again and again.
    __slots__ = ("_attributes", "_kinds", "_times_ns", "size")

    def __init__(self) -> None:
        self._kinds: list[int] = []
        self._times_ns: list[int] = []
        self._attributes: list[dict[str, Any]] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, kind: str, time_ns: int, attributes: dict[str, Any]) -> int:
        """Append an event of a kind ("TIMER_FIRED") and give its id. ``links`` among the attributes are the event's."""
        self._kinds.append(EVENT[kind])
        self._times_ns.append(time_ns)
        self._attributes.append(attributes)
        self.size += _bytes(attributes)
        return len(self._kinds)

    def kind(self, number: int) -> str:
        """Give the kind of an event, by its id."""
        return _NAMES[self._kinds[number - 1]]

    def attributes(self, number: int) -> dict[str, Any]:
        """Give the attributes of an event, by its id, as they were added."""
        return self._attributes[number - 1]

    def time_ns(self, number: int) -> int:
        """Give when an event was, by its id."""
        return self._times_ns[number - 1]

    def prefix(self, length: int) -> EventLog:
        """Give a log of its own with the first ``length`` events."""
        made = EventLog()
        made._kinds, made._times_ns = self._kinds[:length], self._times_ns[:length]
        made._attributes = self._attributes[:length]
        made.size = sum(map(_bytes, made._attributes))
        return made

    def annotate(self, user_metadata: Any) -> None:
        """Give the last event the summary, or details, that its author wrote for people."""
        self._attributes[-1]["user_metadata"] = user_metadata

    def cut(self, length: int) -> None:
        """Forget all events after the first ``length``: those of a task that leaves no trace."""
        del self._kinds[length:], self._times_ns[length:], self._attributes[length:]

    def event(self, number: int) -> HistoryEvent:
        """Give one event as protobuf, by its id; negative ids count from the end (-1 is the last)."""
        place = number - 1 if number > 0 else len(self) + number
        kind = self._kinds[place]
        known = {name: value for name, value in self._attributes[place].items() if value is not None}
        links = known.pop("links", None)
        made: dict[str, Any] = {"event_id": place + 1, "event_type": kind, ATTRIBUTES[kind]: known}
        if links:
            made["links"] = links
        if kind in _MAY_IGNORE:
            made["worker_may_ignore"] = True
        if "user_metadata" in known:
            made["user_metadata"] = known.pop("user_metadata")
        event = HistoryEvent(**made)
        event.event_time.FromNanoseconds(self._times_ns[place])
        return event

    def count(self, kind: str) -> int:
        """Count the events of a kind."""
        wanted = EVENT[kind]
        return self._kinds.count(wanted)

    def events(self, first: int = 1) -> list[HistoryEvent]:
        """Give the events from id ``first`` on."""
        return [self.event(number) for number in range(first, len(self) + 1)]

    def workflow_history(self, workflow_id: str) -> WorkflowHistory:
        """Give what Temporal's own tools take: ``to_json`` of it is the file they read."""
        return WorkflowHistory(workflow_id, self.events())


def _bytes(attributes: dict[str, Any]) -> int:
    held = attributes.get("input") or attributes.get("result")
    size = _BYTES_PER_EVENT
    if held.__class__ is dict:
        for payload in held.get("payloads", ()):
            size += len(payload.data)
    return size
