"""What an operator does to activities without a workflow, on a real server and on the simulated one."""

from __future__ import annotations

import asyncio

import standalone_cases
from operator_cases import tells
from standalone_cases import (
    NOBODY,
    QUEUE,
    a_few_at_once,
    beats,
    completes_later,
    fails,
    fails_with_delay,
    hangs,
    has_state,
    in_backoff,
    in_time,
    outcome_of,
    policy,
    resumes,
    s,
    span,
    start,
    told_of,
    tries,
    until,
)
from temporalio import activity
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.workflowservice.v1 import (
    PauseActivityExecutionRequest,
    ResetActivityExecutionRequest,
    UnpauseActivityExecutionRequest,
    UpdateActivityExecutionOptionsRequest,
)
from temporalio.client import ActivityOptionsKeys as Keys
from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker


@activity.defn
async def waits() -> str:
    """Sends heartbeats, and says what it was cancelled for."""
    try:
        while True:
            activity.heartbeat(activity.info().attempt)
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        held = [name for name in ("cancel_requested", "paused", "reset") if getattr(details, name)]
        return f"attempt {activity.info().attempt}: {held}"


ACTIVITIES = [*standalone_cases.ACTIVITIES, tells, waits]


async def end_of(handle):
    return [*await outcome_of(handle.result()), await told_of(handle)]


async def options_of(asked):
    """Give the options that a change answers, or how it is refused."""
    try:
        told = await asked
    except RPCError as error:
        return [error.status.name, str(error)]
    spans = ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout")
    return [
        told.task_queue,
        *(span(getattr(told, name)) for name in (*spans, "heartbeat_timeout", "start_delay")),
        policy(told.retry_policy),
        told.priority and told.priority.priority_key,
    ]


async def beat(known, *details):
    """Send a heartbeat; give what the server answers."""
    try:
        await known.heartbeat(*details)
    except AsyncActivityCancelledError as error:
        return [name for name in ("cancel_requested", "paused", "reset") if getattr(error.details, name)]
    except RPCError as error:
        return [error.status.name, str(error)]
    return []


CALLS = {
    "pause": ("pause_activity_execution", PauseActivityExecutionRequest),
    "unpause": ("unpause_activity_execution", UnpauseActivityExecutionRequest),
    "reset": ("reset_activity_execution", ResetActivityExecutionRequest),
    "change": ("update_activity_execution_options", UpdateActivityExecutionOptionsRequest),
}


async def ask(client, call, name, **request):
    """Make a call that the client has no method for."""
    rpc, kind = CALLS[call]
    known = {"namespace": "default", "activity_id": name, "identity": "me", **request}
    return await outcome_of(getattr(client.workflow_service, rpc)(kind(**known)))


async def asks(client, call, name, **request):
    told = await ask(client, call, name, **request)
    return told if told[0] == "error" else "done"


async def running(client, name, **options):
    """Start an activity that is completed by hand, wait until it runs; give its two handles."""
    handle = await start(client, completes_later, name, **options)
    await until(handle, has_state("STARTED"))
    return handle, client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)


async def second(client, name, **options):
    """Bring an activity to its second attempt."""
    handle, known = await running(client, name, **{"retry_policy": tries(0, 0.3), **options})
    await known.fail(ValueError("one"))
    await until(handle, lambda told: told["state"] == "STARTED" and told["attempt"] == 2)
    return handle, known


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


# -- pauses


@case
async def is_paused_in_the_queue(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY, schedule_to_start_timeout=s(1))
    told = [
        await outcome_of(handle.pause(reason="wait")),
        await told_of(handle),
        await outcome_of(handle.pause()),
    ]
    await asyncio.sleep(2)  # its time to wait in the queue does not pass
    told.append(await told_of(handle))
    await handle.unpause(reason="now")
    return [*told, await told_of(handle), await outcome_of(handle.unpause()), *await end_of(handle)]


