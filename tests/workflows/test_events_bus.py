"""The event bus: who hears what, and what each delivery mode promises when nothing or something goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from wfsim import Event, EventBus, crash, delay, effect, fail, now, simulate, sleep, start_process
from wfsim.errors import DeliveryFailed, DesignError, QueueFull, RequestTimedOut


class Ear:
    """A subscriber that remembers what it hears, and when; it can be slow, and fail at first."""

    def __init__(self, *, takes=0.0, fails=0):
        self.heard = []
        self.times = []
        self.takes = takes
        self.fails = fails

    @property
    def payloads(self):
        return [event.payload for event in self.heard]

    async def handle(self, event):
        self.heard.append(event)
        self.times.append(round(now(), 6))
        if self.takes:
            await sleep(self.takes)
        if self.fails:
            self.fails -= 1
            raise ConnectionError("not now")


def play(main, *args, faults=(), seed=0):
    run = simulate(main, *args, faults=faults, seed=seed)
    assert run.ok, run.error
    return run


# -- topics and subscriptions


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("order.placed", "order.placed", True),
        ("order.placed", "order.paid", False),
        ("order.*", "order.placed", True),
        ("order.*", "order", False),
        ("order.*", "order.placed.eu", False),
        ("*.placed", "order.placed", True),
        ("order.#", "order", True),
        ("order.#", "order.placed.eu", True),
        ("order.**", "order.placed.eu", True),
        ("#.eu", "eu", True),
        ("#.eu", "order.placed.eu", True),
        ("#.eu", "order.placed.us", False),
        ("#", "anything.at.all", True),
        ("a.#.b.#.c", "a.x.b.b.y.c", True),
        ("a.*.#", "a", False),
        ("#.*", "a", True),
    ],
)
def test_a_pattern_fits_its_topics(pattern, topic, fits):
    """``*`` stands for one segment, ``#`` and ``**`` for any number of them, none included."""
    heard = []
    bus = EventBus()
    bus.subscribe(pattern, heard.append)
    bus.publish(Event(topic))
    assert bool(heard) is fits


@pytest.mark.parametrize("topic", ["", "order.", ".order", "order..placed", "order.*", "#", 7, "a. b"])
def test_a_wrong_topic_is_refused(topic):
    """An event has one topic, of segments that are not empty, and no wildcard."""
    with pytest.raises(DesignError, match="topic"):
        Event(topic)


def test_a_wildcard_inside_a_segment_is_refused():
    """``order*`` would match nothing, so it is refused with the cure."""
    with pytest.raises(DesignError, match=r"wildcard stands for whole segments.*'\*' for one segment"):
        EventBus().subscribe("order*", print)


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({"delivery": "at_leest_once"}, "did you mean 'at_least_once'"),
        ({"visibility_timeout": "0s"}, "longer than nothing"),
        ({"max_deliveries": 0}, "whole number from 1; None means no limit"),
        ({"order": "keys"}, "none of none, key, all; did you mean 'key'"),
        ({"capacity": -1}, "capacity=-1"),
        ({"concurrency": None}, "concurrency=None"),
        ({"visibility": "3s"}, "no term of delivery 'visibility'; did you mean 'visibility_timeout'"),
        ({"overflow": "drop"}, "overflow='drop'"),
    ],
)
def test_wrong_terms_are_refused_when_they_are_written(terms, problem):
    """A bus and a subscription check their terms of delivery at once and say what would be right."""
    with pytest.raises(DesignError, match=problem):
        EventBus(**terms)
    with pytest.raises(DesignError, match=problem):
        EventBus().subscribe("a", print, **terms)


@pytest.mark.parametrize("handler", [None, 7, lambda: None, lambda _a, _b, _c: None, object()])
def test_a_handler_takes_the_event(handler):
    """What cannot be called with an event, or with it and its delivery, is refused."""
    with pytest.raises(DesignError):
        EventBus().subscribe("a", handler)


def test_members_of_a_group_agree_on_their_terms():
    """A group has one queue, so a member with other terms is refused, with both named."""

    async def main():
        bus = EventBus()
        bus.subscribe("a", print, group="g", order="key")
        with pytest.raises(DesignError, match="members of group 'g'"):
            bus.subscribe("a", print, group="g", order="all")

    play(main)


