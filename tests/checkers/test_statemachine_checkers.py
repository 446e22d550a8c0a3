"""The checkers of state machines find planted mistakes, and are silent on right machines."""

from __future__ import annotations

from functools import partial

import pytest

from wfsim import (
    StateMachine,
    checkers,
    crash,
    effect,
    fail,
    hang,
    lose_reply,
    simulate,
    sleep,
    start_process,
)
from wfsim.history import History, Recorder
from wfsim.storage import Disk, MemoryJournal

ALL = [
    checkers.transitions_legal,
    checkers.reaches_final,
    checkers.no_event_dropped,
    checkers.action_exactly_once,
    partial(checkers.ends_in, state="shipped"),
    partial(checkers.never_in, state="lost"),
    partial(checkers.stays_at_most, state="paid", duration_ns=3_600 * 10**9),
]


def order(*, journal=None, name="order", **options):
    async def charge(context):
        await sleep(1)
        effect("charge", context.id)

    def label(context):
        effect("label", context.id)

    machine = StateMachine("new", name=name, journal=journal, **options)
    machine.add_state("new").add_state("paid").add_state("lost").add_state("shipped", final=True)
    machine.add_transition("new", "paid", "pay", action=[charge, label])
    machine.add_transition("paid", "shipped", after="10m", action=lambda: None)
    return machine


def played(machine, *script, faults=()):
    async def main():
        return await start_process("orders", machine.run, "order-1", *script)

    return simulate(main, faults=list(faults), max_time="3d").history


def verdicts(history):
    return {check(history).checker: check(history).valid for check in ALL}


def message(checker, history, **options):
    verdict = checker(history, **options)
    assert verdict.valid is False
    return verdict.message


def test_a_right_machine_is_left_alone():
    """Every promise is kept, and each checker found something to judge."""
    assert set(verdicts(played(order(), "pay")).values()) == {True}


def test_a_right_machine_is_left_alone_across_a_crash():
    """With a journal, a crash before an action's work changes nothing of that."""
    rule = crash("charge", restart_after="5s", count=1)
    assert set(verdicts(played(order(journal=MemoryJournal()), "pay", faults=[rule])).values()) == {True}


@pytest.mark.parametrize("checker", ALL, ids=lambda one: getattr(one, "__name__", "options"))
def test_nothing_to_judge_is_unknown(checker):
    """No machine ran: nobody can say that it kept its promises."""
    assert checker(History()).valid == "unknown"


# -- transitions_legal --


def told(*steps):
    """A history as a machine of somebody else would write it: each step is (taken, from, to)."""
    recorder = Recorder(lambda: 0)
    definition = {
        "states": {"a": {}, "b": {}, "c": {}, "c1": {"parent": "c"}, "h": {"parent": "c", "history": "deep"}},
        "transitions": {
            "a -> b": {"from": "a", "to": ["b"]},
            "b -> h": {"from": "b", "to": ["h"]},
            "* -> a": {"from": "*", "to": ["a"]},
            "c -> a": {"from": "c", "to": ["a"]},
        },
    }
    start = recorder.event("machine", "m", "m", "p", data=definition)
    for taken, before, after in steps:
        data = {"taken": [taken], "from": [before], "to": [after], "on": "x"}
        recorder.event("transition", "m", taken, "p", cause=start, data=data)
    return recorder.history()


def test_legal_steps():
    """Wildcards, steps out of a state around, and into what a history state stands for."""
    history = told(("a -> b", "a", "b"), ("b -> h", "b", "c1"), ("c -> a", "c1", "a"), ("* -> a", "a", "a"))
    assert checkers.transitions_legal(history).valid is True


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("a -> b", "a", "b"), ("a -> b", "a", "b")], "went on from 'a', though it was in 'b'"),
        ([("b -> a", "b", "a")], "made a transition that it has not: 'b -> a'"),
        ([("a -> b", "c1", "b")], "took 'a -> b' while it was in 'c1'"),
        ([("a -> b", "a", "c1")], "took 'a -> b' and ended up in 'c1'"),
        ([("b -> h", "b", "a")], "took 'b -> h' and ended up in 'a'"),
    ],
)
def test_illegal_steps(steps, expected):
    """A step from elsewhere, one that was not drawn, and one that led elsewhere are each named."""
    assert message(checkers.transitions_legal, told(*steps)) == f"state machine m {expected}"


# -- where it ends --