@case
async def is_paused_as_it_runs(client, name):
    handle, known = await running(client, name)
    told = [await outcome_of(handle.pause()), await told_of(handle), await outcome_of(handle.pause())]
    told.append(await beat(known, "half"))
    await known.complete("all the same")
    return [
        *told,
        *await end_of(handle),
        await outcome_of(handle.pause()),
        await outcome_of(handle.unpause()),
    ]


@case
async def sees_its_pause(client, name):
    handle = await start(client, waits, name, heartbeat_timeout=s(1))
    await until(handle, has_state("STARTED"))
    await handle.pause()
    return await end_of(handle)


@case
async def sees_its_reset(client, name):
    handle = await start(client, waits, name, heartbeat_timeout=s(1))
    await until(handle, has_state("STARTED"))
    told = await asks(client, "reset", name)
    return [told, *await end_of(handle)]


@case
async def is_paused_and_goes_on(client, name):
    handle, known = await running(client, name)
    await handle.pause()
    await handle.unpause()
    told = [await told_of(handle), await beat(known, 1)]
    await handle.terminate()
    return told


@case
async def fails_when_it_is_paused(client, name):
    handle, known = await running(client, name, retry_policy=tries(3))
    await handle.pause()
    await known.fail(ValueError("later"))
    told = [await until(handle, has_state("PAUSED"))]
    await handle.unpause()
    told.append(await until(handle, has_state("STARTED")))
    await handle.terminate()
    return told


@case
async def fails_for_the_last_time_when_it_is_paused(client, name):
    handle, known = await running(client, name, retry_policy=tries(1))
    await handle.pause()
    await known.fail(ValueError("last"))
    return await end_of(handle)


@case
async def is_paused_between_tries(client, name):
    handle = await start(client, fails, name, 1, False, retry_policy=tries(0, 4))
    await until(handle, in_backoff)
    await handle.pause()
    told = [await told_of(handle)]
    await handle.unpause()
    told.append(await told_of(handle))
    return [*told, *await end_of(handle)]


@case
async def is_paused_longer_than_between_tries(client, name):
    handle = await start(client, fails, name, 1, False, retry_policy=tries(0, 1))
    await until(handle, in_backoff)
    await handle.pause()
    await asyncio.sleep(2)
    told = [await told_of(handle)]
    await handle.unpause()
    return [*told, *await end_of(handle)]


@case
async def is_paused_as_it_beats(client, name):
    handle = await start(client, beats, name, heartbeat_timeout=s(1))
    await until(handle, has_state("STARTED"))
    await handle.pause()
    told = await until(handle, has_state("PAUSED"))
    await handle.cancel(reason="no more")
    return [told, *await end_of(handle)]


