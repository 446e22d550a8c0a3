"""What a DAG does not finish: at the first failure, when nothing needs it any more, and when it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.kernel import Simulation, sleep
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Task
from wfsim.workflows._dag._slots import Slots


def waits(seconds=1.0, value=None, error=None, ended=None):
    async def work(*_results):
        try:
            await sleep(seconds)
        finally:
            if ended is not None:
                ended.append(seconds)
        if error is not None:
            raise error
        return value

    return work


def play(run):
    simulation = Simulation()
    outcome = simulation.run(run)
    return outcome, simulation.recorder.history()


def test_fail_fast_stops_what_runs_and_what_waits():
    """The first failure cancels the tasks that run and skips the others; the run ends at once."""
    ended = []
    dag = DAGWorkflow(fail_fast=True, max_parallel=2)
    dag.add_task("bad", run=waits(1, error=OSError("disk"))).add_task("long", run=waits(9, ended=ended))
    dag.add_task("queued", run=waits(1)).add_task("after", run=waits(1), depends_on=["long"])
    outcome, history = play(dag.settle)
    assert outcome.value.states == {
        "bad": "failed",
        "long": "cancelled",
        "queued": "skipped",
        "after": "skipped",
    }
    assert outcome.value.error.__notes__ == ["dag 'dag' failed at task 'bad'; skipped: queued, after"]
    assert outcome.duration_ns == 1_000_000_000
    assert ended == [9]
    assert history[-1].data["cancelled"] == ["long"]


def test_fail_fast_fails_the_run_though_its_leaves_are_only_skipped():
    """The failure that stopped the run is its error, also if nothing after it failed."""
    dag = DAGWorkflow([Task("bad", run=waits(1, error=OSError("disk")))], fail_fast=True)
    dag.add_task("after", run=waits(1), depends_on=["bad"])
    outcome, _ = play(dag.settle)
    assert outcome.value.states == {"bad": "failed", "after": "skipped"}
    assert str(outcome.value.error) == "disk"


def test_fail_fast_spares_teardowns():
    """What was set up is taken down, as in Airflow."""
    dag = DAGWorkflow(fail_fast=True).add_task("create", run=waits(1))
    dag.add_task("work", run=waits(9), depends_on=["create"]).add_task("bad", run=waits(2, error=OSError()))
    dag.add_task("delete", run=waits(1), depends_on=["work"], teardown_of=["create"])
    outcome, _ = play(dag.settle)
    assert outcome.value.states["delete"] == "success"
    assert outcome.duration_ns == 3_000_000_000


def test_fail_fast_waits_for_the_last_try():
    """A failure that is tried again is none yet."""
    tries = []

    async def flaky():
        tries.append(1)
        if len(tries) < 2:
            raise OSError

    dag = DAGWorkflow(
        [Task("flaky", run=flaky, retry=Retry(attempts=2)), Task("b", run=waits(5))], fail_fast=True
    )
    assert play(dag.run)[0].error is None


def race(**options):
    dag = DAGWorkflow(name="race", **options).add_task("source", run=waits(1))
    dag.add_task("quick", run=waits(1, "quick"), depends_on=["source"])
    dag.add_task("slow", run=waits(99, "slow"), depends_on=["source"])
    dag.add_task("prepare", run=waits(50)).add_task("late", run=waits(1), depends_on=["prepare"])
    rule = "one_success"
    dag.add_task("first", run=lambda *found: found, depends_on=["quick", "slow", "late"], trigger_rule=rule)
    return dag


def test_what_nothing_needs_is_cancelled_if_so_wished():
    """Once one_success has its one, the others and all that only they needed are cancelled or skipped."""
    outcome, _ = play(race(cancel_unneeded=True).run)
    assert outcome.duration_ns == 2_000_000_000
    assert outcome.value["first"] == ("quick", None, None)
    assert outcome.value.states == {
        "source": "success",
        "quick": "success",
        "slow": "cancelled",
        "prepare": "cancelled",
        "late": "skipped",
        "first": "success",
    }


def test_a_task_cancelled_before_its_first_step_gives_its_slot_back():
    """Begun and no longer needed at one instant: its slot is there for others."""
    dag = DAGWorkflow(max_parallel=2, cancel_unneeded=True)
    dag.add_task("one", run=waits(1)).add_task("two", run=waits(1))
    dag.add_task("slow", run=waits(99), depends_on=["one"])
    dag.add_task("first", run=lambda *_: 0, depends_on=["two", "slow"], trigger_rule="one_success")
    dag.add_task("left", run=waits(5), depends_on=["first"]).add_task(
        "right", run=waits(5), depends_on=["first"]
    )
    outcome, _ = play(dag.run)
    assert outcome.value.states["slow"] == "skipped"
    assert outcome.duration_ns == 6_000_000_000


def test_a_slot_given_to_who_is_cancelled_is_given_on():
    """Whoever is called to a slot and cancelled at the same instant does not keep it."""

    async def main():
        slots = Slots(1)
        await slots.take(0)
        waiting = asyncio.ensure_future(slots.take(0))
        await sleep(1)
        slots.free += 1
        slots.serve(lambda _unit: True)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return slots.free

    assert play(main)[0].value == 1


def test_what_nothing_needs_runs_on_if_nobody_said_otherwise():
    """Without the option every task runs to its end: it may do something that nobody depends on."""
    assert play(race().run)[0].duration_ns == 100_000_000_000


def test_what_something_else_needs_is_not_cancelled():
    """A task that another one still waits for, and one that is wanted for itself, go on."""
    dag = race(cancel_unneeded=True)
    dag.add_task("also", run=lambda slow: slow, depends_on=["slow"]).add_task("alone", run=waits(60, "alone"))
    outcome, _ = play(dag.run)
    assert outcome.value["also"] == "slow"
    assert outcome.value["alone"] == "alone"


def test_a_failed_branch_cancels_what_only_it_needed():
    """A task whose only dependant cannot run any more is cancelled too."""
    dag = DAGWorkflow(
        [Task("bad", run=waits(1, error=OSError())), Task("slow", run=waits(99))], cancel_unneeded=True
    )
    dag.add_task("both", run=waits(1), depends_on=["bad", "slow"])
    outcome, _ = play(dag.settle)
    assert outcome.value.states == {"bad": "failed", "slow": "cancelled", "both": "upstream_failed"}
    assert outcome.duration_ns == 1_000_000_000


@pytest.mark.parametrize("options", [{}, {"max_parallel": 1}])
def test_a_run_cancelled_at_its_very_start_ends(options):
    """A task that was cancelled before its first step does not keep the run waiting."""
    dag = DAGWorkflow([Task(name, run=waits(5), retry=Retry()) for name in "ab"], **options)
    dag.add_task("c", run=waits(5)).add_task("d", run=waits(5), depends_on=["c"])

    async def main():
        run = asyncio.ensure_future(dag.run())
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    assert play(main)[0].error is None
    asyncio.run(main())


def test_a_cancelled_run_says_what_it_left_out():
    """Every task that did not run is told of, and why."""
    dag = DAGWorkflow([Task("a", run=waits(5))]).add_task("b", run=waits(5), depends_on=["a"])

    async def main():
        async with asyncio.timeout(1):
            await dag.run()

    _, history = play(main)
    assert [(op.name, dict(op.data)) for op in history.where(kind="skip")] == [
        ("b", {"state": "skipped", "reason": "the run was cancelled"})
    ]
    assert history[-1].type == "info"


def test_a_task_that_ignores_its_cancellation_has_succeeded():
    """The run waits for a task that does not stop when it is told to, and takes its result."""

    async def stubborn():
        try:
            await sleep(9)
        except asyncio.CancelledError:
            await sleep(1)
        return "done"

    dag = DAGWorkflow(
        [Task("stubborn", run=stubborn), Task("bad", run=waits(1, error=OSError()))], fail_fast=True
    )
    outcome, _ = play(dag.settle)
    assert outcome.value.states["stubborn"] == "success"
    assert outcome.duration_ns == 2_000_000_000


def test_tasks_do_not_see_each_others_context():
    """A context variable that one task sets is not set in the next; what the caller set is, in all."""
    from contextvars import ContextVar

    who = ContextVar("who", default="nobody")

    async def a():
        who.set("a")

    dag = DAGWorkflow([Task("a", run=a)])

    @dag.task(depends_on=["a"])
    async def b():
        return who.get()

    async def main():
        who.set("caller")
        return await dag.run()

    assert play(main)[0].value["b"] == "caller"
    assert asyncio.run(main())["b"] == "caller"
