"""The event store: what happened, kept for ever, so that nobody can come too late."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from wfsim.errors import DesignError
from wfsim.kernel import call, fault_point, span
from wfsim.workflows._events._catchup import CatchUp, Following
from wfsim.workflows._events._event import Event
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._events._home import home, run_now
from wfsim.workflows._events._log import Log
from wfsim.workflows._events._stored import Snapshot, StoredEvent
from wfsim.workflows._events._subscription import handler_of
from wfsim.workflows._events._topics import matches
from wfsim.workflows._events._waiting import Receipt
from wfsim.workflows._naming import checked_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wfsim.storage import Journal
    from wfsim.units import Duration

_S = TypeVar("_S")


class EventStore:
    """Streams of events, append only; readers begin where they want and follow as long as they want.

    ::

        store = EventStore()
        await store.append("account-1", Event("deposited", {"amount": 20}), expected_version=0)
        store.subscribe(show, from_position=0)  # first what there is, then what comes: no gap, nothing twice

    A stream's version is the number of its events; ``expected_version`` makes an append fail with
    ConcurrencyError if somebody else appended meanwhile (0: the stream must be new). Positions count all
    events of the store from 0.

    With a ``journal`` (of wfsim.storage, or anything with its two methods) what is appended survives a
    crash: a store made anew on the same journal has it after ``await store.open()``. Such a store belongs to
    one process, as a database file does.
    """

    def __init__(self, name: str = "store", *, journal: Journal | None = None) -> None:
        self.name = checked_name(name, "a store")
        self._journal = journal
        self._log = Log(name)
        self._snapshots: dict[str, Snapshot] = {}
        self._checkpoints: dict[str, int] = {}
        self._followers: list[CatchUp] = []
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<EventStore {self.name!r}: {self.position} events>"

    async def open(self) -> None:
        """Read what the journal holds. Do it before anything else."""
        if self._journal is None or self._log.all:
            return
        for entry in await self._journal.read(self.name):
            events = [Event.from_dict(data) for data in entry["events"]]
            self._log.append(str(entry["stream"]), events, is_told=False)

    # -- writing

    async def append(
        self, stream: str, events: Event | Iterable[Event], *, expected_version: int | None = None
    ) -> tuple[StoredEvent, ...]:
        """Append events to a stream, all of them or none.

        What was appended before under the same ids is not appended again: an append whose outcome nobody
        knows may be repeated. Raise ConcurrencyError if the stream is not at ``expected_version``.
        """
        listed = _listed(events)
        with span("append", self.name, stream, data={"expected_version": expected_version}):
            await fault_point("persist", kind="append", design=self.name, name=stream)
            if self._journal is None:
                return self._commit(stream, listed, expected_version)
            async with self._lock:  # the order in the journal is the order in memory
                return await self._write(self._journal, stream, listed, expected_version)

    async def _write(
        self, journal: Journal, stream: str, events: Sequence[Event], expected_version: int | None
    ) -> tuple[StoredEvent, ...]:
        if self._log.known(stream, events) is None:
            self._log.check(stream, expected_version)
            events = self._log.named(stream, events)
            told = [{"topic": event.topic, **event.describe()} for event in events]
            await journal.append(self.name, {"stream": stream, "events": told})
        return self._commit(stream, events, None)

    def _commit(
        self, stream: str, events: Sequence[Event], expected_version: int | None
    ) -> tuple[StoredEvent, ...]:
        known = self._log.known(stream, events)
        if known is not None:
            return known
        self._log.check(stream, expected_version)
        added = self._log.append(stream, self._log.named(stream, events))
        for follower in self._followers:
            follower.ring()
        return added

    def publish(self, event: Event) -> Receipt:
        """Append one event, to the stream of its key (without a key: of its topic), and tell the subscribers.

        It is stored when this returns; with a journal, or under faults, when what it returns was awaited.
        """
        if event.__class__ is not Event:
            raise DesignError(f"a store keeps Events, not {event!r}; write Event('order.placed', {{...}})")
        stream = event.topic if event.key is None else str(event.key)
        here = home()
        if here is None:
            stored = run_now(self.append(stream, event))[0]
            self.notify_subscribers(stored.event)
            return Receipt(stored.event)
        if self._journal is None and (here.simulation is None or here.simulation.nemesis is None):
            return Receipt(self._commit(stream, (event,), None)[0].event)
        gate = Gate()
        here.start(self._publish(stream, event, gate), copy_context())
        return Receipt(event, [gate])

    async def _publish(self, stream: str, event: Event, gate: Gate) -> None:
        try:
            await self.append(stream, event)
        except Exception as error:  # noqa: BLE001 - it is the publisher's, if it listens
            gate.open(error=error)
        else:
            gate.open()

    # -- reading

    @property
    def position(self) -> int:
        """How many events there are: the position of the next one."""
        return len(self._log.all)

    def version(self, stream: str) -> int:
        """Give the version of a stream: 0 if there is none."""
        return len(self._log.stream(stream))

    def read(
        self, stream: str, *, from_version: int = 1, to_version: int | None = None
    ) -> tuple[StoredEvent, ...]:
        """Give the events of a stream in order, from one version to another, both included."""
        return tuple(self._log.stream(stream)[max(0, from_version - 1) : to_version])

    def read_all(
        self, *, from_position: int = 0, limit: int | None = None, topic: str = "#"
    ) -> tuple[StoredEvent, ...]:
        """Give the events of all streams in order, from a position on."""
        found = [one for one in self._log.all[from_position:] if matches(topic, one.event.topic)]
        return tuple(found[:limit])

    # -- snapshots

    def save_snapshot(self, stream: str, version: int, state: Any) -> None:
        """Keep what the events of a stream up to a version add up to, so that ``load`` need not read them."""
        if not 0 <= version <= self.version(stream):
            raise DesignError(
                f"stream {stream!r} is at version {self.version(stream)}; there is nothing to save of {version}"
            )
        self._snapshots[stream] = Snapshot(stream, version, state)

    def snapshot(self, stream: str) -> Snapshot | None:
        """Give the last snapshot of a stream."""
        return self._snapshots.get(stream)

    def load(self, stream: str, apply: Callable[[_S, Event], _S], initial: _S) -> tuple[_S, int]:
        """Add up a stream, from its last snapshot on: the state, and the version it is of.

        ``apply(state, event)`` gives the next state. Pass the version on as ``expected_version``.
        """
        last = self._snapshots.get(stream)
        state, version = (initial, 0) if last is None else (last.state, last.version)
        for stored in self.read(stream, from_version=version + 1):
            state = apply(state, stored.event)
            version = stored.version
        return state, version

    # -- subscribers

    def subscribe(
        self,
        handler: Any,
        *,
        topic: str = "#",
        from_position: int = 0,
        name: str | None = None,
        durable: bool = False,
        redelivery_delay: Duration = "1s",
        max_deliveries: int | None = None,
    ) -> CatchUp:
        """Call ``handler(event)`` for each event from a position on: first those there are, then what comes.

        One after the other, in the order of the store, with no gap between old and new and none twice. With
        two parameters the handler is given the :class:`StoredEvent` too. When it fails the event is handled
        again after ``redelivery_delay``, until it succeeds, or ``max_deliveries`` times: then it is set aside
        as a dead letter and the next one follows.

        A ``durable`` subscriber goes on, when it comes again under its name, behind the last event that it
        handled; ``from_position`` is where it begins the first time.
        """
        following = Following(topic, name, durable, redelivery_delay, max_deliveries)
        follower = CatchUp(self, handler_of(handler), following, from_position)
        self._followers = [one for one in self._followers if not one.is_replaced_by(follower)]
        self._followers.append(follower)
        follower.begin(home())
        return follower

    def notify_subscribers(self, event: Event) -> None:
        """Let the subscribers know that there is something new. The store does it by itself."""
        del event  # whoever follows reads the store, so that order and gaps are no question
        for follower in self._followers:
            follower.ring()

    def replay(self, subscriber: Any, from_position: int = 0) -> Receipt:
        """Give a subscriber (a function, or an object with ``handle``) the events from a position on, once.

        Where no loop runs it has all of them when this returns; in a coroutine await it.
        """
        handler = handler_of(subscriber)
        past = self.read_all(from_position=from_position)
        last = past[-1].event if past else Event("store.empty")
        here = home()
        if here is None:
            for stored in past:
                run_now(handler(stored.event))
            return Receipt(last)
        gate = Gate()
        here.start(_replayed(handler, past, gate), copy_context())
        return Receipt(last, [gate])

    # -- what its followers ask

    def checkpoint(self, name: str) -> int | None:
        """Give the position at which a durable subscriber goes on; None if it has handled nothing yet."""
        return self._checkpoints.get(name)

    def keep_checkpoint(self, name: str, position: int) -> None:
        """Keep the position at which a durable subscriber goes on."""
        self._checkpoints[name] = position

    def forget(self, follower: CatchUp) -> None:
        """Tell a subscriber nothing more."""
        self._followers = [one for one in self._followers if one is not follower]


async def _replayed(handler: Callable[..., Any], past: Sequence[StoredEvent], gate: Gate) -> None:
    try:
        for stored in past:
            await call(handler, stored.event)
    except Exception as error:  # noqa: BLE001 - it is the caller's, if it listens
        gate.open(error=error)
    else:
        gate.open()


def _listed(events: Event | Iterable[Event]) -> tuple[Event, ...]:
    listed = (events,) if isinstance(events, Event) else tuple(events)
    if not listed:
        raise DesignError("there is nothing to append; give at least one event")
    for event in listed:
        if event.__class__ is not Event:
            raise DesignError(f"a store keeps Events, not {event!r}; write Event('order.placed', {{...}})")
    return listed
