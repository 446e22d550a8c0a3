"""Sentences about process managers: state machines that wait, give up and remember."""

from __future__ import annotations

import pytest

from wfsim import MemoryJournal, StateMachine, crash, fail, given
from wfsim.errors import DesignError, EventRefused
from wfsim.words import ExpectationFailed


def test_an_event_comes_and_the_machine_answers(order):
    """State, data, calls and effects, after what had happened before."""
    outcome = given(order).having("placed").when("pay", 20)
    outcome.then_state("paid").then_data(paid=20).then_called("pay").then_effects("thanks")
    outcome.then_nothing_scheduled().then_not_completed()
    with pytest.raises(ExpectationFailed, match="order in paid, expected waiting"):
        outcome.then_state("waiting")
    with pytest.raises(ExpectationFailed, match="paid of order is 20, expected 7"):
        outcome.then_data(paid=7)
    with pytest.raises(ExpectationFailed, match="total of order is not there"):
        outcome.then_data(total=7)


def test_a_timeout_is_scheduled_and_time_brings_it(order):
    """Due to the nanosecond, from now or at a date; it fires when its time has come, not before."""
    outcome = given(order).when("placed").then_state("waiting")
    outcome.then_scheduled("given up", after="30m").then_scheduled("waiting", at="2030-01-01T00:30")
    for wrong in ({"after": "30m1ns"}, {"at": "2030-01-01T00:31"}):
        with pytest.raises(ExpectationFailed, match=r"given up .* is not scheduled"):
            outcome.then_scheduled("given up", **wrong)
    outcome = outcome.when_time_passes("29m59s").then_nothing_called().then_fired()
    outcome = outcome.then_scheduled("given up", after="1s").when_time_passes("1s")
    outcome.then_fired("given up").then_state("given up").then_completed().then_effects("cancelled")
    outcome.then_not_scheduled("given up").then_nothing_scheduled()


def test_a_timeout_is_cancelled_when_its_state_is_left(order):
    """Paid in time: nothing is due any more, and nothing comes."""
    outcome = given(order).having("placed").having_waited("10m").when("pay", 5)
    outcome.then_not_scheduled("given up").when_time_passes("10d").then_fired().then_state("paid")
    waiting = given(order).when("placed")
    with pytest.raises(ExpectationFailed, match="is scheduled"):
        waiting.then_nothing_scheduled()
    with pytest.raises(ExpectationFailed, match="is scheduled"):
        waiting.then_not_scheduled("waiting")


def test_a_timer_is_not_scheduled_at_a_certain_time(order):
    """After so long, at a date, or within a stretch of time."""
    outcome = given(order).when("placed").then_not_scheduled("given up", after="29m")
    outcome.then_not_scheduled("given up", at="2030-01-01T00:29")
    outcome.then_not_scheduled("given up", between=("2030-01-01T00:00", "2030-01-01T00:29:59"))
    for when in (
        {"after": "30m"},
        {"at": "2030-01-01T00:30"},
        {"between": ("2030-01-01T00:30", "2030-01-01T01:00")},
    ):
        with pytest.raises(ExpectationFailed, match="is scheduled"):
            outcome.then_not_scheduled("given up", **when)


def test_a_snapshot_can_be_asserted_on(order):
    """Where it is and its data, for what no word says."""
    outcome = given(order).having("placed").when("pay", 20, key="a")
    assert outcome.snapshot("order").states == ("waiting",)
    outcome = given(order).having("placed").when("pay", 20)
    assert (outcome.snapshot().data, outcome.snapshot().done) == ({"paid": 20}, False)
    with pytest.raises(DesignError, match="no instance 'z'"):
        outcome.snapshot("z")


def test_an_event_that_is_sent_later_is_scheduled():
    """What a function of the machine sends with a delay goes by the event's name."""

    def make():
        machine = StateMachine(initial="asleep", name="alarm")

        def later(context):
            context.send("ring", {"times": 3}, after="8h")

        machine.add_transition("asleep", "set", trigger="set", action=later)
        return machine.add_transition("set", "awake", trigger="ring")

    outcome = given(make).when("set").then_scheduled("ring", after="8h", payload={"times": 3})
    with pytest.raises(ExpectationFailed, match="ring with 7 is not scheduled"):
        outcome.then_scheduled("ring", payload=7)
    outcome = outcome.when_time_passes("8h")
    outcome.then_fired("ring").then_state("awake")


def test_instances_are_told_apart_by_their_keys(order):
    """Each key has a life of its own: its state, its timers, its calls."""
    outcome = given(order).having("placed", key="a").having_waited("10m").having("placed", key="b")
    outcome = outcome.when("pay", 1, key="a").then_state("paid", key="a").then_state("waiting", key="b")
    outcome.then_active(2).then_active(key="b").then_not_active(key="c")
    outcome.then_scheduled("given up", after="30m", key="b").then_nothing_scheduled(key="a")
    outcome.then_called("pay", key="a").then_nothing_called(key="b")
    outcome.when("ship", key="a").then_completed(key="a").then_active(1).then_not_active(key="a")
    with pytest.raises(ExpectationFailed, match="2 are active, expected 3"):
        outcome.then_active(3)
    with pytest.raises(ExpectationFailed, match="'c' is not active"):
        outcome.then_active(key="c")
    with pytest.raises(ExpectationFailed, match="'b' is active"):
        outcome.then_not_active(key="b")


