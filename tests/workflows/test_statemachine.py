"""The state machine: what answers an event, in which order things happen, and what happens when they fail."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from wfsim import StateMachine, fail, hang, simulate, sleep
from wfsim.errors import DesignError, EventRefused, RetriesExhausted
from wfsim.resilience import Retry


def run(main, *args, **options):
    return simulate(main, *args, **options).result()


def door(log=None):
    machine = StateMachine("closed", name="door")
    machine.add_transition("closed", "open", "push", action=lambda: log.append("creak") if log else None)
    machine.add_transition("open", "closed", after="30s")
    return machine


# -- the ways to run it --


def test_a_machine_outside_a_loop_blocks_in_virtual_time():
    """At module level ``trigger`` gives a bool, and time passes by ``advance`` alone."""
    machine = door()
    assert machine.state == "closed"
    assert machine.trigger("push") is True
    assert machine.trigger("push") is False
    assert machine.state == "open"
    machine.advance("29s")
    assert machine.state == "open"
    machine.advance("1s")
    assert machine.state == "closed"


def test_inside_a_loop_trigger_is_awaited():
    """In a coroutine the same call is an awaitable: in a simulation, and on a plain loop in real time."""

    async def main():
        machine = StateMachine("a")
        machine.add_transition("a", "b", "go", action=lambda: None)
        machine.add_transition("b", "c", after="1ms")
        assert await machine.trigger("go")
        before = machine.state
        await machine.advance("100ms")
        return before, machine.state

    assert run(main) == ("b", "c")
    assert asyncio.run(main()) == ("b", "c")


def test_blocking_code_in_a_simulation_triggers_too():
    """A plain function that runs in a simulation triggers in that one's time."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", action=lambda: time.sleep(5))

    def main():
        machine.trigger("go")
        return machine.state

    outcome = simulate(main)
    assert outcome.result() == "b"
    assert outcome.duration == 5


def test_timers_of_blocking_code_go_on_beside_it():
    """Each blocking call has a loop of its own; a timer that one sets outlives it, on the simulation's clock."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go").add_transition("b", "c", after="10s")
    machine.add_transition("c", "d", after="10s")

    def main():
        machine.trigger("go")
        machine.trigger("nothing")
        time.sleep(11)
        first = machine.state
        machine.advance("10s")
        return first, machine.state

    assert run(main) == ("c", "d")


def test_each_run_is_a_life_of_its_own():
    """``run`` leaves the machine as it was, and copies its data, so that the next one begins anew."""
    machine = StateMachine("a", data={"seen": []})
    machine.add_transition("a", "a", "go", action=lambda context: context.data["seen"].append(context.event))
    machine.add_transition("a", "b", "stop", guard=lambda context: len(context.data["seen"]) == 2)
    for _ in range(2):
        assert run(machine, None, "go", "go", "stop") == "b"
        assert run(machine, None, "go", "stop") == "a"
    assert machine.state == "a"
    assert machine.data == {"seen": []}


def test_a_machine_with_a_final_state_runs_until_it_is_there():
    """``run`` waits for timers and for events of others; ``execute`` is its blocking form."""
    machine = StateMachine("a")
    machine.add_state("end", final=True)
    machine.add_transition("a", "b", after="1d")
    machine.add_transition("b", "end", after="1d")
    assert simulate(machine).duration == 2 * 86_400
    assert machine.execute() == "end"


def test_a_machine_that_nobody_triggers_is_a_deadlock():
    """Where a final state is to come and nothing can lead there any more, the run says so at once."""
    machine = StateMachine("a", name="lonely")
    machine.add_state("end", final=True)
    machine.add_transition("a", "end", "go")
    assert simulate(machine).outcome == "deadlock"


def test_a_script_of_events_payloads_and_time():
    """``run`` plays events, events with what comes with them, and times that pass."""
    seen = []
    machine = StateMachine("a")
    machine.add_transition(
        "a", None, "add", action=lambda context: seen.append((context.payload, context.input))
    )
    outcome = simulate(machine, "order", ("add", 1), timedelta(minutes=5), "add")
    assert seen == [(1, "order"), (None, "order")]
    assert outcome.duration == 300


# -- what answers an event --


def test_an_unnamed_transition_answers_any_event():
    """The first that may, in the order added; but an event that names a target asks for that one."""
    machine = StateMachine("running")
    machine.add_transition("running", "completed")
    machine.add_transition("running", "failed")
    assert run(machine, None, "finish") == "completed"
    assert run(machine, None, "failed") == "failed"
    assert run(machine, None, "completed") == "completed"


def test_the_name_of_a_state_asks_for_that_state():
    """An event that is the name of a state leads there or nowhere: not to another that happens to be next."""
    machine = StateMachine("pending")
    machine.add_transition("pending", "building")
    machine.add_transition("building", "testing")
    assert run(machine, None, "testing") == "pending"
    assert run(machine, None, "building", "testing") == "testing"


def test_a_named_transition_claims_its_event():
    """Where a transition names the event, an unnamed one does not answer it, also if the guard says no."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", guard=lambda: False)
    machine.add_transition("a", "c")
    assert run(machine, None, "go") == "a"
    assert run(machine, None, "other") == "c"


