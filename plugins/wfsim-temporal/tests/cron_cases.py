"""Workflows on cron schedules, and what they leave behind: on a real server and on the simulated one."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

QUEUE = "cron"
EXPRESSIONS = [
    "* * * * *",
    "*/7 * * * *",
    "5/20 3 * * *",
    "0 9-17/4 * * 1-5",
    "0 0 13 * 5",
    "0 0 1-31 * 5",
    "0 0 */2 * mon",
    "30 4 ? * MON,wed",
    "0 12 1 jan-MAR *",
    "0 0 29 2 *",
    "15,,45 * * * *",
    "@hourly",
    "@midnight",
    "@weekly",
    "@monthly",
    "@annually",
    "@every 1h30m",
    "@every 1.5s",
    "@every 10ms",
    "CRON_TZ=Asia/Kathmandu 0 9 * * *",
    "TZ=America/New_York 30 2 * * *",
    "CRON_TZ=Europe/Oslo 30 2 * * 0",
    "CRON_TZ=Australia/Lord_Howe 15 2 * 4,10 *",
]
NO_EXPRESSIONS = [
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "* * * * 7",
    "* * 0 * *",
    "5-1 * * * *",
    "*/0 * * * *",
    "* * * mon *",
    "@every",
    "@every soon",
    "@sometimes",
    "CRON_TZ=Nowhere/Land * * * * *",
    "0 0 30 2 *",
]


def s(number):
    return timedelta(seconds=number)


@workflow.defn
class Job:
    """One run of a job; what it does depends on what it is told."""

    @workflow.run
    async def run(self, what: str) -> str:
        count = int(workflow.get_last_completion_result(str) or 0)
        info = workflow.info()
        failed = workflow.get_last_failure()
        if what == "fails at first" and count == 0 and failed is None:
            raise ApplicationError("the first time")
        if what == "always fails":
            raise ApplicationError(f"attempt {info.attempt} after {failed and str(failed)[:9]}")
        if what == "continues" and not info.continued_run_id:
            workflow.continue_as_new("counts")
        if what == "hangs":
            await workflow.sleep(60)
        if what == "is a parent":
            await workflow.start_child_workflow(
                Job.run, "counts", id=f"{info.workflow_id}-child", cron_schedule="@every 2s"
            )
            await workflow.sleep(60)
        return str(count + 1)


CASES = {
    "counts": {},
    "fails at first": {},
    "always fails": {"retry_policy": RetryPolicy(initial_interval=s(0.3), maximum_attempts=2)},
    "continues": {},
    "hangs": {"run_timeout": s(1)},
    "is a parent": {"cron_schedule": ""},
}
ENDS_AFTER = 6.5


async def play(client):
    """Let each case run for some seconds, end it, and tell of all its runs."""
    handles = {
        what: await client.start_workflow(
            Job.run, what, id=what, task_queue=QUEUE, **{"cron_schedule": "@every 2s", **options}
        )
        for what, options in CASES.items()
    }
    await asyncio.sleep(ENDS_AFTER)
    for what in handles:
        if what != "continues":
            await client.get_workflow_handle(what).terminate()
    await asyncio.sleep(1)
    return {id: await runs(client, id) for id in (*CASES, "is a parent-child")}


async def runs(client, id):
    """Tell of each run of a workflow id, in their order."""
    told, run_id = [], None
    first = await client.get_workflow_handle(id).describe()
    history = await client.get_workflow_handle(id, run_id=first.run_id).fetch_history()
    run_id = history.events[0].workflow_execution_started_event_attributes.first_execution_run_id
    while run_id:
        events = (await client.get_workflow_handle(id, run_id=run_id).fetch_history()).events
        told.append(tell(events))
        last = events[-1]
        run_id = getattr(getattr(last, last.WhichOneof("attributes")), "new_execution_run_id", "")
    return told


def tell(events):
    begun = events[0].workflow_execution_started_event_attributes
    backoff = begun.first_workflow_task_backoff
    return {
        "cron": begun.cron_schedule,
        "initiator": begun.initiator,
        "attempt": begun.attempt,
        "backoff": round(backoff.seconds + backoff.nanos / 1e9, 1),
        "last result": [one.data.decode() for one in begun.last_completion_result.payloads],
        "last failure": begun.continued_failure.message,
        "is continued": bool(begun.continued_execution_run_id),
        "events": [EventType.Name(one.event_type)[len("EVENT_TYPE_") :] for one in events],
    }


async def first_due(client):
    """Start a workflow for each expression; tell when it was started and how long it waits, or why not."""
    told = {}
    for expression in (*EXPRESSIONS, *NO_EXPRESSIONS):
        try:
            handle = await client.start_workflow(
                Job.run, "counts", id=expression, task_queue="nobody", cron_schedule=expression
            )
        except Exception as error:
            told[expression] = str(error)
            continue
        begun = (await handle.fetch_history()).events[0]
        backoff = begun.workflow_execution_started_event_attributes.first_workflow_task_backoff
        told[expression] = begun.event_time.ToNanoseconds(), backoff.ToNanoseconds()
    return told
