"""A saga with a journal: wherever its process crashes, it goes on, and in the world it is whole or undone."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.checkers import (
    compensated_exactly_once,
    compensated_in_reverse,
    completed,
    effect_at_most_once,
    no_forward_after_compensation,
    nothing_left_behind,
    pivot_respected,
    reversed_in_order,
)
from wfsim.errors import CompensationStuck, CompletionStuck
from wfsim.kernel import Simulation, effect, sleep, start_process
from wfsim.nemesis import Crash, Rules, fail, lose_reply
from wfsim.storage import Disk, MemoryJournal, SQLiteJournal
from wfsim.units import parse_duration
from wfsim.workflows import Saga


class Always:
    """Contains everything."""

    def __contains__(self, _):
        return True


class CrashAt:
    """Crashes the worker at those of its fault points, counted from 1; beside that, follows rules."""

    def __init__(self, numbers, rules=()):
        self.numbers = numbers
        self.rules = Rules(rules)
        self.passed = 0

    def watches(self, _name):
        return Always()

    def ask(self, at):
        if at.process != "worker":
            return None
        self.passed += 1
        return Crash("1s") if self.passed in self.numbers else self.rules.ask(at)

    def heal(self):
        pass


class Shop:
    """Services that do the work of one idempotency key once, and undo only what they have done."""

    def __init__(self, millis=3):
        self.done = {}
        self.millis = millis

    def does(self, name):
        async def act(context):
            await sleep(self.millis / 1000)
            key = context.idempotency_key
            is_there = not key.endswith("/compensate") or key.removesuffix("/compensate") in self.done
            if key not in self.done and is_there:
                self.done[key] = name
                effect(name, "order-1")
            return name

        return act

    def looks(self, context):
        return list(context)


def row(shop, journal):
    saga = Saga("checkout", journal=journal)
    for name in "abc":
        saga.add_step(name, forward=shop.does(name), compensate=shop.does(f"un{name}"))
    return saga.add_step("d", forward=shop.does("d"))


def branches(shop, journal):
    saga = Saga("checkout", journal=journal, timeout="1h")
    saga.add_step("a", forward=shop.does("a"), compensate=shop.does("una"))
    saga.add_step("b", forward=shop.does("b"), compensate=shop.does("unb"), depends_on=["a"])
    saga.add_step("look", forward=shop.looks, read_only=True, depends_on=[])
    saga.add_step("c", forward=shop.does("c"), compensate=shop.does("unc"), depends_on=["a"])
    saga.add_step("d", forward=shop.does("d"), pivot=True)
    return saga.add_step("e", forward=shop.does("e"), retriable=True)


def nested(shop, journal):
    inner = Saga("inner").add_step("b", forward=shop.does("b"), compensate=shop.does("unb"))
    inner.add_step("c", forward=shop.does("c"), compensate=shop.does("unc"))
    saga = Saga("checkout", journal=journal)
    saga.add_step("a", forward=shop.does("a"), compensate=shop.does("una"))
    return saga.add_saga(inner).add_step("d", forward=shop.does("d"))


DESIGNS = {"row": row, "branches": branches, "nested": nested}
JOURNALS = {"memory": MemoryJournal, "sqlite": lambda: SQLiteJournal(":memory:")}
FAULTS = {
    "none": (),
    "last step fails": (fail("d", error=ConnectionError("down")),),
    "step in the middle fails": (fail("c", error=ConnectionError("down")),),
    "a compensation fails twice": (
        fail("d", error=ConnectionError("down")),
        fail("a", on="compensate", attempts=[1, 2]),
    ),
}


def play(design, journal, nemesis, seed=0, shop=None):
    """Run one instance in a process that crashes and comes back, until the instance has ended."""
    saga = design(shop or Shop(), journal)

    async def main():
        return await start_process("worker", saga.run, "order-1")

    simulation = Simulation(seed=seed, nemesis=nemesis)
    return simulation.run(main), simulation.recorder.history()


def reversals_of(effects):
    return {name: f"un{name}" if name in "abc" else None for name in effects}


def judge(history, effects, order=None):
    """Let every checker judge: none may object."""
    judges = (
        partial(nothing_left_behind, reversals=reversals_of(effects)),
        partial(reversed_in_order, reversals=reversals_of(effects), depends_on=order),
        effect_at_most_once,
        compensated_exactly_once,
        compensated_in_reverse,
        no_forward_after_compensation,
        pivot_respected,
        completed,
    )
    verdicts = [checker(history) for checker in judges]
    assert [verdict for verdict in verdicts if verdict.valid is False] == []
    assert verdicts[0].valid is not False
    return verdicts


@pytest.mark.parametrize("kind", JOURNALS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("design", DESIGNS)
def test_every_crash_point(design, fault, kind):
    """Each place at which the process can crash is tried; each time the world ends whole or undone."""
    effects = "abcde" if design == "branches" else "abcd"
    order = {"b": "a", "c": "a", "d": "abc", "e": "d"} if design == "branches" else None
    number, ends = 0, []
    while True:
        number += 1
        nemesis = CrashAt([number], FAULTS[fault])
        outcome, history = play(DESIGNS[design], JOURNALS[kind](), nemesis, seed=number)
        assert outcome.name == ("ok" if fault == "none" else "error"), outcome.error
        judge(history, effects, order)
        ends.append(len({op.name for op in history.where(kind="effect")}))
        if nemesis.passed < number:
            break
    assert number > 30
    assert set(ends) == {len(effects)} if fault == "none" else ends


def test_a_crash_after_the_crash():
    """Two crashes, at any two places near each other, are no worse than one."""
    for number in range(1, 70, 3):
        for gap in (1, 2, 5):
            nemesis = CrashAt([number, number + gap], FAULTS["last step fails"])
            outcome, history = play(row, MemoryJournal(), nemesis, seed=number)
            assert outcome.name == "error"
            judge(history, "abcd")


# -- time limits --


def limited(timeout, pivot=None):
    """A row of four steps of three milliseconds each, with a limit for the whole."""

    def design(shop, journal):
        saga = Saga("checkout", journal=journal, timeout=timeout)
        for name in "abcd":
            beyond = pivot is not None and name >= pivot
            options = {"pivot": name == pivot, "retriable": name != pivot} if beyond else {}
            undo = None if beyond or name == "d" else shop.does(f"un{name}")
            saga.add_step(name, forward=shop.does(name), compensate=undo, **options)
        return saga

    return design


@pytest.mark.parametrize("kind", JOURNALS)
@pytest.mark.parametrize("timeout", ["1005ms", "1010ms", "999ms", "1h"])
def test_a_crash_does_not_give_a_saga_more_time(timeout, kind):
    """Wherever it crashes: the limit counts from the first start, and the world ends whole or undone."""
    number, outcomes = 0, []
    while True:
        number += 1
        nemesis = CrashAt([number])
        outcome, history = play(limited(timeout), JOURNALS[kind](), nemesis, seed=number, shop=Shop(3))
        assert outcome.name == "ok" or isinstance(outcome.error, TimeoutError), outcome.error
        judge(history, "abcd")
        begun = [op.time_ns for op in history.where(kind="forward", type="invoke")]
        lives = [op.time_ns for op in history.where(kind="saga", type="invoke")]
        since = max(
            at for at in lives if at <= min(begun, default=at)
        )  # before that it had not begun, as far as the disk knows
        late = [at for at in begun if at >= since + parse_duration(timeout)]
        assert len(late) <= 1  # the step that the crash cut off is settled, however late
        if nemesis.passed < number:
            break
        outcomes.append(outcome.name)
    assert number > 30
    assert set(outcomes) == ({"ok"} if timeout == "1h" else {"ok", "error"})


@pytest.mark.parametrize("number", range(1, 60))
def test_past_the_pivot_a_crash_does_not_bring_the_limit_back(number):
    """A saga that came back late and past its pivot goes on to its end."""
    outcome, history = play(
        limited("500ms", pivot="b"), MemoryJournal(), CrashAt([number]), seed=number, shop=Shop(3)
    )
    judge(history, "a")
    assert (outcome.name == "ok") == bool(history.where(kind="effect", name="b"))


def test_time_runs_out_across_several_lives():
    """Each life gets what the ones before it have left: many crashes do not make many limits."""
    nemesis = CrashAt(range(8, 200, 8))
    outcome, history = play(limited("2500ms"), MemoryJournal(), nemesis, shop=Shop(3))
    assert "the time of saga 'checkout' was over when its process came back" in str(outcome.error)
    assert len(history.where(kind="process", name="restart")) >= 3
    judge(history, "abcd")


# -- sagas and faults of any kind --

names = list("abcdef")


@st.composite
def designs(draw):
    """A saga of a few steps in some order, with or without a pivot, that the laws allow."""
    count = draw(st.integers(1, 5))
    pivot = draw(st.none() | st.integers(0, count - 1))
    plan = []
    for number in range(count):
        some = draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else []
        after = draw(st.none() | st.just(some))
        if pivot is not None and number >= pivot:
            after = None  # before it all that can fail, after it all that cannot
        kind = "pivot" if number == pivot else "retriable" if pivot is not None and number > pivot else "step"
        plan.append((names[number], kind, after, draw(st.integers(0, 4))))
    return plan


def build(plan, unknown, shop, journal):
    saga = Saga("checkout", journal=journal)
    for name, kind, after, _ in plan:
        options = {"pivot": {"pivot": True}, "retriable": {"retriable": True}}.get(
            kind, {"compensate": shop.does(f"un{name}"), "compensate_unknown": unknown, "depends_on": after}
        )
        saga.add_step(name, forward=shop.does(name), **options)
    return saga


rules = st.lists(
    st.one_of(
        st.builds(lambda name, count: fail(name, count=count), st.sampled_from(names), st.integers(1, 3)),
        st.builds(lambda name: lose_reply(name, count=1), st.sampled_from(names)),
        st.builds(
            lambda name, count: fail(name, on="compensate", count=count),
            st.sampled_from(names),
            st.integers(1, 2),
        ),
        st.builds(lambda name: lose_reply(name, on="compensate", count=1), st.sampled_from(names)),
    ),
    max_size=3,
)


@settings(deadline=None, max_examples=150)
@given(
    plan=designs(),
    unknown=st.booleans(),
    rules=rules,
    crashes=st.lists(st.integers(1, 60), max_size=3),
    seed=st.integers(0, 99),
    disk=st.tuples(st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 0.5, 1])),
)
def test_a_right_saga_is_never_blamed(plan, unknown, rules, crashes, seed, disk):
    """Whatever the saga, its faults, its crashes and its disk: all checkers stay silent."""
    if not unknown:  # then a lost reply does leave something behind; a crash still does not
        rules = [rule for rule in rules if rule.fault.kind != "lose_reply" or rule.on == "compensate"]
    journal = MemoryJournal(Disk(survives=disk[0], tears=disk[1]))
    outcome, history = play(partial(build, plan, unknown), journal, CrashAt(crashes, rules), seed)
    pivots = [name for name, kind, _, _ in plan if kind == "pivot"]
    if isinstance(outcome.error, CompletionStuck):
        assert pivots  # its outcome stayed unknown, so there was no way that is certainly right
        return
    if isinstance(outcome.error, CompensationStuck):
        assert compensated_exactly_once(history, allow_stuck=True).valid is not False
        return
    reversals = {name: None if kind != "step" else f"un{name}" for name, kind, _, _ in plan}
    order, sofar = {}, []
    for name, _, after, _ in plan:
        order[name] = list(sofar) if after is None else after
        sofar.append(name)
    verdicts = [
        nothing_left_behind(history, reversals=reversals),
        reversed_in_order(history, reversals=reversals, depends_on=order),
        effect_at_most_once(history),
        compensated_exactly_once(history),
        compensated_in_reverse(history),
        no_forward_after_compensation(history),
        pivot_respected(history),
        completed(history),
    ]
    assert [verdict for verdict in verdicts if verdict.valid is False] == []


@pytest.mark.parametrize("design", DESIGNS)
def test_without_a_journal_a_crash_leaves_half(design):
    """The same designs without a journal are caught: what the first life did stands for ever, or twice."""
    caught = 0
    for number in range(1, 30):
        outcome, history = play(DESIGNS[design], None, CrashAt([number]), seed=number)
        reversals = reversals_of("abcde" if design == "branches" else "abcd")
        verdict = nothing_left_behind(history, reversals=reversals)
        caught += outcome.name == "ok" and verdict.valid is False
    assert caught > 2


def test_the_same_crash_the_same_history():
    """A crash and what it takes from the disk are the seed's: the history is the same, byte for byte."""
    histories = [play(branches, MemoryJournal(), CrashAt([17, 30]), seed=5)[1] for _ in range(2)]
    assert histories[0].fingerprint() == histories[1].fingerprint()