def test_a_wildcard_source_is_any_state_but_the_target():
    """Without a trigger it answers the name of its target only, so that no slip of the pen rolls back."""
    done = []
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go")
    machine.add_transition("*", "rollback", action=lambda: done.append("rollback"))
    machine.add_transition("*", None, "ping", action=lambda: done.append("ping"))
    assert run(machine, None, "go", "gone") == "b"
    assert run(machine, None, "go", "rollback", "rollback", "ping") == "rollback"
    assert done == ["rollback", "ping"]


def test_descriptors_match_as_in_scxml():
    """A trigger matches its event and all below it, by whole words; "*" matches all."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "error.bank")
    machine.add_transition("b", "c", ["x", "pay.*"])
    machine.add_transition("c", "d", "*")
    assert run(machine, None, "error", "error.bankrupt") == "a"
    assert run(machine, None, "error.bank.down", "pay") == "c"
    assert run(machine, None, "error.bank", "payment", "pay.card", "anything") == "d"


def test_an_event_that_nobody_answers():
    """It is ignored, and the history tells; a strict machine raises, and names where it is."""
    machine = StateMachine("a", name="strict", unhandled="raise")
    machine.add_transition("a", "b", "go")
    with pytest.raises(
        EventRefused, match="state machine 'strict' is in b, where nothing answers the event 'go'"
    ):
        run(machine, None, "go", "go")
    with pytest.raises(EventRefused, match=r"nothing answers the event 'goo'; did you mean 'go'\?"):
        run(machine, None, "goo")
    machine.unhandled = "ignore"
    outcome = simulate(machine, None, "go", "go")
    assert outcome.result() == "b"
    (drop,) = outcome.history.where(kind="drop")
    assert (drop.name, drop.data) == ("go", {"in": ["b"]})


def test_conditions_on_other_regions():
    """``in_state`` holds a transition back until another state is active."""
    machine = StateMachine("p")
    machine.add_state("p", parallel=True)
    for region in "xy":
        machine.add_state(region, parent="p")
        machine.add_state(f"{region}1", parent=region)
        machine.add_state(f"{region}2", parent=region)
    machine.add_transition("x1", "x2", "x", in_state="y2")
    machine.add_transition("y1", "y2", "y")
    assert run(machine, None, "x", "y") == ("x1", "y2")
    assert run(machine, None, "y", "x") == ("x2", "y2")


# -- order --


def nested(log):
    def note(word):
        def hook():
            log.append(word)

        return hook

    machine = StateMachine("A")
    machine.add_state("A", on_entry=note("+A"), on_exit=note("-A"))
    machine.add_state("a1", parent="A", on_entry=note("+a1"), on_exit=note("-a1"))
    machine.add_state("a2", parent="A", on_entry=note("+a2"), on_exit=note("-a2"))
    machine.add_state("B", on_entry=note("+B"), on_exit=note("-B"))
    machine.add_transition("a1", "a2", "next", action=note("next"))
    machine.add_transition("A", "a2", "out and in", action=note("external"))
    machine.add_transition("A", "a2", "inside", action=note("internal"), internal=True)
    machine.add_transition("A", None, "stay", action=note("stay"))
    machine.add_transition("A", "B", "leave", action=[note("one"), note("two")])
    return machine


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("next", ["-a1", "next", "+a2"]),
        ("out and in", ["-a1", "-A", "external", "+A", "+a2"]),
        ("inside", ["-a1", "internal", "+a2"]),
        ("stay", ["stay"]),
        ("leave", ["-a1", "-A", "one", "two", "+B"]),
    ],
)
def test_exits_actions_entries(event, expected):
    """Inner states are left first, then the actions come, then outer states are entered first."""
    log = []
    run(nested(log), None, event)
    assert log == ["+A", "+a1", *expected]


def test_what_a_function_raises_comes_before_what_waits_outside():
    """The internal queue is worked off before the next event; what a function sends waits its turn."""
    log = []

    async def first(context):
        await sleep(1)
        context.raise_event("inner")
        context.send("sent")

    async def main():
        machine = StateMachine("a")
        machine.add_transition("a", None, "first", action=first)
        for event in ("inner", "sent", "second"):
            machine.add_transition("a", None, event, action=lambda context: log.append(context.event))
        session = machine.session()
        await asyncio.gather(session.trigger("first"), session.trigger("second"))
        await session.wait(until_done=False)

    run(main)
    assert log == ["inner", "second", "sent"]


def test_one_event_at_a_time():
    """While an action takes its time, other events wait, each for its own result."""
    log = []

    async def slow(context):
        log.append(f"{context.payload} begins")
        await sleep(1)
        log.append(f"{context.payload} ends")
        return context.payload

    async def main():
        machine = StateMachine("a")
        machine.add_transition("a", "b", "go", action=slow)
        machine.add_transition("b", "a", "back", action=slow)
        session = machine.session()
        return await asyncio.gather(
            *(session.trigger(event, n) for n, event in enumerate(("go", "go", "back")))
        )

    assert run(main) == [True, False, True]
    assert log == ["0 begins", "0 ends", "2 begins", "2 ends"]


def test_an_action_may_trigger_its_own_machine():
    """From inside, ``trigger`` only puts the event in the queue: to wait for it would be to wait for itself."""

    async def main():
        machine = StateMachine("a")
        machine.add_transition("a", "b", "go", action=lambda: machine.trigger("on"))
        machine.add_transition("b", "c", "on")
        await machine.trigger("go")
        return machine.state

    assert run(main) == "c"


def test_whoever_is_cancelled_while_waiting_takes_his_event_back():
    """An event whose sender gives up before its turn is never handled, and the others still are."""

    async def main():
        machine = StateMachine("a", data={"n": 0})

        async def slow(context):
            await sleep(1)
            context.data["n"] += 1

        machine.add_transition("a", None, "go", action=slow)
        session = machine.session()
        tasks = [asyncio.create_task(session.trigger("go")) for _ in range(3)]
        await sleep(0.5)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        return session.data["n"], session.idle

    assert run(main) == (2, True)


def test_done_events_carry_the_output():
    """A final state raises ``done.state`` of what it ends, with its output; the last one ends the machine."""
    seen = []
    machine = StateMachine("work")
    machine.add_state("work")
    machine.add_state("doing", parent="work")
    machine.add_state("made", parent="work", final=True, output=lambda context: context.data["n"] * 2)
    machine.add_state("end", final=True, output="bye")
    machine.add_transition("doing", "made", "make", action=lambda context: context.data.update(n=21))
    machine.add_transition(
        "work", "end", "done.state.work", action=lambda context: seen.append(context.payload)
    )
    outcome = simulate(machine, None, "make")
    assert outcome.result() == "end"
    assert seen == [42]
    assert outcome.history.where(kind="done")[0].data == {"state": "end", "output": "bye"}


def test_a_parallel_state_is_over_when_all_its_regions_are():
    """The end of one region is no end; that of the last raises the event of the whole, also one level up."""
    machine = StateMachine("p").add_state("p", parallel=True)
    for region in "xy":
        machine.add_state(region, parent="p")
        machine.add_state(f"{region}1", parent=region).add_state(f"{region}2", parent=region, final=True)
        machine.add_transition(f"{region}1", f"{region}2", region)
    machine.add_state("both").add_transition("p", "both", "done.state.p")
    assert run(machine, None, "x") == ("x2", "y1")
    assert run(machine, None, "x", "y") == "both"
    assert run(machine, None, "y", "x") == "both"


@pytest.mark.parametrize(("kind", "expected"), [("shallow", ("b", "c1")), ("deep", ("b", "c2"))])
def test_history(kind, expected):
    """A history state brings back the child that was active, a deep one all the way down."""
    machine = StateMachine("A")
    machine.add_state("A")
    machine.add_state("memory", parent="A", history=kind)
    machine.add_state("a", parent="A")
    machine.add_state("b", parent="A")
    machine.add_state("c1", parent="b")
    machine.add_state("c2", parent="b")
    machine.add_state("off")
    machine.add_transition("a", "c2", "in")
    machine.add_transition("A", "off", "break")
    machine.add_transition("off", "memory", "resume")
    session_states = []

    async def main():
        session = machine.session()
        for event in ("in", "break", "resume"):
            await session.trigger(event)
        session_states.extend(session.states)

    run(main)
    assert tuple(session_states) == ("A", *expected)


# -- time --


def test_a_timeout_counts_from_the_entry_and_ends_with_it():
    """Leaving the state cancels its timer; to enter it again starts it anew."""
    machine = StateMachine("a")
    machine.add_transition("a", "late", after="10s")
    machine.add_transition("a", "b", "go")
    machine.add_transition("b", "a", "back")
    again = simulate(machine, None, timedelta(seconds=6), "go", "back", timedelta(seconds=6), "go")
    assert again.result() == "b"
    assert run(machine, None, timedelta(seconds=6), "go", "back") == "late"


def test_a_delayed_event_can_be_taken_back():
    """``send(after=...)`` comes later, unless ``cancel`` comes first."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", action=lambda context: context.send("late", after="1m", name="it"))
    machine.add_transition("b", "c", "late")
    machine.add_transition("b", None, "stop", action=lambda context: context.cancel("it"))
    assert simulate(machine, None, "go").result() == "c"
    assert simulate(machine, None, "go", "stop").result() == "b"


