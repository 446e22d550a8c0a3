"""What clients read back of workflows, as the server keeps it: descriptions, notes for people, attributes, queries."""

import asyncio
import socket
import uuid
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.update.v1 import UpdateRef
from temporalio.api.workflowservice.v1 import (
    PollWorkflowExecutionUpdateRequest,
    ResetStickyTaskQueueRequest,
)
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.converter import PayloadConverter
from temporalio.runtime import MetricBuffer, PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

PLACE = SearchAttributeKey.for_keyword("Place")
PRICE = SearchAttributeKey.for_float("Price")


@activity.defn
async def look(name: str) -> str:
    activity.metric_meter().create_counter("looks").add(1)
    return f"{name} {activity.info().priority.priority_key}"


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> list:
        root = workflow.info().root
        return [root.workflow_id, root.run_id, workflow.info().priority.priority_key]


@workflow.defn
class Noted:
    def __init__(self) -> None:
        self.is_done = False

    @workflow.run
    async def run(self) -> list:
        told = await workflow.execute_child_workflow(Child.run, static_summary="the child")
        await workflow.sleep(1, summary="a nap")
        seen = await workflow.execute_activity(
            look,
            "seen",
            start_to_close_timeout=timedelta(seconds=5),
            summary="a look",
            priority=Priority(priority_key=2),
        )
        workflow.upsert_search_attributes([PLACE.value_set("Oslo"), PRICE.value_unset()])
        await workflow.wait_condition(lambda: self.is_done)
        return [*told, seen]

    @workflow.signal
    def done(self) -> None:
        self.is_done = True

    @workflow.query
    def history(self) -> list:
        return [workflow.info().get_current_history_length(), workflow.now().timestamp()]

    @workflow.update
    async def wait(self) -> str:
        await workflow.wait_condition(lambda: self.is_done)
        return "waited"


HERE = {"workflows": [Noted, Child], "activities": [look]}
Q = {"task_queue": "wfsim"}


async def summaries(handle):
    """Give the events that have a summary, with it."""
    from_payload = PayloadConverter.default.from_payload
    return [
        (
            event.WhichOneof("attributes").removesuffix("_event_attributes"),
            from_payload(event.user_metadata.summary),
        )
        async for event in handle.fetch_history_events()
        if event.HasField("user_metadata")
    ]


def test_summaries_and_priorities(simulate):
    """Summaries stand in the events of what they are about; priorities pass down to activities and children."""

    async def main(client):
        handle = await client.start_workflow(
            Noted.run, id="n", static_summary="the parent", priority=Priority(priority_key=4), **Q
        )
        await handle.signal(Noted.done)
        told = await handle.result()
        described = await handle.describe()
        assert described.root_id == "n"
        assert await described.static_summary() == "the parent"
        return await summaries(handle), told, described.run_id

    found, (root_id, root_run_id, priority, seen), run_id = simulate(main, **HERE).result()
    assert found == [
        ("workflow_execution_started", "the parent"),
        ("start_child_workflow_execution_initiated", "the child"),
        ("timer_started", "a nap"),
        ("activity_task_scheduled", "a look"),
    ]
    assert (root_id, root_run_id, priority, seen) == ("n", run_id, 4, "seen 2")


def test_run_ids_tell_the_time(simulate):
    """As the server's they are of version 7, and later ones are greater."""

    async def main(client):
        first = await client.start_workflow(Child.run, id="1", **Q)
        await asyncio.sleep(1)
        second = await client.start_workflow(Child.run, id="2", **Q)
        return first.result_run_id, second.result_run_id

    first, second = simulate(main, **HERE).result()
    assert uuid.UUID(first).version == 7
    assert first < second


def test_a_query_sees_the_last_task(simulate):
    """The length of the history and the time are those of the last workflow task, as with Core."""

    async def main(client):
        handle = await client.start_workflow(Noted.run, id="n", **Q)
        await asyncio.sleep(0.5)
        before = await handle.query(Noted.history)
        await asyncio.sleep(0.3)
        return before, await handle.query(Noted.history)

    before, after = simulate(main, **HERE).result()
    assert before == after


