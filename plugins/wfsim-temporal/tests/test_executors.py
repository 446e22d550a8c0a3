"""Synchronous activities and the executor that a worker has for them: its threads are counted, its processes local."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import ActivityError
from temporalio.worker import ActivityInboundInterceptor, Interceptor, SharedStateManager, Worker

import wfsim

Q = {"task_queue": "wfsim"}


@activity.defn
def crunch(number: int) -> int:
    for _ in range(2):
        time.sleep(5)
        activity.heartbeat(number)
    return number


@workflow.defn
class Four:
    @workflow.run
    async def run(self, limit_s: int) -> list:
        handles = [
            workflow.start_activity(
                crunch,
                number,
                start_to_close_timeout=timedelta(seconds=limit_s),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
            for number in range(4)
        ]
        told = []
        for handle in handles:
            try:
                told.append(await handle)
            except ActivityError as error:
                told.append(str(error.cause))
        return [*told, workflow.now().timestamp() - workflow.info().start_time.timestamp()]


class Through(Interceptor):
    def intercept_activity(self, next):
        return ActivityInboundInterceptor(next)


@pytest.mark.parametrize("interceptors", [[], [Through()]])
@pytest.mark.parametrize(("threads", "expected_s"), [(4, 10), (2, 20), (1, 40)])
def test_an_executor_runs_as_many_as_it_has_threads(simulate, threads, expected_s, interceptors):
    """The others wait for a thread, with interceptors too."""
    options = {"activity_executor": ThreadPoolExecutor(threads), "interceptors": interceptors}
    run = simulate(Four, 100, activities=[crunch], worker_options=options)
    *told, took_s = run.result()
    assert told == [0, 1, 2, 3]
    assert took_s == pytest.approx(expected_s, abs=0.1)


def test_what_waits_for_a_thread_may_time_out(simulate):
    """The server counts from when the worker took the task, not from when a thread did."""
    options = {"activity_executor": ThreadPoolExecutor(2)}
    *told, _ = simulate(Four, 15, activities=[crunch], worker_options=options).result()
    late = "activity StartToClose timeout"
    assert told == [0, 1, late, late]


def test_a_worker_that_crashes_leaves_its_threads_behind(simulate):
    """The next life of the worker has all threads of its executor."""
    options = {"activity_executor": ThreadPoolExecutor(1)}
    run = simulate(
        Once,
        activities=[crunch],
        worker_options=options,
        faults=[wfsim.crash("crunch", attempts=1, after="1s", restart_after="1s")],
    )
    assert run.result() == 7


@workflow.defn
class Once:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(
            crunch, 7, start_to_close_timeout=timedelta(seconds=60), heartbeat_timeout=timedelta(seconds=8)
        )


async def with_processes(*activities):
    client = await Client.connect("server")
    manager = SharedStateManager.create_from_multiprocessing(multiprocessing.Manager())
    executor = ProcessPoolExecutor(5)
    options = {"activity_executor": executor, "shared_state_manager": manager}
    async with Worker(client, workflows=[Once], activities=activities, **options, **Q):
        return await client.execute_workflow(Once.run, id="once", **Q)


def test_a_pool_of_processes_is_simulated(simulate):
    """No process is started: its activities are simulated threads, with heartbeats."""
    assert simulate(with_processes, crunch).result() == 7


def test_what_no_process_could_take_is_refused(simulate):
    """As the SDK refuses it."""

    @activity.defn
    def local() -> None:
        pass

    run = simulate(with_processes, local)
    assert "must be picklable when using a process executor" in str(run.error)


def test_managers_outside_of_a_simulation_are_the_real_ones():
    """What is replaced is replaced for simulations alone."""
    assert "wfsim" not in multiprocessing.Manager.__module__


class Reversed(PayloadCodec):
    async def encode(self, payloads):
        return [Payload(metadata=one.metadata, data=one.data[::-1]) for one in payloads]

    async def decode(self, payloads):
        return await self.encode(payloads)


@activity.defn
def beats_and_fails() -> list:
    seen = list(activity.info().heartbeat_details)
    activity.heartbeat(activity.info().attempt)
    if activity.info().attempt == 1:
        raise RuntimeError("not yet")
    return seen


@activity.defn(name="beats_and_fails")
async def beats_and_fails_without_waiting() -> list:
    return beats_and_fails()


@workflow.defn
class Beats:
    @workflow.run
    async def run(self) -> list:
        return await workflow.execute_activity(beats_and_fails, start_to_close_timeout=timedelta(seconds=5))


@pytest.mark.parametrize("codec", [None, Reversed()])
@pytest.mark.parametrize("faults", [[], [wfsim.delay("nothing", "1s")]])
@pytest.mark.parametrize("function", [beats_and_fails, beats_and_fails_without_waiting])
def test_the_last_heartbeat_arrives_before_the_outcome(simulate, codec, faults, function):
    """Whatever has to wait on its way: a codec, or the faults that may strike it."""
    options = {"client_options": {"data_converter": DataConverter(payload_codec=codec)}}
    assert simulate(Beats, activities=[function], faults=faults, **options).result() == [1]
