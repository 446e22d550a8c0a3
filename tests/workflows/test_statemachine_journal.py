"""A machine with a journal: crash it wherever a crash can happen, and it comes to the same end."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wfsim import StateMachine, checkers, effect, simulate, sleep, start_process
from wfsim.errors import DesignError
from wfsim.kernel import Simulation
from wfsim.nemesis import Crash
from wfsim.storage import MemoryJournal, SQLiteJournal


class CrashAt:
    """Crashes the process at the fault points of these numbers, counted from 0; counts them all."""

    def __init__(self, *numbers):
        self.numbers = numbers
        self.seen = []

    def watches(self, _name):
        return ("call", "reply", "persist", "timer")

    def ask(self, at):
        self.seen.append((at.point, at.kind, at.name))
        return Crash(restart_after="30s") if len(self.seen) - 1 in self.numbers else None

    def heal(self):
        pass


def order(journal, **options):
    """Charges, waits for the parcel to be packed in two regions, ships it, and reminds after a while."""

    def doing(name):
        async def act(context):
            await sleep(1)
            context.data[name] = context.data.get(name, 0) + 1
            effect(name, context.id)

        act.__name__ = name
        return act

    machine = StateMachine("new", name="order", journal=journal, data={}, **options)
    machine.add_state("new")
    machine.add_state("paid", on_exit=doing("thank"))
    machine.add_state("packing", parallel=True, on_entry=doing("print label"))
    for region in ("box", "paper"):
        machine.add_state(region, parent="packing")
        machine.add_state(f"{region} open", parent=region)
        machine.add_state(f"{region} done", parent=region, final=True)
        machine.add_transition(f"{region} open", f"{region} done", after="5m", action=doing(f"pack {region}"))
    machine.add_state("shipped", on_entry=doing("ship"))
    machine.add_state("closed", final=True)
    machine.add_transition("new", "paid", "pay", action=[doing("charge"), doing("bill")])
    machine.add_transition(
        "paid", "packing", always=True, guard=lambda context: context.data.get("bill", 1) > 0
    )
    machine.add_transition("packing", "shipped", "done.state.packing", action=lambda c: c.raise_event("told"))
    machine.add_transition("shipped", None, "told", action=doing("tell"))
    machine.add_transition("shipped", "closed", after="1d")
    machine.add_transition("*", None, "note", action=doing("note"))
    return machine


EFFECTS = ["charge", "bill", "thank", "print label", "pack box", "pack paper", "ship", "tell", "note"]


async def live(machine):
    process = start_process("orders", machine.run, "order-1", "pay", timedelta(hours=1), "note")
    return await process


def play(*crashes, **options):
    journal = MemoryJournal()
    nemesis = CrashAt(*crashes)
    simulation = Simulation(nemesis=nemesis)
    outcome = simulation.run(live, order(journal, **options))
    history = simulation.recorder.history()
    assert outcome.value == "closed", (crashes, outcome.error)
    assert checkers.transitions_legal(history).valid is True
    assert checkers.reaches_final(history).valid is True
    done = [(op.name, op.data["key"]) for op in history.where(kind="effect")]
    return done, nemesis.seen, outcome.duration_ns


POINTS = range(len(play()[1]))


def test_there_are_enough_places_to_crash():
    """Every function has its two points, every record one, every timer one."""
    points = [point for point, _, _ in play()[1]]
    assert points.count("call") == points.count("reply") == len(EFFECTS) + 2
    assert points.count("timer") == 3
    assert points.count("persist") > 20


@pytest.mark.parametrize("at", POINTS)
def test_at_least_once(at):
    """After a crash anywhere no action is forgotten; one may come twice, under the same id: the one that ran."""
    done, seen, _ = play(at)
    assert list(dict.fromkeys(name for name, _ in done)) == EFFECTS or set(dict(done)) == set(EFFECTS)
    assert len(set(done)) == len(EFFECTS)
    repeated = len(done) - len(set(done))
    assert repeated <= (seen[at][0] in {"reply", "persist"})


@pytest.mark.parametrize("at", POINTS)
def test_at_most_once(at):
    """With marks made first no action comes twice; the one that was cut off may be missing."""
    done, _, _ = play(at, actions="at_most_once")
    assert len(done) == len(set(done))
    assert len(EFFECTS) - 1 <= len(done) <= len(EFFECTS)


@settings(max_examples=25, deadline=None)
@example([1, 9, 35])  # a transition that is kept, and whose process crashes before it can tell of it
@example([23, 90, 7])  # so too when it has come to its end
@given(st.lists(st.integers(0, 2 * len(POINTS)), min_size=2, max_size=5, unique=True))
def test_any_number_of_crashes(at):
    """Also under several crashes every action's work is done, once if the world looks at the id."""
    done, _, _ = play(*at)
    assert set(done) == set(play()[0])


