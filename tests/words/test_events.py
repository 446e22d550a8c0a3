"""Sentences about services that speak on an event bus."""

from __future__ import annotations

import asyncio

import pytest

from wfsim import ChoreographedSaga, Event, EventBus, called, effect, fail, given, lose_event
from wfsim.errors import CompensationStuck, DesignError, SagaFailed
from wfsim.words import ExpectationFailed

PLACED = Event("order.placed", 20, key="o-1")


def test_what_comes_of_an_event(shop):
    """Published, handled, done: with somebody who answers in the bank's place."""
    outcome = given(shop).answering("bank.charge", True).when(PLACED)
    outcome.then_published("bank.charge", "order.paid").then_effects("shipped").then_dead_letters()
    outcome.then_handled("order.placed", "order.paid").then_handled("order.paid", none_other=False)
    outcome.then_handled("order.placed", by="billing").then_handled("order.paid", by="shipping")
    assert [event.topic for event in outcome.published("order.*")] == ["order.placed", "order.paid"]


def test_an_event_is_expected_by_topic_pattern_fields_or_a_function(shop):
    """A topic says the least; an Event means just this topic, payload and key."""
    outcome = given(shop).answering("bank.charge", lambda event: event.payload["amount"] > 100).when(PLACED)
    outcome.then_published("bank.*", Event("order.refused", key="o-1"))
    outcome.then_published(Event("bank.charge", {"amount": 20}), lambda event: event.key == "o-1")
    for wrong in (
        Event("bank.charge", {"amount": 21}),
        Event("bank.charge"),
        lambda event: event.key == "o-2",
    ):
        with pytest.raises(ExpectationFailed, match="then_published: no event"):
            outcome.then_published(wrong, none_other=False)
    with pytest.raises(
        ExpectationFailed, match=r"no event order.refused .o-2.; order.refused .o-1. not expected"
    ):
        outcome.then_published("bank.charge", Event("order.refused", key="o-2"))
    with pytest.raises(ExpectationFailed, match="out of order"):
        outcome.then_published("order.refused", "bank.charge")
    outcome.then_published("order.refused", "bank.charge", in_order=False)


def test_what_is_not_published(shop):
    """What the sentence publishes itself does not count, nor what it has others say."""
    outcome = given(shop).answering("bank.charge", True).when(PLACED).then_not_published("order.refused")
    with pytest.raises(ExpectationFailed, match=r"then_not_published: order.paid"):
        outcome.then_not_published("order.*")
    with pytest.raises(ExpectationFailed, match="none at all"):
        outcome.then_nothing_published()
    given(shop).when(Event("order.shipped")).then_nothing_published().then_no_effects()


def test_an_answer_can_be_an_event(shop):
    """Somebody else publishes it, as a service would that is not part of the test."""
    late = Event("order.paid", key="o-9")
    outcome = given(shop).answering("bank.closed", late).when(Event("bank.closed"))
    outcome.then_effects("shipped", key="o-9").then_nothing_published()


def test_nobody_answers(shop):
    """The request times out, the event comes again, and in the end it is set aside."""
    outcome = given(shop).when(PLACED).then_dead_letters(PLACED).then_no_effects()
    outcome.then_handled(PLACED, PLACED, PLACED, by="billing", ended="failed")
    with pytest.raises(ExpectationFailed, match=r"then_dead_letters: order.placed"):
        outcome.then_dead_letters()


def test_what_happened_before_is_given(shop):
    """Events that came and were handled before are not judged."""
    paid = Event("order.paid", key="o-1")
    outcome = given(shop).having(paid).having_waited("1d").when(paid)
    outcome.then_effects("shipped").then_handled("order.paid", by="shipping")


def test_several_events_come_at_once(shop):
    """In the order in which they are named."""
    outcome = given(shop).when(Event("order.paid", key="a"), Event("order.paid", key="b"))
    outcome.then_handled(Event("order.paid", key="a"), Event("order.paid", key="b"))


def test_time_passes_on_a_bus(shop):
    """Before the answer is late nobody gives up; then billing is tried again."""
    outcome = given(shop).when(PLACED).when_time_passes("10s").then_published("bank.charge")
    outcome.when_time_passes("15s").then_published("bank.charge")


def test_a_choreography_is_played_with_its_services(fulfilment):
    """Its services run as processes of their own."""
    outcome = given(fulfilment).when(PLACED).then_effects("billed", "told").then_published("order.billed")
    outcome.then_completed().then_handled("order.placed", by="billing")


def test_a_choreographed_saga_is_judged_as_any_saga(checkout):
    """The same calls, the same way back, though nobody gives orders."""

    def make():
        return ChoreographedSaga(checkout(key=lambda order: order), EventBus())

    outcome = given(make).under(fail("ship")).when("order-1").then_failed(SagaFailed)
    outcome.then_compensated("charge", "reserve").then_nothing_left_behind()
    given(make).when("order-1").then_called("reserve", "charge", "ship").then_nothing_left_behind()
    stuck = given(make).under(fail("ship"), fail("reserve", on="compensate")).when("order-1")
    stuck.then_failed(CompensationStuck).then_compensated("charge", called("reserve", ended="failed"))


def test_a_fault_on_the_way(shop):
    """An event that is lost once comes again."""
    outcome = given(shop).under(lose_event("order.paid", count=1)).when(Event("order.paid", key="o-1"))
    outcome.then_effects("shipped").then_took(at_least="30s")


def test_any_function_may_speak_on_a_bus(shop):
    """The bus is named, so that others can be answered for and all is awaited."""
    bus = shop()

    async def client(amount):
        return await bus.request(Event("bank.charge", amount))

    outcome = given(client, bus=bus).answering("bank.charge", lambda event: event.payload * 2).when(21)
    outcome.then_completed(42).then_published("bank.charge")


def test_all_that_an_event_led_to_is_awaited():
    """Also what a handler does long after the event came."""

    def make():
        bus = EventBus(visibility_timeout="1d")

        async def slow(event):
            await asyncio.sleep(3600)
            effect("done", event.key)

        bus.subscribe("job", slow)
        return bus

    given(make).when(Event("job", key=1)).then_effects("done").then_took(at_least="1h")
    given(make).when(Event("job", key=1)).when_time_passes("59m").then_no_effects()


@pytest.mark.parametrize(
    ("slip", "hint"),
    [
        (lambda s: s.when(PLACED).then_published("order.payd"), "did you mean 'order.paid'"),
        (lambda s: s.when(PLACED).then_not_published("ordr.paid"), "did you mean 'order.paid'"),
        (lambda s: s.when(PLACED).then_handled("order.paid", by="shiping"), "did you mean 'shipping'"),
        (lambda s: s.when(PLACED).then_published(), "write then_nothing_published()"),
        (lambda s: s.when(PLACED).then_published(7), "7 is no event"),
        (lambda s: s.when("order.placed").run, "what comes to bus 'bus' are events"),
        (lambda s: s.when(PLACED).when_restarted().run, "is no process that could be restarted"),
    ],
)
def test_a_slip_is_named(shop, slip, hint):
    """A topic or a subscriber that is misspelt, and what is no event."""
    with pytest.raises(DesignError) as caught:
        slip(given(shop))
    assert hint in str(caught.value)


def test_a_bus_must_be_one(checkout):
    """Something else given as the bus is refused."""
    with pytest.raises(DesignError, match="is no EventBus"):
        given(checkout, bus="bus")
