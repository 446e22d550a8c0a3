"""Whole workflows that are paused, on a real server that is told to allow it and on the simulated one."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice import v1 as calls
from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

QUEUE, NOBODY = "pause", "nobody"
ALLOWED = ("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true")


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def takes(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"attempt {activity.info().attempt}"


@activity.defn
async def fails_once() -> str:
    if activity.info().attempt == 1:
        raise RuntimeError("first")
    return f"attempt {activity.info().attempt}"


@workflow.defn
class Does:
    """Does what it is told at its start, then waits for a signal."""

    def __init__(self) -> None:
        self.told: list = []

    @workflow.signal
    def say(self, what: str) -> None:
        self.told.append(what)

    @workflow.query
    def heard(self) -> list:
        return self.told

    @workflow.update
    def ask(self, what: str) -> str:
        self.told.append(what)
        return what

    @workflow.run
    async def run(self, wanted: list) -> list:
        under_way = [asyncio.create_task(self.do(*one)) for one in wanted]
        for one in under_way:
            self.told.append(await one)
        await workflow.wait_condition(lambda: "end" in self.told)
        return self.told

    async def do(self, what, number):
        match what:
            case "timer":
                await workflow.sleep(number)
                return "timer"
            case "activity":
                return await workflow.execute_activity(takes, number, start_to_close_timeout=s(30))
            case "retry":
                return await workflow.execute_activity(fails_once, start_to_close_timeout=s(30))
            case "waits":
                span = s(number)
                timeouts = {"start_to_close_timeout": s(30), "schedule_to_start_timeout": span}
                try:
                    return await workflow.execute_activity(takes, 0, task_queue=NOBODY, **timeouts)
                except Exception as error:
                    return str(error.cause)
            case "local":
                return await workflow.execute_local_activity(takes, number, start_to_close_timeout=s(30))


WORKFLOWS = [Does]
ACTIVITIES = [takes, fails_once]


async def outcome_of(asked):
    try:
        return await asked
    except RPCError as error:
        return [error.status.name, str(error)]
    except Exception as error:
        return repr(error)


class Bench:
    def __init__(self, client, id):
        self.client, self.service, self.id = client, client.workflow_service, id
        self.handle = client.get_workflow_handle(id)

    async def start(self, *wanted, **options):
        known = {"id": self.id, "task_queue": QUEUE, **options}
        await self.client.start_workflow("Does", [list(one) for one in wanted], **known)
        await asyncio.sleep(0.7)

    async def pause(self, **more):
        return await self.call(
            self.service.pause_workflow_execution, calls.PauseWorkflowExecutionRequest, more
        )

    async def unpause(self, **more):
        return await self.call(
            self.service.unpause_workflow_execution, calls.UnpauseWorkflowExecutionRequest, more
        )

    async def call(self, call, kind, more):
        known = {"namespace": "default", "workflow_id": self.id, "identity": "me", "reason": "why", **more}
        told = await outcome_of(call(kind(**known)))
        return told if isinstance(told, list) else "done"

    async def told(self):
        """Give what describing it says; the client of the SDK does not know such a status."""
        asked = {"namespace": "default", "execution": {"workflow_id": self.id}}
        told = await self.service.describe_workflow_execution(calls.DescribeWorkflowExecutionRequest(**asked))
        info, pause = told.workflow_execution_info, told.workflow_extended_info.pause_info
        kept = info.search_attributes.indexed_fields
        pending = sorted(told.pending_activities, key=lambda one: one.activity_id)
        return [
            info.status,
            [pause.identity, pause.reason, pause.HasField("paused_time")],
            kept["TemporalPauseInfo"].data.decode() if "TemporalPauseInfo" in kept else "",
            [[one.state, one.paused, one.attempt] for one in pending],
            told.HasField("pending_workflow_task"),
        ]

    async def query(self):
        named = {"execution": {"workflow_id": self.id}, "query": {"query_type": "heard"}}
        told = await outcome_of(
            self.service.query_workflow(calls.QueryWorkflowRequest(namespace="default", **named))
        )
        return told if isinstance(told, list) else ["rejected", told.query_rejected.status]

    async def listed(self, query):
        asked = calls.ListWorkflowExecutionsRequest(
            namespace="default", query=f"WorkflowId = '{self.id}' AND {query}"
        )
        return [one.status for one in (await self.service.list_workflow_executions(asked)).executions]

    async def end(self):
        await asyncio.sleep(0.7)
        await self.handle.signal("say", "end")
        return await outcome_of(self.handle.result())


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


@case
async def it_does_nothing_while_it_is_paused(bench):
    await bench.start(("timer", 2), ("activity", 2), ("retry", 0))
    said = [await bench.pause(request_id="a"), await bench.told()]
    await bench.handle.signal("say", "hello")
    await asyncio.sleep(4)
    said += [await bench.told(), await bench.unpause()]
    await asyncio.sleep(2)
    return [*said, await bench.told(), await bench.end()]


@case
async def its_first_task_waits(bench):
    await bench.start(task_queue=NOBODY)
    said = [await bench.pause(), await bench.told(), await bench.unpause(), await bench.told()]
    await bench.handle.terminate()
    return said


@case
async def its_task_is_under_way(bench):
    await bench.start(("local", 2))
    said = [await bench.pause(), await bench.told()]
    await asyncio.sleep(3)
    said += [await bench.told(), await outcome_of(bench.handle.signal("say", "end")), await bench.unpause()]
    return [*said, await outcome_of(bench.handle.result())]


@case
async def its_activity_waits_in_a_queue(bench):
    await bench.start(("waits", 2))
    said = [await bench.pause()]
    await asyncio.sleep(4)
    said += [await bench.told(), await bench.unpause()]
    await asyncio.sleep(4)
    return [*said, await bench.told(), await bench.end()]


@case
async def nobody_may_ask_it(bench):
    await bench.start()
    await bench.pause()
    said = [await bench.query(), await outcome_of(bench.handle.execute_update("ask", "tea"))]
    await bench.unpause()
    return [
        *said,
        await bench.query(),
        await outcome_of(bench.handle.execute_update("ask", "tea")),
        await bench.end(),
    ]


@case
async def it_is_paused_twice(bench):
    await bench.start()
    said = [
        await bench.unpause(),
        await bench.pause(request_id="a"),
        await bench.pause(request_id="a"),
        await bench.pause(request_id="b"),
        await bench.pause(),
        await bench.unpause(),
        await bench.unpause(),
    ]
    return [*said, await bench.end(), await bench.pause(), await bench.unpause()]


@case
async def who_is_not_there_is_not_paused(bench):
    return [await bench.pause(), await bench.unpause()]


@case
async def it_is_canceled_while_it_is_paused(bench):
    await bench.start()
    await bench.pause()
    await bench.handle.cancel()
    said = [await bench.told(), await bench.unpause()]
    return [*said, await outcome_of(bench.handle.result())]


@case
async def it_is_terminated_while_it_is_paused(bench):
    await bench.start()
    await bench.pause()
    await bench.handle.terminate()
    return await bench.told()


@case
async def its_time_is_over_while_it_is_paused(bench):
    await bench.start(run_timeout=s(2))
    await bench.pause()
    await asyncio.sleep(3)
    return await bench.told()


@case
async def it_is_started_while_it_is_paused(bench):
    await bench.start()
    await bench.pause()
    options = {"id": bench.id, "task_queue": QUEUE}
    hello = {"start_signal": "say", "start_signal_args": ["hi"]}
    said = [
        await outcome_of(bench.client.start_workflow("Does", [], **options)),
        type(await outcome_of(bench.client.start_workflow("Does", [], **hello, **options))).__name__,
    ]
    await bench.unpause()
    return [*said, await bench.end()]


@case
async def it_is_asked_with_a_start(bench):
    await bench.start()
    await bench.pause()
    begin = WithStartWorkflowOperation(
        "Does", [], id=bench.id, task_queue=QUEUE, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
    )
    asked = bench.client.execute_update_with_start_workflow("ask", "tea", start_workflow_operation=begin)
    said = [await outcome_of(asked)]
    await bench.unpause()
    return [*said, await bench.end()]


@case
async def it_is_listed(bench):
    await bench.start()
    await bench.pause()
    await asyncio.sleep(2)
    filters = (
        "ExecutionStatus = 'Paused'",
        "ExecutionStatus = 'Running'",
        "TemporalPauseInfo = 'Reason:why'",
    )
    said = [await bench.listed(one) for one in filters]
    await bench.unpause()
    await asyncio.sleep(2)
    return [*said, *[await bench.listed(one) for one in filters], await bench.end()]


def brief(event):
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    if kind == "WORKFLOW_TASK_FAILED":
        failed = event.workflow_task_failed_event_attributes
        return [kind, failed.cause, failed.failure.message, failed.started_event_id]
    if kind == "WORKFLOW_EXECUTION_PAUSED":
        paused = event.workflow_execution_paused_event_attributes
        return [kind, paused.identity, paused.reason, paused.request_id, event.worker_may_ignore]
    if kind == "WORKFLOW_EXECUTION_UNPAUSED":
        unpaused = event.workflow_execution_unpaused_event_attributes
        return [kind, unpaused.identity, unpaused.reason, unpaused.request_id, event.worker_may_ignore]
    return [kind]


async def play(client, name):
    try:
        value = await asyncio.wait_for(CASES[name](Bench(client, name)), 40)
    except Exception as error:  # on a busy machine one case fails alone
        value = repr(error)
    if "not-there" in name:
        return name, [value, []]
    history = await client.get_workflow_handle(name).fetch_history()
    return name, [value, [brief(one) for one in history.events]]


async def play_all(client):
    """Play all cases, side by side."""
    return dict(await asyncio.gather(*[play(client, name) for name in CASES]))
