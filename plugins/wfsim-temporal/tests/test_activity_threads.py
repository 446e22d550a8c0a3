"""Synchronous activities are cancelled in their threads as by the SDK's worker; those in processes are only told."""

import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta

import pytest
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import CancelledError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import SharedStateManager
from temporalio.worker._activity import _MultiprocessingSharedStateManager
from wfsim_temporal import TemporalTarget
from wfsim_temporal.simulation._simulate import Program

import wfsim


def note(what):
    wfsim.effect(f"{what} at {round(wfsim.now())}")


@activity.defn
def works() -> str:
    """Sends a heartbeat each second, and does something after each sleep."""
    while True:
        time.sleep(1)
        note("worked")
        activity.heartbeat()


@activity.defn
def shielded() -> str:
    """Must not be disturbed before its fifth second."""
    with activity.shield_thread_cancel_exception():
        for _ in range(5):
            time.sleep(1)
            activity.heartbeat()
        note("is shielded")
    note("went on")
    return "never"


@activity.defn
def catches() -> str:
    """Catches its cancellation; nothing disturbs what it then does."""
    try:
        while True:
            time.sleep(1)
            activity.heartbeat()
    except CancelledError:
        for _ in range(3):
            time.sleep(1)
            activity.heartbeat()
        note("cleaned up")
        return "cleaned up"


@activity.defn(no_thread_cancel_exception=True)
def asks() -> str:
    """Wants no error raised."""
    while not activity.is_cancelled():
        time.sleep(1)
        activity.heartbeat()
    return "asked"


@activity.defn
def in_process() -> str:
    """Where there is no thread to raise an error in."""
    while not activity.is_cancelled():
        time.sleep(1)
        activity.heartbeat()
    return "told"


@activity.defn
def cannot_cross() -> None:
    """Sends what no queue between processes takes."""
    activity.heartbeat(lambda: None)


@activity.defn
def has_no_client() -> str:
    with pytest.raises(RuntimeError, match="only available in `async def`"):
        activity.client()
    return "none"


ALL = [works, shielded, catches, asks, in_process, cannot_cross, has_no_client]


@workflow.defn
class CancelAfter:
    """Cancels its activity after some seconds, and waits for what comes of it."""

    @workflow.run
    async def run(self, name: str, seconds: float) -> str:
        running = workflow.start_activity(
            name,
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=timedelta(seconds=2),
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.sleep(seconds)
        running.cancel()
        return await running


def play(simulate, name, executor=None, seconds=2.5, **worker):
    worker["activity_executor"] = executor or ThreadPoolExecutor(1)
    run = simulate(CancelAfter, name, seconds, activities=ALL, worker_options=worker)
    return run, [one.name for one in run.history.where(kind="effect")]


def is_cancelled(run):
    with pytest.raises(WorkflowFailureError) as told:
        run.result()
    return isinstance(told.value.cause.cause, CancelledError)


def test_the_error_is_raised_when_a_sleep_is_over(simulate):
    """Nothing is done any more between the sleep and the next heartbeat."""
    run, effects = play(simulate, "works")
    assert is_cancelled(run)
    assert effects == ["worked at 1", "worked at 2"]


def test_a_shield_holds_the_error_back(simulate):
    """It is raised where the shield ends."""
    run, effects = play(simulate, "shielded")
    assert is_cancelled(run)
    assert effects == ["is shielded at 5"]


def test_the_error_is_raised_once(simulate):
    """Who catches it may go on, and send heartbeats."""
    run, effects = play(simulate, "catches")
    assert run.result() == "cleaned up"
    assert effects == ["cleaned up at 6"]


def test_who_wants_no_error_asks(simulate):
    """``no_thread_cancel_exception`` is kept."""
    assert play(simulate, "asks")[0].result() == "asked"


@pytest.fixture
def processes():
    """Give what a worker wants for processes; nothing of it is used in a simulation."""
    manager = object.__new__(_MultiprocessingSharedStateManager)
    assert isinstance(manager, SharedStateManager)
    return {"executor": ProcessPoolExecutor(1), "shared_state_manager": manager}


def test_what_runs_in_a_process_is_told_and_not_interrupted(simulate, processes):
    """There the SDK raises no error either."""
    assert play(simulate, "in_process", **processes)[0].result() == "told"


def test_what_a_process_sends_has_to_cross(simulate, processes):
    """A heartbeat that cannot be pickled is an error in the activity."""
    run, _ = play(simulate, "cannot_cross", **processes)
    with pytest.raises(WorkflowFailureError) as told:
        run.result()
    assert told.value.cause.cause.type in {"PicklingError", "AttributeError"}
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(lambda: None)


def test_synchronous_activities_have_no_client(simulate):
    """As in the SDK's worker, which says so in these words."""
    assert play(simulate, "has_no_client", seconds=1)[0].result() == "none"


def test_the_sdks_activity_environment_cancels_simulated_threads():
    """``ActivityEnvironment.cancel`` reaches code that a program runs in a thread of its own."""
    seen = []

    def code():
        try:
            while True:
                time.sleep(1)
        except CancelledError:
            seen.append(wfsim.now())

    async def main():
        environment = ActivityEnvironment()
        thread = threading.Thread(target=environment.run, args=[code])
        thread.start()
        await wfsim.sleep(2.5)
        environment.cancel()
        await wfsim.sleep(5)
        thread.join()

    wfsim_temporal.simulate(main).result()
    assert seen == [3.0]


def test_the_worker_of_a_target_cancels_threads_too():
    """Where nothing of the SDK is replaced, since nothing but the workflow is the user's."""

    async def drive(target):
        system = await target.start()
        with pytest.raises(WorkflowFailureError) as told:
            await target.drive(system)
        return type(told.value.cause.cause)

    program = Program(CancelAfter, ("works", 2.5), activities=(works,))
    run = wfsim.simulate(drive, TemporalTarget(program))
    assert run.result() is CancelledError
    assert [one.name for one in run.history.where(kind="effect")] == [f"worked at {at}" for at in (1, 2)]