def test_deadlines_do_not_move():
    """A timer is a point in time: after a crash the machine waits for what is left of it."""
    _, seen, plain = play()
    timers = [place for place, (point, _, _) in enumerate(seen) if point == "timer"]
    _, _, late = play(timers[-1])
    assert late - plain < 31 * 10**9


def test_data_and_memory_come_back():
    """What a machine knew, its history states and its queued events are as they were."""
    seen = []
    journal = MemoryJournal()
    machine = StateMachine("A", name="deep", journal=journal, data={"n": 0})
    machine.add_state("A").add_state("h", parent="A", history="deep").add_state("a", parent="A")
    machine.add_state("b", parent="A").add_state("off")
    machine.add_transition("a", "b", "in", action=lambda context: context.data.update(n=7))
    machine.add_transition("A", "off", "out", action=lambda context: context.send("back", after="1h"))
    machine.add_transition("off", "h", "back")

    async def main():
        first = machine.session("x", key="k")
        await first.trigger("in")
        await first.trigger("out")
        second = machine.session("ignored", key="k")
        await second.start()
        seen.append((second.state, second.data, second.input, second.event_number))
        await sleep(3_601)
        return second.state

    assert simulate(main).result() == "b"
    assert seen == [("off", {"n": 7}, "x", 2)]


def test_a_finished_machine_stays_finished():
    """To run it again under its key does nothing, and gives the same end."""
    journal = MemoryJournal()
    calls = []
    machine = StateMachine("a", name="once", journal=journal)
    machine.add_state("end", final=True, output="result")

    def work():
        calls.append(1)

    machine.add_transition("a", "end", "go", action=work)

    async def main():
        return await machine.run("k", "go"), await machine.run("k", "go"), await machine.run("other", "go")

    assert simulate(main).result() == ("end", "end", "end")
    assert calls == [1, 1]


def test_a_failed_action_is_not_done_again_by_itself():
    """A step that was given up stays given up after a crash: whoever triggers again begins a new one."""
    journal = MemoryJournal()
    calls = []
    machine = StateMachine("a", name="m", journal=journal)

    def work(context):
        calls.append(context.id)
        if len(calls) == 1:
            raise ConnectionError

    machine.add_transition("a", "b", "go", action=work)

    async def main():
        first = machine.session(key="k")
        with pytest.raises(ConnectionError):
            await first.trigger("go")
        second = machine.session(key="k")
        await second.start()
        before = list(calls)
        await second.trigger("go")
        return before, second.state

    before, state = simulate(main).result()
    assert len(before) == 1
    assert state == "b"
    assert len(set(calls)) == 2


def test_the_answer_to_an_error_survives_a_crash():
    """An error that a transition is to answer is durable: the rollback comes, whatever crashes in between."""
    for at in range(14):
        machine = StateMachine("a", name="m", journal=MemoryJournal())
        machine.add_state("rolled back", final=True)

        def deploy():
            raise ConnectionError("down")

        def undo(context):
            effect("undo", context.id)

        machine.add_transition("a", "b", "go", action=deploy)
        machine.add_transition("*", "rolled back", "error", action=undo)
        simulation = Simulation(nemesis=CrashAt(at))

        async def main(machine=machine):
            return await start_process("p", machine.run, "k", "go")

        assert simulation.run(main).value == "rolled back", at
        assert {op.data["key"] for op in simulation.recorder.history().where(kind="effect")} != set()


def test_on_a_real_disk(tmp_path):
    """The same machine keeps its journal in SQLite, on a plain asyncio loop, and goes on from there."""
    import asyncio

    def make():
        machine = StateMachine("a", name="m", journal=SQLiteJournal(tmp_path / "journal.db"), data={"n": 0})
        machine.add_transition("a", "b", "go", action=lambda context: context.data.update(n=1))
        machine.add_transition("b", "c", after="50ms")
        return machine

    async def first():
        await make().session(key="k").trigger("go")

    async def second():
        session = make().session(key="k")
        await session.start()
        before = session.state
        await session.wait(until_done=False)
        return before, session.state, session.data

    asyncio.run(first())
    assert asyncio.run(second()) == ("b", "c", {"n": 1})


