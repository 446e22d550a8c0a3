"""Bugs that real sagas had, each rebuilt small as somebody might write it; the checkers find every one.

Each orchestrator comes twice: once it tells the history only what happens in the world (``effect``), once also
what it does (``span`` and ``perform``), as a flow of one's own would.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest

from wfsim import simulate
from wfsim.checkers import (
    compensated_exactly_once,
    compensated_in_reverse,
    effect_at_most_once,
    no_forward_after_compensation,
    nothing_left_behind,
    reversed_in_order,
)
from wfsim.errors import CompensationStuck
from wfsim.kernel import effect, perform, sleep, span, start_process
from wfsim.nemesis import crash, fail
from wfsim.workflows import Saga

STEPS = ("1", "2", "3", "4")
REVERSALS = {name: f"undo {name}" for name in STEPS}
ledger = partial(nothing_left_behind, reversals=REVERSALS)
order = partial(reversed_in_order, reversals=REVERSALS)


class Told:
    """What an orchestrator tells: nothing but its effects, or also what it does."""

    def __init__(self, *, everything):
        self.everything = everything

    def saga(self, key="k"):
        steps = [{"name": name, "compensatable": True, "retry": None} for name in (*STEPS, "pay")]
        return span("saga", "trip", "trip", data={"steps": steps, "key": key})

    async def does(self, kind, name):
        what = name if kind == "forward" else f"undo {name}"

        async def act():
            await sleep(0.01)
            if name == "pay":
                raise ConnectionError("no money")
            effect(what, "k")

        await (perform(kind, "trip", name, act) if self.everything else act())


async def up_to_the_failure(told):
    for name in STEPS:
        await told.does("forward", name)
    await told.does("forward", "pay")


def naive(told, undo):
    """An orchestrator that compensates in the order that ``undo`` gives."""

    async def run():
        with told.saga():
            try:
                await up_to_the_failure(told)
            except ConnectionError:
                for name in undo:
                    await told.does("compensate", name)
                raise

    return run


def judge(run, checkers, **options):
    history = simulate(run, **options).history
    return [checker(history).valid for checker in checkers]


both = pytest.mark.parametrize("everything", [False, True], ids=["effects", "operations"])


@both
def test_the_right_order(everything):
    """4, 3, 2, 1 is right, and no checker objects."""
    verdicts = judge(naive(Told(everything=everything), "4321"), [ledger, order])
    assert verdicts == [True, True]
    if everything:
        run = naive(Told(everything=True), "4321")
        checkers = [compensated_in_reverse, compensated_exactly_once, no_forward_after_compensation]
        assert judge(run, checkers) == [True, True, True]


@both
@pytest.mark.parametrize("undo", ["4123", "1234", "4312", "3421"])
def test_compensation_in_another_order(undo, everything):
    """The last one and then from the first on, first in first out, and neighbours swapped: all are found.

    All is undone in the end, so the ledger alone is content.
    """
    run = naive(Told(everything=everything), undo)
    assert judge(run, [ledger, order]) == [True, False]
    if everything:
        assert judge(run, [compensated_in_reverse, compensated_exactly_once]) == [False, True]


@both
def test_compensation_run_twice_when_a_failed_saga_is_started_again(everything):
    """A redelivered message starts the failed saga once more; its list of what to undo is still full."""
    told = Told(everything=everything)
    executed = []

    async def run():
        with told.saga():
            try:
                for name in (*STEPS, "pay"):
                    if name not in executed:
                        await told.does("forward", name)
                        executed.append(name)
            except ConnectionError:
                for name in reversed(executed):  # never cleared
                    await told.does("compensate", name)
                raise

    async def twice():
        for _ in range(2):
            with suppress(ConnectionError):
                await run()

    history = simulate(twice).history
    assert [ledger(history).valid, effect_at_most_once(history).valid] == [False, False]
    assert "'undo 4' took back '4' a second time" in ledger(history).message
    if everything:
        verdict = compensated_exactly_once(history)
        assert verdict.valid is False
        assert "'4' was compensated twice" in verdict.message


@both
def test_a_crash_inside_a_compensation_reruns_the_failed_step(everything):
    """After the restart the orchestrator finds the failed step not done and tries it, on its way back."""
    told = Told(everything=everything)
    journal = []
    calls = []

    async def pay():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("no money")
        effect("4", "k")  # this time it works

    async def run():
        with told.saga():
            try:
                for name in ("1", "2", "3"):
                    if name not in journal:
                        await told.does("forward", name)
                        journal.append(name)
                await (perform("forward", "trip", "4", pay) if everything else pay())
            except ConnectionError:
                for name in [name for name in reversed(journal) if f"-{name}" not in journal]:
                    await told.does("compensate", name)
                    journal.append(f"-{name}")
                    if name == "3":
                        await perform("note", "trip", "half way", sleep, 0.01)
                raise

    async def main():
        await start_process("worker", run, restart_after=1)

    def fresh():
        journal.clear()
        calls.clear()
        return simulate(main, faults=[crash("half way", count=1)]).history

    assert ledger(fresh()).valid is False
    if everything:
        verdict = no_forward_after_compensation(fresh())
        assert verdict.valid is False
        assert "saga trip ran '4' again after it had begun to compensate" in verdict.message


@both
def test_a_compensation_error_swallowed(everything):
    """The orchestrator logs the error of a compensation and calls itself compensated."""
    told = Told(everything=everything)

    async def run():
        with told.saga():
            try:
                await up_to_the_failure(told)
            except ConnectionError as error:
                for name in reversed(STEPS):
                    try:
                        if name == "2":
                            await (perform("compensate", "trip", name, broken) if everything else broken())
                        else:
                            await told.does("compensate", name)
                    except OSError:
                        pass
                raise ConnectionError("compensated") from error

    async def broken():
        raise OSError("no route")

    verdict = ledger(simulate(run).history)
    assert verdict.valid is False
    assert verdict.message == "k: '2' stands, with '1', '3', '4' undone"
    if everything:
        verdict = compensated_exactly_once(simulate(run).history)
        assert verdict.valid is False
        assert verdict.message.endswith("the saga does not say so")


@both
def test_a_compensation_registered_after_a_step_that_is_not_atomic(everything):
    """The step books two seats and fails between them; nothing was registered yet to give the first back."""
    told = Told(everything=everything)

    async def book():
        effect("3", "k")
        raise ConnectionError("the second seat is taken")

    async def run():
        undo = []
        with told.saga():
            try:
                for name in ("1", "2"):
                    await told.does("forward", name)
                    undo.append(name)
                await (perform("forward", "trip", "3", book) if everything else book())
                undo.append("3")
            except ConnectionError:
                for name in reversed(undo):
                    await told.does("compensate", name)
                raise

    verdict = ledger(simulate(run).history)
    assert verdict.valid is False
    assert verdict.message == "k: '3' stands, with '1', '2' undone and '4' never done"


# -- the same situations, with the saga of this library --


def trip(*, atomic=True):
    async def act(what):
        await sleep(0.01)
        effect(what, "k")

    async def book():
        effect("3", "k")
        raise ConnectionError("the second seat is taken")

    saga = Saga("trip")
    for name in STEPS:
        forward = book if name == "3" and not atomic else partial(act, name)
        saga.add_step(
            name, forward=forward, compensate=partial(act, f"undo {name}"), atomic=atomic or name != "3"
        )
    return saga.add_step("pay", forward=lambda: effect("paid", "k"))


down = ConnectionError("no money")


def test_the_saga_of_this_library_keeps_the_order():
    """Reverse order, once, nothing left."""
    history = simulate(trip(), faults=[fail("pay", error=down)]).history
    checkers = (ledger, order, compensated_in_reverse, compensated_exactly_once, effect_at_most_once)
    assert [checker(history).valid for checker in checkers] == [True] * 5


def test_the_saga_of_this_library_tells_of_a_failed_compensation():
    """It raises CompensationStuck with the step's name; the world and the report agree."""
    run = simulate(trip(), faults=[fail("pay", error=down), fail("2", on="compensate")])
    assert isinstance(run.error, CompensationStuck)
    assert run.error.undone == ("2",)
    assert ledger(run.history).message == "k: '2' stands, with '1', '3', '4' undone"
    assert compensated_exactly_once(run.history, allow_stuck=True).valid is True


def test_the_saga_of_this_library_undoes_half_a_step():
    """With atomic=False a step that failed half done is compensated like one that succeeded."""
    run = simulate(trip(atomic=False))
    assert isinstance(run.error, ConnectionError)
    assert ledger(run.history).valid is True
    assert compensated_exactly_once(run.history).valid is True
    assert compensated_in_reverse(run.history).valid is True
