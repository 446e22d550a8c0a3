"""Whether what matters more went first: judged from outside, silent on right schedulers, loud on wrong ones."""

from __future__ import annotations

import asyncio
from heapq import heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim import fail, simulate
from wfsim.capacity import Pool
from wfsim.checkers import priority_respected
from wfsim.kernel import perform, sleep, span
from wfsim.resilience import Retry
from wfsim.storage import MemoryJournal
from wfsim.workflows import DAGWorkflow
from wfsim.workflows._dag import _slots


def takes(seconds):
    async def work(*_results):
        await sleep(seconds)

    return work


def line(**options):
    """Four tasks for one slot; the last added matters most."""
    dag = DAGWorkflow(name="line", max_parallel=1)
    for number in range(4):
        dag.add_task(f"t{number}", run=takes(1), priority=number, **options)
    return dag


def first_come(self, _priority, who):
    self._came += 1
    heappush(self._line, (0, self._came, who))


def test_a_scheduler_that_forgets_priorities_is_caught(monkeypatch):
    """First come, first served is no order of priority."""
    assert priority_respected(simulate(line()).history).valid is True
    monkeypatch.setattr(_slots.Slots, "line_up", first_come)
    verdict = priority_respected(simulate(line()).history)
    assert verdict.valid is False
    assert "dag line: 't1' (priority 1) was started while 't2' (priority 2) waited" in verdict.message
    assert "dag line: 't0' (priority 0) was started while 't1' (priority 1) waited" in verdict.message


def test_what_becomes_ready_on_the_way_is_seen_too(monkeypatch):
    """A task counts from the moment at which what it depends on has ended."""

    def staged():
        dag = DAGWorkflow(name="staged", max_parallel=2)
        dag.add_task("long", run=takes(10)).add_task("begin", run=takes(1))
        for number in range(3):
            dag.add_task(f"low{number}", run=takes(4))
        return dag.add_task("high", run=takes(1), depends_on=["begin"], priority=5)

    right = simulate(staged())
    assert priority_respected(right.history).valid is True
    monkeypatch.setattr(_slots.Slots, "line_up", first_come)
    verdict = priority_respected(simulate(staged()).history)
    assert "'low1' (priority 0) was started while 'high' (priority 5) waited" in verdict.message


async def by_hand(order, priorities):
    """A scheduler of somebody else: one at a time, in an order of its own."""
    data = {"tasks": {name: [] for name in order}, "max_parallel": 1, "priorities": priorities}
    with span("dag", "hand", "hand", data=data):
        for name in order:
            await perform("task", "hand", name, takes(1))


def test_a_scheduler_of_any_make_is_judged():
    """It needs no more than what is recorded of tasks, their dependencies and priorities."""
    priorities = {"urgent": 10, "soon": 5}
    right = simulate(by_hand, ["urgent", "soon", "later"], priorities)
    assert priority_respected(right.history).valid is True
    wrong = simulate(by_hand, ["later", "soon", "urgent"], priorities)
    message = priority_respected(wrong.history).message
    assert "dag hand: 'later' (priority 0) was started while 'soon' (priority 5) waited" in message
    assert "dag hand: 'soon' (priority 5) was started while 'urgent' (priority 10) waited" in message


def test_a_pool_that_runs_share_is_one_line():
    """With ``tasks`` those stand in one line, of all runs together; wfsim's own pool serves who came first."""
    pool = Pool(1)

    def dag(name, priority):
        flow = DAGWorkflow(name=name)
        for number in range(2):
            flow.add_task(f"query{number}", run=takes(1), pool=pool, priority=priority)
        return flow

    async def both():
        await asyncio.gather(dag("low", 0).run(), dag("high", 9).run())

    history = simulate(both).history
    assert priority_respected(history).valid == "unknown"  # no line of the DAGs' own
    verdict = priority_respected(history, tasks=["query0", "query1"])
    assert "dag low: 'query1' (priority 0) was started while 'query0' (priority 9) waited" in verdict.message


@pytest.mark.parametrize("options", [{"retry": Retry(attempts=3, delay="1s")}, {"timeout": "5s"}])
def test_tries_stand_in_line_each(options):
    """Who waits for the next try does not stand in line, and whoever goes before is not to blame."""
    run = simulate(line(**options), faults=[fail("t3", attempts=[1]), fail("t2", count=1)])
    assert priority_respected(run.history).valid is True


@pytest.mark.parametrize(
    ("dag", "why"),
    [
        (DAGWorkflow(name="d").add_task("a", run=takes(1), priority=3), "no slots"),
        (DAGWorkflow(name="d", max_parallel=1).add_task("a", run=takes(1)), "no priorities"),
        (
            DAGWorkflow(name="d", max_parallel=1, journal=MemoryJournal())
            .add_task("a", run=takes(1))
            .add_task("b", run=takes(1), priority=1),
            "a journal",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_where_there_is_no_line_nothing_is_judged(dag, why):
    """Without slots, priorities, or with a journal between one task and the next, the verdict is open."""

    async def main():
        await dag.run(**({"key": "k"} if why == "a journal" else {}))

    assert priority_respected(simulate(main).history).valid == "unknown"


RULES = ("all_success", "all_done", "one_success", "one_done", "none_failed", "always")


@st.composite
def plans(draw):
    tasks = []
    for number in range(draw(st.integers(2, 8))):
        ups = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=2)) if number else []
        rule = draw(st.sampled_from(RULES)) if ups else None
        mapped = bool(ups) and rule != "always" and draw(st.integers(0, 3)) == 0
        tasks.append((ups, rule, draw(st.integers(0, 3)), draw(st.integers(0, 3)), mapped))
    return tasks


def built(tasks, slots):
    dag = DAGWorkflow(name="d", max_parallel=slots)
    for number, (ups, rule, priority, seconds, mapped) in enumerate(tasks):
        names = [f"t{up}" for up in ups]
        dag.add_task(
            f"t{number}",
            run=listing(seconds),
            depends_on=names,
            trigger_rule=rule,
            priority=priority,
            over=names[0] if mapped else None,
        )
    return dag


def listing(seconds):
    async def work(*_results):
        await sleep(seconds)
        return [1, 2]

    return work


@settings(max_examples=200, deadline=None)
@given(plans(), st.integers(1, 3), st.lists(st.integers(0, 7), max_size=2), st.integers(0, 9))
def test_a_right_scheduler_is_never_blamed(tasks, slots, failing, seed):
    """Whatever the DAG, its priorities, its failures: wfsim's own scheduler keeps the order."""
    faults = [fail(f"t{number}") for number in failing if number < len(tasks)]
    verdict = priority_respected(simulate(built(tasks, slots), seed=seed, faults=faults).history)
    assert verdict.valid is not False, verdict.message