# -- where no loop runs


def test_publishing_without_a_loop_calls_the_handlers_at_once():
    """The seed's own lines: no loop runs, and both kinds of handler have been called when publish returns."""
    heard = []

    async def later(event):
        await asyncio.sleep(0)
        heard.append(("later", event.payload["task_id"]))

    bus = EventBus()
    bus.subscribe("task.completed", lambda event: heard.append(("now", event.payload["task_id"])))
    bus.subscribe("task.completed", later)
    bus.publish(Event("task.completed", {"task_id": "123"}))
    assert heard == [("now", "123"), ("later", "123")]


def test_without_a_loop_a_failed_handler_is_called_again_then_reported():
    """There is no time to wait in, so the tries follow each other; the others are served all the same."""
    calls = []

    def broken(_event):
        calls.append("broken")
        raise ValueError("no")

    bus = EventBus(max_deliveries=3)
    bus.subscribe("a", broken)
    bus.subscribe("a", lambda _event: calls.append("fine"))
    with pytest.raises(DeliveryFailed, match="could not be handled by broken: ValueError: no"):
        bus.publish(Event("a"))
    assert calls == ["broken"] * 3 + ["fine"]


def test_without_a_loop_one_member_of_a_group_is_called():
    """Also without a loop the members of a group share the work."""
    heard = []
    bus = EventBus()
    bus.subscribe("a", lambda _event: heard.append(1), group="g")
    bus.subscribe("a", lambda _event: heard.append(2), group="g")
    bus.publish(Event("a"))
    assert heard == [1]


# -- in a loop


def test_a_bare_publish_publishes():
    """Without ``await`` the event is on its way when publish returns."""

    async def main():
        bus, ear = EventBus(), Ear()
        bus.subscribe("a", ear)
        receipt = bus.publish(Event("a", 1))
        assert receipt.event.id == "bus-1"
        await bus.drain()
        return ear.payloads, ear.times

    assert play(main).value == ([1], [0.001])


def test_the_same_bus_runs_on_a_plain_loop():
    """In production: no simulation, real time, the same promises; a failed handler is called again."""

    async def main():
        bus = EventBus(redelivery_delay="10ms")
        ear, plain = Ear(fails=1), []
        bus.subscribe("a.*", ear)
        bus.subscribe("#", lambda event: plain.append(event.payload))
        await bus.publish(Event("a.b", 1))
        bus.publish(Event("c", 2))
        await bus.drain()
        answer = EventBus()
        answer.subscribe("double", lambda event: event.payload * 2)
        return ear.payloads, sorted(plain), await answer.request(Event("double", 21))

    assert asyncio.run(main()) == ([1, 1], [1, 2], 42)


def test_a_bus_begins_each_simulation_anew():
    """What was subscribed inside a run ends with it; what was subscribed before is there in each."""
    bus, always = EventBus(), Ear()
    bus.subscribe("a", always)

    async def main():
        once = Ear()
        bus.subscribe("a", once)
        event = await bus.publish(Event("a"))
        await bus.drain()
        return len(once.heard), event.id

    runs = [play(main) for _ in range(2)]
    assert [run.value for run in runs] == [(1, "bus-1")] * 2
    assert runs[0].fingerprint == runs[1].fingerprint
    assert len(always.heard) == 2


def test_what_blocks_may_publish():
    """A plain function, which runs as a simulated thread, publishes and subscribes like any other code."""

    async def main():
        bus, ear = EventBus(), Ear()
        bus.subscribe("done", ear)

        def work():
            bus.subscribe("a", lambda event: bus.publish(Event("done", event.payload)))
            bus.publish(Event("a", 1))

        await asyncio.to_thread(work)
        await bus.drain()
        return ear.payloads

    assert play(main).value == [1]


def test_unsubscribing_ends_it():
    """After ``unsubscribe``, or after leaving the subscription as a context manager, nothing more is heard."""

    async def main():
        bus, ear = EventBus(), Ear()
        with bus.subscribe("a", ear):
            await bus.publish(Event("a", 1))
            await bus.drain()
        await bus.publish(Event("a", 2))
        await bus.drain()
        return ear.payloads

    assert play(main).value == [1]


