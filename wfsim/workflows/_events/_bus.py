"""The event bus: publish and subscribe, with the promises and the troubles of a real message broker."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, PublishUnconfirmed, RequestTimedOut
from wfsim.kernel import constant, current, sleep, span
from wfsim.units import NS_PER_SECOND, Duration, format_duration, parse_duration
from wfsim.workflows._events._atonce import publish_at_once
from wfsim.workflows._events._broker import Broker
from wfsim.workflows._events._consumer import HANDLING
from wfsim.workflows._events._event import Event, checked_pattern
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._events._home import home, own_process
from wfsim.workflows._events._points import LOSSES
from wfsim.workflows._events._subscription import Subscription
from wfsim.workflows._events._terms import Terms
from wfsim.workflows._events._waiting import Receipt, within
from wfsim.workflows._naming import checked_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel import Distribution, Fault
    from wfsim.workflows._events._deadletters import DeadLetter
    from wfsim.workflows._events._points import Place


class EventBus:
    """A message bus: services publish events on topics and subscribe to them, and need not know each other.

    ::

        bus = EventBus()
        bus.subscribe("order.*", bill, group="billing", order="key")
        await bus.publish(Event("order.placed", {"amount": 20}, key="order-1"))

    ``name`` is what faults and reports call it. ``latency`` is how long a delivery takes in a simulation, a
    duration or a distribution; in production the real network takes what it takes. All else are the terms of
    delivery, for every subscriber that names no others:

    - ``delivery``: ``at_most_once`` (sent and forgotten), ``at_least_once`` (sent again until it is
      acknowledged), ``effectively_once`` (as before, but an event whose id was handled is not handled again;
      the last ``dedupe_window`` ids are remembered).
    - ``visibility_timeout``: how long the bus waits for an acknowledgement before it delivers again.
    - ``redelivery_delay``: how long it waits after a handler failed. ``max_deliveries``: after so many in
      vain an event becomes a dead letter (None: never); it is then also published on ``dead_letter_topic``.
    - ``order``: ``none``; ``key``: events of one key one after the other; ``all``: one at a time.
    - ``concurrency``: how many events one subscriber handles at once; ``prefetch``: how many may be on their
      way to it unacknowledged.
    - ``capacity``: how many events may wait for a subscriber; when there are more ``overflow`` decides:
      ``block`` (who publishes waits), ``drop_oldest``, ``drop_new`` or ``error`` (who publishes gets
      QueueFull).
    - ``ack``: ``auto`` (when the handler returns) or ``manual`` (``await delivery.ack()``).

    A bus begins each simulation anew, with the subscriptions that were made outside of any.
    """

    def __init__(
        self,
        name: str = "bus",
        *,
        latency: Duration | Distribution = "1ms",
        confirm_timeout: Duration = "5s",
        **terms: Any,
    ) -> None:
        self.name = checked_name(name, "a bus")
        self._latency: Any = latency
        if not callable(getattr(latency, "sample_ns", None)):
            self._latency = constant(latency, f"latency of bus {name!r}")  # type: ignore[arg-type]
        self._confirm_s = parse_duration(confirm_timeout, f"confirm_timeout of bus {name!r}") / NS_PER_SECOND
        self._terms = Terms().but(terms)
        self._lasting: list[Subscription] = []
        self._broker: Broker | None = None
        self._place: object = None
        self._at_once = 0

    def __repr__(self) -> str:
        return f"<EventBus {self.name!r}>"

    # -- subscribing

    def subscribe(
        self,
        topic: str,
        handler: Callable[..., Any],
        *,
        name: str | None = None,
        group: str | None = None,
        **terms: Any,
    ) -> Subscription:
        """Call ``handler(event)`` for each event whose topic fits.

        In ``topic`` a segment ``*`` stands for exactly one segment, ``#`` or ``**`` for any number. The
        handler is a function, a coroutine function, or an object with a method ``handle``; with two parameters
        it is given the :class:`Delivery` too. In a loop a plain function runs in a thread, as elsewhere in
        wfsim.

        Members of a ``group`` share the work: each event goes to one of them. A group outlives its members:
        what is published while none is there waits for the next. A subscription without a group ends with
        its process. ``terms`` are those of the bus, where others are wanted.
        """
        subscription = Subscription(topic, handler, name, group, self._terms.but(terms))
        subscription._cancel = self._unsubscribe  # noqa: SLF001 - the two are one thing
        broker = self._at_home()
        if broker is None:
            self._lasting.append(subscription)
        else:
            broker.subscribe(subscription)
        return subscription

    def declare(self, topic: str, *, group: str, name: str | None = None, **terms: Any) -> None:
        """Let a group exist before it has a member: what is published from now on waits for the first.

        The members subscribe on the same terms. Raise DesignError where no loop runs.
        """
        broker = self._at_home()
        if broker is None:
            raise DesignError(
                "bus.declare() is for a running loop; what is subscribed before it is there from the start"
            )
        checked_pattern(topic)
        wanted = checked_name(group, "a group of subscribers")
        broker.declare(topic, wanted, name or wanted, self._terms.but(terms))

    def _unsubscribe(self, subscription: Subscription) -> None:
        self._lasting = [one for one in self._lasting if one is not subscription]
        if self._broker is not None:
            self._broker.unsubscribe(subscription)

    def _at_home(self) -> Broker | None:
        """Give the broker of the run that this code is part of; None if no time passes here."""
        simulation = current()
        if simulation is not None and simulation is self._place:
            return self._broker
        here = home()
        if here is None:
            return None
        if here.place is not self._place:
            self._place = here.place
            self._broker = broker = Broker(here, self.name, self._latency, self.publish)
            for subscription in self._lasting:
                broker.subscribe(subscription, is_anybodys=True)
        return self._broker

    # -- publishing

    def publish(self, event: Event) -> Receipt:
        """Tell an event to all who subscribed to its topic.

        Where a loop runs the event is on its way when this returns. To await what it returns, the event with
        its id, is to wait until the bus has taken the event over: at once if it is sent and forgotten, else
        until the bus confirms it (PublishUnconfirmed after ``confirm_timeout`` if it got lost) and
        every queue that blocks has room.

        Where no loop runs there is no time in which to wait: every handler is called before this returns,
        again if it fails, up to ``max_deliveries`` times.
        """
        if event.__class__ is not Event:
            raise DesignError(
                f"a bus publishes an Event, not {event!r}; write Event('order.placed', {{...}})"
            )
        broker = self._at_home()
        if broker is None:
            self._at_once += 1
            return publish_at_once(self._lasting, event.with_id(f"{self.name}-{self._at_once}"))
        event = broker.numbered(event)
        publisher = ""
        if broker.watches_publishers:
            process = own_process(copy_context())
            publisher = "" if process is None else process.name
            place = broker.place_of(event.topic, publisher)
            fault = place.ask(1)
            if fault is not None:
                receipt = Receipt(event, [Gate()])
                broker.home.start(self._publish_struck(broker, receipt, fault, place), copy_context())
                return receipt
        with span("publish", self.name, event.topic, cause=HANDLING.get(), data=event.describe()) as it:
            return Receipt(event, broker.route(event, it.index, publisher))

    async def _publish_struck(self, broker: Broker, receipt: Receipt, fault: Fault, place: Place) -> None:
        """Publish an event on which a fault strikes; whoever awaits the receipt is told of an error."""
        event, gate = receipt.event, receipt.gates[0]
        try:
            with span("publish", self.name, event.topic, cause=HANDLING.get(), data=event.describe()) as it:
                gates = await self._suffer(broker, event, fault, place, it)
        except Exception as error:  # noqa: BLE001 - it is the publisher's, if it listens
            gate.open(error=error)
        else:
            for one in gates:
                await one
            gate.open()

    async def _suffer(self, broker: Broker, event: Event, fault: Fault, place: Place, it: span) -> list[Gate]:
        await place.suffer(fault, 1, it)
        carried: Any = fault
        if fault.kind in LOSSES:
            if not self._terms.acknowledged:
                return []
            await sleep(self._confirm_s)
            raise PublishUnconfirmed(event.topic, format_duration(round(self._confirm_s * NS_PER_SECOND)))
        if fault.kind == "corrupt":
            event = event.with_payload(carried.corrupted(event.payload))
        if fault.kind == "reorder":
            await sleep(carried.at_most_ns / NS_PER_SECOND)
        times = 1 + carried.copies if fault.kind == "duplicate" else 1
        return [gate for _ in range(times) for gate in broker.route(event, it.index, place.process)]

    # -- asking

    async def request(self, event: Event, *, timeout: Duration = "5s") -> Any:  # noqa: ASYNC109 - a duration
        """Publish a question and give the answer: what the handler of its topic returns.

        Question and answer share a ``correlation_id``. Raise RequestTimedOut if no answer comes within
        ``timeout``; one that comes later is ignored.
        """
        broker = self._at_home()
        if broker is None:
            raise DesignError(
                "bus.request() waits for an answer, so it needs a loop: await it in a coroutine"
            )
        question = broker.question(event)
        timeout_ns = parse_duration(timeout, "timeout of the request")
        try:
            await self.publish(question)
            return await within(broker.answer_to(question), timeout_ns)
        except TimeoutError as error:
            if isinstance(error, PublishUnconfirmed):
                raise
            raise RequestTimedOut(event.topic, format_duration(timeout_ns)) from None
        finally:
            broker.forget_question(question)

    # -- looking after

    async def drain(self) -> None:
        """Wait until nothing waits, flies or is being handled: all is settled, for good or as a dead letter."""
        broker = self._at_home()
        if broker is not None:
            await broker.quiet()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The events that were set aside, the oldest first: those of this run, or of the last one."""
        return () if self._broker is None else tuple(self._broker.dead_letters)

    def redrive(self, subscriber: str | None = None, *, topic: str | None = None) -> int:
        """Deliver dead letters once more, those of a subscriber or a topic if named. Give how many."""
        broker = self._at_home()
        if broker is None:
            return 0
        chosen = [
            letter
            for letter in broker.dead_letters
            if subscriber in {None, letter.subscriber} and topic in {None, letter.event.topic}
        ]
        return broker.redrive(chosen)
