"""The transactional outbox: a change of state and the events that tell of it, written in one piece.

C. Richardson, Microservices Patterns (2018), 3.3.7. Writing a state and publishing an event are two writes;
a crash between them leaves one without the other. An outbox writes both as one record of a journal; a relay
publishes what the journal holds, at least once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import event as record
from wfsim.kernel import sleep
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._events._event import Event
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._naming import checked_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.storage import Journal
    from wfsim.workflows._events._bus import EventBus


class Outbox:
    """A journal of states, each with the events that tell of it.

    ::

        outbox = Outbox(journal)
        await outbox.open()  # after a crash: what the journal holds
        await outbox.commit({"order-1": "placed"}, Event("order.placed", key="order-1"))
        await outbox.relay(bus)  # never ends: run it beside the service

    An event's id is made of its place in the outbox, so it stays the same however often it is published:
    subscribers that remember ids (``effectively_once``) handle it once.
    """

    def __init__(self, journal: Journal, *, name: str = "outbox", retry_delay: Duration = "1s") -> None:
        self.name = checked_name(name, "an outbox")
        self.states: list[dict[str, Any]] = []
        self._journal = journal
        self._retry_s = parse_duration(retry_delay, f"retry_delay of outbox {name!r}") / NS_PER_SECOND
        self._pending: deque[Event] = deque()
        self._numbered = 0
        self._news = Gate()
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Outbox {self.name!r}: {len(self._pending)} events to publish>"

    @property
    def pending(self) -> tuple[Event, ...]:
        """The events that are written and not known to be published."""
        return tuple(self._pending)

    async def open(self) -> None:
        """Read what the journal holds: ``states`` are those committed, in order."""
        sent = {str(mark["id"]): None for mark in await self._journal.read(self._marks)}
        self.states, self._numbered = [], 0
        self._pending.clear()
        for entry in await self._journal.read(self.name):
            self.states.append(entry["state"])
            events = [Event.from_dict(data) for data in entry["events"]]
            self._numbered += len(events)
            self._pending.extend(event for event in events if event.id not in sent)
        self._is_open = True
        self._news.open()

    async def commit(self, state: Mapping[str, Any], *events: Event) -> None:
        """Write a state and its events durably, both or neither."""
        if not self._is_open:
            raise DesignError(f"outbox {self.name!r} is not open: first await outbox.open()")
        numbered = []
        for event in events:
            self._numbered += 1
            numbered.append(event.with_id(f"{self.name}-{self._numbered}"))
        told = [{"topic": event.topic, **event.describe()} for event in numbered]
        await self._journal.append(self.name, {"state": dict(state), "events": told})
        record("commit", self.name, design=self.name, data={"state": dict(state), "events": told})
        self.states.append(dict(state))
        self._pending.extend(numbered)
        self._news.open()

    async def relay(self, bus: EventBus) -> None:
        """Publish what is committed, in order, at least once, for ever."""
        while True:
            if not self._pending:
                self._news = Gate()
                await self._news
            await self.flush(bus)

    async def flush(self, bus: EventBus) -> None:
        """Publish what is committed so far, in order, at least once."""
        while self._pending:
            event = self._pending[0]
            try:
                await bus.publish(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, the event must get out
                data = {"error": type(error).__name__, "event": event.id}
                record("retry", event.topic, design=self.name, data=data)
                await sleep(self._retry_s)
                continue
            await self._journal.append(self._marks, {"id": event.id})
            if self._pending and self._pending[0] is event:
                self._pending.popleft()

    @property
    def _marks(self) -> str:
        return f"{self.name}/sent"