# -- delivery


def test_at_most_once_forgets_a_failure():
    """Sent and forgotten: a handler that fails is not called again, and nothing is set aside."""

    async def main():
        bus, ear = EventBus(delivery="at_most_once"), Ear(fails=1)
        bus.subscribe("a", ear)
        await bus.publish(Event("a", 1))
        await bus.drain()
        return ear.payloads, bus.dead_letters

    assert play(main).value == ([1], ())


def test_at_least_once_tries_again_after_the_redelivery_delay():
    """A failed handler gives the event back; it is delivered again after the delay, until it succeeds."""

    async def main():
        bus, ear = EventBus(redelivery_delay="2s"), Ear(fails=2)
        bus.subscribe("a", ear)
        bus.publish(Event("a"))
        await bus.drain()
        return ear.times

    assert play(main).value == [0.001, 2.002, 4.003]


def test_what_is_not_acknowledged_is_delivered_again_after_the_visibility_timeout():
    """A handler that forgets to acknowledge gets the event again; acknowledged, it is done."""

    async def main():
        times = []

        async def forgetful(_event, delivery):
            times.append((now(), delivery.attempt))
            if delivery.attempt == 3:
                await delivery.ack()

        bus = EventBus(visibility_timeout="10s", ack="manual")
        bus.subscribe("a", forgetful)
        bus.publish(Event("a"))
        await bus.drain()
        return times

    assert play(main).value == [(0.001, 1), (10.001, 2), (20.001, 3)]


def test_a_nack_says_when_to_try_again():
    """A handler may give an event back itself, with a delay of its own."""

    async def main():
        times = []

        async def picky(_event, delivery):
            times.append(now())
            if delivery.attempt == 1:
                await delivery.nack(delay="5s")
            else:
                await delivery.ack()

        bus = EventBus(ack="manual")
        bus.subscribe("a", picky)
        bus.publish(Event("a"))
        await bus.drain()
        return times

    assert play(main).value == [0.001, 5.002]


def test_a_slow_handler_outlives_its_visibility_timeout():
    """The event comes again while the first handling still runs: at least once is not once."""

    async def main():
        bus, slow = EventBus(visibility_timeout="3s"), Ear(takes=4)
        bus.subscribe("a", slow, concurrency=2)
        bus.publish(Event("a"))
        await bus.drain()
        return slow.times

    assert play(main).value == [0.001, 3.001]


def test_a_late_word_about_an_old_delivery_is_ignored():
    """A handler that fails after its visibility timeout does not bring the event a third time."""

    async def main():
        bus, times = EventBus(visibility_timeout="3s"), []

        async def slow(_event, delivery):
            times.append(now())
            await sleep(4 if delivery.attempt == 1 else 2.5)
            if delivery.attempt == 1:
                raise ConnectionError

        bus.subscribe("a", slow, concurrency=2)
        bus.publish(Event("a"))
        await bus.drain()
        return times

    assert play(main).value == [0.001, 3.001]


def test_each_delivery_has_a_visibility_timeout_of_its_own():
    """Given back and sent again, an event is not taken back at the deadline of the delivery before."""

    async def main():
        bus, times = EventBus(visibility_timeout="10s", ack="manual"), []

        async def forgetful(_event, delivery):
            times.append(now())
            if delivery.attempt == 1:
                await delivery.nack(delay="5s")
            elif delivery.attempt == 3:
                await delivery.ack()

        bus.subscribe("a", forgetful)
        bus.publish(Event("a"))
        await bus.drain()
        return times

    assert play(main).value == [0.001, 5.002, 15.002]


def test_effectively_once_handles_an_id_once():
    """An event that was handled is not handled again, whoever publishes it again, and however late."""

    async def main():
        bus, ear = EventBus(delivery="effectively_once"), Ear(takes=1)
        bus.subscribe("a", ear, concurrency=2)
        await bus.publish(Event("a", 1, id="x"))
        await bus.publish(Event("a", 1, id="x"))  # while the first is being handled
        await bus.drain()
        assert now() < 5
        await bus.publish(Event("a", 1, id="x"))
        await bus.publish(Event("a", 2, id="y"))
        await bus.drain()
        return ear.payloads

    assert play(main).value == [1, 2]