def test_a_timer_that_is_due_while_an_action_runs_waits():
    """If that action leaves the state, the timer is void, though its time had come."""

    async def slow():
        await sleep(10)

    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", action=slow)
    machine.add_transition("a", "late", after="5s")
    assert run(machine, None, "go") == "b"


# -- failures --


def fragile(**options):
    log = []
    machine = StateMachine("a", name="fragile", data={"n": 0}, **options)
    machine.add_state("a", on_exit=lambda: log.append("-a"))
    machine.add_state("b", on_entry=lambda: log.append("+b"))
    machine.add_state("wrong", on_entry=lambda context: log.append(type(context.error).__name__))

    def work(context):
        context.data["n"] += 1
        context.raise_event("never")

    def risky():
        log.append("risky")

    machine.add_transition("a", "b", "go", action=[work, risky])
    return machine, log


def test_a_failed_step_is_given_up_as_a_whole():
    """The machine stays where it was, with the data it had; the error comes to who triggered the event."""
    machine, _ = fragile()

    async def main():
        session = machine.session()
        with pytest.raises(ConnectionError, match="down") as caught:
            await session.trigger("go")
        first = (session.state, session.data["n"], list(session.internal))
        await session.trigger("go")
        return first, session.state, caught.value.__notes__

    first, after, notes = run(main, faults=[fail("risky", error=ConnectionError("down"), count=1)])
    assert first == ("a", 0, [])
    assert after == "b"
    assert notes == ["state machine 'fragile' stays in a"]


