"""Nexus operations that run on a real server and on the simulated one: what a caller's workflow sees of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import nexusrpc
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from temporalio import nexus, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import CreateNexusEndpointRequest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.workflow import NexusOperationCancellationType as Cancellation

ENDPOINT = "greetings"
CALLERS, HANDLERS = "callers", "handlers"


@dataclass
class Greeting:
    name: str
    how: str = ""


@nexusrpc.service
class Greetings:
    greet: nexusrpc.Operation[Greeting, str]
    greet_slowly: nexusrpc.Operation[Greeting, str]


@workflow.defn
class GreetsSlowly:
    @workflow.run
    async def run(self, greeting: Greeting) -> str:
        if greeting.how == "fails":
            raise ApplicationError("cannot greet", type="Shy")
        try:
            await workflow.sleep(60 if greeting.how == "forever" else 0.2)
        except asyncio.CancelledError:
            await workflow.sleep(0.1)
            raise
        return f"Hello at last, {greeting.name}"


tries: dict[str, int] = {}


@service_handler(service=Greetings)
class GreetingsHandler:
    @sync_operation
    async def greet(self, ctx: StartOperationContext, greeting: Greeting) -> str:
        number = tries[greeting.name] = tries.get(greeting.name, 0) + 1
        match greeting.how:
            case "fails":
                raise nexusrpc.OperationError("not today", state=nexusrpc.OperationErrorState.FAILED)
            case "is canceled":
                raise nexusrpc.OperationError("called off", state=nexusrpc.OperationErrorState.CANCELED)
            case "breaks":
                raise ApplicationError("broken", type="Broken", non_retryable=True)
            case "is bad":
                raise nexusrpc.HandlerError("bad name", type=nexusrpc.HandlerErrorType.BAD_REQUEST)
            case "stumbles" if number < 2:
                raise ValueError("once")
            case "hangs":
                await asyncio.sleep(30)
        return f"Hello, {greeting.name}"

    @nexus.workflow_run_operation
    async def greet_slowly(
        self, ctx: nexus.WorkflowRunOperationContext, greeting: Greeting
    ) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(GreetsSlowly.run, greeting, id=f"slow-{greeting.name}")


def asked(how="", operation="greet", **options):
    async def case(client, name):
        return await client.execute_operation(getattr(Greetings, operation), Greeting(name, how), **options)

    return case


def canceled(kind, after=0.3):
    async def case(client, name):
        handle = await client.start_operation(
            Greetings.greet_slowly, Greeting(name, "forever"), cancellation_type=kind
        )
        await workflow.sleep(after)
        handle.cancel()
        return await handle

    return case


async def canceled_at_once(client, name):
    task = asyncio.create_task(client.execute_operation(Greetings.greet_slowly, Greeting(name, "forever")))
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def tries_to_cancel_a_sync_one(client, name):
    task = asyncio.create_task(
        client.start_operation(
            Greetings.greet, Greeting(name, "hangs"), cancellation_type=Cancellation.TRY_CANCEL
        )
    )
    await workflow.sleep(0.3)
    task.cancel()
    return await task


async def has_a_token(client, name):
    handle = await client.start_operation(Greetings.greet_slowly, Greeting(name))
    return [bool(handle.operation_token), await handle]


CASES = {
    "answers": asked(),
    "fails": asked("fails"),
    "is_canceled": asked("is canceled"),
    "breaks": asked("breaks"),
    "is_bad": asked("is bad"),
    "stumbles": asked("stumbles"),
    "hangs": asked("hangs", schedule_to_close_timeout=timedelta(seconds=3)),
    "runs": asked(operation="greet_slowly"),
    "has_a_token": has_a_token,
    "run_fails": asked("fails", operation="greet_slowly"),
    "run_times_out": asked(
        "forever", operation="greet_slowly", schedule_to_close_timeout=timedelta(seconds=3)
    ),
    "cancel_and_wait": canceled(Cancellation.WAIT_COMPLETED),
    "cancel_and_wait_for_request": canceled(Cancellation.WAIT_REQUESTED),
    "try_cancel": canceled(Cancellation.TRY_CANCEL),
    "abandon": canceled(Cancellation.ABANDON),
    "canceled_at_once": canceled_at_once,
    "tries_to_cancel_a_sync_one": tries_to_cancel_a_sync_one,
}


@workflow.defn
class Caller:
    """Runs one case and tells what came of it."""

    @workflow.run
    async def run(self, name: str) -> list:
        client = workflow.create_nexus_client(service=Greetings, endpoint=ENDPOINT)
        try:
            return ["value", await CASES[name](client, name)]
        except (Exception, asyncio.CancelledError) as error:
            return ["error", *chain(error)]


def chain(error):
    """Give the types and messages of an error and its causes."""
    told = []
    while error is not None:
        more = [getattr(error, name, None) for name in ("type", "endpoint", "operation", "retry_state")]
        told.append([type(error).__name__, str(error), *map(str, more)])
        error = getattr(error, "cause", None) or error.__cause__
    return told


async def create_endpoint(client):
    return await client.operator_service.create_nexus_endpoint(
        CreateNexusEndpointRequest(
            spec=EndpointSpec(
                name=ENDPOINT,
                target=EndpointTarget(
                    worker=EndpointTarget.Worker(namespace=client.namespace, task_queue=HANDLERS)
                ),
            )
        )
    )


async def play_all_here():
    return await play_all(await Client.connect("localhost:7233"))


async def play_all(client):
    tries.clear()
    await create_endpoint(client)
    plain = {"workflow_runner": UnsandboxedWorkflowRunner()}
    async with (
        Worker(client, task_queue=CALLERS, workflows=[Caller], **plain),
        Worker(
            client,
            task_queue=HANDLERS,
            workflows=[GreetsSlowly],
            nexus_service_handlers=[GreetingsHandler()],
            **plain,
        ),
    ):
        return dict(await asyncio.gather(*[play(client, name) for name in CASES]))


async def play(client, name):
    handle = await client.start_workflow(Caller.run, name, id=name, task_queue=CALLERS)
    value = await asyncio.wait_for(handle.result(), 40)
    history = await handle.fetch_history()
    kinds = [EventType.Name(one.event_type).removeprefix("EVENT_TYPE_") for one in history.events]
    return name, (value, kinds)
