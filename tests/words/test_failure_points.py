"""Every failure point: which are tried, what they find, and the fault that is to be pasted."""

from __future__ import annotations

import asyncio

import pytest

from wfsim import (
    Event,
    EventBus,
    Saga,
    checkers,
    crash,
    delay,
    duplicate,
    effect,
    fail,
    given,
    hang,
    lose_event,
    lose_reply,
    simulate,
)
from wfsim.errors import DesignError
from wfsim.nemesis import Rule
from wfsim.words import ExpectationFailed
from wfsim.words._paste import as_code


def pasted(line):
    """Make the rule of a line that a message shows."""
    names = {"fail": fail, "lose_reply": lose_reply, "crash": crash, "delay": delay, "hang": hang}
    return eval(line, names | {"lose_event": lose_event, "duplicate": duplicate, "Rule": Rule})


def test_a_saga_is_tried_at_each_call_before_and_after(checkout):
    """Without a journal nothing survives a crash, so none is tried."""
    outcome = given(checkout).when("order-1").at_every_failure_point().then_ended()
    assert [as_code(rule) for rule in outcome.tried] == [
        f"{kind}('{step}', count=1)"
        for kind in ("fail", "lose_reply")
        for step in ("reserve", "charge", "ship")
    ]
    assert str(outcome).splitlines()[:2] == [
        "no fault                        ok",
        "fail('reserve', count=1)        error: InjectedFault",
    ]


def test_what_holds_at_every_failure_point(checkout):
    """A failure before the effect leaves nothing behind: neither of the steps nor of the way back."""
    given(checkout).when("order-1").at_every_failure_point(fail).then_nothing_left_behind()
    back = given(checkout).under(fail("ship")).when("order-1").at_every_failure_point(fail)
    back.then_nothing_left_behind().then_failed()
    assert "fail('reserve', on='compensate', count=1)" in map(as_code, back.tried)


def test_the_minimal_fault_is_shown_as_a_line_to_paste(checkout):
    """A lost reply leaves the stock reserved; the line alone shows it again."""
    outcome = given(checkout).when("order-1").at_every_failure_point()
    with pytest.raises(ExpectationFailed) as caught:
        outcome.then_nothing_left_behind()
    message = str(caught.value)
    assert "it breaks with 3 of 7 runs:\n    lose_reply('reserve', count=1)\n" in message
    assert "to see this one alone: .under(lose_reply('reserve', count=1))" in message
    alone = given(checkout).under(pasted("lose_reply('reserve', count=1)")).when("order-1")
    with pytest.raises(ExpectationFailed, match="'reserved' stands"):
        alone.then_nothing_left_behind()


def test_a_durable_saga_holds_wherever_it_crashes(durable):
    """Before and after each call, each record and each write to the disk."""
    outcome = given(durable).when("order-1").at_every_failure_point()
    outcome.then_nothing_left_behind().then_ended().then_holds(checkers.effect_at_most_once)
    crashes = [rule for rule in outcome.tried if rule.fault.kind == "crash"]
    assert len(crashes) > 20
    assert {rule.point for rule in crashes} == {None, "reply", "journal", "journalled", "persist"}


def test_a_crash_that_repeats_an_effect_is_found():
    """A journal without idempotency keys: between effect and journal a crash repeats the step."""

    def make():
        from wfsim import MemoryJournal

        saga = Saga("pay", journal=MemoryJournal())
        return saga.add_step("charge", forward=lambda: effect("charged"), read_only=True)

    sentence = given(make).when("order-1").at_every_failure_point(crash)
    with pytest.raises(
        ExpectationFailed, match=r"crash\('charge', restart_after='1s', point='reply', count=1\)"
    ):
        sentence.then_effects("charged")


def test_each_rule_strikes_where_it_was_made_for(checkout, durable, fulfilment):
    """Each fault that is tried strikes just once, and no two of them at the same moment in the same way."""
    for sentence in (
        given(checkout).when("o").at_every_failure_point(),
        given(durable).when("o").at_every_failure_point(),
        given(fulfilment).when(Event("order.placed", key="o")).at_every_failure_point(),
    ):
        struck = []
        for scene in sentence._scenes[1:]:
            faults = scene.history.where(kind="fault")
            assert len(faults) == 1, scene.fault
            struck.append((faults[0].time_ns, faults[0].name, str(sorted(faults[0].data.items()))))
        assert len(set(struck)) == len(struck)