def test_a_state_is_reached_by_the_shortest_way(order):
    """No need to say how it came there."""
    given(order).having_reached("paid").when("ship").then_state("done").then_completed().then_nothing_called()
    given(order).having_reached("given up").when().then_nothing_called()
    outcome = given(order).having_reached("paid", events=["placed", ("pay", 20)]).when("ship")
    outcome.then_data(paid=20)
    with pytest.raises(DesignError, match="no way leads StateMachine 'order' to 'paid'"):
        given(order).having_reached("paid", events=["placed"])
    with pytest.raises(DesignError, match="no state 'payed'; did you mean 'paid'"):
        given(order).having_reached("payed")


def test_a_machine_is_restarted_from_its_journal(durable_order):
    """It is where it was, with its data, and its deadline has come nearer meanwhile."""
    outcome = given(durable_order).having("placed", key="o-1").having_waited("10m").when_restarted("5m")
    outcome.then_state("waiting").then_scheduled("given up", after="15m1ms")  # it took a while to write
    outcome.when("pay", 3, key="o-1").then_state("paid").then_data(paid=3)


def test_a_machine_without_a_journal_forgets(order):
    """The same sentence about a machine that keeps none ends where it began."""
    given(order).having("placed").when_restarted().then_state("new").then_nothing_scheduled()


def test_a_machine_holds_wherever_it_crashes(durable_order):
    """At every record and every call: paid once in its data, whatever was cut off."""
    outcome = given(durable_order).having("placed", key="o-1").when("pay", 3, key="o-1")
    outcome = outcome.at_every_failure_point(crash).then_state("paid").then_data(paid=3)
    assert len(outcome.tried) >= 6


def test_an_event_is_heard_once_wherever_it_crashes():
    """An event that the journal has is not handed over again after the restart."""

    def make():
        machine = StateMachine(initial="on", data={"count": 0}, journal=MemoryJournal())

        def count(context):
            context.data["count"] += 1

        return machine.add_transition("on", trigger="tick", action=count)

    outcome = given(make).having("tick", key="c").when("tick", key="c").when("tick", key="c")
    outcome.at_every_failure_point(crash).then_data(count=3)


def test_an_error_of_an_action_is_the_sentences(order):
    """The machine stays where it was, and the error can be expected."""
    outcome = given(order).having("placed").under(fail("pay", error=OSError("no thanks"))).when("pay", 1)
    outcome.then_failed(OSError, match="no thanks").then_state("waiting").then_data(paid=0).then_no_effects()


def test_an_event_nobody_answers():
    """Ignored, or refused by a strict machine."""

    def strict():
        return StateMachine(initial="a", unhandled="raise").add_transition("a", "b", trigger="go")

    given(strict).when("stop").then_failed(EventRefused).then_state("a")


def test_a_state_that_holds_others_can_be_named():
    """And all regions of a parallel one."""

    def make():
        machine = StateMachine(initial="trip").add_state("trip", parallel=True)
        for name in ("hotel", "flight"):
            machine.add_state(name, parent="trip").add_state(f"{name} open", parent=name)
            machine.add_state(f"{name} booked", parent=name)
            machine.add_transition(f"{name} open", f"{name} booked", trigger=f"book {name}")
        return machine

    outcome = given(make).when("book hotel").then_state("trip", "hotel booked", "flight open")
    with pytest.raises(ExpectationFailed, match="expected flight booked"):
        outcome.then_state("flight booked")


@pytest.mark.parametrize(
    ("slip", "hint"),
    [
        (lambda s: s.when("placed").then_state("waitin"), "no state 'waitin'; did you mean 'waiting'"),
        (lambda s: s.when("placed").then_state(), "names no state"),
        (lambda s: s.when("placed").then_not_scheduled("given upp"), "did you mean 'given up'"),
        (lambda s: s.when("pay", 1, 2).run, "an event and what comes with it"),
        (lambda s: s.when(7).run, "an event and what comes with it"),
    ],
)
def test_a_slip_is_named(order, slip, hint):
    """A state, a timer, an event that cannot be meant."""
    with pytest.raises(DesignError) as caught:
        slip(given(order))
    assert hint in str(caught.value)


def test_a_machine_has_its_input():
    """What it starts with is what its functions find."""
    seen = []
    machine = StateMachine(initial="a").add_transition("a", "b", "go", action=lambda c: seen.append(c.input))
    given(machine, input={"order": 1}).when("go").then_state("b")
    assert seen == [{"order": 1}]


def test_dates_between_which_there_is_no_time_are_refused(order):
    """From the later to the earlier nothing is ever due, so the expectation could not fail."""
    with pytest.raises(DesignError, match="ends before it begins; write the earlier date first"):
        given(order).when("place").then_not_scheduled("given up", between=("2030-01-02", "2030-01-01"))
