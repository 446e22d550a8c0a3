"""A queue: what the bus keeps for one subscriber, or for one group of them that share the work.

It knows three states of a message. *Waiting*: it is with the bus. *Flying*: it was sent to a member, which
has not acknowledged it yet. *Settled*: acknowledged, dropped, or set aside as a dead letter.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from wfsim.errors import QueueFull
from wfsim.kernel import event as record
from wfsim.workflows._events._deadletters import DeadLetter
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._events._transit import Transit

if TYPE_CHECKING:
    from wfsim.workflows._events._broker import Broker
    from wfsim.workflows._events._consumer import Consumer
    from wfsim.workflows._events._event import Event
    from wfsim.workflows._events._subscription import Subscription
    from wfsim.workflows._events._terms import Terms

_ONE_LINE = "all"


class Message:
    """One event on its way to one queue's member. ``cause`` is the operation that published it."""

    __slots__ = (
        "attempts",
        "cause",
        "event",
        "flying",
        "holder",
        "is_dropped",
        "leads",
        "publisher",
        "settled",
        "started",
    )

    def __init__(self, event: Event, cause: int | None, publisher: str) -> None:
        self.event = event
        self.cause = cause
        self.publisher = publisher  # the name of its process
        self.attempts = 0
        self.flying = False
        self.settled = False
        self.is_dropped = False
        self.leads = False  # whether others of its key wait for it
        self.started = False  # whether a handler was ever called for it
        self.holder: Consumer | None = None