def test_effectively_once_remembers_a_bounded_number_of_ids():
    """The memory is bounded: an id older than the last ``dedupe_window`` is handled again."""

    async def main():
        bus, ear = EventBus(delivery="effectively_once", dedupe_window=2), Ear()
        bus.subscribe("a", ear)
        for number in (1, 2, 3, 3, 1):
            await bus.publish(Event("a", number, id=str(number)))
            await bus.drain()
        return ear.payloads

    assert play(main).value == [1, 2, 3, 1]


def test_effectively_once_fails_and_tries_again():
    """A failure is no handling: the event comes again."""

    async def main():
        bus, ear = EventBus(delivery="effectively_once"), Ear(fails=1)
        bus.subscribe("a", ear)
        bus.publish(Event("a"))
        await bus.drain()
        return len(ear.heard), bus.dead_letters

    assert play(main).value == (2, ())


# -- dead letters


def test_after_so_many_deliveries_an_event_is_a_dead_letter():
    """It is set aside with the reason, told on a topic, and can be delivered once more."""

    async def main():
        bus, poisoned, undertaker = EventBus(max_deliveries=3), Ear(fails=3), Ear()
        bus.subscribe("a", poisoned, name="billing", dead_letter_topic="dead.a")
        bus.subscribe("dead.#", undertaker)
        await bus.publish(Event("a", 1, key="k"))
        await bus.drain()
        letters = bus.dead_letters
        assert bus.redrive("nobody") == 0
        assert bus.redrive("billing") == 1
        await bus.drain()
        return letters, len(poisoned.heard), undertaker.heard, bus.dead_letters

    letters, tries, told, left = play(main).value
    assert [(letter.subscriber, letter.deliveries, letter.event.payload) for letter in letters] == [
        ("billing", 3, 1)
    ]
    assert letters[0].because == "its handler failed: ConnectionError: not now"
    assert tries == 4
    assert [(event.topic, event.payload, event.key) for event in told] == [("dead.a", 1, "k")]
    assert left == ()


def test_without_a_limit_nothing_dies():
    """``max_deliveries=None`` tries for ever."""

    async def main():
        bus, ear = EventBus(max_deliveries=None), Ear(fails=40)
        bus.subscribe("a", ear)
        bus.publish(Event("a"))
        await bus.drain()
        return len(ear.heard)

    assert play(main).value == 41


# -- groups and order


def test_a_group_shares_the_work():
    """Each event goes to one member, in turn; another group has all of them too."""

    async def main():
        bus = EventBus()
        ears = [Ear(), Ear(), Ear()]
        bus.subscribe("a", ears[0], group="one")
        bus.subscribe("a", ears[1], group="one")
        bus.subscribe("a", ears[2], group="two")
        for number in range(4):
            bus.publish(Event("a", number))
        await bus.drain()
        return [sorted(ear.payloads) for ear in ears]

    first, second, other = play(main).value
    assert sorted(first + second) == other == [0, 1, 2, 3]
    assert len(first) == len(second) == 2


def test_a_group_keeps_what_comes_while_nobody_is_there():
    """A group outlives its members, and may be declared before it has any."""

    async def main():
        bus, ear = EventBus(), Ear()
        bus.declare("a", group="billing")
        await bus.publish(Event("a", 1))
        await sleep(10)
        bus.subscribe("a", ear, group="billing")
        await bus.drain()
        return ear.payloads, ear.times

    assert play(main).value == ([1], [10.001])


def test_order_per_key_is_kept_over_failures():
    """Of one key the next waits until the one before is settled; other keys do not wait."""

    async def main():
        bus, ear = EventBus(redelivery_delay="1s"), Ear(fails=1)
        bus.subscribe("#", ear, order="key", concurrency=5)
        for key, number in (("a", 1), ("a", 2), ("b", 3), (None, 4), ("a", 5)):
            bus.publish(Event("x", number, key=key))
        await bus.drain()
        return ear.payloads

    assert play(main).value == [1, 3, 4, 1, 2, 5]


