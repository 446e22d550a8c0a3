"""What faults do to events on their way, and what the bus makes of it."""

from __future__ import annotations

import pytest

from wfsim import (
    Choreography,
    Event,
    EventBus,
    Service,
    corrupt,
    crash,
    delay,
    duplicate,
    effect,
    fail,
    hang,
    lose_event,
    now,
    partition,
    reorder,
    simulate,
    sleep,
)
from wfsim.errors import PublishUnconfirmed

ONE = (Event("a", 0),)


def heard_under(*faults, events=ONE, apart=0.0, bus=None, **terms):
    """Publish events to one subscriber called "ear" and give what it heard, and when."""

    async def main():
        one = bus or EventBus(visibility_timeout="10s")
        heard = []

        async def listen(event):
            heard.append((event.payload, round(now(), 6)))

        one.subscribe("#", listen, name="ear", **terms)
        for event in events:
            one.publish(event)
            await sleep(apart)
        await one.drain()
        return heard

    run = simulate(main, faults=faults)
    assert run.ok, run.error
    return run


def numbers(count):
    return [Event("a", number, key="k") for number in range(count)]


def test_a_lost_event_comes_again_after_the_visibility_timeout():
    """At least once: the bus waits in vain for the acknowledgement, then sends it again."""
    assert heard_under(lose_event("a", count=2)).value == [(0, 20.001)]


def test_a_lost_event_is_lost_for_who_asked_no_more():
    """At most once: nobody notices."""
    run = heard_under(lose_event("a"), delivery="at_most_once")
    assert run.value == []
    fault = run.history.where(kind="fault")[0]
    assert run.history[fault.cause].kind == "publish"
    assert fault.data["step"] == "ear"


def test_a_lost_acknowledgement_brings_the_event_again():
    """The handler has done its work, the bus does not know: it happens twice."""
    assert heard_under(lose_event(point="ack", count=1)).value == [(0, 0.001), (0, 10.001)]


def test_a_lost_acknowledgement_is_harmless_effectively_once():
    """The id is remembered: the second delivery is recognised and acknowledged."""
    run = heard_under(lose_event(point="ack", count=1), delivery="effectively_once")
    assert run.value == [(0, 0.001)]
    assert len(run.history.where(kind="duplicate")) == 1


@pytest.mark.parametrize(
    ("delivery", "times"), [("at_most_once", 1), ("at_least_once", 3), ("effectively_once", 1)]
)
def test_a_duplicated_event(delivery, times):
    """Copies made on the way are handled again only where the mode allows it."""
    assert len(heard_under(duplicate("a", copies=2), delivery=delivery).value) == times


def test_a_reordered_event_is_overtaken():
    """It arrives behind the given number of events that were sent after it."""
    run = heard_under(reorder("a", behind=2, count=1), events=numbers(4))
    assert [payload for payload, _ in run.value] == [1, 2, 0, 3]


def test_a_reordered_event_is_not_lost_when_nothing_follows():
    """It is let go after a while."""
    assert heard_under(reorder("a", at_most="3s")).value == [(0, 3.001)]


def test_order_per_key_withstands_reordering_and_loss():
    """One in flight for each key: there is nothing that could overtake."""
    run = heard_under(
        reorder("a", count=1), lose_event("a", after="1s", count=1), events=numbers(5), order="key"
    )
    assert [payload for payload, _ in run.value] == [0, 1, 2, 3, 4]


def test_a_delayed_event_arrives_later_and_holds_nobody_up():
    """Those sent after it arrive before it."""
    run = heard_under(delay("ear", "2s", point="deliver", count=1), events=numbers(2))
    assert run.value == [(1, 0.001), (0, 2.001)]


def test_a_corrupted_delivery_is_garbled_once():
    """The bus has the original: what the handler refuses is right the next time."""

    async def main():
        bus, heard = EventBus(redelivery_delay="1s"), []

        async def listen(event):
            heard.append(event.payload["amount"])

        bus.subscribe("a", listen)
        bus.publish(Event("a", {"amount": 20}))
        await bus.drain()
        return heard

    assert simulate(main, faults=[corrupt("a", count=1)]).value == [20]
    assert simulate(main, faults=[corrupt("a", field="amount", value=-1, count=1)]).value == [-1]


def test_what_is_corrupted_when_it_is_published_stays_so():
    """Then every delivery is garbled: a poison message, which ends as a dead letter."""

    async def main():
        bus = EventBus()

        async def listen(event):
            return event.payload["amount"] * 2

        bus.subscribe("a", listen)
        await bus.publish(Event("a", {"amount": 20}))
        await bus.drain()
        return [(letter.deliveries, letter.because.partition(":")[0]) for letter in bus.dead_letters]

    run = simulate(main, faults=[corrupt("a", point="publish")])
    assert run.value == [(5, "its handler failed")]


def test_a_publication_that_gets_lost_is_not_confirmed():
    """Who awaits it is told after the confirm timeout; who publishes again under the same id loses nothing."""

    async def main():
        bus, heard = EventBus(confirm_timeout="3s"), []
        bus.subscribe("a", lambda event: heard.append(event.id))
        with pytest.raises(PublishUnconfirmed, match="did not confirm event 'a' within 3s"):
            await bus.publish(Event("a", id="x"))
        at = now()
        await bus.publish(Event("a", id="x"))
        await bus.drain()
        return heard, at

    run = simulate(main, faults=[lose_event("a", point="publish", count=1)])
    assert run.value == (["x"], 3)
    assert [op.type for op in run.history.where(kind="publish")] == ["invoke", "info", "invoke", "ok"]