def test_a_journal_of_another_version_is_refused():
    """A state that the machine has no more is named, with what it may be called now."""
    journal = MemoryJournal()

    async def main():
        old = StateMachine("a", name="m", journal=journal)
        old.add_transition("a", "waiting", "go")
        await old.session(key="k").trigger("go")
        new = StateMachine("a", name="m", journal=journal)
        new.add_transition("a", "waits", "go")
        await new.session(key="k").start()

    with pytest.raises(DesignError, match=r"a state in the journal is 'waiting'.*did you mean 'waits'"):
        simulate(main).result()


def test_records_are_plain():
    """Each record is JSON, and says what was done."""
    lines = []

    class Log(MemoryJournal):
        async def append(self, key, record):
            lines.append(json.loads(json.dumps(record)))
            await super().append(key, record)

    machine = StateMachine("a", name="m", journal=Log())
    machine.add_transition("a", "b", "go", action=lambda: None)
    simulate(machine, "k", "go")
    assert [line["do"] for line in lines] == ["step", "begin", "call", "step"]


def test_a_session_needs_a_key():
    """With a journal each life has a name in it."""
    machine = StateMachine("a", name="m", journal=MemoryJournal())
    machine.add_transition("a", "b")
    with pytest.raises(DesignError, match=r"each session needs a name in it: session\(key=\.\.\.\)"):
        simulate(machine).result()


def test_a_script_goes_on_after_its_last_event():
    """What was heard is not said again; time that follows the last event is not waited for twice."""
    machine = StateMachine("a", name="m", journal=MemoryJournal())
    machine.add_transition("a", None, ["x", "y"], action=lambda: None)

    async def main():
        script = (timedelta(minutes=1), "x", timedelta(hours=1), "y", timedelta(days=1))
        return await start_process("p", machine.run, "k", *script)

    for at, hours in ((5, 25), (16, 1)):
        machine.journal = MemoryJournal()
        simulation = Simulation(nemesis=CrashAt(at))
        outcome = simulation.run(main)
        heard = [op.name for op in simulation.recorder.history().where(kind="trigger")]
        assert heard.count("x") <= 2
        assert heard.count("y") == 1
        assert hours * 3_600 <= outcome.duration_ns / 10**9 < hours * 3_600 + 200


def test_a_timer_that_was_refused_is_spent():
    """Its guard said no when it was due: after a crash it does not come again, though the guard would agree."""
    journal = MemoryJournal()
    machine = StateMachine("a", name="m", journal=journal)
    answers = [False, True]
    machine.add_transition("a", "late", after="1m", guard=lambda: answers.pop(0))

    async def main():
        first = machine.session(key="k")
        await first.start()
        await sleep(61)
        second = machine.session(key="k")
        await second.start()
        await sleep(120)
        return second.state, answers

    assert simulate(main).result() == ("a", [True])


def relay(journal):
    """Three events that it sends itself, two of them in one step, each answered by a count; one key goes away."""

    def count(context):
        name = f"got {context.event}"
        context.data[name] = context.data.get(name, 0) + 1

    def send_two(context):
        count(context)
        del context.data["fresh"]
        context.send("ping")
        context.send("pong")

    machine = StateMachine("idle", name="relay", journal=journal, data={"fresh": True})
    machine.add_state("idle")
    machine.add_state("done", final=True)
    machine.add_transition("idle", None, "go", action=send_two)
    machine.add_transition("idle", None, "ping", action=[count, lambda context: context.send("over")])
    machine.add_transition("idle", None, "pong", action=count)
    machine.add_transition("idle", "done", "over", action=count)
    return machine


def relay_under(*crashes):
    journal, nemesis, seen = MemoryJournal(), CrashAt(*crashes), []

    async def main():
        machine = relay(journal)

        async def life():
            session = machine.session(key="r")
            await session.start()
            if session.data.get("got go") is None:
                await session.trigger("go")
            seen.append(dict(session.data))
            return session.state

        return await start_process("relay", life)

    outcome = Simulation(nemesis=nemesis).run(main)
    assert outcome.value == "done", (crashes, outcome.error)
    return seen[-1], len(nemesis.seen)


@pytest.mark.parametrize("at", range(relay_under()[1]))
def test_what_a_machine_sends_itself_arrives_once(at):
    """Crashed anywhere, each event is answered once, in order, and what was taken out of the data stays out."""
    assert relay_under(at)[0] == {"got go": 1, "got ping": 1, "got pong": 1, "got over": 1}
