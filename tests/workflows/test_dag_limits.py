"""What a task has to wait for beside its dependencies: slots, pools, priorities; and how long a try may take."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from wfsim.capacity import Pool
from wfsim.checkers import parallelism_respected, retried_as_policy
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, delay, fail, hang
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Task


def waits(seconds):
    async def work(*_results):
        await sleep(seconds)

    return work


def play(run, faults=()):
    simulation = Simulation(nemesis=Rules(faults))
    outcome = simulation.run(run)
    if outcome.error is not None:
        raise outcome.error
    return outcome, simulation.recorder.history()


def started(history):
    return {op.name: op.time_ns / 1e9 for op in history.where(type="invoke", kind="task", attempt=1)}


def test_no_more_tasks_than_slots_are_at_work():
    """max_parallel=2 runs six tasks of a second in three seconds."""
    dag = DAGWorkflow([Task(name, run=waits(1)) for name in "abcdef"], max_parallel=2)
    outcome, history = play(dag.run)
    assert started(history) == {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2, "f": 2}
    assert outcome.duration_ns == 3_000_000_000
    assert parallelism_respected(history).valid is True


def test_plain_asyncio_has_the_same_slots():
    """The limit holds in production too."""
    at_work, most = [], []

    async def work():
        at_work.append(1)
        most.append(len(at_work))
        await asyncio.sleep(0.001)
        at_work.pop()

    asyncio.run(DAGWorkflow([Task(f"t{n}", run=work) for n in range(20)], max_parallel=3).run())
    assert max(most) == 3


def test_priority_comes_before_waiting_long():
    """Of those that wait for a slot the one with the highest priority goes first, then the one that came first."""
    dag = DAGWorkflow([Task("first", run=waits(1))], max_parallel=1)
    for name, priority in (("b", 0), ("c", 5), ("d", 5), ("e", -1)):
        dag.add_task(name, run=waits(1), priority=priority)
    dag["first"]  # it is the only one of priority 0 that came before b
    _, history = play(dag.run)
    assert list(started(history)) == ["c", "d", "first", "b", "e"]


def test_whoever_waits_for_the_next_try_gives_the_slot_away():
    """During a backoff somebody else is at work; the next try waits for a slot like any other."""
    dag = DAGWorkflow(max_parallel=1)
    dag.add_task("flaky", run=waits(1), retry=Retry(attempts=2, delay="1s", backoff="fixed"), priority=1)
    dag.add_task("long", run=waits(5))
    _, history = play(dag.run, [fail("flaky", attempts=1)])
    tries = [(op.name, op.time_ns / 1e9) for op in history.where(type="invoke", kind="task")]
    assert tries == [("flaky", 0), ("long", 0), ("flaky", 5)]
    assert parallelism_respected(history).valid is True


def test_a_pool_is_shared_between_dags():
    """Tasks of two DAGs that name one pool wait for each other, and those without it do not."""
    pool = Pool(1)
    one, two = (
        DAGWorkflow([Task("query", run=waits(2), pool=pool), Task("other", run=waits(1))], name=name)
        for name in ("one", "two")
    )

    async def both():
        await asyncio.gather(one.run(), two.run())

    outcome, history = play(both)
    assert outcome.duration_ns == 4_000_000_000
    assert {op.time_ns for op in history.where(type="invoke", name="other")} == {0}
    assert parallelism_respected(history, tasks=["query"], limit=1).valid is True


def test_who_waits_for_a_pool_keeps_no_slot_from_others():
    """A long line before a pool does not stop the tasks that do not need it."""
    pool = Pool(1)
    tasks = [Task(f"query{n}", run=waits(1), pool=pool) for n in range(4)]
    dag = DAGWorkflow([*tasks, Task("other", run=waits(1))], max_parallel=2)
    _, history = play(dag.run)
    assert started(history)["other"] == 0


def test_each_try_gets_the_timeout():
    """A try that takes too long fails with TimeoutError; the next one gets the whole time again."""
    dag = DAGWorkflow([Task("slow", run=waits(2), timeout="3s", retry=Retry(attempts=2, delay="1s"))])
    outcome, history = play(dag.run, [delay("slow", "5s", attempts=1)])
    assert outcome.duration_ns == 6_000_000_000
    first = history.where(kind="task", attempt=1)[-1]
    assert (first.type, first.data["effect"]) == ("info", "unknown")
    assert history[0].data["timeouts_ns"] == {"slow": 3_000_000_000}
    assert retried_as_policy(history).valid is True


def test_a_timeout_ends_a_try_that_hangs():
    """A task with a timeout cannot hang its DAG."""
    dag = DAGWorkflow([Task("stuck", run=waits(1), timeout="3s")])

    async def main():
        return await dag.settle()

    outcome, _ = play(main, [hang("stuck")])
    assert isinstance(outcome.value.error, TimeoutError)


def test_waiting_for_a_slot_does_not_count_against_the_timeout():
    """As in Airflow, the clock of a try starts when it does."""
    dag = DAGWorkflow([Task(name, run=waits(2), timeout="3s") for name in "abc"], max_parallel=1)
    assert play(dag.run)[0].duration_ns == 6_000_000_000


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(-2, 2)), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_slots_are_never_idle_and_never_too_many(jobs, slots):
    """With independent tasks each starts when a slot is free, in order of priority, then of coming."""
    dag = DAGWorkflow(max_parallel=slots)
    for number, (seconds, priority) in enumerate(jobs):
        dag.add_task(f"t{number}", run=waits(seconds), priority=priority)
    _, history = play(dag.run)
    free, expected = [0] * slots, {}
    for number in sorted(range(len(jobs)), key=lambda number: (-jobs[number][1], number)):
        start = min(free)
        free[free.index(start)] = start + jobs[number][0]
        expected[f"t{number}"] = start
    assert started(history) == expected