def test_a_publication_fails_where_it_is_awaited():
    """A fault at the point ``publish`` that raises, raises there."""

    async def main():
        bus = EventBus()
        await bus.publish(Event("a"))

    assert type(simulate(main, faults=[fail("a", point="publish", error=OSError("full"))]).error) is OSError


def test_a_publication_that_is_delayed_or_duplicated():
    """Delay holds up who awaits; a duplicate reaches every subscriber twice."""
    assert heard_under(delay("a", "2s", point="publish")).value == []  # nobody awaited it
    assert [payload for payload, _ in heard_under(duplicate("a", point="publish"), apart=1).value] == [0, 0]


def test_a_hang_on_the_way_is_a_loss():
    """What never arrives is sent again."""
    assert heard_under(hang("ear", point="deliver", count=1)).value == [(0, 10.001)]


def test_a_line_that_fails_loses_what_is_on_it():
    """An error on the way from the bus has nobody to tell: the event is lost, and sent again."""
    assert heard_under(fail("ear", point="deliver", count=1)).value == [(0, 10.001)]


# -- services


def shop(charge, **terms):
    """Orders that are paid, then shipped: two services that know the events and not each other."""

    async def ship(event):
        effect("shipped", event.key)

    async def bill(event):
        await charge(flow, event)

    flow = Choreography(
        "shop",
        Service("billing", restart_after="5s").on("order.placed", bill, **terms),
        Service("shipping", restart_after="5s").on("order.paid", ship, **terms),
        bus=EventBus("shop", visibility_timeout="10s", max_deliveries=None),
    )
    return flow


async def charge_once(flow, event):
    effect("charged", event.key)
    await flow.bus.publish(Event("order.paid", key=event.key, id=f"paid-{event.key}"))


ORDER = Event("order.placed", {"amount": 20}, key="o1")


def effects(run):
    return [(op.name, round(op.time_ns / 1e9, 3)) for op in run.history.where(kind="effect")]


def test_a_choreography_runs_to_its_end():
    """``run`` waits until everything that the event led to is done; ``execute`` is its blocking form."""
    assert effects(simulate(shop(charge_once), ORDER)) == [("charged", 0.001), ("shipped", 0.002)]
    shop(charge_once).execute(ORDER)


def test_a_service_that_starts_late_misses_nothing():
    """Its queue is there before it."""
    run = simulate(shop(charge_once), ORDER, faults=[delay("shipping", "1m", point="start")])
    assert effects(run) == [("charged", 0.001), ("shipped", 60.001)]


def test_a_service_may_be_known_to_start_late():
    """``start_after`` counts from its first start; after a crash it listens again as soon as it is back."""

    async def handle(event):
        effect("handled", event.key)

    service = Service("mail", start_after="1m", restart_after="5s").on("order.placed", handle)
    flow = Choreography("shop", service, bus=EventBus("shop", visibility_timeout="10s"))
    assert effects(simulate(flow, ORDER)) == [("handled", 60.001)]
    crashed = simulate(flow, ORDER, faults=[crash("mail", point="ack", count=1)])
    assert effects(crashed) == [("handled", 60.001), ("handled", 70.001)]


def test_a_partition_heals():
    """While it lasts nothing gets through; afterwards what was not acknowledged comes again."""
    cut = partition("shipping", "billing", before="35s")
    assert effects(simulate(shop(charge_once), ORDER, faults=[cut])) == [
        ("charged", 0.001),
        ("shipped", 40.002),
    ]


def test_a_partition_from_the_bus_keeps_publications_back():
    """Who publishes across the partition is not confirmed, fails, and is called again."""
    run = simulate(shop(charge_once), ORDER, faults=[partition("billing", "shop", after="1ms", before="2s")])
    assert run.ok, run.error
    assert [name for name, _ in effects(run)] == ["charged", "charged", "shipped"]


def test_a_service_that_crashes_starts_again_and_goes_on():
    """Crashed at the acknowledgement it charges again: at least once. The queue outlives the service."""
    run = simulate(shop(charge_once), ORDER, faults=[crash("billing", point="ack", count=1)])
    assert [name for name, _ in effects(run)] == ["charged", "shipped", "charged", "shipped"]
    assert len(run.history.where(kind="process", name="restart")) == 1


def test_effectively_once_survives_a_crash_before_the_acknowledgement():
    """The bus knows the id of what was handled, so the restarted service is not asked again."""
    flow = shop(charge_once, delivery="effectively_once")
    run = simulate(flow, ORDER, faults=[crash("billing", point="ack", count=1)])
    assert [name for name, _ in effects(run)] == ["charged", "shipped"]


def test_effectively_once_is_only_as_atomic_as_the_handler():
    """A crash between the effect and the end of the handler repeats the effect: no bus can know of it."""

    async def charge(_flow, event):
        effect("charged", event.key)
        await sleep(1)

    flow = shop(charge, delivery="effectively_once")
    run = simulate(flow, ORDER, faults=[crash("billing", on="handle", point="reply", count=1)])
    assert [name for name, _ in effects(run)] == ["charged", "charged"]


def test_a_crash_that_ends_the_last_work_ends_the_wait():
    """All is settled, a service still works on an old delivery, and crashes: then nothing is left to wait for."""

    async def charge(_flow, event):
        effect("charged", event.key)

    flow = shop(charge, concurrency=2)
    faults = [
        delay("billing", "11s", on="handle", count=1),
        crash("billing", point="ack", after="11s", count=1),
    ]
    run = simulate(flow, ORDER, faults=faults)
    assert run.ok, run.error
    assert [name for name, _ in effects(run)] == ["charged", "charged"]
