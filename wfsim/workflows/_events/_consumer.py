"""A consumer: one member of a queue at work, in the process that subscribed."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from wfsim.kernel import call, cause_of, park, span, wake
from wfsim.kernel import event as record
from wfsim.units import Duration, parse_duration
from wfsim.workflows._events._event import Event
from wfsim.workflows._events._home import has_crashed, own_process
from wfsim.workflows._events._points import NO_ENDS, Place
from wfsim.workflows._events._transit import acknowledge

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from wfsim.workflows._events._points import Ends
    from wfsim.workflows._events._queue import Message, Queue
    from wfsim.workflows._events._subscription import Subscription

HANDLING: Final[ContextVar[int | None]] = ContextVar("wfsim_handling", default=None)
"""The operation that handles an event here: what is published meanwhile has it as its cause."""


class Delivery:
    """One delivery of one event, for a handler that takes ``(event, delivery)``.

    ``attempt`` counts the deliveries of this event to this subscriber, from 1.
    """

    __slots__ = ("_consumer", "_message", "_op", "attempt", "event", "is_answered")

    def __init__(
        self, consumer: Consumer, message: Message, attempt: int, event: Event, op: int | None
    ) -> None:
        self._consumer = consumer
        self._message = message
        self._op = op
        self.event = event
        self.attempt = attempt
        self.is_answered = False

    async def ack(self) -> None:
        """Tell the bus that the event is handled; it is not delivered again (unless this word gets lost)."""
        self.is_answered = True
        await self._consumer.acknowledge(self._message, self.attempt, self._op)

    async def nack(self, *, delay: Duration | None = None) -> None:
        """Give the event back: it is delivered again, after ``delay`` (the redelivery delay by default)."""
        self.is_answered = True
        delay_ns = None if delay is None else parse_duration(delay, "delay of nack")
        self._consumer.queue.nack(self._message, self.attempt, "it was given back", delay_ns, self._op)


class Consumer:
    """Handles the messages that reach one subscription, ``concurrency`` of them at a time."""

    __slots__ = (
        "_busy",
        "_calm",
        "_context",
        "_handler",
        "_idle",
        "_inbox",
        "_incarnation",
        "_is_choosy",
        "_is_dismissed",
        "_is_plain",
        "_is_watched",
        "_lines",
        "_prefetch",
        "_process",
        "_workers",
        "names",
        "process_name",
        "queue",
        "subscription",
        "unacknowledged",
    )

    def __init__(self, queue: Queue, subscription: Subscription, context: Context | None) -> None:
        self.queue = queue
        self.subscription = subscription
        self.unacknowledged = 0
        self._context = context
        self._process = process = None if context is None else own_process(context)
        self._incarnation = 0 if process is None else process.incarnation
        self.process_name = "" if process is None else process.name
        self.names = (queue.name, self.process_name)
        self._inbox: deque[tuple[Message, int, Event]] = deque()
        self._idle: list[_Rest] = []
        self._workers = 0
        self._busy = 0
        terms = queue.terms
        self._prefetch = terms.prefetch
        self._handler = subscription.handler
        self._is_plain = subscription.is_async and not subscription.wants_delivery
        # Whether some messages are not to be handled: those dropped meanwhile, those handled before.
        self._is_choosy = terms.delivery != "at_least_once" or terms.capacity is not None
        self._is_dismissed = False
        self._is_watched = False
        self._lines: dict[tuple[str, str], _Line] = {}
        simulation = queue.home.simulation
        self._calm = _Line(self, "", "") if simulation is None or simulation.nemesis is None else None

    def is_alive(self) -> bool:
        """Whether the process that it belongs to has not crashed."""
        process = self._process
        if process is None or (process.alive and process.incarnation == self._incarnation):
            return True
        return not has_crashed(process, self._incarnation)

    def has_room(self) -> bool:
        """Whether it may be sent one more message."""
        process = self._process
        return (self._prefetch is None or self.unacknowledged < self._prefetch) and (
            process is None
            or (process.alive and process.incarnation == self._incarnation)
            or not has_crashed(process, self._incarnation)
        )

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do; a dead one never has."""
        return not (self._busy or self._inbox) or not self.is_alive()

    def receive(self, message: Message, attempt: int, event: Event) -> None:
        """Take in what reaches it; what reaches a dead one is lost, and so delivered again."""
        if self._is_dismissed or not self.is_alive():
            if not self.queue.acknowledged:
                self.queue.settle(message)
            return
        self._inbox.append((message, attempt, event))
        if self._idle:
            self._idle.pop().ring()
        elif self._workers < self.queue.terms.concurrency:
            self._workers += 1
            self.queue.home.start(self._work(), None if self._context is None else self._context.copy())
        if not self.queue.acknowledged:
            self.queue.settle(message, has_arrived=True)

    def watch(self, on_crash: Callable[[], object]) -> None:
        """Call ``on_crash()`` when the process crashes."""
        if self._context is not None and self._process is not None and not self._is_watched:
            self._is_watched = True
            self.queue.home.start(_Sentinel(on_crash).stand(), self._context.copy())

    def dismiss(self) -> None:
        """Work off what has arrived, and take in nothing more."""
        self._is_dismissed = True
        for rest in self._idle:
            rest.ring()
        self._idle.clear()

    # -- at work

    async def _work(self) -> None:
        inbox, idle = self._inbox, self._idle
        rest = _parking(idle) if self.queue.home.simulation is not None else _Bell()
        while True:
            while inbox:
                self._busy += 1
                try:
                    await self._handle(*inbox.popleft())
                finally:
                    self._busy -= 1
            self.queue.broker.look_for_quiet()
            if self._is_dismissed:
                return
            idle.append(rest)
            await rest.rest()

    async def _handle(self, message: Message, attempt: int, event: Event) -> None:
        # Every delivery passes here: what is seldom is done elsewhere.
        queue, line = self.queue, self.line(message)
        if self._is_choosy and not self._is_wanted(message, attempt, event):
            return
        if not message.started:
            queue.starts(message)
        try:
            with span("handle", queue.design, queue.name, attempt=attempt, cause=message.cause) as it:
                HANDLING.set(it.index)
                if self._is_plain and line.is_calm:
                    value = await self._handler(event)
                else:
                    value = await self._call(line, message, attempt, event, it)
                if value is not None:
                    self._take(value, event, it)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a handler may fail in any way
            self._give_back(message, attempt, event, error)
            return
        if self._is_plain and line.ack is None and not self._is_choosy:
            queue.settle(message)
        else:
            self._is_no_longer_in_hand(event)
            if queue.terms.ack == "auto" and queue.acknowledged:
                await self.acknowledge(message, attempt, it.index)

    async def _call(self, line: _Line, message: Message, attempt: int, event: Event, it: span) -> Any:
        """Call the handler, of whatever kind, and come to the fault points that every call has."""
        if line.call is not None and (fault := line.call.ask(attempt)) is not None:
            await line.call.suffer(fault, attempt, it)
        args: tuple[Any, ...] = (event,)
        if self.subscription.wants_delivery:
            args = (event, Delivery(self, message, attempt, event, it.index))
        value = await call(self._handler, *args)
        if line.reply is not None and (fault := line.reply.ask(attempt)) is not None:
            await line.reply.suffer(fault, attempt, it)
        return value

    def _take(self, value: Any, event: Event, it: span) -> None:
        """Note what the handler gave; if the event is a question it is the answer."""
        it.data = {"value": value}
        if event.reply_to is not None:
            answer = Event(event.reply_to, value, correlation_id=event.correlation_id)
            self.queue.broker.publish(answer)

    def _give_back(self, message: Message, attempt: int, event: Event, error: BaseException) -> None:
        self._is_no_longer_in_hand(event)
        if _is_cancelled(error):
            raise error
        why = f"its handler failed: {type(error).__name__}: {error}"
        self.queue.nack(message, attempt, why, None, cause_of(error))

    def line(self, message: Message) -> _Line:
        """Give the places where faults may strike messages of this topic and publisher."""
        if self._calm is not None:
            return self._calm
        key = message.event.topic, message.publisher
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self, *key)
        return line

    async def acknowledge(self, message: Message, attempt: int, op: int | None) -> None:
        """Tell the bus that a message is handled."""
        queue = self.queue
        if queue.terms.delivery == "effectively_once":
            queue.remember(str(message.event.id))
        place = self.line(message).ack
        fault = None if place is None else place.ask(attempt)
        if place is None or fault is None or await acknowledge(place, fault, message, attempt, op):
            queue.settle(message)

    # -- what was handled before

    def _is_wanted(self, message: Message, attempt: int, event: Event) -> bool:
        """Tell whether a message is to be handled, and the event was not before, and is not right now."""
        queue = self.queue
        if message.is_dropped or queue.terms.delivery == "at_least_once":
            return not message.is_dropped
        if not queue.acknowledged:
            return not message.started
        number = str(event.id)
        if number in queue.seen:
            self._tell_duplicate(message)
            queue.settle(message)
            return False
        other, holder = queue.in_hand.get(number, (message, self))
        if number not in queue.in_hand or not holder.is_alive():
            queue.in_hand[number] = (message, self)
            return True
        if other is not message:  # published twice; whether it is needed shows when the first is through
            queue.nack(message, attempt, "the same event is being handled", None, None)
        return False

    def _tell_duplicate(self, message: Message) -> None:
        queue = self.queue
        data = {"event": message.event.id}
        record("duplicate", queue.name, design=queue.design, cause=message.cause, data=data)

    def _is_no_longer_in_hand(self, event: Event) -> None:
        if self.queue.in_hand:
            self.queue.in_hand.pop(str(event.id), None)


