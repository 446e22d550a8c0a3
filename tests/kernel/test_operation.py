"""Operations: what is recorded, what leads to what, where faults strike."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from wfsim.errors import ReplyLost
from wfsim.kernel import (
    FaultPoint,
    Simulation,
    begin,
    call,
    cause_of,
    effect,
    end,
    event,
    fault_point,
    perform,
    perform_in,
    sleep,
    span,
)
from wfsim.nemesis import Rules, fail


@dataclass
class Strike:
    """A fault that raises what it is told."""

    error: BaseException | None
    kind: str = "fail"

    def describe(self):
        return {"rule": 0}

    async def strike(self, _simulation, _at):
        await sleep(1)
        if self.error is not None:
            raise self.error


@dataclass
class AtPoint:
    """A nemesis that strikes at one point."""

    point: str
    error: BaseException | None
    asked: list[FaultPoint] = field(default_factory=list)

    def ask(self, at):
        self.asked.append(at)
        return Strike(self.error) if at.point == self.point else None

    def heal(self):
        self.point = ""


def run(main, nemesis=None):
    simulation = Simulation(nemesis=nemesis)
    outcome = simulation.run(main)
    return outcome, simulation.recorder.history()


async def charge(amount: int) -> str:
    await sleep(2)
    return f"charged {amount}"


def test_perform_records_invoke_and_ok():
    """An operation that returns has an invoke and an ok with its value and its times."""

    async def main():
        return await perform("step", "checkout", "charge", charge, 7)

    outcome, history = run(main)
    assert outcome.value == "charged 7"
    invoke, ok = history
    assert (invoke.type, invoke.kind, invoke.design, invoke.name, invoke.attempt) == (
        "invoke",
        "step",
        "checkout",
        "charge",
        1,
    )
    assert (ok.type, ok.time_ns, ok.invoke, dict(ok.data)) == ("ok", 2_000_000_000, 0, {"value": "charged 7"})


@pytest.mark.parametrize(
    ("error", "type_", "effect"),
    [
        (ConnectionError("down"), "fail", None),
        (ReplyLost("gone"), "info", "happened"),
        (TimeoutError(), "info", "unknown"),
        (asyncio.CancelledError(), "info", "unknown"),
    ],
)
def test_the_outcome_of_an_operation_follows_its_error(error, type_, effect):
    """A plain error is a failure; where the caller cannot know, the outcome is info."""

    async def fails():
        raise error

    async def main():
        with pytest.raises(type(error)):
            await perform("step", "d", "s", fails)

    _, history = run(main)
    assert history[1].type == type_
    assert history[1].data.get("effect") == effect


def test_spans_are_parents_and_errors_name_their_causes():
    """What happens inside a span has it as parent; an outer failure names the inner one as its cause."""

    async def fails():
        event("note", "inside")
        raise ConnectionError("down")

    async def main():
        with span("saga", "checkout", "checkout") as saga:
            await perform("step", "checkout", "charge", fails)
        assert saga.index == 0

    outcome, history = run(main)
    saga, step, note, step_failed, saga_failed = history
    assert (step.parent, note.parent, step_failed.parent) == (saga.index, step.index, saga.index)
    assert saga_failed.invoke == saga.index
    assert saga_failed.cause == step_failed.index
    assert cause_of(outcome.error) == saga_failed.index


@pytest.mark.parametrize("point", ["call", "reply"])
def test_a_fault_strikes_before_the_call_or_before_the_reply(point):
    """At "call" the effect does not happen, at "reply" it has; the fault is the failure's cause."""
    effects: list[str] = []

    async def act():
        effects.append("done")

    async def main():
        with pytest.raises(KeyError):
            await perform("step", "d", "s", act)

    nemesis = AtPoint(point, KeyError("injected"))
    _, history = run(main, nemesis)
    assert effects == ([] if point == "call" else ["done"])
    invoke, fault, failed = history
    assert (fault.kind, fault.name, fault.parent, fault.data["point"]) == (
        "fault",
        "fail",
        invoke.index,
        point,
    )
    assert failed.cause == fault.index
    assert failed.time_ns == 1_000_000_000


def test_a_fault_that_only_delays_lets_the_call_go_on():
    """A strike that returns changes nothing but the time."""

    async def main():
        return await perform("step", "d", "s", charge, 1)

    outcome, _ = run(main, AtPoint("call", None))
    assert outcome.value == "charged 1"
    assert outcome.duration_ns == 3_000_000_000


