"""Checkers of events: they find each planted bug, stay silent on right designs, and say what happened."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from wfsim import (
    Event,
    EventBus,
    EventStore,
    checkers,
    crash,
    delay,
    duplicate,
    effect,
    fail,
    lose_event,
    partition,
    reorder,
    simulate,
    sleep,
    start_process,
)
from wfsim.history import History


def judge(checker, main, *faults, **options):
    run = simulate(main, faults=faults)
    assert run.ok, run.error
    return checker(run.history, **options)


def one_subscriber(events=1, apart=0.0, handler=None, **terms):
    """Publish events of one key to "billing", under the terms of delivery given."""

    async def main():
        bus = EventBus(**{"visibility_timeout": "5s", **terms})

        async def handle(event):
            effect("charged", event.id)

        bus.subscribe("order.*", handler or handle, name="billing")
        for number in range(events):
            await bus.publish(Event("order.placed", number, key="o1"))
            await sleep(apart)
        await bus.drain()

    return main


async def too_early():
    """The known bug: the first event is published before its subscriber is ready."""
    bus = EventBus()

    async def billing():
        await sleep(2)
        bus.subscribe("order.placed", lambda _event: None, name="billing")
        await asyncio.Event().wait()

    start_process("billing", billing)
    await bus.publish(Event("order.placed"))
    await sleep(10)
    await bus.publish(Event("order.placed"))
    await bus.drain()


async def early_enough():
    """The same with a store: whoever comes late reads from the start."""
    store = EventStore()

    async def billing():
        await sleep(2)
        store.subscribe(lambda _event: None, name="billing")
        await asyncio.Event().wait()

    start_process("billing", billing)
    store.publish(Event("order.placed"))
    await sleep(10)
    store.publish(Event("order.placed"))
    await sleep(10)


# -- no event lost


def test_nothing_is_lost_on_a_right_design():
    """Lost on the way, refused, delayed: at least once all is handled in the end."""
    for fault in (lose_event(count=2), fail(on="handle", count=2), delay("billing", "9s", point="deliver")):
        assert judge(checkers.no_event_lost, one_subscriber(3), fault)


def test_a_lost_event_is_found():
    """It names the event, the subscriber and the fault, and shows their operations."""
    verdict = judge(checkers.no_event_lost, one_subscriber(2, delivery="at_most_once"), lose_event(count=1))
    assert verdict.valid is False
    assert verdict.message == "order.placed (bus-1) was never handled by 'billing': lose_event struck it"
    assert len(verdict.ops) == 2


def test_an_event_lost_before_it_reached_the_bus_is_found():
    """At most once nobody is told, and nobody handles it."""
    lost = lose_event("order.placed", point="publish", count=1)
    assert judge(checkers.no_event_lost, one_subscriber(2, delivery="at_most_once"), lost).valid is False


def test_an_event_whose_publisher_was_told_is_not_lost():
    """Who gets an error knows that it has to try again."""

    async def main():
        bus = EventBus()
        bus.subscribe("a", lambda _event: None)
        with pytest.raises(TimeoutError):
            await bus.publish(Event("a"))
        await bus.publish(Event("a"))
        await bus.drain()

    assert judge(checkers.no_event_lost, main, lose_event("a", point="publish", count=1))


def test_an_event_dropped_from_a_full_queue_is_lost():
    """Back-pressure that drops is a loss, and the message says why."""

    async def slow(_event):
        await sleep(1)

    main = one_subscriber(5, handler=slow, capacity=1, overflow="drop_new")
    verdict = judge(checkers.no_event_lost, main)
    assert verdict.valid is False
    assert "its queue was full" in verdict.message


def test_the_crash_of_somebody_else_took_nothing_along():
    """Who still handles an event when the run ends has not lost it because another process crashed."""

    async def main():
        bus = EventBus()

        async def billing():
            bus.subscribe("a", lambda _event: asyncio.sleep(3600), name="billing", visibility_timeout="2h")
            await asyncio.Event().wait()

        async def bystander():
            await asyncio.Event().wait()

        start_process("billing", billing)
        other = start_process("bystander", bystander)
        await sleep(1)
        await bus.publish(Event("a"))
        await sleep(1)
        other.crash()
        await sleep(1)

    verdict = judge(checkers.no_event_lost, main)
    assert verdict.valid == "unknown"
    assert verdict.message == "'billing' had not ended with a (bus-1) when the run did"


def test_an_event_that_a_crash_took_along_is_lost():
    """A subscriber without a group ends with its process."""

    async def main():
        bus = EventBus()

        async def billing():
            bus.subscribe("a", lambda _event: None, name="billing")
            await asyncio.Event().wait()

        process = start_process("billing", billing, restart_after=1)
        await sleep(1)
        await bus.publish(Event("a"))
        process.crash()
        await sleep(5)
        await bus.drain()

    verdict = judge(checkers.no_event_lost, main)
    assert verdict.message == "a (bus-1) was never handled by 'billing': it crashed"


def test_a_dead_letter_is_not_lost_and_a_run_cut_short_is_unknown():
    """What is set aside is there; what was being handled at the end may still be."""

    async def broken(_event):
        raise ValueError

    assert judge(checkers.no_event_lost, one_subscriber(handler=broken, max_deliveries=2))

    async def endless(_event):
        await sleep(100)

    async def main():
        bus = EventBus()
        bus.subscribe("a", endless)
        await bus.publish(Event("a"))
        await sleep(1)

    assert judge(checkers.no_event_lost, main).valid == "unknown"
    assert judge(checkers.no_event_lost, EventBus().drain).valid == "unknown"


def test_only_what_is_asked_for_is_judged():
    """Topic and subscriber narrow the judgement."""
    main = one_subscriber(2, delivery="at_most_once")
    lost = lose_event(count=1)
    assert judge(checkers.no_event_lost, main, lost, topic="order.#").valid is False
    assert judge(checkers.no_event_lost, main, lost, topic="user.*").valid == "unknown"
    assert judge(checkers.no_event_lost, main, lost, subscriber="ship*").valid == "unknown"


# -- published before its subscriber was ready


def test_an_event_published_before_its_subscriber_is_ready():
    """The plain bus loses it, and both checkers say by how much; the store does not."""
    for checker in (checkers.no_event_lost, checkers.subscribed_before_published):
        verdict = judge(checker, too_early)
        assert verdict.valid is False
        assert verdict.message == (
            "order.placed (bus-1) was published 2s before 'billing' subscribed, which never got it"
        )
        assert judge(checker, early_enough)


def test_a_newcomer_beside_others_need_not_know_the_past():
    """``no_event_lost`` asks who was there; ``subscribed_before_published`` asks everybody."""

    async def main():
        bus = EventBus()
        bus.subscribe("a", lambda _event: None, name="old")
        await bus.publish(Event("a"))
        await sleep(1)
        bus.subscribe("a", lambda _event: None, name="new")
        await bus.drain()

    assert judge(checkers.no_event_lost, main)
    assert judge(checkers.subscribed_before_published, main).valid is False
    assert judge(checkers.subscribed_before_published, main, subscriber="old")


def test_a_reader_that_wants_only_what_is_new_misses_nothing():
    """Who begins at the end of a store is not asked for what was before; ``subscribed_before_published`` asks."""

    async def main():
        store = EventStore()
        store.publish(Event("a"))
        reader = store.subscribe(lambda _event: None, name="new", from_position=store.position)
        store.publish(Event("a"))
        await reader.caught_up()

    assert judge(checkers.no_event_lost, main)
    assert judge(checkers.subscribed_before_published, main).valid is False


# -- once


def test_an_effect_twice_is_found():
    """A second delivery that charges again; an idempotent handler is called again and stays silent."""
    twice = one_subscriber()
    verdict = judge(checkers.no_effect_twice, twice, duplicate())
    assert verdict.valid is False
    assert verdict.message == "'charged' happened twice at 'billing' for one event, bus-1"
    charged = []

    async def idempotent(event):
        if event.id not in charged:
            charged.append(event.id)
            effect("charged", event.id)

    assert judge(checkers.no_effect_twice, one_subscriber(handler=idempotent), duplicate(), name="charged")
    assert judge(checkers.no_effect_twice, twice, duplicate(), name="other").valid == "unknown"


def test_an_effect_deep_inside_a_handler_counts():
    """Also what a step inside the handler did."""
    from wfsim.kernel import perform

    async def charge(_event):
        await perform("call", "shop", "charge", lambda: effect("charged"))

    main = one_subscriber(handler=charge)
    assert judge(checkers.no_effect_twice, main, duplicate()).valid is False


def test_handled_twice_is_found():
    """A lost acknowledgement: handled twice at least once, once effectively once."""
    lost = lose_event(point="ack", count=1)
    verdict = judge(checkers.handled_once, one_subscriber(), lost)
    assert verdict.message == "'billing' handled bus-1 twice"
    assert judge(checkers.handled_once, one_subscriber(delivery="effectively_once"), lost)


# -- order


@pytest.mark.parametrize("fault", [reorder(count=1), lose_event(count=1), fail(on="handle", count=1)])
def test_broken_order_is_found(fault):
    """Without order, an overtaken, a lost and a failed event break it; with order per key they do not."""
    verdict = judge(checkers.order_per_key, one_subscriber(3), fault)
    assert verdict.valid is False
    assert "before order.placed (bus-1), both of key 'o1'" in verdict.message
    assert judge(checkers.order_per_key, one_subscriber(3, order="key"), fault)


def test_handling_two_of_a_key_at_once_breaks_the_order():
    """The second must not begin before the first has ended."""

    async def slow(_event):
        await sleep(1)

    verdict = judge(checkers.order_per_key, one_subscriber(2, handler=slow, concurrency=2))
    assert verdict.message == (
        "'billing' handled order.placed (bus-2) before it had ended with order.placed (bus-1), both of key 'o1'"
    )
    assert judge(checkers.order_per_key, one_subscriber(2, handler=slow, concurrency=2, order="key"))


# -- in time


def test_convergence_counts_from_the_last_fault():
    """While a partition lasts nothing is promised; after it the time begins."""
    cut = partition("billing", before="12s")
    main = one_subscriber(1)
    assert judge(checkers.converges, main, cut, within_ns=6 * 10**9)
    verdict = judge(checkers.converges, main, cut, within_ns=4 * 10**9)
    assert verdict.valid is False
    assert verdict.message == "'billing' handled order.placed (bus-1) only after 5s"


def test_what_never_converges_is_found():
    """Lost for good is a breach if the run was long enough, unknown if it was not."""

    async def main(seconds):
        bus = EventBus(delivery="at_most_once")
        bus.subscribe("a", lambda _event: None, name="ear")
        await bus.publish(Event("a"))
        await sleep(seconds)
        effect("the end")

    for seconds, valid in ((10, False), (1, "unknown")):
        run = simulate(main, seconds, faults=[lose_event()])
        assert checkers.converges(run.history, within_ns=5 * 10**9).valid == valid


# -- dead letters


def test_a_dead_letter_that_nobody_looks_after_is_found():
    """Redriven with success, or handled by who listens to the dead letters, it is no orphan."""

    def main(*, listens, redrives):
        async def run():
            bus = EventBus(max_deliveries=1)
            calls = []

            async def handle(_event):
                calls.append(1)
                if len(calls) == 1:
                    raise ValueError("no")

            bus.subscribe("a", handle, name="billing", dead_letter_topic="dead")
            if listens:
                bus.subscribe("dead", lambda _event: None)
            await bus.publish(Event("a"))
            await bus.drain()
            if redrives:
                bus.redrive()
                await bus.drain()

        return run

    verdict = judge(checkers.no_dead_letters, main(listens=False, redrives=False))
    assert verdict.valid is False
    assert verdict.message == (
        "a (bus-1) is left as a dead letter of 'billing': its handler failed: ValueError: no"
    )
    assert judge(checkers.no_dead_letters, main(listens=True, redrives=False))
    assert judge(checkers.no_dead_letters, main(listens=False, redrives=True))


def test_a_dead_letter_that_was_handled_before_it_died_still_lies_there():
    """Handled, but never acknowledged: somebody has to look at it all the same."""
    main = one_subscriber(max_deliveries=2)
    verdict = judge(checkers.no_dead_letters, main, lose_event(point="ack"))
    assert verdict.valid is False
    assert verdict.message.endswith("it was not acknowledged in time")


# -- state and events


@pytest.mark.parametrize(("saves", "tells"), [(True, True), (True, False), (False, True)])
def test_state_and_events_that_disagree_are_found(saves, tells):
    """A change without its event, and an event without its change."""

    async def main():
        bus = EventBus()
        if saves:
            effect("order saved", "o1")
        if tells:
            await bus.publish(Event("order.placed", key="o1"))

    verdict = judge(checkers.state_and_events_agree, main, effect="order saved", topic="order.placed")
    assert verdict.valid is (saves and tells)


# -- all of them


OPTIONS = {
    "converges": {"within_ns": 1},
    "ends_in": {"state": "x"},
    "never_in": {"state": "x"},
    "state_and_events_agree": {"effect": "x", "topic": "y"},
    "stays_at_most": {"state": "x", "duration_ns": 1},
}


def needs_more(name):
    """Tell whether a checker has options without a default, of which this file knows nothing."""
    parameters = inspect.signature(getattr(checkers, name)).parameters.values()
    return name not in OPTIONS and any(
        one.default is one.empty for one in parameters if one.kind is one.KEYWORD_ONLY
    )


@pytest.mark.parametrize(
    "name", [name for name in checkers.__all__ if name[0].islower() and not needs_more(name)]
)
def test_a_checker_has_nothing_to_say_of_an_empty_history(name):
    """Nothing to judge is no promise kept."""
    assert getattr(checkers, name)(History(), **OPTIONS.get(name, {})).valid == "unknown"


def test_checkers_read_the_history_from_its_file():
    """What they say of a run they say of its JSON Lines too."""
    run = simulate(one_subscriber(3), faults=[duplicate(), crash("billing", point="nowhere")])
    again = History.from_jsonl(run.history.to_jsonl())
    for checker in (checkers.no_event_lost, checkers.no_effect_twice, checkers.order_per_key):
        assert checker(again) == checker(run.history)