def test_a_transition_on_error_answers():
    """Then nothing is raised: the machine goes where that leads, and knows the error."""
    machine, log = fragile()
    machine.add_transition("*", "wrong", "error")
    assert run(machine, None, "go", faults=[fail("risky", error=ConnectionError)]) == "wrong"
    assert log == ["-a", "-a", "ConnectionError"]


def test_the_answer_to_an_error_may_fail_too():
    """Then that error is raised, and the machine does not go round in circles."""
    machine, _ = fragile()
    machine.add_transition("*", "wrong", "error", action=lambda: None)
    rules = [fail("risky", error=ConnectionError), fail(step="action*", error=OSError("no way back"))]
    with pytest.raises(OSError, match="no way back"):
        run(machine, None, "go", faults=rules)


def test_errors_may_continue_as_in_scxml():
    """With errors="continue" the step is made all the same, and the error is an event."""
    machine, log = fragile(errors="continue")
    machine.add_transition("b", "wrong", "error.execution")
    assert run(machine, None, "go", faults=[fail("risky", error=ConnectionError)]) == "wrong"
    assert log == ["-a", "+b", "ConnectionError"]


def test_a_guard_that_fails_raises():
    """A guard's error is no "no"."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", guard=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(machine, None, "go")


def test_an_action_under_a_retry():
    """``retry`` wraps the actions; when it gives up, the step is given up."""
    calls = []

    def work():
        calls.append(1)

    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", action=work, retry=Retry(attempts=3, delay="1s"))
    outcome = simulate(machine, None, "go", faults=[fail("work", attempts=[1, 2])])
    assert outcome.result() == "b"
    assert calls == [1]
    assert [op.attempt for op in outcome.history.where(kind="action", type="invoke")] == [1, 2, 3]
    with pytest.raises(RetriesExhausted):
        run(machine, None, "go", faults=[fail("work")])


def test_a_cancelled_action_gives_the_step_up():
    """A timeout around ``trigger`` leaves the machine where it was, ready for the next event."""
    machine = StateMachine("a")
    machine.add_transition("a", "b", "go", action=lambda: None)
    machine.add_transition("a", "c", "other")

    async def main():
        session = machine.session()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.trigger("go"), 5)
        await session.trigger("other")
        return session.state

    assert run(main, faults=[hang(step="action*")]) == "c"


def test_an_error_on_time_comes_out_of_run():
    """What fails when a timer is due has no sender; ``run`` raises it."""
    machine = StateMachine("a")
    machine.add_state("end", final=True)
    machine.add_transition("a", "end", after="1s", action=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(machine)


def test_steps_without_end_are_stopped():
    """Eventless transitions that come to no rest are an error that names the state, not a hang."""
    machine = StateMachine("a", name="round")
    machine.add_transition("a", "b", always=True)
    machine.add_transition("b", "a", always=True)
    with pytest.raises(DesignError, match="state machine 'round' made 1000 steps without an event"):
        run(machine)


# -- the history --


def test_the_history_tells_what_led_to_what():
    """Each transition is caused by its event, each call by it too, back to the machine's own start."""
    machine = StateMachine("a", name="told")
    machine.add_transition("a", "b", "go", guard=lambda: True, action=print)
    history = simulate(machine, None, "go").history
    (last,) = history.where(kind="transition", name="a -> b on go")
    assert last.data == {"on": "go", "from": ["a"], "to": ["b"], "taken": ["a -> b on go"]}
    assert [op.kind for op in history.lineage(last.index)] == ["transition", "trigger", "machine"]
    for call in (*history.where(kind="guard", type="invoke"), *history.where(kind="action", type="invoke")):
        assert history[call.cause].kind == "trigger"


def test_outside_a_simulation_nothing_is_recorded():
    """The same object works on a plain loop, where there is no history."""
    machine = door()
    assert asyncio.run(machine.session().trigger("push")) is True


def test_a_step_that_fails_leaves_the_data_as_they_were():
    """What its actions have changed, added or taken away before the one that fails is undone."""

    def change(context):
        context.data["kept"] = 2
        context.data["new"] = 1
        del context.data["old"]

    def refuse():
        raise ConnectionError("down")

    machine = StateMachine("idle", data={"kept": 1, "old": 1})
    machine.add_transition("idle", "busy", "go", action=[change, refuse])
    with pytest.raises(ConnectionError):
        machine.trigger("go")
    assert (machine.state, machine.data) == ("idle", {"kept": 1, "old": 1})
