"""Activities of every kind: code that blocks, asynchronous completion, local ones, interceptors, codecs."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    Interceptor,
    SharedStateManager,
    WorkflowInboundInterceptor,
)
from wfsim_temporal import NotSimulated, Settings, simulated_temporal
from wfsim_temporal.simulation._connect import Worker

import wfsim

assert SharedStateManager


@activity.defn
def slow(number: int) -> int:
    time.sleep(number)
    return activity.info().attempt * 100 + number


@activity.defn
def stubborn() -> str:
    for _ in range(100):
        time.sleep(1)
        activity.heartbeat()
    return "never cancelled"


@activity.defn
async def asks_somebody() -> str:
    tokens.append(activity.info().task_token)
    activity.raise_complete_async()


tokens = []


@activity.defn
async def hello(name: str) -> str:
    if name == "nobody" and activity.info().attempt < 3:
        raise ApplicationError("nobody there")
    return f"hello {name}"


def run(function, *args, **options):
    return workflow.execute_activity(
        function, args=args, **{"start_to_close_timeout": timedelta(seconds=50), **options}
    )


@workflow.defn
class Blocking:
    @workflow.run
    async def run(self) -> list[int]:
        return list(await asyncio.gather(run(slow, 3), run(slow, 3), run(slow, 5)))


def test_code_that_blocks_runs_in_virtual_time(simulate):
    """``time.sleep`` waits in virtual time, and three at once take as long as the longest."""
    done = simulate(Blocking, activities=[slow])
    assert done.result() == [103, 103, 105]
    assert done.duration == pytest.approx(5, abs=0.1)


@workflow.defn
class CancelsBlocking:
    @workflow.run
    async def run(self) -> str:
        handle = workflow.start_activity(
            stubborn,
            start_to_close_timeout=timedelta(seconds=200),
            heartbeat_timeout=timedelta(seconds=5),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.sleep(10)
        handle.cancel()
        try:
            return await handle
        except Exception as error:
            return str(error.cause)


def test_code_that_blocks_learns_of_its_cancellation(simulate):
    """Its next heartbeat raises the SDK's CancelledError."""
    done = simulate(CancelsBlocking, activities=[stubborn])
    assert done.result() == "Cancelled"
    assert done.duration < 20


@workflow.defn
class Asking:
    @workflow.run
    async def run(self) -> str:
        return await run(asks_somebody)


def test_an_activity_completes_asynchronously(simulate):
    """Whoever has the task token completes it through the client."""

    async def main(client):
        tokens.clear()
        handle = await client.start_workflow(Asking.run, id="a", task_queue="wfsim")
        await asyncio.sleep(5)
        await client.get_async_activity_handle(task_token=tokens[0]).complete("told")
        return await handle.result()

    assert simulate(main, workflows=[Asking], activities=[asks_somebody]).result() == "told"


@workflow.defn
class Local:
    @workflow.run
    async def run(self, name: str) -> str:
        policy = RetryPolicy(initial_interval=timedelta(seconds=1))
        return await workflow.execute_local_activity(
            hello, name, start_to_close_timeout=timedelta(seconds=5), retry_policy=policy
        )


def test_a_local_activity_leaves_a_marker(simulate):
    """It runs within the workflow task, tries again there, and no event tells of attempts."""
    done = simulate(Local, "nobody", activities=[hello])
    assert done.result() == "hello nobody"
    assert "MARKER_RECORDED" in done.events("Local")
    assert "ACTIVITY_TASK_SCHEDULED" not in done.events("Local")


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return await run(hello, name)


class Shouting(Interceptor):
    def intercept_activity(self, next):
        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input):
                return (await super().execute_activity(input)).upper()

        return Inbound(next)

    def workflow_interceptor_class(self, input):
        return Exclaiming


class Exclaiming(WorkflowInboundInterceptor):
    async def execute_workflow(self, input):
        return await super().execute_workflow(input) + "!"


def test_interceptors_take_part(simulate):
    """Those of activities and those of workflows."""
    done = simulate(Hello, "you", activities=[hello], worker_options={"interceptors": [Shouting()]})
    assert done.result() == "HELLO YOU!"


class Reversing(PayloadCodec):
    async def encode(self, payloads):
        return [
            Payload(metadata={"encoding": b"reversed"}, data=one.SerializeToString()[::-1])
            for one in payloads
        ]

    async def decode(self, payloads):
        return [Payload.FromString(one.data[::-1]) for one in payloads]


def test_a_codec_is_applied_on_both_sides(simulate):
    """What the history holds is encoded; workflow, activity and client see it decoded."""
    converter = DataConverter(payload_codec=Reversing())
    done = simulate(Hello, "you", activities=[hello], client_options={"data_converter": converter})
    assert done.result() == "hello you"
    assert "reversed" in done.workflow_histories[0].to_json() or b"hello" not in repr(done.logs).encode()


@workflow.defn
class Forbidden:
    @workflow.run
    async def run(self) -> str:
        open("/dev/null").close()
        return "opened"


def test_the_sandbox_catches_forbidden_calls(simulate):
    """Without it the call goes through; with it the workflow task fails."""
    assert simulate(Forbidden).result() == "opened"
    done = simulate(Forbidden, settings=Settings(sandbox=True))
    assert "open" in str(done.error)


def test_what_is_not_simulated_is_refused(simulate):
    """The error names it."""

    async def main(client):
        await client.workflow_service.get_cluster_info(GetClusterInfoRequest())

    done = simulate(main, workflows=[Hello])
    assert isinstance(done.error, NotSimulated)
    assert "get_cluster_info" in str(done.error)


def test_a_blocking_activity_wants_an_executor(simulate):
    """As with the SDK's own worker, which refuses to start without one."""
    done = simulate(Blocking, activities=[slow], worker_options={"activity_executor": None})
    assert "activity_executor must be present" in str(done.error)


def test_the_worker_is_one_of_the_sdks(simulate):
    """Code that asks whether it has a worker finds one; outside of a simulation the real class is untouched."""
    import temporalio.worker

    async def main():
        from temporalio.client import Client

        client = await Client.connect("localhost:7233")
        worker = temporalio.worker.Worker(
            client, task_queue="q", activities=[slow], activity_executor=ThreadPoolExecutor(1)
        )
        return type(worker), isinstance(worker, temporalio.worker.Worker)

    with simulated_temporal():
        assert wfsim.simulate(main).result() == (Worker, True)
    assert type(temporalio.worker.Worker.__new__(temporalio.worker.Worker)) is temporalio.worker.Worker
