"""Sagas without an orchestrator: the same steps, the same order, the same checkers."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.checkers import (
    compensated_exactly_once,
    compensated_in_reverse,
    effect_at_most_once,
    no_forward_after_compensation,
    nothing_left_behind,
    pivot_respected,
    reversed_in_order,
)
from wfsim.errors import CompensationStuck, CompletionStuck, DesignError, SagaFailed
from wfsim.kernel import Simulation, current, effect, sleep, spawn, start_process
from wfsim.nemesis import Crash, Fail, Rules, crash, delay, duplicate, fail, lose_event, reorder
from wfsim.resilience import Retry
from wfsim.storage import MemoryJournal
from wfsim.workflows import ChoreographedSaga, EventBus, LockTable, Saga


class Line:
    """A bus that delivers each event a moment later, some of them twice, and again until the handler returns."""

    def __init__(self, twice=0.0):
        self.handlers = {}
        self.twice = twice

    def subscribe(self, topic, handler):
        self.handlers.setdefault(topic, []).append(handler)

    def publish(self, event):
        for handler in self.handlers.get(event.topic, ()):
            stream = current().stream("line")
            for _ in range(1 + (stream.random() < self.twice)):
                spawn(self.deliver(handler, event, stream.random()))

    async def deliver(self, handler, event, after):
        await sleep(after)
        await handler(event)


class AtOnce(Line):
    """A bus that calls each subscriber before ``publish`` returns."""

    async def publish(self, event):
        for handler in list(self.handlers.get(event.topic, ())):
            await handler(event)


class Shop:
    """Services that do the work of one key once."""

    def __init__(self):
        self.done = {}

    def does(self, name):
        async def act(context):
            await sleep(0.01)
            if context.idempotency_key not in self.done:
                self.done[context.idempotency_key] = name
                effect(name, context.key)
            return name

        return act


def row(shop, **options):
    saga = Saga("checkout", **options)
    for name in "abc":
        saga.add_step(name, forward=shop.does(name), compensate=shop.does(f"un{name}"))
    return saga.add_step("d", forward=shop.does("d"))


def branches(shop, **options):
    saga = Saga("checkout", **options)
    saga.add_step("a", forward=shop.does("a"), compensate=shop.does("una"))
    saga.add_step("b", forward=shop.does("b"), compensate=shop.does("unb"), depends_on=["a"])
    saga.add_step("c", forward=shop.does("c"), compensate=shop.does("unc"), depends_on=["a"])
    saga.add_step("d", forward=shop.does("d"), pivot=True)
    return saga.add_step("e", forward=shop.does("e"), retriable=True)


ORDERS = {"row": None, "branches": {"b": "a", "c": "a", "d": "abc", "e": "d"}}
DESIGNS = {"row": row, "branches": branches}


def judge(history, effects, order=None):
    reversals = {name: f"un{name}" if name in "abc" else None for name in effects}
    verdicts = [
        nothing_left_behind(history, reversals=reversals),
        reversed_in_order(history, reversals=reversals, depends_on=order),
        effect_at_most_once(history),
        compensated_exactly_once(history),
        compensated_in_reverse(history),
        no_forward_after_compensation(history),
        pivot_respected(history),
    ]
    assert [verdict for verdict in verdicts if verdict.valid is False] == []
    return verdicts


down = ConnectionError("down")


@pytest.mark.parametrize("bus", [Line, AtOnce])
@pytest.mark.parametrize("design", DESIGNS)
def test_it_gives_the_results_of_the_orchestrated_saga(design, bus):
    """Whoever leads, the outcome is the same."""
    saga = DESIGNS[design](Shop())
    led = Simulation().run(saga.run).value
    assert Simulation().run(ChoreographedSaga(saga, bus()).run, "order").value == led


@pytest.mark.parametrize("bus", [Line, AtOnce])
@pytest.mark.parametrize("failing", "abcd")
@pytest.mark.parametrize("design", DESIGNS)
def test_it_compensates_in_reverse_without_being_told(design, failing, bus):
    """Whichever participant fails: the others undo their work, each after those that came after it."""
    simulation = Simulation(nemesis=Rules([fail(failing, error=down)]))
    outcome = simulation.run(ChoreographedSaga(DESIGNS[design](Shop()), bus()).run, "order")
    assert isinstance(outcome.error, SagaFailed)
    assert (
        str(outcome.error)
        == f"saga 'checkout' failed at step {failing!r} (ConnectionError: down) and was undone"
    )
    history = simulation.recorder.history()
    verdicts = judge(history, "abcde" if design == "branches" else "abcd", ORDERS[design])
    if failing != "a":
        assert [verdict.valid for verdict in verdicts[:5]] == [True] * 5


@settings(deadline=None, max_examples=60)
@given(
    design=st.sampled_from(sorted(DESIGNS)),
    failing=st.none() | st.sampled_from("abcd"),
    compensation=st.sampled_from([None, "a", "b"]),
    twice=st.sampled_from([0, 0.3, 1]),
    seed=st.integers(0, 999),
)
def test_events_may_come_late_twice_and_out_of_order(design, failing, compensation, twice, seed):
    """However the bus delivers: the world is whole or undone, and each effect happens once."""
    faults = [fail(failing, error=down)] if failing else []
    faults += [fail(compensation, on="compensate", count=2)] if compensation else []
    simulation = Simulation(seed=seed, nemesis=Rules(faults))
    saga = ChoreographedSaga(DESIGNS[design](Shop()), Line(twice))

    async def main():
        try:
            await saga.run("one", key=1)
        finally:
            await sleep(60)

    outcome = simulation.run(main)
    assert outcome.name == ("error" if failing else "ok"), outcome.error
    judge(simulation.recorder.history(), "abcde" if design == "branches" else "abcd", ORDERS[design])


def test_many_instances_run_side_by_side():
    """Participants tell instances apart by their keys."""
    saga = ChoreographedSaga(row(Shop()), Line(0.2))

    async def main():
        runs = (saga.run(f"order-{number}", key=number) for number in range(20))
        return await asyncio.gather(*runs, return_exceptions=True)

    simulation = Simulation(nemesis=Rules([fail("d", probability=0.5)]))
    outcome = simulation.run(main)
    failed = [value for value in outcome.value if isinstance(value, SagaFailed)]
    assert 0 < len(failed) < 20
    judge(simulation.recorder.history(), "abcd")


class Stubborn:
    """A bus whose listeners have names: it delivers to whoever bears the name now, until it is handled."""

    def __init__(self):
        self.listeners = {}

    def subscribe(self, topic, handler, *, group=None):
        self.listeners.setdefault(topic, {})[group] = handler, copy_context()

    def publish(self, event):
        for group in self.listeners.get(event.topic, ()):
            spawn(self.deliver(group, event))

    async def deliver(self, group, event):
        for _ in range(10):
            handler, place = self.listeners[event.topic][group]  # it runs in the process that subscribed
            handling = asyncio.get_running_loop().create_task(handler(event), context=place.copy())
            done, _ = await asyncio.wait([handling], timeout=5)
            if done:
                return


@pytest.mark.parametrize("step", "abc")
@pytest.mark.parametrize("point", ["call", "reply"])
@pytest.mark.parametrize("on", ["forward", "compensate"])
def test_a_participant_that_crashes_goes_on(step, point, on):
    """With a journal and an event that is delivered again, a participant neither repeats nor forgets its step."""
    bus = Stubborn()
    flow = ChoreographedSaga(row(Shop(), journal=MemoryJournal()), bus)

    async def service():
        flow.serve(step)
        await asyncio.Event().wait()

    async def main():
        flow.serve(*(name for name in "abcd" if name != step))
        start_process("service", service, restart_after=1)
        await sleep(0.1)
        return await flow.run("order-1")

    faults = [crash(step, point=point, on=on, process="service", count=1), fail("d", error=down)]
    simulation = Simulation(nemesis=Rules(faults))
    outcome = simulation.run(main)
    assert isinstance(outcome.error, SagaFailed), outcome.error
    history = simulation.recorder.history()
    assert [op.name for op in history.where(kind="process", process="service")] == ["crash", "restart"]
    judge(history, "abcd")


def test_a_compensation_that_fails_for_good_is_told():
    """CompensationStuck names the step; the others are undone all the same."""
    simulation = Simulation(nemesis=Rules([fail("d", error=down), fail("b", on="compensate")]))
    outcome = simulation.run(ChoreographedSaga(row(Shop()), Line()).run, "order")
    assert isinstance(outcome.error, CompensationStuck)
    assert outcome.error.undone == ("b",)
    effects = [op.name for op in simulation.recorder.history().where(kind="effect")]
    assert effects == ["a", "b", "c", "unc", "una"]


def test_past_the_pivot_a_choreography_is_stuck_like_any_saga():
    """A retriable participant that gives up turns nothing back."""
    shop = Shop()
    saga = Saga("s").add_step("a", forward=shop.does("a"), pivot=True)
    saga.add_step("b", forward=shop.does("b"), retriable=True, retry=Retry(attempts=2))
    outcome = Simulation(nemesis=Rules([fail("b")])).run(ChoreographedSaga(saga, Line()).run, "order")
    assert isinstance(outcome.error, CompletionStuck)
    assert outcome.error.unfinished == ("b",)


def test_half_a_step_is_undone_by_its_own_participant():
    """A step that is not atomic is compensated by whoever failed in it, before the others hear of it."""
    log = []

    async def half():
        log.append("half")
        raise down

    saga = Saga("s").add_step("a", forward=lambda: log.append("a"), compensate=lambda: log.append("una"))
    saga.add_step("b", forward=half, compensate=lambda: log.append("unb"), atomic=False)
    Simulation().run(ChoreographedSaga(saga, Line()).run, "order")
    assert log == ["a", "half", "unb", "una"]


def test_events_of_any_kind_and_groups_where_there_are_any():
    """The event is what ``event`` makes; a bus that has groups gets one for each listener."""
    groups = []

    class Grouping(Line):
        def subscribe(self, topic, handler, *, group=None):
            groups.append(group)
            super().subscribe(topic, handler)

    def event(topic, payload):
        return SimpleNamespace(topic=topic, data=payload)

    outcome = Simulation().run(ChoreographedSaga(row(Shop()), Grouping(), event=event).run, "order")
    assert outcome.name == "ok"
    assert {"checkout.a", "checkout.b", None} <= set(groups)


@settings(deadline=None, max_examples=40)
@given(
    design=st.sampled_from(sorted(DESIGNS)),
    failing=st.none() | st.sampled_from("abcd"),
    trouble=st.lists(
        st.sampled_from(
            [
                lose_event(probability=0.2),
                duplicate(probability=0.3),
                reorder(probability=0.3),
                delay(by="200ms", point="deliver", on="*", probability=0.2),
            ]
        ),
        max_size=3,
    ),
    seed=st.integers(0, 999),
)
def test_on_the_bus_of_this_library_with_its_troubles(design, failing, trouble, seed):
    """Events that are lost on the way, doubled, late or out of order change nothing but the time it takes."""
    faults = [*trouble, *([fail(failing, error=down)] if failing else [])]
    simulation = Simulation(seed=seed, nemesis=Rules(faults))
    saga = ChoreographedSaga(DESIGNS[design](Shop()), EventBus(delivery="at_least_once", max_deliveries=None))

    async def main():
        async with asyncio.timeout(3600):
            return await saga.run("one", key=1)

    outcome = simulation.run(main)
    assert outcome.name == ("error" if failing else "ok"), outcome.error
    assert not isinstance(outcome.error, TimeoutError)
    judge(simulation.recorder.history(), "abcde" if design == "branches" else "abcd", ORDERS[design])


@pytest.mark.parametrize("point", ["call", "reply"])
@pytest.mark.parametrize("on", ["forward", "compensate"])
@pytest.mark.parametrize("step", "abc")
def test_participants_are_processes_that_come_back(step, on, point):
    """On a bus that delivers again, a participant's process crashes, starts again and goes on from the journal."""
    saga = row(Shop(), journal=MemoryJournal())
    bus = EventBus(delivery="at_least_once", visibility_timeout="5s", max_deliveries=None)
    flow = ChoreographedSaga(saga, bus, restart_after="1s")
    faults = [crash(step, on=on, point=point, count=1), fail("d", error=down)]
    simulation = Simulation(nemesis=Rules(faults))
    outcome = simulation.run(flow.run, "order-1")
    assert isinstance(outcome.error, SagaFailed), outcome.error
    history = simulation.recorder.history()
    assert [op.process for op in history.where(kind="process", name="restart")] == [f"checkout.{step}"]
    judge(history, "abcd")