def test_users_declare_fault_points_of_their_own():
    """A point in the user's code is offered to the nemesis under its name."""

    async def main():
        await fault_point("between write and fsync", name="journal")

    nemesis = AtPoint("", None)
    run(main, nemesis)
    assert [(at.point, at.name, at.process) for at in nemesis.asked] == [
        ("between write and fsync", "journal", "main")
    ]


def test_outside_a_simulation_everything_does_nothing():
    """On a plain asyncio loop perform is a call, spans and points are silent."""

    async def main():
        await fault_point("anything")
        assert event("note", "nothing") is None
        with span("saga", "d", "d") as it:
            assert it.index is None
        return await perform("step", "d", "s", quick, 3)

    async def quick(x):
        return x + 1

    assert asyncio.run(main()) == 4


@pytest.mark.parametrize("plain", [False, True])
def test_call_takes_any_kind_of_function(plain):
    """Coroutine functions, plain functions, and lambdas that return a coroutine give their value."""

    async def double(x):
        return 2 * x

    async def main():
        return [await call(double, 1), await call(lambda x: double(x + 0), 2), await call(lambda x: x + 1, 3)]

    outcome = asyncio.run(main()) if plain else run(main)[0].value
    assert outcome == [2, 4, 4]


def test_concurrent_operations_keep_their_own_parents():
    """Operations of tasks that run side by side do not become each other's children."""

    async def flow(name):
        with span("flow", name, name):
            await sleep(1)
            await perform("step", name, "s", sleep, 1)

    async def main():
        await asyncio.gather(flow("a"), flow("b"))

    _, history = run(main)
    flows = {op.name: op.index for op in history if op.kind == "flow" and op.type == "invoke"}
    assert {op.design: op.parent for op in history if op.kind == "step" and op.type == "invoke"} == flows


def test_a_failure_leaves_no_garbage():
    """What failed, by a fault or by itself, is freed at once: nothing is left that only the collector finds."""

    def garbage(failures: int) -> int:
        async def main():
            for _ in range(failures):
                with suppress(ConnectionError):
                    await perform("step", "d", "s", act)

        async def act():
            raise ConnectionError("by itself")

        Simulation(nemesis=Rules([fail("s", error=ConnectionError, probability=0.5)])).run(main)
        return gc.collect()

    gc.collect()
    gc.disable()
    try:
        assert garbage(200) - garbage(100) < 50
    finally:
        gc.enable()


@pytest.mark.parametrize("broken", [False, True])
def test_a_flow_that_knows_where_it_is_leaves_the_same_history(broken):
    """`begin`, `perform_in` and `end` write what `span` and `perform` write, in success and in failure."""

    async def act(fails=False):
        effect("done")
        await sleep(1)
        if fails:
            raise ConnectionError("down")
        return 5

    async def by_span():
        effect("before")
        with suppress(ConnectionError), span("flow", "d", "d", data={"steps": 2}) as whole:
            await perform("step", "d", "a", act)
            try:
                await perform("step", "d", "b", act, broken)
            except ConnectionError:
                whole.data = {"failed": "b"}
                await perform("undo", "d", "a", act)
                raise
        effect("after")

    async def knowing():
        effect("before")
        where = begin(("flow", "d", "d"), 1, None, {"steps": 2})
        with suppress(ConnectionError):
            try:
                await perform_in(where, ("step", "d", "a"), act)
                await perform_in(where, ("step", "d", "b"), act, (broken,))
            except ConnectionError:
                with span.begun(where) as whole:
                    whole.data = {"failed": "b"}
                    await perform("undo", "d", "a", act)
                    raise
            else:
                end(where)
        effect("after")

    told = [run(main, None)[1].to_jsonl() for main in (by_span, knowing)]
    assert told[0] == told[1]
    assert told[0].count("\n") == (13 if broken else 10)


def test_a_flow_outside_of_a_simulation_is_only_done():
    """On a plain loop `perform_in` calls the function, and nothing is recorded."""

    async def act(value):
        return value

    async def main():
        where = begin(("flow", "d", "d"))
        value = await perform_in(where, ("step", "d", "a"), act, (3,))
        end(where)
        return where, value

    assert asyncio.run(main()) == (None, 3)
