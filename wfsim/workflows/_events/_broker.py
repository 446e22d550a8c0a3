"""The broker: the queues of a bus in one run, and how an event finds its way into them."""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from wfsim.errors import DesignError, QueueFull
from wfsim.kernel import event as record
from wfsim.workflows._events._consumer import Consumer
from wfsim.workflows._events._event import Event
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._events._points import Place
from wfsim.workflows._events._queue import Queue
from wfsim.workflows._events._subscription import Subscription
from wfsim.workflows._events._terms import Terms
from wfsim.workflows._events._topics import Topics
from wfsim.workflows._naming import unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wfsim.kernel import Distribution
    from wfsim.workflows._events._deadletters import DeadLetter
    from wfsim.workflows._events._home import Home

_AT_ONCE: Final = Terms(delivery="at_most_once")


class Broker:
    """What a bus is while it runs: it belongs to one simulation, or to one loop."""

    def __init__(
        self, home: Home, design: str, latency: Distribution, publish: Callable[[Event], object]
    ) -> None:
        self.home = home
        self.design = design
        self.latency = latency
        self.publish = publish
        # Whose an event was matters to a partition only.
        self.watches_publishers = home.simulation is not None and home.simulation.nemesis is not None
        self.dead_letters: list[DeadLetter] = []
        self.unsettled = 0
        self._questions: dict[str, Gate] = {}
        self._answers: Subscription | None = None
        self._topics: Topics[Queue] = Topics()
        self._places: dict[tuple[str, str], Place] = {}
        self._queues: dict[str, Queue] = {}
        self._published = 0
        self._quiet: list[Gate] = []

    def numbered(self, event: Event) -> Event:
        """Give the event an id, if it has none: the same in every run of the same seed."""
        self._published += 1
        return event if event.id is not None else event.with_id(f"{self.design}-{self._published}")

    def place_of(self, topic: str, publisher: str) -> Place:
        """Give the place where faults may strike what this process publishes on this topic."""
        place = self._places.get((topic, publisher))
        if place is None:
            where, ends = ("publish", "publish", self.design, topic), ((publisher,), (self.design,))
            place = self._places[topic, publisher] = Place(self.home, where, topic, "", publisher, ends)
        return place

    # -- subscribers

    def subscribe(self, subscription: Subscription, *, is_anybodys: bool = False) -> None:
        """Let somebody hear. A subscription that was made before the run belongs to no process."""
        context = None if is_anybodys else copy_context()
        topic, group, terms = subscription.topic, subscription.group, subscription.terms
        queue = self.declare(topic, group, subscription.name, terms)
        if group is not None:
            record("join", queue.name, design=self.design)
        queue.join(Consumer(queue, subscription, context))

    def declare(self, topic: str, group: str | None, name: str, terms: Terms) -> Queue:
        """Find the queue of a group, or make one."""
        queue = self._found(topic, group)
        if queue is None:
            for other in list(self._queues.values()):  # who crashed and comes again keeps the name
                if other.group is None and not any(member.is_alive() for member in other.members):
                    other.close()
            name = unique(name, self._queues)
            queue = self._queues[name] = Queue(self, name, topic, group, terms)
            self._topics.add(topic, queue)
            data = {"topic": topic, **terms.describe()} | ({} if group is None else {"group": group})
            record("subscribe", name, design=self.design, data=data)
        elif queue.terms != terms:
            raise DesignError(
                f"the members of group {group!r} share one queue, so their terms of delivery must be the same: "
                f"it has {queue.terms.describe()}, not {terms.describe()}"
            )
        return queue

    def _found(self, topic: str, group: str | None) -> Queue | None:
        for queue in self._queues.values():
            if group is not None and (queue.group, queue.topic) == (group, topic):
                return queue
        return None

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let somebody hear no more."""
        for queue in list(self._queues.values()):
            if any(member.subscription is subscription for member in queue.members):
                record("unsubscribe", queue.name, design=self.design)
                queue.leave(subscription)

    def forget(self, queue: Queue) -> None:
        """Send a queue nothing more."""
        self._topics.remove(queue.topic, queue)
        self._queues.pop(queue.name, None)

    # -- events

    def route(self, event: Event, cause: int | None, publisher: str = "") -> list[Gate]:
        """Put an event into every queue that wants it. Give the gates of those that have no room yet."""
        gates: list[Gate] = []
        full: QueueFull | None = None
        for queue in self._topics.match(event.topic):
            try:
                gate = queue.accept(event, cause, publisher)
            except QueueFull as error:  # the others shall have it all the same
                full = full or error
            else:
                if gate is not None:
                    gates.append(gate)
        if full is not None:
            raise full
        return gates

    def publish_dead_letter(self, topic: str, event: Event, cause: int | None) -> None:
        """Tell on a topic that an event was set aside."""
        letter = Event(
            topic, event.payload, key=event.key, id=f"{event.id}/{topic}", headers={"topic": event.topic}
        )
        index = record("publish", topic, design=self.design, cause=cause, data=letter.describe())
        self.route(letter, index)

    def redrive(self, chosen: Iterable[DeadLetter]) -> int:
        """Deliver dead letters once more to the subscribers that could not handle them; give how many."""
        count = 0
        for letter in list(chosen):
            queue = self._queues.get(letter.subscriber)
            if queue is None or not any(one is letter for one in self.dead_letters):
                continue
            self.dead_letters = [one for one in self.dead_letters if one is not letter]
            data = {"event": letter.event.id}
            record("redrive", queue.name, design=self.design, cause=letter.cause, data=data)
            queue.accept(letter.event, letter.cause)
            count += 1
        return count

    # -- questions and answers

    def question(self, event: Event) -> Event:
        """Make an event a question, and be ready for the answer."""
        if self._answers is None:
            self._answers = Subscription(f"{self.design}.answers", self._answered, "answers", None, _AT_ONCE)
            self.subscribe(self._answers, is_anybodys=True)
        event = self.numbered(event)
        question = replace(
            event, reply_to=self._answers.topic, correlation_id=event.correlation_id or event.id
        )
        self._questions[str(question.correlation_id)] = Gate()
        return question

    def answer_to(self, question: Event) -> Gate:
        """Give the gate that opens when the answer is there, with it."""
        return self._questions[str(question.correlation_id)]

    def forget_question(self, question: Event) -> None:
        """Wait for the answer no longer."""
        self._questions.pop(str(question.correlation_id), None)

    async def _answered(self, answer: Event) -> None:
        gate = self._questions.get(str(answer.correlation_id))
        if gate is not None:
            gate.open(answer.payload)

    # -- quiet

    def settled(self) -> None:
        """Take note that one message is done with."""
        self.unsettled -= 1
        if self._quiet:
            self.look_for_quiet()

    def look_for_quiet(self) -> None:
        """If nothing waits, flies or is being handled, let those go who wait for that."""
        if not self._quiet or self.unsettled:
            return
        busy = [one for queue in self._queues.values() for one in queue.members if not one.is_idle]
        if not busy:
            quiet, self._quiet = self._quiet, []
            for gate in quiet:
                gate.open()
            return
        for member in busy:  # all is settled; what they still do ends by itself, or with their process
            member.watch(self._look_soon)

    def _look_soon(self) -> None:
        self.home.after(0, self.look_for_quiet)

    def quiet(self) -> Gate:
        """Give the gate that opens when all is quiet."""
        gate = Gate()
        self._quiet.append(gate)
        self.look_for_quiet()
        return gate