def test_search_attributes_are_typed_and_taken_away(simulate):
    """Registered types are noted; what is unset is gone."""

    async def main():
        known = [SearchAttributePair(PRICE, 1.5)]
        environment = await WorkflowEnvironment.start_local(search_attributes=[PLACE, PRICE])
        async with environment, Worker(environment.client, **HERE, **Q):
            handle = await environment.client.start_workflow(
                Noted.run, id="n", search_attributes=TypedSearchAttributes(known), **Q
            )
            before = (await handle.describe()).typed_search_attributes
            await asyncio.sleep(3)
            after = (await handle.describe()).typed_search_attributes
            return before[PRICE], after.get(PRICE), after[PLACE]

    assert simulate(main).result() == (1.5, None, "Oslo")


@workflow.defn
class Long:
    @workflow.run
    async def run(self) -> int:
        while not workflow.info().is_continue_as_new_suggested():
            await asyncio.sleep(1)
        return workflow.info().get_current_history_length()


def test_a_development_server_takes_its_limits(simulate):
    """Those that tests give to it, to see a workflow continue as new after a few events."""

    async def main():
        arguments = ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=20"]
        environment = await WorkflowEnvironment.start_local(dev_server_extra_args=arguments)
        async with environment, Worker(environment.client, workflows=[Long], **Q):
            return await environment.client.execute_workflow(Long.run, id="n", **Q)

    assert 20 <= simulate(main).result() <= 24


async def stage_of(client, workflow_id, update_id):
    """Give the stage of an update, without waiting; None if the server does not know it."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    try:
        told = await client.workflow_service.poll_workflow_execution_update(
            PollWorkflowExecutionUpdateRequest(
                namespace=client.namespace,
                update_ref=UpdateRef(workflow_execution=execution, update_id=update_id),
            )
        )
    except RPCError:
        return None
    return told.stage


def test_an_update_can_be_looked_up(simulate):
    """A poll that wants no stage comes back at once: admitted, accepted, completed."""

    async def main():
        client = await Client.connect("server")
        handle = await client.start_workflow(Noted.run, id="n", **Q)
        stages = [await stage_of(client, "n", "u")]
        update = asyncio.ensure_future(handle.execute_update(Noted.wait, id="u"))
        await asyncio.sleep(1)
        stages.append(await stage_of(client, "n", "u"))
        async with Worker(client, **HERE, **Q):
            await asyncio.sleep(1)
            stages.append(await stage_of(client, "n", "u"))
            await handle.signal(Noted.done)
            assert await update == "waited"
            return [*stages, await stage_of(client, "n", "u")]

    assert simulate(main).result() == [None, 1, 2, 3]


def test_an_update_belongs_to_its_chain_of_runs(simulate):
    """A handle of the first execution does not reach a second one of the same id."""

    async def main(client):
        first = await client.start_workflow(Noted.run, id="n", **Q)
        await first.signal(Noted.done)
        await first.result()
        await client.start_workflow(Noted.run, id="n", **Q)
        for call in (lambda: first.execute_update(Noted.wait), first.cancel, first.terminate):
            with pytest.raises(RPCError, match="workflow execution not found"):
                await call()

    assert simulate(main, **HERE).error is None


def test_a_query_waits_for_a_worker(simulate):
    """It is answered when one comes; the server gives up after half a minute, the client when it likes."""

    async def main():
        client = await Client.connect("server")
        async with Worker(client, **HERE, **Q):
            handle = await client.start_workflow(Noted.run, id="n", **Q)
            await asyncio.sleep(2)
        with pytest.raises(RPCError) as hasty:
            await handle.query(Noted.history, rpc_timeout=timedelta(seconds=1))
        with pytest.raises(RPCError, match="no poller seen") as patient:
            await handle.query(Noted.history)
        asked = asyncio.ensure_future(handle.query(Noted.history))
        await asyncio.sleep(5)
        async with Worker(client, **HERE, **Q):
            await asked
        return hasty.value.status, patient.value.status

    statuses = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION)
    assert simulate(main).result() == statuses


def replays(run):
    return len(run.history.where(kind="replay"))


@workflow.defn
class Turns:
    @workflow.run
    async def run(self, first: float) -> None:
        await asyncio.sleep(first)
        await asyncio.sleep(10)


@pytest.mark.parametrize(("cached", "expected"), [(0, 4), (1, 2), (1000, 0)])
def test_the_cache_holds_as_many_as_it_may(simulate, cached, expected):
    """Two workflows take turns: without a cache each later task replays, with room for one some do."""

    async def main(client):
        both = [await client.start_workflow(Turns.run, number, id=str(number), **Q) for number in (1, 2)]
        for one in both:
            await one.result()

    run = simulate(main, workflows=[Turns], worker_options={"max_cached_workflows": cached})
    assert (run.error, replays(run) >= expected, replays(run) > 0) == (None, True, cached < 1000)


def test_a_workflow_can_be_taken_out_of_the_cache(simulate):
    """``reset_sticky_task_queue`` makes the next task a replay."""

    async def main(client):
        handle = await client.start_workflow(Noted.run, id="n", **Q)
        await asyncio.sleep(3)
        named = WorkflowExecution(workflow_id="n")
        await client.workflow_service.reset_sticky_task_queue(
            ResetStickyTaskQueueRequest(namespace=client.namespace, execution=named)
        )
        await handle.signal(Noted.done)
        await handle.result()

    assert replays(simulate(main, **HERE)) == 1


def test_metrics_reach_the_clients_runtime(simulate):
    """A buffer of metrics sees what activities count, with the SDK's labels."""
    buffer = MetricBuffer(1000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))

    async def main():
        client = await Client.connect("server", runtime=runtime)
        async with Worker(client, **HERE, **Q):
            handle = await client.start_workflow(Noted.run, id="n", **Q)
            await handle.signal(Noted.done)
            await handle.result()

    assert simulate(main).error is None
    found = [one for one in buffer.retrieve_updates() if one.metric.name == "looks"]
    assert [(one.value, one.attributes["activity_type"]) for one in found] == [(1, "look")]


