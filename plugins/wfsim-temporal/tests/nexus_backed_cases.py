"""Nexus operations that an activity or an update backs, on a real server and on the simulated one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import nexus_cases
import nexusrpc
from cases import beats, fails, hangs
from nexus_cases import (
    CALLERS,
    ENDPOINT,
    HANDLERS,
    Cancellation,
    Greeting,
    GreetsSlowly,
    a_few_at_once,
    chain,
    in_time,
)
from nexusrpc.handler import service_handler
from temporalio import nexus, workflow
from temporalio.client import Client, WorkflowUpdateStage
from temporalio.common import ActivityIDConflictPolicy, RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


def seconds(number):
    return timedelta(seconds=number)


@nexusrpc.service
class Backed:
    by_activity: nexusrpc.Operation[Greeting, str]
    by_update: nexusrpc.Operation[Greeting, str]
    by_workflow: nexusrpc.Operation[Greeting, str]


@workflow.defn
class Desk:
    """Answers updates, at once or later."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def ask(self, how: str) -> str:
        if how == "later":
            await workflow.sleep(1)
        if how == "fails":
            await workflow.sleep(1)
            raise ApplicationError("no answer", type="Mute")
        if how == "forever":
            await workflow.sleep(60)
        return f"answered {how}"

    @ask.validator
    def check(self, how: str) -> None:
        if how == "rejected":
            raise ApplicationError("not that", type="Unasked")


@service_handler(service=Backed)
class BackedHandler:
    @nexus.temporal_operation
    async def by_activity(
        self,
        ctx: nexus.TemporalStartOperationContext,
        client: nexus.TemporalNexusClient,
        greeting: Greeting,
    ) -> nexus.TemporalOperationResult[str]:
        function, args, options = {
            "completes": (fails, [0, False], {}),
            "retries": (fails, [2, False], {}),
            "fails": (fails, [9, True], {}),
            "beats": (beats, [], {"heartbeat_timeout": seconds(1)}),
            "takes too long": (hangs, [], {"schedule_to_close_timeout": seconds(1)}),
            "shared": (hangs, [], {"id_conflict_policy": ActivityIDConflictPolicy.USE_EXISTING}),
        }[greeting.how]
        return await client.start_activity(
            function,
            args=args,
            id=greeting.name,
            retry_policy=RetryPolicy(initial_interval=seconds(0.2), maximum_attempts=3),
            start_to_close_timeout=seconds(3),
            **options,
        )

    @nexus.temporal_operation
    async def by_update(
        self,
        ctx: nexus.TemporalStartOperationContext,
        client: nexus.TemporalNexusClient,
        greeting: Greeting,
    ) -> nexus.TemporalOperationResult[str]:
        desk = "nobody" if greeting.how == "nobody" else "desk"
        return await client.start_workflow_update(
            desk, Desk.ask, greeting.how, wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )

    @nexus.temporal_operation
    async def by_workflow(
        self,
        ctx: nexus.TemporalStartOperationContext,
        client: nexus.TemporalNexusClient,
        greeting: Greeting,
    ) -> nexus.TemporalOperationResult[str]:
        if greeting.how == "sync":
            return nexus.TemporalOperationResult.sync("at once")
        return await client.start_workflow(GreetsSlowly.run, greeting, id=f"slow-{greeting.name}")


def asked(operation, how, **options):
    async def case(client, name):
        known = {"schedule_to_close_timeout": seconds(8), **options}
        return await client.execute_operation(getattr(Backed, operation), Greeting(name, how), **known)

    return case


def canceled(operation, how, kind=Cancellation.WAIT_COMPLETED):
    async def case(client, name):
        handle = await client.start_operation(
            getattr(Backed, operation),
            Greeting(name, how),
            cancellation_type=kind,
            schedule_to_close_timeout=seconds(8),
        )
        await workflow.sleep(0.3)
        handle.cancel()
        return await handle

    return case


async def two_ask_for_one_activity(client, name):
    asking = [client.execute_operation(Backed.by_activity, Greeting(name, "shared")) for _ in range(2)]
    return [chain(error) for error in await asyncio.gather(*asking, return_exceptions=True)]


CASES = {
    **{
        f"activity {how}": asked("by_activity", how)
        for how in ("completes", "retries", "fails", "takes too long")
    },
    "activity is canceled": canceled("by_activity", "beats"),
    "activity hears of a cancellation": canceled("by_activity", "beats", Cancellation.WAIT_REQUESTED),
    "two ask for one activity": two_ask_for_one_activity,
    **{
        f"update {how}": asked("by_update", how)
        for how in ("at once", "later", "fails", "rejected", "nobody")
    },
    "update cannot be canceled": canceled("by_update", "forever", Cancellation.WAIT_REQUESTED),
    **{f"workflow {how}": asked("by_workflow", how) for how in ("sync", "runs", "fails")},
    "workflow is canceled": canceled("by_workflow", "forever"),
}


@workflow.defn
class BackedCaller:
    """Runs one case and tells what came of it."""

    @workflow.run
    async def run(self, name: str) -> list:
        client = workflow.create_nexus_client(service=Backed, endpoint=ENDPOINT)
        try:
            return ["value", await CASES[name](client, name)]
        except (Exception, asyncio.CancelledError) as error:
            return ["error", *chain(error)]


async def play_all_here():
    return await play_all(await Client.connect("localhost:7233"))


async def play_all(client):
    await nexus_cases.create_endpoint(client)
    plain = {"workflow_runner": UnsandboxedWorkflowRunner()}
    async with (
        Worker(client, task_queue=CALLERS, workflows=[BackedCaller], **plain),
        Worker(
            client,
            task_queue=HANDLERS,
            workflows=[GreetsSlowly, Desk],
            activities=[beats, fails, hangs],
            nexus_service_handlers=[BackedHandler()],
            **plain,
        ),
    ):
        desk = await client.start_workflow(Desk.run, id="desk", task_queue=HANDLERS)
        told = dict(await a_few_at_once([in_time(name, play(client, name)) for name in CASES]))
        events = await nexus_cases.told_of(desk)
        await desk.terminate()
        return {**told, "desk": sorted(one[0] for one in events if "UPDATE" in one[0])}


async def play(client, name):
    handle = await client.start_workflow(BackedCaller.run, name, id=name, task_queue=CALLERS)
    value = await handle.result()
    return nexus_cases.known_part(value), await nexus_cases.told_of(handle)
