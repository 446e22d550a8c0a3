"""The checkers against the real saga, and against sagas with planted bugs.

The oracle is the world itself: what the steps and compensations did, written down by them.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wfsim.checkers import (
    compensated_exactly_once,
    compensated_in_reverse,
    completed,
    dependencies_respected,
    retried_as_policy,
)
from wfsim.kernel import Simulation, cause_of, event, perform, sleep, span
from wfsim.nemesis import Rules, crash, delay, fail, lose_reply
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Saga, Task

ERRORS = (ConnectionError("down"), ValueError("no"), TimeoutError("late"))

retries = st.one_of(
    st.none(),
    st.builds(
        Retry,
        attempts=st.integers(1, 4),
        backoff=st.just("exponential"),
        delay=st.sampled_from(["0s", "1ms", "100ms"]),
        factor=st.sampled_from([1, 1.5, 2]),
        max_delay=st.sampled_from(["100ms", "1s"]),
        jitter=st.sampled_from(["none", "full", "equal", "decorrelated"]),
        retry_on=st.sampled_from(
            [Exception, OSError, (ConnectionError, KeyError), lambda error: "down" in str(error)]
        ),
    ),
)
names = [f"s{number}" for number in range(5)]
steps = st.fixed_dictionaries(
    {
        "millis": st.integers(0, 3),
        "compensatable": st.booleans(),
        "retry": retries,
        "compensate_retry": retries,
        "compensate_unknown": st.booleans(),
    }
)
where = st.fixed_dictionaries(
    {
        "on": st.sampled_from([None, "*", "compensate", "forward"]),
        "attempts": st.sampled_from([None, 1, 2, [1, 3], range(1, 4)]),
        "count": st.sampled_from([None, 1, 2]),
        "probability": st.sampled_from([1.0, 1.0, 0.5]),
        "after": st.sampled_from([None, None, "2ms"]),
        "point": st.sampled_from([None, None, None, "call", "reply"]),
    }
)
places = st.sampled_from([*names, "s*", "s[34]"])
faults = st.one_of(
    st.builds(
        lambda place, error, options: fail(place, error=error, **options),
        places,
        st.sampled_from(ERRORS),
        where,
    ),
    st.builds(lambda place, options: delay(place, "5ms", **options), places, where),
    st.builds(lambda place, options: lose_reply(place, **{**options, "point": None}), places, where),
)


SURE = {"millis": 1, "retry": None, "compensate_retry": None, "compensate_unknown": False}


class World:
    """Counts what was really done and undone."""

    def __init__(self):
        self.done = dict.fromkeys(names, 0)
        self.undone = dict.fromkeys(names, 0)
        self.order = []

    def does(self, name, millis):
        async def forward():
            await sleep(millis / 1000)
            self.done[name] += 1
            return name

        return forward

    def undoes(self, name, millis):
        async def compensate():
            await sleep(millis / 1000)
            self.undone[name] += 1
            self.order.append(name)

        return compensate


def build(world, plan):
    saga = Saga("checkout")
    for name, step in zip(names, plan, strict=False):
        undo = {"read_only": True}
        if step["compensatable"]:
            undo = {
                "compensate": world.undoes(name, step["millis"]),
                "compensate_retry": step["compensate_retry"],
                "compensate_unknown": step["compensate_unknown"],
            }
        saga.add_step(name, forward=world.does(name, step["millis"]), retry=step["retry"], **undo)
    return saga


@settings(deadline=None, max_examples=300)
@given(
    plan=st.lists(steps, min_size=1, max_size=5), rules=st.lists(faults, max_size=5), seed=st.integers(0, 9)
)
def test_verdicts_on_the_real_saga_are_those_of_the_world(plan, rules, seed):
    """Whatever the saga and the faults.

    Order and retries are right, and "exactly once" says what the world says.
    """
    world = World()
    saga = build(world, plan)
    simulation = Simulation(seed=seed, nemesis=Rules(rules))
    outcome = simulation.run(saga.run)
    history = simulation.recorder.history()

    assert completed(history).valid is True
    assert compensated_in_reverse(history).valid is not False
    verdict = retried_as_policy(history)
    assert verdict.valid is not False, verdict.message

    verdict = compensated_exactly_once(history)
    wrong = []
    for name, step in zip(names, plan, strict=False):
        if outcome.name == "ok":
            assert not world.undone[name]
        elif step["compensatable"]:
            # A compensation of a step in doubt is right if there was something to undo, and harmless if not.
            wanted = bool(world.done[name])
            if world.undone[name] != wanted and (wanted or world.undone[name] > 1):
                wrong.append(name)
    assert (verdict.valid is False) == bool(wrong), (verdict.message, wrong)
    for name in wrong:
        assert repr(name) in verdict.message


def test_crash_at_the_reply_leaves_the_effect_behind():
    """A step whose process crashed after its work, before the reply, did its work.

    One that crashed before did not.
    """
    for point, left in (("call", "'s0'"), ("reply", "'s0', 's1'")):
        saga = build(World(), [{**SURE, "compensatable": True}] * 2)
        simulation = Simulation(nemesis=Rules([crash("s1", point=point)]))
        simulation.run(saga.run)
        history = simulation.recorder.history()
        verdict = compensated_exactly_once(history)
        assert verdict.message.endswith(f"was cut off when process 'main' crashed; left behind: {left}")
        assert "it was cut off when process 'main' crashed" in completed(history).message


def test_timeout_that_a_fault_injected_before_the_call_leaves_no_doubt():
    """The history tells that such a step did nothing, though the saga could not know.

    So the verdict is certain.
    """
    for unknown in (False, True):
        saga = build(World(), [{**SURE, "compensatable": True, "compensate_unknown": unknown}] * 2)
        simulation = Simulation(nemesis=Rules([fail("s1", error=TimeoutError("late"))]))
        simulation.run(saga.run)
        assert compensated_exactly_once(simulation.recorder.history()).valid is True


class Textbook:
    """A saga written by hand, as in many a code base, with a bug planted on demand."""

    def __init__(self, count, failing, bug, retry=None):
        self.names = names[:count]
        self.failing = failing
        self.bug = bug
        self.retry = retry or {"attempts": 1}

    async def run(self):
        declared = [{"name": name, "compensatable": True, "retry": self.retry} for name in self.names]
        with span("saga", "textbook", "textbook", data={"steps": declared}) as whole:
            done = []
            try:
                for name in self.names:
                    await self.forward(name)
                    done.append(name)
            except ConnectionError as error:
                for name in self.way_back(done):
                    await self.undo(name, cause_of(error))
                whole.data = {"failed": self.names[self.failing]}
                if self.bug != "swallows the failure":
                    raise
            if self.bug == "undoes after success" and done:
                await self.undo(done[-1], None)

    def way_back(self, done):
        back = done[::-1]
        return {
            "first in, first out": done,
            "last, then forward": back[:1] + done[:-1],
            "misses one": back[1:],
            "misses all": [],
            "undoes one twice": back + back[:1],
            "undoes the failed step": [self.names[self.failing], *back],
            "undoes all steps": self.names[::-1],
        }.get(self.bug, back)

    async def forward(self, name):
        allowed = self.retry["attempts"] + {"tries once too often": 1, "tries once too seldom": -1}.get(
            self.bug, 0
        )
        cause = None
        for attempt in range(1, allowed + 1):
            try:
                await perform("forward", "textbook", name, self.work, name, attempt=attempt, cause=cause)
                return
            except ConnectionError as error:
                cause = cause_of(error)
                if attempt == allowed:
                    raise
                wait = self.retry["delay_ns"] * 2 ** (attempt - 1)
                data = {"policy": self.retry, "delay_ns": wait}
                event("retry", name, design="textbook", cause=cause, attempt=attempt, data=data)
                await sleep({"waits too long": 2, "does not wait": 0}.get(self.bug, 1) * wait / 1e9)

    async def work(self, name):
        await sleep(0.001)
        if self.names.index(name) == self.failing:
            raise ConnectionError("down")

    async def undo(self, name, cause):
        with contextlib.suppress(OSError):
            await perform("compensate", "textbook", name, self.unwork, name, cause=cause)

    async def unwork(self, name):
        await sleep(0.001)
        if self.bug == "swallows a failed compensation" and name == self.names[0]:
            raise OSError("no route")


def verdicts(design):
    simulation = Simulation()
    simulation.run(design.run)
    history = simulation.recorder.history()
    return {
        check.__name__: check(history)
        for check in (compensated_in_reverse, compensated_exactly_once, retried_as_policy)
    }


POLICY = {
    "attempts": 3,
    "backoff": "exponential",
    "factor": 2.0,
    "delay_ns": 10_000_000,
    "retry_on": ["OSError"],
}
sizes = st.tuples(st.integers(1, 5), st.integers(0, 5)).filter(lambda pair: pair[1] <= pair[0])


@given(sizes, st.sampled_from([None, POLICY]))
def test_correct_textbook_saga_is_not_blamed(size, retry):
    """A saga written by hand, without a bug, is never blamed."""
    for verdict in verdicts(Textbook(*size, "none", retry)).values():
        assert verdict.valid is not False, verdict.message


@pytest.mark.parametrize(
    ("bug", "checker", "least"),
    [
        ("first in, first out", "compensated_in_reverse", 2),
        ("last, then forward", "compensated_in_reverse", 3),
        ("misses one", "compensated_exactly_once", 1),
        ("misses all", "compensated_exactly_once", 1),
        ("undoes one twice", "compensated_exactly_once", 1),
        ("undoes the failed step", "compensated_exactly_once", 0),
        ("undoes all steps", "compensated_exactly_once", 0),
        ("swallows the failure", "compensated_exactly_once", 0),
        ("swallows a failed compensation", "compensated_exactly_once", 1),
    ],
)
def test_planted_bug_in_the_way_back_is_found(bug, checker, least):
    """Wherever the saga fails after `least` steps, the bug shows, and the right checker finds it.

    The other is silent.
    """
    for count in range(1, 6):
        for failing in range(least, count):
            found = verdicts(Textbook(count, failing, bug))
            assert found[checker].valid is False, (count, failing)
            if checker == "compensated_in_reverse":
                assert found["compensated_exactly_once"].valid is True


def test_planted_compensation_after_success_is_found():
    """A saga that undoes its last step although all went well."""
    assert verdicts(Textbook(3, 9, "undoes after success"))["compensated_exactly_once"].valid is False


@pytest.mark.parametrize(
    "bug", ["tries once too often", "tries once too seldom", "waits too long", "does not wait"]
)
def test_planted_bug_in_the_retry_is_found(bug):
    """A retry that differs from its policy in count or wait is found, and nothing else is blamed."""
    for failing in range(3):
        found = verdicts(Textbook(3, failing, bug, POLICY))
        assert found["retried_as_policy"].valid is False
        assert found["compensated_exactly_once"].valid is not False


# -- DAGs --


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 6)), st.integers(0, 3), retries), min_size=1, max_size=7),
    st.lists(
        st.builds(lambda place, options: fail(place, **{**options, "on": None, "point": None}), places, where)
        | st.builds(lambda place: delay(place, "5ms"), places),
        max_size=3,
    ),
    st.integers(0, 9),
)
def test_verdicts_on_the_real_dag(plan, rules, seed):
    """Whatever the DAG and the faults, no task starts early, retries are right, and all comes to an end."""
    world = World()
    world.done = {f"s{number}": 0 for number in range(len(plan))}
    dag = DAGWorkflow(
        Task(
            f"s{number}",
            run=world.does(f"s{number}", millis),
            depends_on=[f"s{other}" for other in sorted(others) if other < number],
            retry=retry,
        )
        for number, (others, millis, retry) in enumerate(plan)
    )
    simulation = Simulation(seed=seed, nemesis=Rules(rules))
    outcome = simulation.run(dag.run)
    history = simulation.recorder.history()
    assert dependencies_respected(history).valid is not False
    assert retried_as_policy(history).valid is not False
    assert completed(history).valid is True
    skipped = [op.name for op in history.where(kind="skip")]
    failed = (history[-1].data or {}).get("failed", [])
    assert {name for name, times in world.done.items() if times == 1} == set(world.done) - set(skipped) - set(
        failed
    )
    assert (outcome.name == "ok") is not bool(failed)


@settings(deadline=None, max_examples=50)
@given(st.lists(steps, min_size=2, max_size=5), st.integers(1, 40))
def test_cancelled_saga_is_never_blamed_for_its_retries(plan, when):
    """A saga cancelled at any moment compensates in order; it is not blamed for tries it could not make."""
    world = World()
    saga = build(world, plan)

    async def main():
        task = asyncio.create_task(saga.run())
        await sleep(when / 2000)
        task.cancel()
        await asyncio.wait([task])

    simulation = Simulation(nemesis=Rules([fail("s1", on="*", count=2), fail("s3", on="*", count=2)]))
    simulation.run(main)
    history = simulation.recorder.history()
    assume(history.where(kind="saga"))
    for checker in (compensated_in_reverse, retried_as_policy):
        verdict = checker(history)
        assert verdict.valid is not False, verdict.message