def _is_cancelled(error: BaseException) -> bool:
    """Tell whether it is the consumer that is cancelled, and not something that its handler waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and bool(task.cancelling())


class _Line:
    """The places on the way of an event to a consumer and back; None where no fault could ever strike."""

    __slots__ = ("ack", "call", "deliver", "is_calm", "reply")

    def __init__(self, consumer: Consumer, topic: str, publisher: str) -> None:
        queue = consumer.queue
        bus = queue.design

        def place(point: str, kind: str, ends: Ends) -> Place | None:
            where = (point, kind, bus, queue.name)
            found = Place(queue.home, where, topic, queue.name, consumer.process_name, ends)
            return None if found.decide is None else found

        self.deliver = place("deliver", "deliver", ((bus, publisher), consumer.names))
        self.call = place("call", "handle", NO_ENDS)
        self.reply = place("reply", "handle", NO_ENDS)
        self.ack = place("ack", "ack", (consumer.names, (bus,)))
        self.is_calm = self.call is None and self.reply is None


# -- resting until the next message


async def _park(task: Any, wait: object) -> None:
    """Stay out of the queue of what is to run; ``wait._forget`` is called if the wait is given up."""
    task._waits = wait  # noqa: SLF001 - the kernel's way
    await park()


def _parking(idle: list[_Rest]) -> _Parking:
    return _Parking(asyncio.current_task(), idle)


class _Parking:
    """A worker's rest in a simulation: out of the queue of what is to run, at no cost."""

    __slots__ = ("_idle", "_task")

    def __init__(self, task: Any, idle: list[_Rest]) -> None:
        self._task = task
        self._idle = idle

    async def rest(self) -> None:
        await _park(self._task, self)

    def ring(self) -> None:
        wake(self._task)

    def _forget(self, _task: object) -> bool:
        if self in self._idle:
            self._idle.remove(self)
        return True


class _Sentinel:
    """Stands in a simulated process for as long as it lives. When it crashes the kernel gives up the wait."""

    __slots__ = ("_on_crash",)

    def __init__(self, on_crash: Callable[[], object]) -> None:
        self._on_crash = on_crash

    async def stand(self) -> None:
        await _park(asyncio.current_task(), self)

    def _forget(self, _task: object) -> bool:
        self._on_crash()
        return True


class _Bell:
    """A worker's rest on a plain loop."""

    __slots__ = ("_future",)

    async def rest(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        await self._future

    def ring(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


_Rest = _Parking | _Bell
