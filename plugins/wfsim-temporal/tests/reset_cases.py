"""Cases of resets, deletions and batches that run on a real server and on the simulated one."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.api.batch.v1 import (
    BatchOperationDeletion,
    BatchOperationReset,
    BatchOperationUpdateWorkflowExecutionOptions,
)
from temporalio.api.common.v1 import ResetOptions, WorkflowExecution
from temporalio.api.enums.v1 import BatchOperationType, EventType
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    DescribeBatchOperationRequest,
    ResetWorkflowExecutionRequest,
    StartBatchOperationRequest,
)

QUEUE = "resets"


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def takes(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def take(seconds):
    return workflow.start_activity(takes, seconds, start_to_close_timeout=s(30))


@workflow.defn
class Wishes:
    """Does what signals say, until one says that it is done."""

    def __init__(self) -> None:
        self.wishes: list[str] = []
        self.told: list = []
        self.under_way: list = []

    @workflow.signal
    def wish(self, what: str) -> None:
        self.wishes.append(what)

    @workflow.update
    def ask(self, what: str) -> str:
        self.told.append(f"asked {what}")
        return f"{what} it is"

    @workflow.run
    async def run(self, is_second: bool) -> list:
        self.told += [workflow.memo_value("note", "no note"), await take(0)]
        while True:
            await workflow.wait_condition(lambda: bool(self.wishes))
            wish = self.wishes.pop(0)
            self.told.append(wish)
            match wish:
                case "timer":
                    self.under_way.append(asyncio.create_task(asyncio.sleep(5)))
                case "activity":
                    self.under_way.append(take(3))
                case "note":
                    workflow.upsert_memo({"note": "noted"})
                case "patch":
                    self.told.append(workflow.patched("one"))
                case "renew" if not is_second:
                    workflow.continue_as_new(True)
                case "done":
                    self.told += [await one for one in self.under_way]
                    return [*self.told, workflow.memo_value("note", "no note")]


class Bench:
    def __init__(self, client):
        self.client = client
        self.runs = []

    async def start(self, id):
        handle = await self.client.start_workflow(Wishes.run, False, id=id, task_queue=QUEUE)
        await self.rest(id, has_activities=False)
        self.note(id, handle.result_run_id)
        return handle

    async def rest(self, id, *, has_activities=True):
        """Wait until no workflow task is open, nor any activity; a real server takes its time."""
        is_busy = True
        while is_busy:
            await asyncio.sleep(0.5)
            told = (await self.client.get_workflow_handle(id).describe()).raw_description
            is_busy = told.HasField("pending_workflow_task") or (
                told.pending_activities and not has_activities
            )

    def note(self, id, run_id):
        self.runs.append((id, run_id))

    async def wish(self, id, *wishes):
        for wish in wishes:
            await self.client.get_workflow_handle(id).signal("wish", wish)
            await self.rest(id)

    async def tasks(self, id):
        """Give the event ids of the completed workflow tasks."""
        history = await self.client.get_workflow_handle(id).fetch_history()
        done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        return [one.event_id for one in history.events if one.event_type == done]

    async def reset(self, id, task_id, *, run_id="", **options):
        request = ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=id, run_id=run_id),
            reason="why not",
            workflow_task_finish_event_id=task_id,
            request_id=f"{id}-{task_id}-{len(self.runs)}",
            **options,
        )
        run_id = (await self.client.workflow_service.reset_workflow_execution(request)).run_id
        self.note(id, run_id)
        await self.rest(id)

    async def delete(self, id):
        named = WorkflowExecution(workflow_id=id)
        request = DeleteWorkflowExecutionRequest(namespace="default", workflow_execution=named)
        await self.client.workflow_service.delete_workflow_execution(request)
        await asyncio.sleep(3)

    async def batch(self, job, ids, **operation):
        named = [WorkflowExecution(workflow_id=id) for id in ids]
        await self.client.workflow_service.start_batch_operation(
            StartBatchOperationRequest(
                namespace="default", job_id=f"job-{job}", reason="all of them", executions=named, **operation
            )
        )
        await asyncio.sleep(4)
        told = await self.client.workflow_service.describe_batch_operation(
            DescribeBatchOperationRequest(namespace="default", job_id=f"job-{job}")
        )
        counts = (told.total_operation_count, told.complete_operation_count, told.failure_operation_count)
        kind = BatchOperationType.Name(told.operation_type).replace("_WORKFLOW", "")  # not in each release
        return kind, told.state, counts, told.identity, told.reason

    async def end(self, id):
        await self.wish(id, "done")
        return await self.client.get_workflow_handle(id).result()


async def told(work):
    try:
        return await work
    except Exception as error:
        return [type(error).__name__, str(error), getattr(getattr(error, "status", None), "name", "")]


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


@case
async def signals_and_updates_come_again(bench, id):
    handle = await bench.start(id)
    await bench.wish(id, "note")
    await handle.execute_update("ask", "tea")
    await bench.reset(id, 4)
    return await told(handle.result()), await bench.end(id)


@case
async def it_goes_back_to_its_last_task(bench, id):
    await bench.start(id)
    await bench.wish(id, "note", "patch", "other")
    await bench.reset(id, (await bench.tasks(id))[-1])
    return await bench.end(id)


@case
async def signals_alone_come_again(bench, id):
    handle = await bench.start(id)
    await bench.wish(id, "note")
    await handle.execute_update("ask", "tea")
    await bench.reset(id, 4, reset_reapply_type=1)
    return await bench.end(id)


@case
async def nothing_comes_again(bench, id):
    await bench.start(id)
    await bench.wish(id, "note")
    await bench.reset(id, 4, reset_reapply_type=2)
    return await bench.end(id)


@case
async def signals_are_left_out(bench, id):
    handle = await bench.start(id)
    await bench.wish(id, "note")
    await handle.execute_update("ask", "tea")
    await bench.reset(id, 4, reset_reapply_exclude_types=[1])
    return await bench.end(id)


@case
async def a_closed_run_is_reset(bench, id):
    handle = await bench.start(id)
    await bench.wish(id, "note", "other")
    before = await bench.end(id)
    await bench.reset(id, (await bench.tasks(id))[-2], reset_reapply_type=2)
    await bench.wish(id, "once more")
    return before, await bench.end(id), await handle.result()


@case
async def a_timer_goes_on(bench, id):
    await bench.start(id)
    await bench.wish(id, "timer", "other")
    await bench.reset(id, (await bench.tasks(id))[-1])
    return await bench.end(id)


@case
async def an_activity_begins_again(bench, id):
    await bench.start(id)
    await bench.wish(id, "activity", "other")
    await bench.reset(id, (await bench.tasks(id))[-1])
    return await bench.end(id)


@case
async def it_is_reset_twice(bench, id):
    await bench.start(id)
    await bench.wish(id, "note", "patch")
    await bench.reset(id, (await bench.tasks(id))[-1])
    await bench.reset(id, (await bench.tasks(id))[1])
    return await bench.end(id)


@case
async def cancellation_does_not_come_again(bench, id):
    handle = await bench.start(id)
    await handle.cancel()
    await asyncio.sleep(0.5)
    await bench.reset(id, 4)
    return await bench.end(id)


@case
async def the_run_before_is_reset(bench, id):
    handle = await bench.start(id)
    await bench.wish(id, "note", "renew")
    await asyncio.sleep(1.5)
    await bench.wish(id, "other")
    await bench.reset(id, 4, run_id=handle.result_run_id)
    await asyncio.sleep(2)
    return await bench.end(id)


@case
async def resets_are_refused(bench, id):
    await bench.start(id)
    await bench.wish(id, "note", "other")
    said = [await told(bench.reset(id, number)) for number in (0, 1, 5, 6, 7, 8, 100)]
    return said, await told(bench.reset("nobody", 4)), await bench.end(id)


@case
async def an_open_one_is_deleted(bench, id):
    handle = await bench.start(id)
    bench.runs.pop()
    await bench.delete(id)
    listed = [one.id async for one in bench.client.list_workflows(f'WorkflowId = "{id}"')]
    said = [
        await told(handle.describe()),
        await told(handle.signal("wish", "x")),
        await told(bench.delete(id)),
    ]
    await bench.start(id)
    return listed, said, await bench.end(id)


@case
async def batches(bench, id):
    ids = [f"{id}-{number}" for number in range(2)]
    for one in ids:
        await bench.start(one)
        await bench.wish(one, "note")
    bench.runs.clear()
    options = [{"first_workflow_task": {}}, {"last_workflow_task": {}}, {"workflow_task_id": 5}]
    said = [
        await bench.batch(
            f"{id}-{number}",
            ids,
            reset_operation=BatchOperationReset(identity="me", options=ResetOptions(**one)),
        )
        for number, one in enumerate(options)
    ]
    by_type = BatchOperationReset(identity="me", reset_type=1, reset_reapply_type=2)
    said.append(await bench.batch(f"{id}-by-type", ids[:1], reset_operation=by_type))
    override = WorkflowExecutionOptions(versioning_override=VersioningOverride(auto_upgrade=True))
    change = BatchOperationUpdateWorkflowExecutionOptions(
        identity="me",
        workflow_execution_options=override,
        update_mask={"paths": ["versioning_override"]},
    )
    said.append(await bench.batch(f"{id}-options", ids, update_workflow_options_operation=change))
    for one in ids:
        bench.note(one, (await bench.client.get_workflow_handle(one).describe()).run_id)
    ended = [await bench.end(one) for one in ids]
    deletion = {"deletion_operation": BatchOperationDeletion(identity="me")}
    said.append(await bench.batch(f"{id}-none", [f"{id}-nobody"], **deletion))
    return said, ended


def brief(event):
    """Give an event's type, and what it says of a reset."""
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    if kind == "WORKFLOW_TASK_FAILED":
        failed = event.workflow_task_failed_event_attributes
        of_reset = failed.failure.HasField("reset_workflow_failure_info")
        ids = failed.scheduled_event_id, failed.started_event_id
        return [kind, failed.cause, failed.failure.message, of_reset, *ids]
    if kind == "WORKFLOW_EXECUTION_TERMINATED":
        ended = event.workflow_execution_terminated_event_attributes
        return [kind, ended.reason, ended.identity]
    if kind == "WORKFLOW_EXECUTION_UPDATE_ADMITTED":
        admitted = event.workflow_execution_update_admitted_event_attributes
        return [kind, admitted.request.input.name, admitted.origin]
    return [kind]


async def play(client, name):
    bench = Bench(client)
    value = await asyncio.wait_for(CASES[name](bench, name), 60)
    histories = []
    for id, run_id in bench.runs:
        history = await client.get_workflow_handle(id, run_id=run_id).fetch_history()
        histories.append([brief(one) for one in history.events])
    return name, [value, histories]


async def play_all(client):
    """Play all cases; a real server takes no more than some at once, or it comes late."""
    room = asyncio.Semaphore(5)

    async def in_turn(name):
        async with room:
            return await play(client, name)

    return dict(await asyncio.gather(*[in_turn(name) for name in CASES]))