@case
async def is_terminated_when_it_is_paused(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    await handle.pause()
    await handle.terminate(reason="enough")
    return await end_of(handle)


@case
async def has_no_time_while_it_is_paused(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY, schedule_to_close_timeout=s(1))
    await handle.pause()
    return await end_of(handle)


@case
async def takes_too_long_when_a_pause_is_wanted(client, name):
    handle = await start(client, hangs, name, start_to_close_timeout=s(1))
    await until(handle, has_state("STARTED"))
    await handle.pause()
    told = await until(handle, has_state("PAUSED"))
    await handle.terminate()
    return told


@case
async def is_canceled_when_a_pause_is_wanted(client, name):
    handle, known = await running(client, name)
    await handle.pause()
    await handle.cancel()
    told = [await told_of(handle), await beat(known, 1)]
    told += [await outcome_of(handle.pause()), await outcome_of(handle.unpause())]
    await known.report_cancellation()
    return [*told, *await end_of(handle)]


@case
async def is_paused_before_its_start(client, name):
    handle = await start(client, fails, name, 0, False, start_delay=s(2))
    await handle.pause()
    told = [await told_of(handle)]
    await handle.unpause()
    return [*told, await told_of(handle), *await end_of(handle)]


@case
async def is_paused_through_its_start(client, name):
    handle = await start(client, fails, name, 0, False, start_delay=s(1))
    await handle.pause()
    await asyncio.sleep(2)
    told = [await told_of(handle)]
    await handle.unpause()
    return [*told, *await end_of(handle)]


@case
async def is_unpaused_with_jitter(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    await handle.pause()
    await handle.unpause(jitter=s(50))
    told = await told_of(handle)
    await handle.terminate()
    return told


@case
async def is_completed_by_hand_when_it_is_paused(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    await handle.pause()
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)
    told = [await beat(known, 1)]
    await known.complete("by hand")
    return [*told, *await end_of(handle)]


@case
async def is_paused_once_more_by_the_same_request(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    told = [
        await asks(client, "pause", name, request_id="a"),
        await asks(client, "pause", name, request_id="a"),
    ]
    told.append(await asks(client, "unpause", name, request_id="b"))
    told.append(await asks(client, "unpause", name, request_id="b"))
    told.append(await asks(client, "pause", name, request_id="a"))
    told.append(await told_of(handle))
    await handle.terminate()
    return told


# -- resets


@case
async def is_reset_in_the_queue(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY, schedule_to_start_timeout=s(2))
    await asyncio.sleep(1)
    told = [await asks(client, "reset", name), await told_of(handle)]
    return [*told, *await end_of(handle)]


@case
async def is_reset_between_tries(client, name):
    handle = await start(client, resumes, name, retry_policy=tries(0, 30))
    await until(handle, in_backoff)
    told = [await asks(client, "reset", name)]
    return [*told, *await end_of(handle)]


@case
async def is_reset_with_its_heartbeat(client, name):
    handle = await start(client, resumes, name, retry_policy=tries(0, 3))
    await until(handle, in_backoff)
    told = [await asks(client, "reset", name, reset_heartbeat=True)]
    await until(handle, lambda one: one["attempt"] == 2)
    return [*told, *await end_of(handle)]


@case
async def is_reset_as_it_runs(client, name):
    handle, known = await second(client, name)
    told = [await asks(client, "reset", name), await told_of(handle), await beat(known, 1)]
    told.append(await asks(client, "reset", name))
    told += [await outcome_of(handle.pause()), await outcome_of(handle.unpause())]
    await known.fail(ValueError("two"))
    told.append(await until(handle, lambda one: one["state"] == "STARTED" and one["attempt"] == 1))
    told.append(await beat(known, 2))
    await known.complete("so")
    return [*told, *await end_of(handle)]


@case
async def is_reset_with_its_heartbeat_as_it_runs(client, name):
    handle, known = await running(client, name, retry_policy=tries(0, 0.3))
    told = [await beat(known, "one"), await asks(client, "reset", name, reset_heartbeat=True)]
    told += [await told_of(handle), await beat(known, "two"), await told_of(handle)]
    await known.fail(ValueError("one"))
    await until(handle, lambda one: one["state"] == "STARTED" and one["last failure"])
    told.append(await told_of(handle))
    await handle.terminate()
    return told


@case
async def is_reset_at_its_last_try(client, name):
    handle, known = await running(client, name, retry_policy=tries(1))
    told = [await asks(client, "reset", name)]
    await known.fail(ValueError("last"))
    return [*told, *await end_of(handle)]


@case
async def fails_for_good_when_it_is_to_be_reset(client, name):
    handle, known = await running(client, name)
    told = [await asks(client, "reset", name)]
    await known.fail(ApplicationError("never", non_retryable=True))
    told.append(await until(handle, lambda one: one["last failure"] and one["state"] == "STARTED"))
    await handle.terminate()
    return told


@case
async def completes_when_it_is_to_be_reset(client, name):
    handle, known = await running(client, name)
    told = [await asks(client, "reset", name)]
    await known.complete("all the same")
    return [*told, *await end_of(handle)]


@case
async def takes_too_long_when_it_is_to_be_reset(client, name):
    handle, _known = await running(client, name, start_to_close_timeout=s(1), retry_policy=tries(0, 30))
    told = [await asks(client, "reset", name)]
    told.append(await until(handle, lambda one: one["last failure"] and one["state"] == "STARTED"))
    await handle.terminate()
    return told


@case
async def is_reset_when_it_is_paused(client, name):
    handle = await start(client, resumes, name, retry_policy=tries(0, 30))
    await until(handle, in_backoff)
    await handle.pause()
    told = [await asks(client, "reset", name)]
    return [*told, *await end_of(handle)]


@case
async def is_reset_and_stays_paused(client, name):
    handle = await start(client, resumes, name, retry_policy=tries(0, 30))
    await until(handle, in_backoff)
    await handle.pause()
    told = [await asks(client, "reset", name, keep_paused=True), await told_of(handle)]
    await handle.unpause()
    return [*told, *await end_of(handle)]


@case
async def is_reset_and_stays_paused_as_it_runs(client, name):
    handle, known = await second(client, name)
    await handle.pause()
    told = [await asks(client, "reset", name, keep_paused=True), await told_of(handle), await beat(known, 1)]
    await known.fail(ValueError("two"))
    told.append(await until(handle, has_state("PAUSED")))
    await handle.terminate()
    return told


@case
async def is_reset_when_a_pause_is_wanted(client, name):
    handle, known = await second(client, name)
    await handle.pause()
    told = [await asks(client, "reset", name), await told_of(handle), await beat(known, 1)]
    await handle.terminate()
    return told


@case
async def is_reset_when_it_is_to_be_canceled(client, name):
    handle, _known = await running(client, name)
    await handle.cancel()
    told = [await asks(client, "reset", name)]
    await handle.terminate()
    return [*told, await asks(client, "reset", name)]


@case
async def is_canceled_when_it_is_to_be_reset(client, name):
    handle, known = await running(client, name)
    told = [
        await asks(client, "reset", name),
        await outcome_of(handle.cancel(reason="no")),
        await beat(known, 1),
    ]
    await known.fail(ValueError("one"))
    return [*told, *await end_of(handle)]


@case
async def is_reset_with_its_options(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    await handle.update_options([Keys.start_to_close_timeout.value_set(s(9))])
    told = [await asks(client, "reset", name, restore_original_options=True), await told_of(handle)]
    await handle.terminate()
    return told


@case
async def is_reset_with_its_options_as_it_runs(client, name):
    handle, known = await running(client, name, retry_policy=tries(0, 0.3))
    await handle.update_options([Keys.start_to_close_timeout.value_set(s(9))])
    told = [await asks(client, "reset", name, restore_original_options=True), await told_of(handle)]
    told.append(await options_of(handle.update_options([Keys.start_to_close_timeout.value_set(s(8))])))
    await known.fail(ValueError("one"))
    told.append(await until(handle, lambda one: one["last failure"] and one["state"] == "STARTED"))
    await handle.terminate()
    return told


@case
async def is_reset_before_its_start(client, name):
    handle = await start(client, fails, name, 0, False, start_delay=s(2))
    told = [await asks(client, "reset", name), await told_of(handle)]
    return [*told, *await end_of(handle)]


# -- options


@case
async def goes_to_another_queue(client, name):
    handle = await start(client, tells, name, task_queue=NOBODY)
    updates = [
        Keys.task_queue.value_set(QUEUE),
        Keys.start_to_close_timeout.value_set(s(3)),
        Keys.schedule_to_close_timeout.value_set(s(50)),
        Keys.heartbeat_timeout.value_set(s(20)),
        Keys.retry_policy.value_set(tries(2, 1)),
        Keys.priority.value_set(Priority(priority_key=2)),
    ]
    told = [await options_of(handle.update_options(updates)), *await end_of(handle)]
    told.append(await options_of(handle.update_options([Keys.heartbeat_timeout.value_set(s(3))])))
    return [*told, await options_of(handle.restore_original_options())]


@case
async def its_options_are_restored(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY, schedule_to_start_timeout=s(30))
    updates = [
        Keys.heartbeat_timeout.value_set(s(3)),
        Keys.schedule_to_start_timeout.value_unset(),
        Keys.start_to_close_timeout.value_set(s(8)),
        Keys.priority.value_set(Priority(priority_key=4)),
        Keys.retry_policy.value_set(RetryPolicy(maximum_attempts=3, non_retryable_error_types=["Boom"])),
        Keys.task_queue.value_set("no one"),
    ]
    told = [await options_of(handle.update_options(updates)), await told_of(handle)]
    told += [await options_of(handle.restore_original_options()), await told_of(handle)]
    await handle.terminate()
    return told


@case
async def options_are_refused(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    updates = [
        Keys.start_to_close_timeout.value_unset(),
        Keys.start_to_close_timeout.value_set(s(-1)),
        Keys.task_queue.value_set(""),
        Keys.retry_policy.value_unset(),
        Keys.start_delay.value_set(s(9)),
        Keys.priority.value_unset(),
        Keys.heartbeat_timeout.value_unset(),
    ]
    told = [[one.key.name, await options_of(handle.update_options([one]))] for one in updates]
    some = ActivityOptions(start_to_close_timeout=s(7))
    for mask, options in (
        ({"paths": ["nonsense"]}, some),
        ({"paths": ["task_queue"]}, ActivityOptions(task_queue={"name": "other"})),
        ({"paths": ["retry_policy.maximum_attempts"]}, some),
        (
            {"paths": ["retry_policy.maximum_attempts"]},
            ActivityOptions(retry_policy={"maximum_attempts": -1}),
        ),
        (
            {"paths": ["retry_policy.backoff_coefficient"]},
            ActivityOptions(retry_policy={"backoff_coefficient": 0.1}),
        ),
        ({"paths": []}, some),
        (None, some),
        ({"paths": ["start_to_close_timeout"]}, None),
        (
            {"paths": ["retry_policy"]},
            ActivityOptions(
                retry_policy={"initial_interval": s(9), "maximum_interval": s(1), "backoff_coefficient": 2}
            ),
        ),
        ({"paths": ["priority"]}, ActivityOptions(priority={"priority_key": -1})),
        ({"paths": ["start_delay"]}, ActivityOptions(start_delay=s(-1))),
    ):
        said = await ask(client, "change", name, update_mask=mask, activity_options=options)
        told.append(said if said[0] == "error" else "done")
    restore = {"restore_original": True, "update_mask": {"paths": ["priority"]}}
    told.append(await asks(client, "change", name, **restore))
    told.append(await asks(client, "change", name, restore_original=True, activity_options=some))
    told.append(await told_of(handle))
    await handle.terminate()
    return told


@case
async def its_next_try_comes_sooner(client, name):
    handle = await start(client, fails, name, 1, False, retry_policy=tries(0, 60))
    await until(handle, in_backoff)
    told = [
        await options_of(handle.update_options([Keys.retry_policy.value_set(tries(0, 2))])),
        await told_of(handle),
    ]
    return [*told, *await end_of(handle)]


@case
async def its_third_try_comes_sooner(client, name):
    handle = await start(client, fails, name, 2, False, retry_policy=tries(0, 1))
    await until(handle, lambda told: told["attempt"] == 3 and in_backoff(told))
    told = [
        await options_of(handle.update_options([Keys.retry_policy.value_set(tries(0, 2))])),
        await told_of(handle),
    ]
    await handle.terminate()
    return told


@case
async def its_options_change_between_tries(client, name):
    handle = await start(client, fails, name, 1, False, retry_policy=tries(0, 2))
    await until(handle, in_backoff)
    told = [await options_of(handle.update_options([Keys.start_to_close_timeout.value_set(s(9))]))]
    return [*told, await told_of(handle), *await end_of(handle)]


@case
async def its_own_delay_is_kept(client, name):
    handle = await start(client, fails_with_delay, name, 1, retry_policy=tries(0, 30))
    await until(handle, in_backoff)
    await handle.pause()
    told = [await options_of(handle.update_options([Keys.retry_policy.value_set(tries(0, 9))]))]
    await handle.unpause()
    return [*told, *await end_of(handle)]


@case
async def has_less_time_as_it_runs(client, name):
    handle = await start(client, hangs, name, start_to_close_timeout=s(60), retry_policy=tries(1))
    await until(handle, has_state("STARTED"))
    told = [await options_of(handle.update_options([Keys.start_to_close_timeout.value_set(s(1))]))]
    return [*told, *await end_of(handle)]


@case
async def is_to_beat_as_it_runs(client, name):
    handle = await start(client, hangs, name, start_to_close_timeout=s(60), retry_policy=tries(1))
    await until(handle, has_state("STARTED"))
    told = [await options_of(handle.update_options([Keys.heartbeat_timeout.value_set(s(1))]))]
    return [*told, *await end_of(handle)]


@case
async def has_fewer_tries_as_it_runs(client, name):
    handle, known = await running(client, name)
    told = [await options_of(handle.update_options([Keys.retry_policy.value_set(tries(1))]))]
    await known.fail(ValueError("one"))
    return [*told, *await end_of(handle)]


@case
async def has_less_time_in_the_queue(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    told = [await options_of(handle.update_options([Keys.schedule_to_start_timeout.value_set(s(0.8))]))]
    return [*told, *await end_of(handle)]


@case
async def has_less_time_as_a_whole(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    told = [await options_of(handle.update_options([Keys.schedule_to_close_timeout.value_set(s(1))]))]
    return [*told, *await end_of(handle)]


@case
async def has_more_time_as_a_whole(client, name):
    handle = await start(client, hangs, name, schedule_to_close_timeout=s(3), retry_policy=tries(1))
    updates = [Keys.schedule_to_close_timeout.value_set(s(20)), Keys.start_to_close_timeout.value_set(s(15))]
    told = [await options_of(handle.update_options(updates))]
    await asyncio.sleep(4)
    told.append(await told_of(handle))
    await handle.terminate()
    return told


@case
async def begins_sooner(client, name):
    handle = await start(client, fails, name, 0, False, start_delay=s(60))
    told = [
        await options_of(handle.update_options([Keys.start_delay.value_set(s(1))])),
        await told_of(handle),
    ]
    return [*told, *await end_of(handle)]


@case
async def begins_later(client, name):
    handle = await start(client, fails, name, 0, False, start_delay=s(1))
    told = [await options_of(handle.update_options([Keys.start_delay.value_set(s(3))]))]
    await asyncio.sleep(1.5)
    told.append(await told_of(handle))
    return [*told, *await end_of(handle)]


@case
async def is_changed_when_it_is_paused(client, name):
    handle = await start(client, tells, name, task_queue=NOBODY, schedule_to_start_timeout=s(1))
    await handle.pause()
    told = [await options_of(handle.update_options([Keys.task_queue.value_set(QUEUE)]))]
    await asyncio.sleep(1.5)
    told.append(await told_of(handle))
    await handle.unpause()
    return [*told, *await end_of(handle)]


@case
async def is_changed_when_it_is_to_be_canceled(client, name):
    handle, _known = await running(client, name)
    await handle.cancel()
    told = await options_of(handle.update_options([Keys.start_to_close_timeout.value_set(s(9))]))
    await handle.terminate()
    return told


# -- refusals, and activities of workflows by the same calls


@case
async def what_is_not_there_is_refused(client, name):
    told = []
    some = {
        "activity_options": ActivityOptions(heartbeat_timeout=s(7)),
        "update_mask": {"paths": ["heartbeat_timeout"]},
    }
    for call in CALLS:
        more = some if call == "change" else {}
        told.append([call, await asks(client, call, "never was", **more)])
        told.append([call, await asks(client, call, "", **more)])
        told.append([call, await asks(client, call, "a", workflow_id="never was", **more)])
        run_id = "5b5f8ac8-0000-4000-8000-000000000000"
        told.append([call, await asks(client, call, "never was", run_id=run_id, **more)])
    return told


async def play_all(client):
    """Play all cases beside a worker; the worker of ``standalone_cases`` lacks some of the activities."""
    told = await a_few_at_once([in_time(name, CASES[name](client, name)) for name in CASES])
    return dict(told)


async def play_all_here():
    client = await Client.connect("localhost:7233")
    async with Worker(client, task_queue=QUEUE, activities=ACTIVITIES):
        return await play_all(client)