def test_services_are_crashed_and_events_lost_and_doubled(fulfilment):
    """On a bus: each event and each acknowledgement; what the sentence itself publishes is not the design's."""
    outcome = given(fulfilment).when(Event("order.placed", key="o-1")).at_every_failure_point()
    outcome.then_effects("billed", in_order=False, none_other=False).then_dead_letters()
    lines = [as_code(rule) for rule in outcome.tried]
    assert "crash('billing', restart_after='1s', count=1)" in lines
    assert "lose_event('order.placed', count=1)" in lines
    assert "lose_event('order.billed', point='ack', count=1)" in lines
    assert "duplicate('order.billed', copies=1, count=1)" in lines
    assert not any("order.placed" in line and "publish" in line for line in lines)
    with pytest.raises(ExpectationFailed, match=r"'told' .* happened twice"):
        outcome.then_holds(checkers.effect_at_most_once)


def test_whoever_answers_in_place_of_others_is_not_struck(shop):
    """But the way to him is."""
    sentence = given(shop).answering("bank.charge", True).when(Event("order.placed", 20, key="o-1"))
    lines = [as_code(rule) for rule in sentence.at_every_failure_point().tried]
    assert not any("who answers" in line and not line.startswith(("lose_event", "dup")) for line in lines)
    assert "lose_event('bank.charge', count=1)" in lines


def test_events_of_one_topic_are_struck_each(shop):
    """The second of two events of a topic is told from the first by its time."""
    sentence = given(shop).when(Event("order.paid", key="a")).when(Event("order.paid", key="b"))
    outcome = sentence.at_every_failure_point(lose_event)
    faults = [scene.history.where(kind="fault")[0] for scene in outcome._scenes[1:]]
    places = [(fault.time_ns, fault.data["point"]) for fault in faults]
    assert len(places) == len(set(places)) == 4


def test_faults_of_the_users_choice(checkout):
    """Any function that makes a rule from a step's name."""
    outcome = given(checkout).when("o").at_every_failure_point(hang)
    with pytest.raises(ExpectationFailed, match="checkout has not ended"):
        outcome.then_ended()

    def slow(step, **where):
        return delay(step, "5s", **where)

    given(checkout).when("o").at_every_failure_point(slow).then_completed().then_took(at_most="6s")


def test_where_nothing_can_fail_nothing_is_tried():
    """A sentence that tries nothing tests nothing."""

    async def flow():
        await asyncio.sleep(1)

    with pytest.raises(DesignError, match="passes no fault point"):
        given(flow).when().at_every_failure_point().then_ended()


def test_a_design_that_remembers_is_refused():
    """What a run finds must not depend on the runs before it."""
    seen = []

    async def remember():
        await asyncio.sleep(len(seen))
        seen.append(1)

    saga = Saga("s").add_step("a", forward=remember, read_only=True)
    with pytest.raises(DesignError, match=r"remembers earlier runs; .* given\(make\)"):
        given(saga).when().at_every_failure_point().then_ended()


@pytest.mark.parametrize(
    "rule",
    [
        fail(),
        fail("charge", attempts=[1, 3], probability=0.5),
        fail("charge", error=ValueError("no")),
        fail("charge", on="compensate", after="2s", before="3s", process="checkout"),
        lose_reply("charge", count=1),
        hang("charge"),
        crash("charge", restart_after="5s", point="journal"),
        lose_event("order.*", to="billing", point="deliver"),
        duplicate("order.paid", copies=3, count=2),
    ],
    ids=as_code,
)
def test_the_line_makes_the_same_rule(rule):
    """What is pasted is what was tried."""
    assert pasted(as_code(rule)) == rule


def test_the_line_works_with_simulate_too(checkout):
    """A fault is data: it does the same wherever it is handed in."""
    run = simulate(checkout(), "order-1", faults=[pasted("fail('ship', count=1)")])
    assert [op.name for op in run.history.where(kind="effect")][-2:] == ["refunded", "released"]


def test_a_bus_without_redelivery_loses():
    """A sent-and-forgotten event that is lost stays lost: found, with the fault."""

    def make():
        bus = EventBus(delivery="at_most_once")
        bus.subscribe("job", lambda event: effect("done", event.key), name="worker")
        return bus

    sentence = given(make).when(Event("job", key=1)).at_every_failure_point(lose_event)
    with pytest.raises(ExpectationFailed, match=r"lose_event\('job', count=1\)"):
        sentence.then_effects("done", none_other=False)
