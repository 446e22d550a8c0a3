"""What ``WorkflowEnvironment`` gives in a simulation is what the SDK's own gives with a server."""

import asyncio
from datetime import timedelta

import pytest
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
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


STARTS = ["start_local", "start_time_skipping", "start_time_skipping_v2"]
with_own_clocks = pytest.mark.skipif(
    not hasattr(WorkflowEnvironment, "start_time_skipping_v2"), reason="older releases of the SDK have none"
)


@pytest.mark.parametrize("start", [name for name in STARTS if hasattr(WorkflowEnvironment, name)])
def test_an_assertion_that_fails_is_a_failure_of_its_workflow(simulate, start):
    """In a test environment it fails the workflow, where elsewhere its task would be tried again for ever."""

    async def main():
        async with (
            await getattr(WorkflowEnvironment, start)() as environment,
            Worker(environment.client, workflows=[Doubtful], **Q),
        ):
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


@workflow.defn
class Nap:
    """Sleeps, and is there for who asks; ``runs`` times over."""

    def __init__(self) -> None:
        self.left = 0

    @workflow.run
    async def run(self, seconds: float, runs: int = 1) -> str:
        self.left = runs
        await workflow.sleep(seconds)
        if runs > 1:
            workflow.continue_as_new(args=[seconds, runs - 1])
        return "slept"

    @workflow.query
    def runs_left(self) -> int:
        return self.left


def with_nap(scene, **options):
    """Play ``scene(environment, handle)`` with a workflow that sleeps for an hour, in an environment of own clocks."""

    async def main():
        async with (
            await WorkflowEnvironment.start_time_skipping_v2() as environment,
            Worker(environment.client, workflows=[Nap], **Q),
        ):
            with environment.with_time_skipping_disabled():
                args = [3600.0, options.pop("runs", 1)]
                handle = await environment.client.start_workflow(Nap.run, args=args, id="nap", **options, **Q)
            return await scene(environment, handle)

    return wfsim_temporal.simulate(main)


@with_own_clocks
def test_a_workflow_is_forwarded_in_virtual_time():
    """Its clock, and that of all others, is then as much later; what is left is slept at the end."""

    async def scene(environment, handle):
        began = await environment.get_current_time(handle)
        forwarded = [await environment.fast_forward(handle, timedelta(minutes=40))]
        later = await environment.get_current_time(handle)
        forwarded.append(await environment.fast_forward(handle, 600.5))
        forwarded.append(await environment.fast_forward(handle))
        return forwarded, (later - began).total_seconds(), await handle.result()

    run = with_nap(scene)
    forwarded, seconds, result = run.result()
    assert (forwarded, round(seconds), result) == ([True, True, False], 2400, "slept")
    assert round(run.duration) == 3600


@with_own_clocks
def test_a_workflow_is_forwarded_across_its_runs():
    """It continues as new meanwhile."""

    async def scene(environment, handle):
        return await environment.fast_forward(handle, 9000), await handle.query(Nap.runs_left)

    assert with_nap(scene, runs=4).result() == (True, 2)


@with_own_clocks
def test_a_workflow_may_end_before_it_is_forwarded():
    """As by its own timeout."""

    async def scene(environment, handle):
        return await environment.fast_forward(handle, timedelta(hours=2)), (
            await handle.describe()
        ).status.name

    assert with_nap(scene, execution_timeout=timedelta(minutes=9)).result() == (False, "TIMED_OUT")


@with_own_clocks
def test_a_later_forward_replaces_an_earlier_one():
    """Who waits for the earlier one is told."""

    async def scene(environment, handle):
        first = asyncio.create_task(environment.fast_forward(handle, timedelta(minutes=50)))
        await asyncio.sleep(1)
        second = await environment.fast_forward(handle, timedelta(minutes=10))
        with pytest.raises(RuntimeError, match="overridden"):
            await first
        return second

    assert with_nap(scene).result() is True


@with_own_clocks
def test_what_is_asked_of_clocks_is_told_as_by_a_server():
    """In descriptions, events and answers; nothing of it where nothing was asked."""

    async def scene(environment, handle):
        told = [await environment.get_time_skipping_info(handle)]
        await environment.fast_forward(handle, 600)
        told.append(await environment.get_time_skipping_info(handle))
        other = await environment.client.start_workflow(Nap.run, 9.0, id="other", **Q)
        told.append(await environment.get_time_skipping_info(other))
        kinds = [EventType.Name(one.event_type) async for one in handle.fetch_history_events()]
        return told, kinds

    (before, after, other), kinds = with_nap(scene).result()
    assert before is None
    config = after.effective_config
    assert (config.enabled, config.fast_forward_config.duration.seconds) == (False, 600)
    assert other.effective_config.enabled
    assert "EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED" in kinds


def test_environments_say_what_they_are(simulate):
    """Tests ask them, to leave out what a server lacks."""

    async def main():
        told = {}
        for start in STARTS:
            if hasattr(WorkflowEnvironment, start):
                async with await getattr(WorkflowEnvironment, start)() as environment:
                    words = ("", "_v1", "_v2")
                    names = [f"supports_time_skipping{word}" for word in words]
                    told[start] = [getattr(environment, name, None) for name in names]
        return told

    told = simulate(main).result()
    assert told["start_local"][0] is False
    assert told["start_time_skipping"][0] is True
    if "start_time_skipping_v2" in told:
        assert told["start_time_skipping"] == [True, True, False]
        assert told["start_time_skipping_v2"] == [True, False, True]