def test_stuck():
    """A lost timer, a missing event, an action that fails: where the machine is, and for how long."""
    history = played(order(), faults=[fail("charge")])
    assert verdicts(history)["reaches_final"] is False
    history = played(order(), "pay", faults=[hang("charge")])
    assert "is stuck in 'new'" in message(checkers.reaches_final, history)
    assert (
        message(checkers.ends_in, history, state=["paid", "shipped"]) == "state machine order ended in 'new'"
    )


def test_cut_off_for_good():
    """A crash without a restart is named as the reason."""
    history = played(order(), "pay", faults=[crash("charge")])
    assert message(checkers.ends_in, history, state="shipped") == (
        "state machine order ended in 'new', cut off when process 'orders' crashed"
    )


def test_a_machine_that_forgets_is_judged_by_its_last_life():
    """Without a journal a restart begins anew: how that ends counts, and what happened twice is the effects'."""
    history = played(order(), "pay", faults=[crash("label", point="reply", restart_after="5s", count=1)])
    found = verdicts(history)
    assert found["reaches_final"] is True
    assert found["ends_in"] is True


def test_never_in():
    """One state, or several at once."""
    machine = StateMachine("p", name="m").add_state("p", parallel=True)
    for region in "xy":
        machine.add_state(region, parent="p")
        machine.add_state(f"{region}1", parent=region).add_state(f"{region}2", parent=region)
        machine.add_transition(f"{region}1", f"{region}2", region)
    history = simulate(machine, None, "x").history
    assert checkers.never_in(history, state="y2").valid is True
    assert checkers.never_in(history, state=["x2", "y2"]).valid is True
    assert message(checkers.never_in, history, state=["x2", "y1"]) == "state machine m was in 'x2' and 'y1'"
    assert message(checkers.never_in, history, state="x2") == "state machine m was in 'x2'"


def test_stays_at_most():
    """How long a stay lasted, ended or not."""
    history = played(order(), "pay")
    assert checkers.stays_at_most(history, state="paid", duration_ns=600 * 10**9).valid is True
    assert message(checkers.stays_at_most, history, state="paid", duration_ns=10**9) == (
        "state machine order stayed in 'paid' for 10m, longer than 1s"
    )
    assert checkers.stays_at_most(history, state="lost", duration_ns=1).valid == "unknown"


def charge_once():
    known = []

    def charge(context):
        if context.id not in known:
            known.append(context.id)
            effect("charge", context.id)

    return charge


def test_an_action_that_knows_its_key_may_be_called_again():
    """A crash at the reply brings the call again; who does the work of one key once has done nothing twice."""
    machine = StateMachine("new", name="order", journal=MemoryJournal())
    machine.add_state("paid", final=True).add_transition("new", "paid", "pay", action=charge_once())
    history = played(machine, "pay", faults=[crash("charge", point="reply", restart_after="5s", count=3)])
    assert len(list(history.where(kind="action", name="charge", type="invoke"))) == 4
    assert checkers.action_exactly_once(history).valid is True
    assert checkers.effect_at_most_once(history).valid is True


@pytest.mark.parametrize("survives", [0.0, 1.0])
def test_a_transition_that_the_journal_kept_and_nobody_told_was_made(survives):
    """The crash strikes when the record is written and not yet safe: if it survives, the machine is further."""
    machine = StateMachine("new", name="order", journal=MemoryJournal(Disk(survives=survives, tears=0)))
    machine.add_state("paid").add_state("end", final=True)
    machine.add_transition("new", "paid", after="1s", action=charge_once())
    machine.add_transition("paid", "end", after="1m")
    crashing = crash(point="persist", on="disk", restart_after="5s", count=1, after="1.0015s")
    history = played(machine, faults=[crashing])
    resumed = [op.data["in"] for op in history.where(kind="resume")]
    assert resumed == [["paid" if survives else "new"]]
    assert checkers.action_exactly_once(history).valid is True
    assert checkers.transitions_legal(history).valid is True


@pytest.mark.parametrize(
    ("checker", "options"),
    [("never_in", {}), ("stays_at_most", {"duration_ns": 10**9})],
)
def test_a_state_that_no_machine_has_is_not_judged(checker, options):
    """A misspelt state is never entered, and that must not read as a promise that was kept."""
    history = played(order(), "pay")
    verdict = getattr(checkers, checker)(history, state="shiped", **options)
    assert verdict.valid == "unknown"
    assert verdict.message == "no state machine has the state 'shiped'; did you mean 'shipped'?"
    verdict = getattr(checkers, checker)(history, state="x", **options)
    assert verdict.message == ("no state machine has the state 'x'; the states are new, paid, lost, shipped")


