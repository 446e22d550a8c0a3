"""Workflows that come to no end: who waits for nobody, blocks, loops or swallows its cancellation is told of."""

import asyncio
import random
import socket
import threading
import time
from datetime import timedelta

import pytest
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from wfsim_temporal import WorkflowTaskStuck
from wfsim_temporal.core import _watchdog

from wfsim.errors import Deadlock, RealIOError

nobody_sets_this = threading.Event()
A_MINUTE = {"schedule_to_close_timeout": timedelta(minutes=1)}


@pytest.fixture
def impatient(monkeypatch, unreplayed):
    """Look after endless code more often than is good for a machine under load."""
    monkeypatch.setattr(_watchdog, "PATIENCE_S", 0.2)
    monkeypatch.setattr(_watchdog, "_LOOK_S", 0.1)


@workflow.defn
class WaitsForNobody:
    def __init__(self) -> None:
        self.approved = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.approved)


def test_a_condition_that_never_holds_is_told_with_its_line(simulate):
    """A deadlock names the workflow and the line of its own code that waits."""
    run = simulate(WaitsForNobody, workflow_id="order-1")
    assert isinstance(run.error, Deadlock)
    assert "WaitsForNobody 'order-1' waits at test_stuck.py:" in run.error.__notes__[0]


def test_a_misspelt_task_queue_is_told(simulate):
    """A workflow that no worker takes is told with the queue that it waits in."""

    async def main(client):
        await client.execute_workflow(WaitsForNobody.run, id="order-1", task_queue="ordres")

    run = simulate(main, workflows=[WaitsForNobody])
    assert "waits for a worker of task queue 'ordres'" in "".join(run.error.__notes__)


@workflow.defn
class Sleeps:
    @workflow.run
    async def run(self, seconds: float) -> str:
        time.sleep(seconds)
        return "awake"


@workflow.defn(sandboxed=False)
class SleepsOutsideOfTheSandbox(Sleeps):
    @workflow.run
    async def run(self, seconds: float) -> str:
        return await super().run(seconds)


@pytest.mark.usefixtures("unreplayed")
@pytest.mark.parametrize(("kind", "seconds"), [(Sleeps, 0.1), (SleepsOutsideOfTheSandbox, 2)])
def test_code_that_sleeps_in_a_workflow_is_told(simulate, kind, seconds):
    """The sandbox forbids ``time.sleep``; without it the SDK's worker has two seconds of patience."""
    run = simulate(kind, seconds)
    assert isinstance(run.error, WorkflowTaskStuck)
    assert "[TMPRL1101]" in str(run.error)
    assert "use workflow.sleep" in str(run.error)


@pytest.mark.usefixtures("unreplayed")
def test_code_outside_of_the_sandbox_may_block_for_a_moment(simulate):
    """As with a real worker."""
    assert simulate(SleepsOutsideOfTheSandbox, 1.9).result() == "awake"


@workflow.defn
class WaitsForAThread:
    @workflow.run
    async def run(self) -> None:
        nobody_sets_this.wait()


@pytest.mark.usefixtures("unreplayed")
def test_a_lock_that_nobody_releases_is_told(simulate):
    """The task fails as a deadlock, in words."""
    run = simulate(WaitsForAThread)
    assert isinstance(run.error, WorkflowTaskStuck)
    assert "a lock or an Event of threading?" in str(run.error)


@workflow.defn
class Loops:
    @workflow.run
    async def run(self) -> None:
        while True:
            pass


@pytest.mark.usefixtures("impatient")
def test_an_endless_loop_is_told_with_its_line(simulate):
    """It does not hang the run."""
    run = simulate(Loops)
    assert isinstance(run.error, WorkflowTaskStuck)
    assert "didn't yield" in str(run.error)
    assert "it is at test_stuck.py:" in str(run.error)
    assert simulate(Sleeps, 0).result() == "awake"


@workflow.defn
class SwallowsEverything:
    @workflow.run
    async def run(self) -> str:
        self.poller = asyncio.create_task(self.poll())
        return "done"

    async def poll(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except BaseException:
                continue


@pytest.mark.usefixtures("impatient")
def test_a_workflow_that_swallows_its_eviction_is_told(simulate, caplog):
    """With a real worker it would keep its thread for ever."""
    run = simulate(SwallowsEverything)
    assert run.result() == "done"
    assert "could not be evicted: it catches BaseException" in caplog.text
    [op] = run.history.where(kind="eviction")
    assert "test_stuck.py" in op.data["message"]


@workflow.defn(failure_exception_types=[workflow.NondeterminismError])
class FailsByNondeterminism:
    @workflow.run
    async def run(self) -> None:
        if not workflow.unsafe.is_replaying():
            await asyncio.sleep(1)


@pytest.mark.usefixtures("unreplayed")
def test_nondeterminism_fails_the_workflow_that_asks_for_it(simulate):
    """Where the failure types have it, the run ends; else its task would be tried for ever."""
    run = simulate(FailsByNondeterminism, settings=wfsim_temporal.Settings(replay_every_task=True))
    assert "[TMPRL1100] Nondeterminism error" in str(run.error.cause)
    [op] = run.history.where(kind="workflow", type="fail")
    assert op.data["error"] == "failed"


@activity.defn
async def crunches_without_a_heartbeat() -> None:
    await asyncio.sleep(60)


@workflow.defn
class Crunches:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            crunches_without_a_heartbeat,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=10),
        )


