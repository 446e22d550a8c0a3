"""What ``WorkflowEnvironment`` gives in a simulation is what the SDK's own gives with a server."""

import asyncio
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowFailureError,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

Q = {"task_queue": "q"}


@workflow.defn
class Doubtful:
    """Asserts what is not so: at once, or when a signal comes."""

    @workflow.run
    async def run(self, waits: bool) -> None:
        await workflow.wait_condition(lambda: not waits)
        assert 1 + 1 == 3

    @workflow.signal
    def check(self) -> None:
        assert 2 + 2 == 5


@pytest.mark.parametrize("start", [WorkflowEnvironment.start_local, WorkflowEnvironment.start_time_skipping])
def test_an_assertion_that_fails_is_a_failure_of_its_workflow(simulate, start):
    """In a test environment it fails the workflow, where elsewhere its task would be tried again for ever."""

    async def main():
        kind = getattr(WorkflowEnvironment, start.__name__)
        async with await kind() as environment, Worker(environment.client, workflows=[Doubtful], **Q):
            client, found = environment.client, []
            first = await client.start_workflow(Doubtful.run, False, id="first", **Q)
            second = await client.start_workflow(Doubtful.run, True, id="second", **Q)
            await second.signal(Doubtful.check)
            for one in (first, second):
                with pytest.raises(WorkflowFailureError) as told:
                    await one.result()
                found.append((told.value.cause.type, told.value.cause.non_retryable))
            return found

    assert simulate(main).result() == [("AssertionError", True)] * 2


@activity.defn
async def where() -> str:
    return activity.info().workflow_namespace


@workflow.defn
class Where:
    @workflow.run
    async def run(self) -> list[str]:
        timeout = timedelta(seconds=5)
        theirs = await workflow.execute_activity(where, start_to_close_timeout=timeout)
        return [workflow.info().namespace, theirs]


def test_a_namespace_is_that_of_who_asks_for_one(simulate):
    """Workflows and activities are told the namespace of the environment, or of the client that connects."""

    async def ask(client):
        async with Worker(client, workflows=[Where], activities=[where], **Q):
            return [client.namespace, *await client.execute_workflow(Where.run, id="w", **Q)]

    async def by_environment():
        async with await WorkflowEnvironment.start_local(namespace="shop") as environment:
            return await ask(environment.client)

    async def by_client():
        return await ask(await Client.connect("localhost:7233", namespace="shop"))

    assert simulate(by_environment).result() == ["shop"] * 3
    assert simulate(by_client).result() == ["shop"] * 3


@workflow.defn
class Once:
    @workflow.run
    async def run(self) -> None:
        pass


@workflow.defn
class Family:
    """Has a child, continues as new, and fails once."""

    @workflow.run
    async def run(self, rounds: int) -> None:
        if rounds:
            await workflow.execute_child_workflow(Once.run, id="child")
            workflow.continue_as_new(rounds - 1)
        if workflow.info().attempt == 1:
            raise ApplicationError("not yet")


def test_events_name_who_began_it(simulate):
    """A client's own start bears its identity; later runs and children bear none, as on a real server."""

    async def main():
        async with await WorkflowEnvironment.start_local(identity="me") as environment:
            client = environment.client
            async with Worker(client, workflows=[Family, Once], identity="mine", **Q):
                await client.execute_workflow(Family.run, 1, id="family", retry_policy=RetryPolicy(), **Q)
                action = ScheduleActionStartWorkflow(Once.run, id="planned", **Q)
                plan = Schedule(action=action, spec=ScheduleSpec())
                await client.create_schedule("plan", plan, trigger_immediately=True)
                await asyncio.sleep(1)
                return [one async for one in client.list_workflows().map_histories()]

    found = {}
    for history in simulate(main).result():
        for event in history.events:
            if event.HasField("workflow_execution_started_event_attributes"):
                told = event.workflow_execution_started_event_attributes.identity
                found.setdefault(history.workflow_id[:7], []).append(told)
            if event.HasField("workflow_task_completed_event_attributes"):
                assert event.workflow_task_completed_event_attributes.identity == "mine"
    assert {name: sorted(all_of) for name, all_of in found.items()} == {
        "family": ["", "", "me"],
        "child": [""],
        "planned": ["temporal-scheduler-default-plan"],
    }