class CrashAt:
    """Crashes a process at one of its fault points, counted from 1; the last step fails."""

    def __init__(self, process, number):
        self.process, self.number, self.passed = process, number, 0

    def watches(self, _name):
        return ("call", "reply", "persist", "publish", "deliver", "ack")

    def ask(self, at):
        if at.process == self.process:
            self.passed += 1
            if self.passed == self.number:
                return Crash("1s")
        return Fail(down) if (at.name, at.kind, at.point) == ("d", "forward", "call") else None

    def heal(self):
        pass


@pytest.mark.parametrize("step", "abc")
def test_every_crash_point_of_a_participant(step):
    """Wherever it crashes, also when it has written its word down and not yet told it, the order is undone."""
    number = 0
    while True:
        number += 1
        saga = row(Shop(), journal=MemoryJournal())
        bus = EventBus(delivery="at_least_once", visibility_timeout="5s", max_deliveries=None)
        nemesis = CrashAt(f"checkout.{step}", number)
        simulation = Simulation(seed=number, nemesis=nemesis)
        outcome = simulation.run(ChoreographedSaga(saga, bus, restart_after="1s").run, "order-1")
        assert isinstance(outcome.error, SagaFailed), (number, outcome.error)
        judge(simulation.recorder.history(), "abcd")
        if nemesis.passed < number:
            break
    assert number > 10