def test_an_activity_that_fails_for_ever_is_told(simulate):
    """With the default retry policy a forgotten heartbeat would keep the run going for ever."""
    settings = wfsim_temporal.Settings(activity_attempts=50)
    run = simulate(Crunches, activities=[crunches_without_a_heartbeat], settings=settings)
    assert isinstance(run.error, wfsim_temporal.ActivityStuck)
    assert "failed 50 times" in str(run.error)
    assert "activity Heartbeat timeout" in str(run.error)


@activity.defn
async def phones() -> None:
    try:
        socket.create_connection(("192.0.2.1", 80))
    except Exception as error:
        raise ConnectionError("nobody answers") from error  # as libraries say it


@workflow.defn
class Phones:
    """Whatever it does about an activity that fails, it does not get so far."""

    @workflow.run
    async def run(self, how: str) -> str:
        begin = workflow.execute_local_activity if how == "local" else workflow.execute_activity
        try:
            await begin(phones, start_to_close_timeout=timedelta(seconds=30))
        except ActivityError:
            return "nobody is there"
        return "heard"


@pytest.mark.parametrize("how", ["remote", "local"])
def test_an_activity_that_reaches_for_the_real_world_is_told(simulate, how):
    """At once, as itself, and not as a failure of the world that a workflow retries or gets over."""
    run = simulate(Phones, how, activities=[phones])
    assert isinstance(run.error, RealIOError)
    assert "192.0.2.1" in str(run.error)
    assert run.duration < 1
    assert run.check_replay() == (how == "remote")  # the task of a local activity is still open


def test_so_is_an_activity_without_a_workflow(simulate):
    """Whoever waits for it hears of it."""

    async def main(client):
        await client.execute_activity(
            phones, id="phone", task_queue="wfsim", start_to_close_timeout=timedelta(seconds=30)
        )

    assert isinstance(simulate(main, activities=[phones]).error, RealIOError)


def test_an_activity_that_is_tried_again_is_told(simulate):
    """Where a run comes to its bound, what is tried again and again is told with its last failure."""
    run = simulate(Crunches, activities=[crunches_without_a_heartbeat], max_time="1m")
    told = "waits for activity crunches_without_a_heartbeat, which is at attempt"
    assert told in "".join(run.error.__notes__)
    assert "activity Heartbeat timeout" in "".join(run.error.__notes__)


def test_standalone_activities_too(simulate):
    """Whoever waits for it hears of it."""

    async def main(client):
        await client.execute_activity(
            crunches_without_a_heartbeat,
            id="crunch",
            task_queue="wfsim",
            start_to_close_timeout=timedelta(seconds=30),
        )

    settings = wfsim_temporal.Settings(activity_attempts=50)
    run = simulate(main, activities=[crunches_without_a_heartbeat], settings=settings)
    assert isinstance(run.error, wfsim_temporal.ActivityStuck)


@workflow.defn
class TakesFromNothing:
    @workflow.run
    async def run(self) -> str:
        return {}["total"]


def test_what_fails_a_task_is_told_with_its_type_and_its_line(simulate):
    """A KeyError's message alone says little."""
    told = str(simulate(TakesFromNothing).error)
    line = TakesFromNothing.run.__code__.co_firstlineno + 2
    assert told.endswith(f"try it for ever: KeyError: 'total' (at test_stuck.py:{line} in run)")


@activity.defn
async def calls_another() -> None:
    await asyncio.wait_for(fails_deeper(), 5)


async def fails_deeper() -> None:
    raise ConnectionError


@workflow.defn
class Calls:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(calls_another, **A_MINUTE, retry_policy=RetryPolicy())


def test_what_fails_an_activity_for_ever_is_told_with_its_line(simulate):
    """The innermost one of the user's own code, whatever lies between; an error without a message is its type."""
    settings = wfsim_temporal.Settings(activity_attempts=3)
    told = str(simulate(Calls, activities=[calls_another], settings=settings).error)
    line = fails_deeper.__code__.co_firstlineno + 1
    assert told.endswith(f"): ConnectionError (at test_stuck.py:{line} in fails_deeper)")


@workflow.defn
class CallsWithNoise:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            crunches_without_a_heartbeat, args=[], task_queue=str(random.random()), **A_MINUTE
        )


def test_the_argument_that_differs_on_replay_is_told(simulate):
    """The same command twice would tell nothing."""
    settings = wfsim_temporal.Settings(replay_every_task=True)
    message = str(simulate(CallsWithNoise, settings=settings, max_time="1h").error)
    assert "schedule activity crunches_without_a_heartbeat with task queue 0." in message
    first, second = message.split(", and on replay ")
    assert first.rpartition(" ")[2] != second.rpartition(" ")[2]