def test_order_of_all_is_one_at_a_time():
    """With ``order="all"`` a failure holds up everything, and the order is that of publishing."""

    async def main():
        bus, ear = EventBus(), Ear(fails=1)
        bus.subscribe("#", ear, order="all", concurrency=5)
        for number in range(4):
            bus.publish(Event("x", number))
        await bus.drain()
        return ear.payloads

    assert play(main).value == [0, 0, 1, 2, 3]


def test_concurrency_bounds_how_many_are_handled_at_once():
    """One at a time unless told otherwise."""

    async def main(concurrency):
        bus, ear = EventBus(), Ear(takes=1)
        bus.subscribe("a", ear, concurrency=concurrency)
        for number in range(4):
            bus.publish(Event("a", number))
        await bus.drain()
        return now()

    assert play(main, 1).value == pytest.approx(4.001)
    assert play(main, 2).value == pytest.approx(2.001)
    assert play(main, 4).value == pytest.approx(1.001)


def test_prefetch_bounds_what_is_unacknowledged():
    """With a prefetch of one a member gets the next event when it has acknowledged the one before."""

    async def main():
        bus, quick, slow = EventBus(), Ear(takes=0.1), Ear(takes=10)
        bus.subscribe("a", slow, group="g", prefetch=1)
        bus.subscribe("a", quick, group="g", prefetch=1)
        for number in range(10):
            bus.publish(Event("a", number))
        await bus.drain()
        return len(quick.heard), len(slow.heard)

    assert play(main).value == (9, 1)


# -- back-pressure


def flood(overflow):
    async def main():
        bus, ear = EventBus(), Ear(takes=1)
        bus.subscribe("a", ear, capacity=2, overflow=overflow)
        refused = []
        for number in range(6):
            try:
                await bus.publish(Event("a", number))
            except QueueFull as error:
                refused.append((error.subscriber, number))
        published = now()
        await bus.drain()
        return ear.payloads, refused, published

    return play(main)


def test_a_full_queue_blocks_who_publishes():
    """``await publish`` waits for room, and all events are handled in the end."""
    payloads, refused, published = flood("block").value
    assert payloads == [0, 1, 2, 3, 4, 5]
    assert refused == []
    assert published == pytest.approx(3.001)


def test_a_full_queue_drops_the_oldest():
    """What waits longest gives way to what is new."""
    run = flood("drop_oldest")
    assert run.value == ([4, 5], [], 0)
    assert len(run.history.where(kind="drop")) == 4


def test_what_is_dropped_from_a_line_holds_nobody_up():
    """With order per key the line goes on behind an event that was dropped in it, one at a time as ever."""

    async def main():
        bus, ear = EventBus(), Ear(takes=1)
        bus.subscribe("a", ear, order="key", capacity=2, overflow="drop_oldest", concurrency=3)
        for number in range(6):
            await bus.publish(Event("a", number, key="k"))
            await sleep(0.1)
        await bus.drain()
        return ear.payloads, ear.times

    assert play(main).value == ([0, 4, 5], [0.001, 1.002, 2.003])


def test_a_full_queue_drops_the_new():
    """What comes too late is dropped, and the history tells."""
    run = flood("drop_new")
    assert run.value == ([0, 1], [], 0)
    assert [op.data["because"] for op in run.history.where(kind="drop")] == ["the queue is full"] * 4


def test_a_full_queue_refuses():
    """Who publishes gets QueueFull."""
    assert flood("error").value == ([0, 1], [("Ear", number) for number in (2, 3, 4, 5)], 0)


# -- questions


def test_a_request_gets_the_answer_of_its_handler():
    """The value of the handler comes back, told apart by the correlation id; others need not answer."""

    async def main():
        bus, ear = EventBus(), Ear()

        async def price(event):
            await sleep(event.payload)
            return {"price": event.payload * 10}

        bus.subscribe("price", price, concurrency=2)
        bus.subscribe("#", ear)
        return await asyncio.gather(bus.request(Event("price", 2)), bus.request(Event("price", 1)))

    assert play(main).value == [{"price": 20}, {"price": 10}]


def test_a_request_that_nobody_answers_times_out():
    """RequestTimedOut names the topic and the time; it is a TimeoutError."""

    async def main():
        bus = EventBus()
        with pytest.raises(RequestTimedOut, match="nobody answered 'price' within 2s"):
            await bus.request(Event("price"), timeout="2s")
        return now()

    assert play(main).value == pytest.approx(2)