class Queue:
    """The messages of one subscriber or group, and who is there to handle them."""

    def __init__(self, broker: Broker, name: str, topic: str, group: str | None, terms: Terms) -> None:
        self.broker = broker
        self.home = broker.home
        self.design = broker.design
        self.name = name
        self.topic = topic
        self.group = group
        self.terms = terms
        self.members: list[Consumer] = []
        self.acknowledged = terms.acknowledged
        self.transit = Transit(self)
        self.seen: dict[str, None] = {}  # the ids that were handled, oldest first: bounded
        self.in_hand: dict[str, tuple[Message, Consumer]] = {}  # what is being handled, by id, and by whom
        self._capacity = terms.capacity
        self._is_ordered = terms.order != "none"
        self._visibility_ns = int(terms.visibility_timeout)
        self._ready: deque[Message] = deque()
        self._lines: dict[object, deque[Message]] = {}  # what waits behind the one in flight, by key
        self._line: dict[Message, None] = {}  # what no handler was called for yet; only if there is a bound
        self._blocked: deque[tuple[Message, Gate]] = deque()
        self._deadlines: deque[tuple[int, Message, int]] = deque()
        self._armed = False
        self._turn = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    # -- in

    def accept(self, event: Event, cause: int | None, publisher: str = "") -> Gate | None:
        """Take an event in. If there is no room give the gate that opens when there is, or raise QueueFull."""
        message = Message(event, cause, publisher)
        self.broker.unsettled += 1
        capacity = self._capacity
        if capacity is None:
            self._offer(message)
            return None
        if len(self._line) < capacity:
            self._line[message] = None
            self._offer(message)
            return None
        return self._overflow(message, capacity)

    def _overflow(self, message: Message, capacity: int) -> Gate | None:
        how = self.terms.overflow
        if how == "block":
            gate = Gate()
            self._blocked.append((message, gate))
            return gate
        if how == "drop_oldest":
            self._drop(next(iter(self._line)))
            self._line[message] = None
            self._offer(message)
            return None
        self._drop(message)
        if how == "error":
            raise QueueFull(self.name, capacity, message.event.topic)
        return None

    def _drop(self, message: Message) -> None:
        self._note("drop", message, {"because": "the queue is full"})
        message.is_dropped = True
        self.settle(message)

    def _offer(self, message: Message) -> None:
        """Let a message line up; behind the one of its key that is in flight, if the order matters."""
        if self._is_ordered:
            key = _ONE_LINE if self.terms.order == "all" else message.event.key
            if key is not None:
                line = self._lines.get(key)
                if line is not None:
                    line.append(message)
                    return
                self._lines[key] = deque()
                message.leads = True
        self._ready.append(message)
        self.pump()

    def _release(self, message: Message) -> None:
        """Let the next of the same key go."""
        key = _ONE_LINE if self.terms.order == "all" else message.event.key
        line = self._lines.get(key)
        while line:
            following = line.popleft()
            if not following.settled:
                following.leads = True
                self._ready.append(following)
                return
        self._lines.pop(key, None)

    # -- out

    def pump(self) -> None:
        """Send what waits, as long as a member has room."""
        ready = self._ready
        while ready:
            member = self._choose()
            if member is None:
                return
            message = ready.popleft()
            if not message.settled:
                self._send(member, message)

    def _choose(self) -> Consumer | None:
        """Give the next member in turn that has room."""
        members = self.members
        for _ in members:
            self._turn += 1
            member = members[self._turn % len(members)]
            if member.has_room():
                return member
        if self.group is None and not any(member.is_alive() for member in members):
            self.close()
        return None

    def _send(self, member: Consumer, message: Message) -> None:
        message.attempts = attempt = message.attempts + 1
        if self.acknowledged:
            message.flying = True
            message.holder = member
            member.unacknowledged += 1
            self._deadlines.append((self.home.now_ns() + self._visibility_ns, message, attempt))
            if not self._armed:
                self._armed = True
                self.home.after(self._visibility_ns, self._expire)
        self.transit.send(member, message, attempt)

    def _expire(self) -> None:
        """Take back what nobody acknowledged in time. Deadlines are in order: one timer does for all."""
        self._armed = False
        deadlines, now = self._deadlines, self.home.now_ns()
        while deadlines:
            deadline, message, attempt = deadlines[0]
            if message.flying and message.attempts == attempt:
                if deadline > now:
                    self._armed = True
                    self.home.after(deadline - now, self._expire)
                    return
                deadlines.popleft()
                self._again(message, "it was not acknowledged in time", 0, None)
            else:
                deadlines.popleft()

    # -- back

    def starts(self, message: Message) -> None:
        """Take note that a handler is called for a message for the first time: there is room for another."""
        message.started = True
        if self._capacity is not None:
            self._make_room(message)

    def _make_room(self, message: Message) -> None:
        self._line.pop(message, None)
        if self._blocked:
            following, gate = self._blocked.popleft()
            self._line[following] = None
            self._offer(following)
            gate.open()

    def nack(self, message: Message, attempt: int, why: str, delay_ns: int | None, cause: int | None) -> None:
        """Take back a message that a member could not handle; a late word about an old attempt is ignored."""
        if not self.acknowledged:
            self.settle(message)
        elif message.flying and message.attempts == attempt:
            wait_ns = int(self.terms.redelivery_delay) if delay_ns is None else delay_ns
            self._again(message, why, wait_ns, cause)

    def _again(self, message: Message, why: str, delay_ns: int, cause: int | None) -> None:
        self._land(message)
        most = self.terms.max_deliveries
        if most is not None and message.attempts >= most:
            self._bury(message, why, cause)
            return
        self._note("redeliver", message, {"because": why}, cause)
        if delay_ns:
            self.home.after(delay_ns, self._send_again, message)
        else:
            self._send_again(message)

    def _send_again(self, message: Message) -> None:
        if not message.settled:
            self._ready.append(message)
            self.pump()

    def _land(self, message: Message) -> None:
        if message.flying:
            message.flying = False
            message.holder.unacknowledged -= 1  # type: ignore[union-attr]  # who flies has a holder

    def settle(self, message: Message, *, has_arrived: bool = False) -> None:
        """Be done with a message; what has arrived still waits for its handler, and takes up room."""
        if message.settled:
            return
        message.settled = True
        self._land(message)
        if not message.started and self._capacity is not None and not has_arrived:
            self._make_room(message)
        if message.leads:
            self._release(message)
        self.broker.settled()
        if self._ready:
            self.pump()

    def remember(self, number: str) -> None:
        """Keep in mind that the event of this id was handled."""
        seen = self.seen
        seen[number] = None
        if len(seen) > self.terms.dedupe_window:
            del seen[next(iter(seen))]

    # -- dead letters

    def _bury(self, message: Message, why: str, cause: int | None) -> None:
        index = self._note("dead_letter", message, {"because": why, "deliveries": message.attempts}, cause)
        self.broker.dead_letters.append(
            DeadLetter(message.event, self.name, message.attempts, why, message.cause)
        )
        self.settle(message)
        topic = self.terms.dead_letter_topic
        if topic is not None:
            self.broker.publish_dead_letter(topic, message.event, index)

    def _note(
        self, kind: str, message: Message, data: dict[str, Any], cause: int | None = None
    ) -> int | None:
        return record(
            kind,
            self.name,
            design=self.design,
            cause=message.cause if cause is None else cause,
            attempt=message.attempts,
            data={"event": message.event.id, **data},
        )

    # -- members

    def join(self, member: Consumer) -> None:
        """Let a member in; those whose process has crashed are let go."""
        if not all(one.is_alive() for one in self.members):
            self.members = [one for one in self.members if one.is_alive()]
            for message in [
                one for one in self._line if one.settled
            ]:  # it waited in a process that is no more
                self._make_room(message)
        self.members.append(member)
        self.pump()

    def leave(self, subscription: Subscription) -> None:
        """Let a member go. With its last member a queue that is no group's ends."""
        for member in [one for one in self.members if one.subscription is subscription]:
            self.members.remove(member)
            member.dismiss()
        if not self.members and self.group is None:
            self.close()

    def close(self) -> None:
        """Hear no more, and forget what waits."""
        if self._closed:
            return
        self._closed = True
        self.broker.forget(self)
        waiting = [*self._ready, *(one for line in self._lines.values() for one in line)]
        flying = [message for _, message, _ in self._deadlines]
        blocked = list(self._blocked)
        self._blocked.clear()
        for message in (*waiting, *flying, *(message for message, _ in blocked)):
            self.settle(message)
        for _, gate in blocked:
            gate.open()
