"""Scripts with times: events that come when they come, whatever the machine is doing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from wfsim import Retry, StateMachine, checkers, crash, effect, fail, simulate, start_process
from wfsim.errors import DesignError
from wfsim.kernel import now
from wfsim.storage import MemoryJournal
from wfsim.workflows import At, Work


async def charge():
    await asyncio.sleep(5)
    effect("charge")


def order(**options):
    machine = StateMachine("new", name="order", **options)
    machine.add_state("new")
    machine.add_state("paid")
    machine.add_state("cancelled", final=True)
    machine.add_state("shipped", final=True)
    machine.add_transition("new", "paid", "pay", action=charge)
    machine.add_transition(["new", "paid"], "cancelled", "cancel")
    machine.add_transition("paid", "shipped", after="1h")
    return machine


def times(run, kind):
    return [(op.name, op.time_ns / 1e9) for op in run.history.where(kind=kind)]


def test_an_event_comes_at_its_time_though_the_machine_is_busy():
    """The event is recorded when it comes, and answered when the machine has time."""
    run = simulate(order(), None, At("1s", "pay"), At("3s", "cancel"))
    assert run.result() == "cancelled"
    assert times(run, "trigger") == [("pay", 1.0), ("cancel", 3.0)]
    assert times(run, "transition") == [
        ("start", 0.0),
        ("new -> paid on pay", 6.0),
        ("paid -> cancelled on cancel", 6.0),
    ]


def test_an_event_in_turn_waits_for_the_one_before():
    """Without times the next event is sent when the one before is dealt with."""
    run = simulate(order(), None, "pay", timedelta(seconds=3), "cancel")
    assert times(run, "trigger") == [("pay", 0.0), ("cancel", 8.0)]


def test_events_are_sent_in_the_order_of_their_times_then_as_written():
    """A script need not be sorted; of two events of the same moment the first written comes first."""
    run = simulate(order(), None, At("3s", "cancel"), At("1s", "pay"), At("1s", "other"))
    assert times(run, "trigger") == [("pay", 1.0), ("other", 1.0), ("cancel", 3.0)]


def test_nothing_is_sent_to_a_machine_that_has_ended():
    """The run ends with the machine; an event that was to come much later keeps nobody waiting."""
    run = simulate(order(), None, At(0, "cancel"), At("3d", "pay"))
    assert run.result() == "cancelled"
    assert times(run, "trigger") == [("cancel", 0.0)]
    assert run.duration_ns == 0


def test_what_fails_while_an_event_is_answered_ends_the_run():
    """An error that no transition answers comes out of the run at once, though later events are to come."""
    run = simulate(
        order(),
        None,
        At(0, "pay"),
        At("1d", "cancel"),
        faults=[fail("charge", error=ConnectionError("down"))],
    )
    assert str(run.error) == "down"
    assert run.duration_ns == 0


def test_a_script_has_times_throughout_or_nowhere():
    """A mixture does not say which event waits for which, so it is refused, with the part that has no time."""
    with pytest.raises(DesignError, match="'cancel' has no time; write At"):
        order().execute(None, At(0, "pay"), "cancel")


@pytest.mark.parametrize("odd", [5, None, ("pay",), (5, "pay"), 1.5])
def test_a_script_holds_nothing_that_cannot_happen(odd):
    """Neither a number of seconds, which could be meant as a time that passes, nor half a pair."""
    with pytest.raises(DesignError, match="is none of these") as caught:
        order().execute(None, "pay", odd)
    assert repr(odd) in str(caught.value)


@pytest.mark.parametrize(
    ("when", "event", "message"),
    [("soon", "pay", "the time of event 'pay'"), (0, "", "name of an event")],
)
def test_a_time_or_an_event_that_is_none_is_refused(when, event, message):
    """What cannot be is refused where it is written."""
    with pytest.raises(DesignError, match=message):
        At(when, event)


def lives(*script, faults):
    machine = order(journal=MemoryJournal())

    async def service():
        return await start_process("orders", machine.run, "order-1", *script)

    return simulate(service, faults=faults)


def test_times_count_from_the_first_life():
    """What was due while the machine was down comes at once, what is due later at its time from the first start."""
    run = lives(
        At(0, "pay"),
        At("2m", "nothing"),
        At("20m", "cancel"),
        faults=[crash("charge", point="reply", restart_after="10m", count=1)],
    )
    assert run.result() == "cancelled"
    sent = [(name, round(at)) for name, at in times(run, "trigger")]
    assert sent == [("pay", 0), ("nothing", 610), ("cancel", 1200)]


def test_an_event_that_a_crash_lost_is_sent_again():
    """Who sent it gets no answer and sends it once more; the checker judges that one."""
    run = lives(
        At(0, "pay"),
        At("2s", "cancel"),
        faults=[crash("charge", point="reply", restart_after="10m", count=1)],
    )
    assert run.result() == "cancelled"
    cancels = run.history.where(kind="trigger", name="cancel")
    assert [op.data.get("again", False) for op in cancels] == [False, True]
    assert checkers.no_event_dropped(run.history).valid is True


def test_the_first_life_sends_nothing_again():
    """Writing the journal takes time too; what is late for that alone is no repetition."""
    run = lives(At(0, "pay"), At(0, "cancel"), faults=[])
    assert [op.data for op in run.history.where(kind="trigger")] == [{}, {}]


@pytest.mark.parametrize("number", range(1, 16))
def test_whenever_it_crashes_every_event_is_answered(number):
    """Crash at each record of the journal in turn: the machine ends as if nothing had happened."""
    run = lives(
        At("1s", "pay"),
        At("3s", "cancel"),
        faults=[
            crash(point="persist", attempts=None, after=f"{number * 400}ms", restart_after="5s", count=1)
        ],
    )
    assert run.result() == "cancelled"
    assert checkers.no_event_dropped(run.history).valid is True
    assert checkers.transitions_legal(run.history).valid is True


def test_work_has_a_name_and_a_policy_of_its_own():
    """A hook can be retried, each function by its own policy, and is known by its own name."""
    tries = []

    async def knock():
        tries.append(now())
        if len(tries) < 3:
            raise ConnectionError("nobody home")

    machine = StateMachine("out", name="visit")
    machine.add_state(
        "in", on_entry=Work(knock, "knock twice", Retry(attempts=3, delay="1s", backoff="fixed"))
    )
    machine.add_state("out")
    machine.add_transition("out", "in", "go")
    run = simulate(machine, None, "go")
    assert run.result() == "in"
    assert tries == [0.0, 1.0, 2.0]
    assert [op.name for op in run.history.where(kind="enter", type="ok")] == ["knock twice"]
    assert "knock twice" in machine.steps


def test_a_policy_of_its_own_comes_before_that_of_the_transition():
    """``retry=`` of the transition is for the functions that have none."""

    def fails():
        raise ConnectionError

    machine = StateMachine("a", name="m")
    machine.add_transition(
        "a", "b", "go", action=Work(fails, "fails", Retry(attempts=2)), retry=Retry(attempts=5)
    )
    run = simulate(machine, None, "go")
    assert len(run.history.where(kind="action", type="fail")) == 2


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (Work(charge, ""), "the name of guard of 'a -> b' must be a text"),
        (Work(charge, retry=Retry(3)), "guard of 'a -> b' has retry=, which nobody would follow"),
        (Work(charge, retry=3), "retry of guard of 'a -> b' is 3, which is no policy"),
        (Work(3), "guard of 'a -> b' cannot be called"),
    ],
)
def test_wrong_work_is_refused(work, message):
    """A guard is asked anew with each event, so a policy on it would promise what nobody keeps."""
    with pytest.raises(DesignError, match=message):
        StateMachine("a", name="m").add_transition("a", "b", "go", guard=work)


def test_a_machine_knows_what_it_could_ever_answer():
    """Whatever guards say: an event that some state has a transition for."""
    machine = order()
    assert machine.answers("pay")
    assert machine.answers("pay.card")
    assert not machine.answers("refund")
    machine = StateMachine("a", name="m").add_transition("a", "b")
    assert machine.answers("anything")
    assert not machine.answers("a")


def test_an_error_that_a_timer_brings_ends_a_run_on_a_plain_loop_too():
    """Who waits for a machine hears of what fails in it, also where no simulation looks after tasks."""

    def fails():
        raise ConnectionError("down")

    machine = StateMachine("a", name="m")
    machine.add_state("a")
    machine.add_state("b", final=True)
    machine.add_transition("a", "b", after="10ms", action=fails)

    async def main():
        async with asyncio.timeout(5):
            await machine.run()

    with pytest.raises(ConnectionError, match="down"):
        asyncio.run(main())
