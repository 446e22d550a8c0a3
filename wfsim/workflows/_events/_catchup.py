"""A subscriber of an event store: it reads by position, so it can come as late as it wants."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import call, cause_of, sleep, span
from wfsim.kernel import event as record
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._events._consumer import HANDLING
from wfsim.workflows._events._deadletters import DeadLetter
from wfsim.workflows._events._event import checked_pattern
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._events._home import own_process, run_now
from wfsim.workflows._events._points import LOSSES, NO_ENDS, Place
from wfsim.workflows._events._subscription import wants_two
from wfsim.workflows._events._topics import matches
from wfsim.workflows._naming import checked_name, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.workflows._events._event import Event
    from wfsim.workflows._events._home import Home
    from wfsim.workflows._events._store import EventStore
    from wfsim.workflows._events._stored import StoredEvent


@dataclass(frozen=True, slots=True)
class Following:
    """How a subscriber follows a store. ``EventStore.subscribe`` says what the fields mean."""

    topic: str
    name: str | None
    durable: bool
    redelivery_delay: Duration
    max_deliveries: int | None

    def __post_init__(self) -> None:
        checked_pattern(self.topic)
        if self.durable and self.name is None:
            raise DesignError("a durable subscriber needs a name under which it comes again; add name=...")
        most = self.max_deliveries
        if most is not None and (type(most) is not int or most < 1):
            raise DesignError(f"max_deliveries={most!r} must be a whole number from 1; None means no limit")


class CatchUp:
    """What ``EventStore.subscribe`` gives.

    ``position`` is that of the next event it reads. ``await caught_up()`` waits until it has handled all
    there is; ``stop`` ends it. ``dead_letters`` are the events that it could not handle.
    """

    def __init__(
        self, store: EventStore, handler: Callable[..., Any], how: Following, from_position: int
    ) -> None:
        if type(from_position) is not int or from_position < 0:
            raise DesignError(f"from_position={from_position!r} must be a whole number from 0")
        self._store = store
        self._handler = handler
        self._wants_stored = wants_two(handler, f"the subscriber of store {store.name!r}")
        self._how = how
        self._delay_s = parse_duration(how.redelivery_delay, "redelivery_delay") / NS_PER_SECOND
        self.name = checked_name(how.name or name_of(handler) or "subscriber", "a subscriber")
        kept = store.checkpoint(self.name) if how.durable else None
        self.position = from_position if kept is None else kept
        self.dead_letters: list[DeadLetter] = []
        self._news = Gate()
        self._level: list[Gate] = []
        self._home: Home | None = None
        self._stopped = False
        self._owner = ""
        self._places: dict[tuple[str, str], Place] = {}

    def __repr__(self) -> str:
        return f"<CatchUp {self.name!r} of store {self._store.name!r} at {self.position}>"

    def is_replaced_by(self, other: CatchUp) -> bool:
        """Tell whether the other is this durable subscriber, come again."""
        return self._how.durable and other._how.durable and self.name == other.name

    def begin(self, home: Home | None) -> None:
        """Start to follow; where no loop runs, read what there is at once."""
        self._home = home
        how, data = self._how, {"topic": self._how.topic, "from_position": self.position}
        if how.max_deliveries is not None:
            data["max_deliveries"] = how.max_deliveries
        record("subscribe", self.name, design=self._store.name, data=data)
        if home is None:
            self.ring()
            return
        context = copy_context()
        process = own_process(context)
        self._owner = "" if process is None else process.name
        home.start(self._follow(), context)

    def stop(self) -> None:
        """Read no more."""
        if not self._stopped:
            self._stopped = True
            record("unsubscribe", self.name, design=self._store.name)
            self._store.forget(self)
            self._news.open()

    def ring(self) -> None:
        """Let it know that there is something new."""
        if self._home is not None:
            self._news.open()
            return
        for stored in self._next():
            run_now(self._handler(*self._arguments(stored.event, stored)))
            self._step(stored)

    async def caught_up(self) -> None:
        """Wait until it has handled all that is in the store."""
        while self.position < self._store.position:
            gate = Gate()
            self._level.append(gate)
            await gate

    # -- at work

    def _next(self) -> tuple[StoredEvent, ...]:
        return self._store.read_all(from_position=self.position)

    def _step(self, stored: StoredEvent) -> None:
        self.position = stored.position + 1
        if self._how.durable:
            self._store.keep_checkpoint(self.name, self.position)

    async def _follow(self) -> None:
        while not self._stopped:
            self._news = Gate()
            for stored in self._next():
                if matches(self._how.topic, stored.event.topic):
                    await self._handle(stored)
                if self._stopped:
                    return
                self._step(stored)
            if self.position >= self._store.position:
                level, self._level = self._level, []
                for gate in level:
                    gate.open()
                await self._news

    async def _handle(self, stored: StoredEvent) -> None:
        """Handle one event until it is handled, or given up."""
        attempt = 0
        while not self._stopped:
            attempt += 1
            event = await self._fetch(stored, attempt)
            if event is None:
                await sleep(self._delay_s)
                continue
            try:
                await self._call(stored, event, attempt)
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled(error):
                    raise
                if attempt == self._how.max_deliveries:
                    self._bury(stored, attempt, error)
                    return
                await sleep(self._delay_s)
            else:
                return

    async def _fetch(self, stored: StoredEvent, attempt: int) -> Event | None:
        """Get an event out of the store; None if it got lost on its way, so that it has to be read again.

        Who reads by position takes each event once: what comes twice or out of order is not taken.
        """
        place = self._place("deliver", stored.event.topic)
        fault: Any = place.ask(attempt)
        if fault is None:
            return stored.event
        place.record(fault, attempt, stored.op)
        try:
            await place.strike(fault, attempt)
        except Exception:  # noqa: BLE001 - the line failed: what was on it is lost
            return None
        if fault.kind == "corrupt":
            return stored.event.with_payload(fault.corrupted(stored.event.payload))
        return None if fault.kind in LOSSES else stored.event

    def _place(self, point: str, topic: str) -> Place:
        place = self._places.get((point, topic))
        if place is None:
            kind, store = "deliver" if point == "deliver" else "handle", self._store.name
            ends = ((store,), (self.name, self._owner)) if point == "deliver" else NO_ENDS
            home: Any = self._home
            place = Place(home, (point, kind, store, self.name), topic, self.name, self._owner, ends)
            self._places[point, topic] = place
        return place

    async def _call(self, stored: StoredEvent, event: Event, attempt: int) -> None:
        with span("handle", self._store.name, self.name, attempt=attempt, cause=stored.op) as it:
            HANDLING.set(it.index)
            await self._pass("call", event.topic, attempt, it)
            await call(self._handler, *self._arguments(event, stored))
            await self._pass("reply", event.topic, attempt, it)

    async def _pass(self, point: str, topic: str, attempt: int, it: span) -> None:
        """Come to the fault points that every call has."""
        place = self._place(point, topic)
        fault = place.ask(attempt)
        if fault is not None:
            await place.suffer(fault, attempt, it)

    def _arguments(self, event: Event, stored: StoredEvent) -> tuple[Any, ...]:
        return (event, stored) if self._wants_stored else (event,)

    def _bury(self, stored: StoredEvent, attempt: int, error: BaseException) -> None:
        why = f"its handler failed: {type(error).__name__}: {error}"
        self.dead_letters.append(DeadLetter(stored.event, self.name, attempt, why, stored.op))
        record(
            "dead_letter",
            self.name,
            design=self._store.name,
            cause=cause_of(error) or stored.op,
            attempt=attempt,
            data={"event": stored.event.id, "because": why, "deliveries": attempt},
        )


def _is_cancelled(error: BaseException) -> bool:
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and bool(task.cancelling())
