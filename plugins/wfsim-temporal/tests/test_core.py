"""What Core and the server do in the fine print: order of jobs, seeds, commands that come too late."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

import wfsim


@activity.defn
async def work() -> str:
    await asyncio.sleep(1)
    return "done"


@activity.defn
async def fails() -> None:
    raise ValueError


@workflow.defn
class Listener:
    """Returns what it was told by the time its activity is done."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.execute_activity(work, start_to_close_timeout=timedelta(seconds=5))
        return self.told

    @workflow.signal
    def tell(self, what: str) -> None:
        self.told.append(what)


async def tell_at(client, *times):
    handle = await client.start_workflow(Listener.run, id="listener", task_queue="wfsim")
    began = 0.0
    for time in times:
        await asyncio.sleep(time - began)
        began = time
        await handle.signal(Listener.tell, f"at {time}")
    return await handle.result()


def listen(simulate, *times, faults):
    return simulate(tell_at, *times, workflows=[Listener], activities=[work], faults=faults)


def test_signals_come_before_results_in_one_task(simulate):
    """The activity ends first, but the task that tells of it is late, and brings the signal of 1.5 s too: first."""
    slow = wfsim.delay("Listener", "2s", on="workflow_task", attempts=2)
    run = listen(simulate, 0.5, 1.5, faults=[slow])
    assert run.result() == ["at 0.5", "at 1.5"]


def test_a_workflow_cannot_end_without_what_came_in_meanwhile(simulate):
    """The last task is slow; a signal that arrives while it is under way fails it, and the next task knows of it."""
    slow = wfsim.delay("Listener", "1s", on="workflow_task", attempts=2, point="reply")
    run = listen(simulate, 1.5, faults=[slow])
    assert run.result() == ["at 1.5"]
    assert "WORKFLOW_TASK_FAILED" in run.events("listener")


def test_a_lost_completion_of_a_task_times_out(simulate):
    """The worker did the task, the server never heard of it: after ten seconds it is done again by replay."""
    run = listen(simulate, faults=[wfsim.lose_reply("Listener", on="workflow_task", attempts=1)])
    assert run.result() == []
    assert "WORKFLOW_TASK_TIMED_OUT" in run.events("listener")
    assert run.duration > 10


@workflow.defn
class Dice:
    """What it does next depends on its own random numbers."""

    @workflow.run
    async def run(self) -> int:
        sixes = 0
        for _ in range(20):
            if workflow.random().random() < 0.5:
                await workflow.sleep(1)
            else:
                sixes += 1
                await workflow.execute_activity(work, start_to_close_timeout=timedelta(seconds=5))
        return sixes


def test_random_numbers_are_those_of_core(simulate):
    """The real Replayer draws the same, which the fixture checks: the seed is derived from the run id as in Core."""
    assert 0 < simulate(Dice, activities=[work]).result() < 20


@workflow.defn
class Hopeless:
    @workflow.run
    async def run(self) -> None:
        policy = RetryPolicy(maximum_attempts=3)
        await workflow.execute_activity(
            fails, start_to_close_timeout=timedelta(seconds=5), retry_policy=policy
        )


def test_the_maximum_of_attempts_is_kept(simulate):
    """Three attempts are three."""
    run = simulate(Hopeless, activities=[fails])
    assert run.error.cause.retry_state.name == "MAXIMUM_ATTEMPTS_REACHED"
    assert len(run.history.where(kind="activity", type="invoke")) == 3