# -- what the history tells


def test_the_history_links_event_to_handler_to_event():
    """The lineage of an effect leads back through the handlers to the first event."""

    async def main():
        bus = EventBus()

        async def bill(event):
            await bus.publish(Event("order.paid", key=event.key))

        async def ship(event):
            effect("shipped", event.key)

        bus.subscribe("order.placed", bill)
        bus.subscribe("order.paid", ship)
        await bus.publish(Event("order.placed", key="o1"))
        await bus.drain()

    history = play(main).history
    shipped = history.where(kind="effect")[0]
    assert [(op.kind, op.name) for op in history.lineage(shipped.index)] == [
        ("effect", "shipped"),
        ("handle", "ship"),
        ("publish", "order.paid"),
        ("handle", "bill"),
        ("publish", "order.placed"),
    ]


def test_two_runs_of_one_seed_are_the_same_byte_for_byte():
    """Latency, loss and failure draw from named streams, so a run can be had again."""
    from wfsim import lose_event
    from wfsim.kernel import exponential

    async def main():
        bus = EventBus(latency=exponential("50ms"), visibility_timeout="5s")
        ears = [Ear(takes=0.1) for _ in range(5)]
        for number, ear in enumerate(ears):
            bus.subscribe("a", ear, name=f"ear-{number}")
        for number in range(20):
            bus.publish(Event("a", number))
        await bus.drain()
        return [ear.payloads for ear in ears]

    faults = [lose_event("a", probability=0.3)]
    runs = [play(main, faults=faults, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].fingerprint == runs[1].fingerprint != runs[2].fingerprint
    assert all(sorted(set(payloads)) == list(range(20)) for payloads in runs[0].value)


# -- processes


def test_a_crashed_member_of_a_group_gets_its_events_again():
    """What a crash cut off comes again after the visibility timeout, to the process that took its place."""

    async def main():
        bus, handled = EventBus(visibility_timeout="30s"), []

        async def handle(event):
            await sleep(1)
            handled.append((event.payload, round(now(), 3)))

        async def billing():
            bus.subscribe("a", handle, group="billing")
            await asyncio.Event().wait()

        start_process("billing", billing, restart_after=5)
        await sleep(0)
        await bus.publish(Event("a", 1))
        await bus.drain()
        return handled

    fault = crash(process="billing", on="handle", point="call", count=1)
    assert play(main, faults=[fault]).value == [(1, 31.001)]


def test_a_subscriber_without_a_group_ends_with_its_process():
    """What is published while it is gone is lost to it; that is what groups and stores are for."""

    async def main():
        bus, heard = EventBus(), []

        async def listen():
            bus.subscribe("a", lambda event: heard.append(event.payload), name="listener")
            await asyncio.Event().wait()

        process = start_process("listener", listen, restart_after=5)
        await sleep(1)
        process.crash()
        await bus.publish(Event("a", 1))
        await sleep(10)
        await bus.publish(Event("a", 2))
        await bus.drain()
        return heard

    assert play(main).value == [2]


def test_an_event_on_its_way_outlives_its_publisher():
    """The bus is a machine of its own: who published may crash, the event arrives."""

    async def main():
        bus, ear = EventBus(latency="2s"), Ear()
        bus.subscribe("a", ear)

        async def publisher():
            await bus.publish(Event("a", 1))
            await asyncio.Event().wait()

        process = start_process("publisher", publisher)
        await sleep(1)
        process.crash()
        await bus.drain()
        return ear.payloads

    assert play(main).value == [1]


def test_the_usual_faults_strike_handlers():
    """A handler is an operation of kind ``handle``: it can fail, be slow and lose its reply like any other."""

    async def main():
        bus, ear = EventBus(redelivery_delay="1s"), Ear()
        bus.subscribe("a", ear, name="billing")
        bus.publish(Event("a"))
        await bus.drain()
        return ear.times

    assert play(main, faults=[fail("billing", on="handle", attempts=1)]).value == [1.002]
    assert play(main, faults=[delay("billing", "3s", on="handle")]).value == [3.001]