def test_blocking_form():
    """``execute`` runs one instance in virtual time."""
    assert ChoreographedSaga(row(Shop()), Line()).execute("x") == {name: name for name in "abcd"}


def step(saga):
    return saga.add_step("a", forward=print)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ChoreographedSaga("saga", Line()), "takes a saga, not 'saga'"),
        (lambda: ChoreographedSaga(Saga("s"), Line()), "choreographed saga 's' has no steps"),
        (lambda: ChoreographedSaga(step(Saga("s")), object()), "needs a bus with subscribe(topic, handler)"),
        (lambda: ChoreographedSaga(step(Saga("s")), Line), "needs a bus with subscribe(topic, handler)"),
        (lambda: ChoreographedSaga(step(Saga("s")), Line(), event=7), "must make an event"),
        (
            lambda: ChoreographedSaga(step(Saga("s", timeout=1)), Line()),
            "nobody watches the time of the whole",
        ),
        (
            lambda: ChoreographedSaga(
                Saga("s").add_step("a", forward=print, locks=LockTable().lock("r")), Line()
            ),
            "step 'a' has locks, which takes an orchestrator",
        ),
        (
            lambda: ChoreographedSaga(Saga("s").add_saga(step(Saga("i"))), Line()),
            "step 'i' is a saga, which takes an orchestrator",
        ),
        (lambda: ChoreographedSaga(step(Saga("s")), Line()).serve("b"), "saga 's' has no participant 'b'"),
    ],
)
def test_what_has_no_meaning_without_an_orchestrator_is_refused(build, message):
    """It is refused when the choreography is built, and the part is named."""
    with pytest.raises(DesignError) as caught:
        build()
    assert message in str(caught.value)