def test_a_runtime_opens_no_port_for_its_metrics(simulate):
    """Not in a simulation: the same program runs there again, or twice at once, as it could not in one world."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = PrometheusConfig(bind_address=f"127.0.0.1:{taken.getsockname()[1]}")

        async def main():
            runtime = Runtime(telemetry=TelemetryConfig(metrics=config))
            client = await Client.connect("server", runtime=runtime)
            async with Worker(client, **HERE, **Q):
                handle = await client.start_workflow(Noted.run, id="n", **Q)
                await handle.signal(Noted.done)
                await handle.result()

        simulate(main).result()
        with pytest.raises(ValueError, match="in use"):
            Runtime(telemetry=TelemetryConfig(metrics=config))


class Telling:
    @workflow.query
    def told(self) -> str:
        return self.seen


@workflow.defn(name="Patched")
class BeforePatch(Telling):
    @workflow.run
    async def run(self) -> None:
        self.seen = "old"


@workflow.defn(name="Patched")
class WithPatch(Telling):
    @workflow.run
    async def run(self) -> None:
        self.seen = "new" if workflow.patched("p") else "old"


@workflow.defn(name="Patched")
class WithDeprecatedPatch(Telling):
    @workflow.run
    async def run(self) -> None:
        workflow.deprecate_patch("p")
        self.seen = "new"


@workflow.defn(name="Patched")
class AfterPatch(Telling):
    @workflow.run
    async def run(self) -> None:
        self.seen = "new"


@pytest.mark.usefixtures("unreplayed")
def test_a_patch_can_be_deprecated_and_removed(simulate):
    """Later code replays histories of earlier code, as far as Core lets it."""

    async def main():
        client, seen = await Client.connect("server"), []
        kinds = {BeforePatch: "0", WithPatch: "01", WithDeprecatedPatch: "12", AfterPatch: "23"}
        for number, (kind, asked) in enumerate(kinds.items()):
            async with Worker(client, workflows=[kind], max_cached_workflows=0, **Q):
                await client.execute_workflow("Patched", id=str(number), **Q)
                seen.append([await client.get_workflow_handle(one).query("told") for one in asked])
        return seen

    assert simulate(main).result() == [["old"], ["old", "new"], ["new", "new"], ["new", "new"]]


@activity.defn
async def fail() -> None:
    raise RuntimeError("no luck")


@workflow.defn
class Tries:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(fail, schedule_to_close_timeout=timedelta(seconds=3))


def test_the_log_tells_of_failed_attempts(simulate, caplog):
    """In the SDK's words, for whoever listens."""
    simulate(Tries, activities=[fail])
    told = [one for one in caplog.records if one.message.startswith("Completing activity as failed")]
    assert told[0].temporal_activity["activity_type"] == "fail"
    assert told[0].exc_info[1].args == ("no luck",)