# -- events --


def test_dropped():
    """An event that came when nothing answered it, with the state."""
    machine = order()
    assert message(checkers.no_event_dropped, played(machine, "pay", "pay")) == (
        "state machine order was in 'paid', where nothing answers 'pay'"
    )
    assert checkers.no_event_dropped(played(machine, "pay", "note"), event="pay").valid is True


def test_lost_in_a_crash():
    """Without a journal the event that was at work is gone with the process."""

    async def main():
        session = order().session()

        async def client():
            await session.trigger("pay")

        start_process("orders", client)
        await sleep(100)

    history = simulate(main, faults=[crash("charge")]).history
    assert message(checkers.no_event_dropped, history) == (
        "state machine order: the event 'pay' was lost when process 'orders' crashed"
    )


def test_an_event_whose_action_failed():
    """It came to nothing, and the action is named; an answer to the error makes up for it."""
    history = played(order(), "pay", faults=[fail("charge")])
    assert message(checkers.no_event_dropped, history) == (
        "state machine order: the event 'pay' came to nothing, because 'charge' failed"
    )
    machine = order().add_transition("*", "lost", "error")
    history = played(machine, "pay", faults=[fail("charge")])
    assert checkers.no_event_dropped(history).valid is True


def test_on_its_way():
    """An event that is still at work when the run ends is in doubt, not lost."""
    history = played(order(), "pay", faults=[hang("charge")])
    assert checkers.no_event_dropped(history).valid == "unknown"


# -- actions --


def test_repeated_after_a_crash():
    """The work was done, the machine did not know it, and did it again."""
    rule = crash("charge", point="reply", restart_after="5s", count=1)
    history = played(order(journal=MemoryJournal()), "pay", faults=[rule])
    assert message(checkers.action_exactly_once, history) == (
        "state machine order (order-1): 'charge' was done twice for one transition; the process crashed after "
        "the first"
    )


def test_forgotten_after_a_crash():
    """At most once may mean not at all."""
    rule = crash("charge", restart_after="5s", count=1)
    machine = order(journal=MemoryJournal(), actions="at_most_once")
    history = played(machine, "pay", faults=[rule])
    assert message(checkers.action_exactly_once, history) == (
        "state machine order (order-1): the transition 'new -> paid' was made, but 'charge' was never done"
    )
    assert checkers.action_exactly_once(history, action="label").valid is True


def test_done_for_nothing():
    """The first action worked, the second failed: the machine stays, and the charge stands."""
    history = played(order(), "pay", faults=[fail("label")])
    assert message(checkers.action_exactly_once, history) == (
        "state machine order: 'charge' was done, but the transition 'new -> paid' was not made"
    )


def test_a_lost_reply_counts_as_done():
    """What counts is the work, not what the machine knew of it."""
    history = played(order(), "pay", faults=[lose_reply("charge")])
    assert "'charge' was done, but the transition" in message(checkers.action_exactly_once, history)


def test_defaults_of_history_states_are_no_transitions_of_their_own():
    """The action of a history state's default is done with another transition, and counted with none."""
    machine = StateMachine("off", name="m").add_state("off").add_state("A").add_state("end", final=True)
    machine.add_state("h", parent="A", history="shallow").add_state("a", parent="A")
    machine.add_transition("h", "a", action=lambda: None).add_transition(
        "off", "h", "on", action=lambda: None
    )
    machine.add_transition("a", "end", "end")
    history = simulate(machine, None, "on", "end").history
    assert checkers.action_exactly_once(history).valid is True
    assert checkers.transitions_legal(history).valid is True


def test_lives_are_kept_apart():
    """Two machines of one name in one process are each judged by their own steps."""

    async def main():
        machine = order()
        one, other = machine.session(), machine.session()
        await one.trigger("pay")
        await other.trigger("pay")
        await one.wait()
        await other.wait()

    assert set(verdicts(simulate(main).history).values()) == {True}


def test_completed_looks_at_the_whole_life():
    """A run that a crash cut off is judged by the one that carries it on under its key."""
    rule = crash("charge", restart_after="5s", count=1)
    assert checkers.completed(played(order(journal=MemoryJournal()), "pay", faults=[rule])).valid is True
    assert checkers.completed(played(order(), "pay", faults=[rule])).valid is False
