"""A worker that shuts down treats its activities as the SDK's does; its arguments are checked in the SDK's words."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.worker import Worker

import wfsim

Q = {"task_queue": "q"}


@activity.defn
async def long() -> str:
    """Takes ten seconds, and notes how it was disturbed."""
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        wfsim.effect("cancelled by the shutdown" if activity.is_worker_shutdown() else "cancelled")
        raise
    return f"attempt {activity.info().attempt}"


@activity.defn
async def tidy() -> str:
    """Works until its worker stops, and then needs a second."""
    await activity.wait_for_worker_shutdown()
    wfsim.effect("was cancelled" if activity.is_cancelled() else "heard of it")
    await asyncio.sleep(1)
    return "tidied up"


@workflow.defn
class Call:
    @workflow.run
    async def run(self, name: str, attempts: int) -> str:
        return await workflow.execute_activity(
            name,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(maximum_attempts=attempts),
        )


def effects(run):
    return [one.name for one in run.history.where(kind="effect")]


async def shut_down(name, attempts, grace_s):
    """Shut a worker down a second after its activity began; another takes over. How long it took, and the result."""
    client = await Client.connect("localhost:7233")
    options = {"workflows": [Call], "activities": [long, tidy], **Q}
    async with Worker(client, graceful_shutdown_timeout=timedelta(seconds=grace_s), **options):
        handle = await client.start_workflow(Call.run, args=[name, attempts], id="call", **Q)
        await asyncio.sleep(1)
        stops_s = wfsim.now()
    took_s = wfsim.now() - stops_s
    async with Worker(client, **options):
        return round(took_s), await handle.result()


def test_an_attempt_that_a_shutdown_cuts_short_is_tried_elsewhere(simulate):
    """The server hears of a failure, not of a cancellation that nobody asked for."""
    run = simulate(shut_down, "long", 2, 0)
    assert run.result() == (0, "attempt 2")
    assert effects(run) == ["cancelled by the shutdown"]


def test_the_failure_has_the_words_of_the_sdks_core(simulate):
    """As recorded from a real server."""
    with pytest.raises(WorkflowFailureError) as told:
        simulate(shut_down, "long", 1, 0).result()
    cause = told.value.cause.cause
    assert (cause.type, cause.non_retryable) == ("WorkerShutdown", False)
    assert cause.message == "Worker is shutting down and this activity did not complete in time"


def test_activities_have_the_time_of_grace(simulate):
    """They hear of the shutdown first; who comes to an end in time is not cancelled."""
    run = simulate(shut_down, "tidy", 1, 3)
    assert run.result() == (1, "tidied up")
    assert effects(run) == ["heard of it"]
    run = simulate(shut_down, "long", 2, 3)
    assert run.result() == (3, "attempt 2")
    assert effects(run) == ["cancelled by the shutdown"]


class Slow(PayloadCodec):
    """Asks a key server that takes its time."""

    async def encode(self, payloads):
        return list(payloads)

    async def decode(self, payloads):
        await asyncio.sleep(2)
        return list(payloads)


@activity.defn
async def stamps(text: str) -> str:
    wfsim.effect("knows of the shutdown" if activity.is_worker_shutdown() else "knows of none")
    return f"{text}, attempt {activity.info().attempt}"


@workflow.defn
class Stamps:
    @workflow.run
    async def run(self) -> str:
        limit = timedelta(minutes=1)
        return await workflow.execute_activity(stamps, "stamped", start_to_close_timeout=limit)


@pytest.mark.parametrize(
    ("grace_s", "result", "known"),
    [(0, "stamped, attempt 2", "knows of none"), (3, "stamped, attempt 1", "knows of the shutdown")],
)
def test_a_shutdown_while_arguments_are_decoded(simulate, grace_s, result, known):
    """Code that was cancelled before it began never begins; other code finds that its worker stops."""

    async def main():
        client = await Client.connect("localhost:7233", data_converter=DataConverter(payload_codec=Slow()))
        options = {"workflows": [Stamps], "activities": [stamps], **Q}
        async with Worker(client, graceful_shutdown_timeout=timedelta(seconds=grace_s), **options):
            handle = await client.start_workflow(Stamps.run, id="stamps", **Q)
            await asyncio.sleep(1)
        async with Worker(client, **options):
            return await handle.result()

    run = simulate(main)
    assert run.result() == result
    assert effects(run) == [known]


@activity.defn
def blocks() -> None:
    pass


@activity.defn(dynamic=True)
async def anything(_args: Sequence[RawValue]) -> None:
    pass


@activity.defn(dynamic=True)
async def whatever(_args: Sequence[RawValue]) -> None:
    pass


class Desk:
    @activity.defn
    async def stamp(self) -> None:
        pass


def test_a_workers_arguments_are_checked_as_the_sdk_checks_them(simulate):
    """Errors and warnings are the same."""

    async def main():
        client = await Client.connect("localhost:7233")
        with pytest.raises(TypeError, match="More than one dynamic activity"):
            Worker(client, activities=[anything, whatever], **Q)
        with pytest.warns(UserWarning, match="named stamp has a first parameter named self") as told:
            Worker(client, activities=[Desk.stamp], **Q)
        assert told[0].filename == __file__
        words = "max_concurrent_activities is 5 but activity_executor's max_workers is only 2"
        options = {"activity_executor": ThreadPoolExecutor(2), "max_concurrent_activities": 5, **Q}
        with pytest.warns(UserWarning, match=words) as told:
            Worker(client, activities=[blocks], **options)
        assert told[0].filename == __file__

    simulate(main).result()