@workflow.defn
class TriesOnAndOn:
    @workflow.run
    async def run(self) -> None:
        policy = RetryPolicy(
            maximum_attempts=210, initial_interval=timedelta(seconds=1), backoff_coefficient=1
        )
        await workflow.execute_activity(
            fail, start_to_close_timeout=timedelta(seconds=3), retry_policy=policy
        )


def test_the_log_is_not_flooded_by_failed_attempts(simulate, caplog):
    """From the tenth attempt on only round numbers are warnings; who asks for more has all of them."""

    def attempts():
        known = [one for one in caplog.records if one.message.startswith("Completing activity as failed")]
        return [one.temporal_activity["attempt"] for one in known]

    simulate(TriesOnAndOn, activities=[fail])
    rounds = [*range(1, 10), *range(10, 100, 10), 100, 200]
    assert attempts() == rounds
    caplog.clear()
    with caplog.at_level("DEBUG", "temporalio.activity"):
        simulate(TriesOnAndOn, activities=[fail])
    assert attempts() == list(range(1, 211))


@workflow.defn
class Hasty:
    def __init__(self) -> None:
        self.is_asked = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.is_asked)

    @workflow.update
    async def wait(self) -> None:
        self.is_asked = True
        await asyncio.sleep(1)


def test_unfinished_handlers_are_told(simulate):
    """A warning that a suite makes an error fails the workflow task, and not the worker."""

    async def main(client):
        handle = await client.start_workflow(Hasty.run, id="n", **Q)
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update(Hasty.wait)
        return failed.value.cause.type

    with pytest.warns(workflow.UnfinishedUpdateHandlersWarning):
        assert simulate(main, workflows=[Hasty]).result() == "AcceptedUpdateCompletedWorkflow"


def test_refusals_of_the_server(simulate):
    """In its own words; a run that has ended may be cancelled, and nothing comes of it."""

    async def main(client):
        handle = await client.start_workflow(AfterPatch.run, id="n", **Q)
        await handle.result()
        await handle.cancel()
        other = "01234567-89ab-7def-8123-456789abcdef"
        calls = {
            "already completed": handle.terminate,
            f'workflow ID "n" and run ID "{other}"': client.get_workflow_handle("n", run_id=other).describe,
            "Invalid RunId.": client.get_workflow_handle("n", run_id="latest").describe,
            "WorkflowId is not set": lambda: client.start_workflow(AfterPatch.run, id="", **Q),
            "maximum allowed length": lambda: client.start_workflow(AfterPatch.run, id="n" * 1001, **Q),
            "missing task queue name": lambda: client.start_workflow(AfterPatch.run, id="m", task_queue=""),
        }
        for told, call in calls.items():
            with pytest.raises(RPCError, match=told):
                await call()

    assert simulate(main, workflows=[AfterPatch]).error is None
