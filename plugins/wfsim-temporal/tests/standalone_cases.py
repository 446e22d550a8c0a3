"""Activities without a workflow, on a real server and on the simulated one: what a client sees of them."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from cases import (
    beats,
    beats_and_ignores_cancellation,
    beats_then_hangs,
    fails,
    fails_with_delay,
    hangs,
    raises_cancelled,
    raises_value_error,
    resumes,
)
from temporalio import activity
from temporalio.client import (
    ActivityFailureError,
    AsyncActivityCancelledError,
    Client,
)
from temporalio.common import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.exceptions import ActivityAlreadyStartedError
from temporalio.service import RPCError
from temporalio.worker import Worker

QUEUE, NOBODY = "standalone", "nobody"
CITY = SearchAttributeKey.for_keyword("City")


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def tells_of_itself(greeting: str) -> list:
    info = activity.info()
    spans = (info.schedule_to_close_timeout, info.start_to_close_timeout, info.heartbeat_timeout)
    return [
        greeting,
        info.activity_id,
        info.activity_type,
        info.attempt,
        info.in_workflow,
        [info.workflow_id, info.workflow_run_id, info.workflow_type],
        bool(info.activity_run_id),
        info.task_queue,
        info.namespace,
        [span and span.total_seconds() for span in spans],
    ]


@activity.defn
async def completes_later() -> str:
    activity.raise_complete_async()


@activity.defn
def blocks(seconds: float) -> str:
    import time

    time.sleep(seconds)
    return "done"


ACTIVITIES = [
    *(fails, fails_with_delay, hangs, beats, beats_then_hangs, beats_and_ignores_cancellation),
    *(raises_cancelled, raises_value_error, resumes, tells_of_itself, completes_later),
]


def tries(number, first=0.2, **options):
    return RetryPolicy(initial_interval=s(first), maximum_attempts=number, **options)


async def start(client, function, name, *args, **options):
    known = {"task_queue": QUEUE, "start_to_close_timeout": s(5), "id": name, **options}
    return await client.start_activity(function, args=list(args), **known)


async def end_of(handle):
    """Give how it ended, and how the server describes it then."""
    return [*await outcome_of(handle.result()), await told_of(handle)]


async def outcome_of(asked):
    try:
        return ["value", plain(await asked)]
    except (ActivityFailureError, ActivityAlreadyStartedError, RPCError) as error:
        return ["error", *chain(error)]


def chain(error):
    """Give the types and messages of an error and its causes."""
    told = []
    while error is not None:
        more = [getattr(error, name, None) for name in ("type", "non_retryable", "status")]
        held = getattr(error, "details", None) or getattr(error, "last_heartbeat_details", None)
        details = [plain(one) for one in held or ()]
        failure = getattr(error, "failure", None)
        source = "" if failure is None else failure.source
        told.append([type(error).__name__, plain(str(error)), source, *map(str, more), details])
        error = getattr(error, "cause", None) or error.__cause__
    return told


def plain(value):
    """Leave out what differs from run to run."""
    if isinstance(value, str):
        return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "some-id", value)
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


async def told_of(handle):
    """Give what a description says, but for instants."""
    found = await handle.describe(
        include_input=True, include_outcome=True, include_heartbeat_details=True, include_last_failure=True
    )
    outcome = found.raw_outcome
    failure = await found.last_failure() if found.has_last_failure() else None
    spans = ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout")
    return {
        "id": found.activity_id,
        "type": found.activity_type,
        "queue": found.task_queue,
        "status": found.status.name,
        "state": found.run_state and found.run_state.name,
        "attempt": found.attempt,
        "reason": found.canceled_reason,
        "policy": policy(found.retry_policy),
        "input": await found.input(),
        "outcome": outcome and [outcome.WhichOneof("value"), outcome.retry_state],
        "last failure": chain(failure),
        "beats": found.total_heartbeat_count > 0,
        "heartbeat": await found.heartbeat_details() if found.has_heartbeat_details() else None,
        **{name: span(getattr(found, name)) for name in (*spans, "heartbeat_timeout", "start_delay")},
        "retry in": span(found.current_retry_interval),
        "has": [
            name
            for name in (
                *("close_time", "expiration_time", "execution_time", "execution_duration"),
                *("last_started_time", "last_attempt_complete_time", "last_heartbeat_time"),
                *("next_attempt_schedule_time", "last_worker_identity"),
            )
            if getattr(found, name) is not None
        ],
        "attributes": {pair.key.name: pair.value for pair in found.typed_search_attributes},
    }


def policy(held):
    if held is None:
        return None
    return [
        span(held.initial_interval),
        held.backoff_coefficient,
        span(held.maximum_interval),
        held.maximum_attempts,
        list(held.non_retryable_error_types or ()),
    ]


def span(held):
    return held if held is None else held.total_seconds()


async def until(handle, wanted):
    """Wait for a description that is wanted."""
    while True:
        told = await told_of(handle)
        if wanted(told):
            return told
        await asyncio.sleep(0.05)


def has_state(name):
    return lambda told: told["state"] == name


def in_backoff(told):
    return told["retry in"] is not None


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def simple(name, function, *args, **options):
    async def run(client, name):
        return await end_of(await start(client, function, name, *args, **options))

    CASES[name] = run


simple("succeeds", fails, 0, False)
simple("tells", tells_of_itself, "hi", heartbeat_timeout=s(2), schedule_to_close_timeout=s(60))
simple(
    "tells_with_one_timeout",
    tells_of_itself,
    "hi",
    start_to_close_timeout=None,
    schedule_to_close_timeout=s(9),
)
simple("succeeds_at_third_attempt", fails, 2, False, retry_policy=tries(0))
simple("runs_out_of_attempts", fails, 9, False, retry_policy=tries(3))
simple("is_not_retryable", fails, 9, True)
simple(
    "is_of_a_type_not_retryable",
    fails,
    9,
    False,
    retry_policy=RetryPolicy(non_retryable_error_types=["Boom"]),
)
simple("raises_a_plain_error", raises_value_error, retry_policy=tries(1))
simple("raises_cancelled_itself", raises_cancelled, retry_policy=tries(2))
simple("is_delayed_by_its_error", fails_with_delay, 1)
simple("has_no_time_for_another", fails, 9, False, schedule_to_close_timeout=s(5), retry_policy=tries(0, 3))
simple("takes_too_long", hangs, start_to_close_timeout=s(1), retry_policy=tries(1))
simple("takes_too_long_twice", hangs, start_to_close_timeout=s(1), retry_policy=tries(2))
simple("takes_too_long_as_a_whole", hangs, start_to_close_timeout=None, schedule_to_close_timeout=s(1))
simple(
    "takes_too_long_among_tries",
    hangs,
    start_to_close_timeout=s(1),
    schedule_to_close_timeout=s(1.7),
    retry_policy=tries(0, 0.1),
)
simple("takes_too_long_thrice", hangs, start_to_close_timeout=s(1), retry_policy=tries(3))
simple(
    "has_no_time_after_a_timeout",
    hangs,
    start_to_close_timeout=s(1),
    schedule_to_close_timeout=s(4),
    retry_policy=tries(0, 5),
)
simple("begins_when_its_time_is_over", fails, 0, False, start_delay=s(2), schedule_to_close_timeout=s(1))
simple("waits_too_long", fails, 0, False, task_queue=NOBODY, schedule_to_start_timeout=s(1))
simple("waits_too_long_as_a_whole", fails, 0, False, task_queue=NOBODY, schedule_to_close_timeout=s(1))
simple("misses_its_heartbeat", beats_then_hangs, heartbeat_timeout=s(1), retry_policy=tries(1))
simple("misses_its_heartbeat_twice", beats_then_hangs, heartbeat_timeout=s(1), retry_policy=tries(2))
simple("goes_on_from_its_heartbeat", resumes, retry_policy=tries(2))
simple("is_unknown", "nothing", retry_policy=tries(1))
simple("has_wrong_arguments", fails, 1, retry_policy=tries(1))
simple("begins_later", fails, 0, False, start_delay=s(1))
simple(
    "has_a_policy_in_full",
    fails,
    0,
    False,
    retry_policy=tries(7, 3, backoff_coefficient=3, maximum_interval=s(50)),
)
simple(
    "has_attributes",
    fails,
    0,
    False,
    search_attributes=TypedSearchAttributes([SearchAttributePair(CITY, "Oslo")]),
    summary="a summary",
)


@case
async def is_canceled_in_the_queue(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    before = await told_of(handle)
    await handle.cancel(reason="no need")
    return [before, *await end_of(handle)]


@case
async def is_canceled_as_it_beats(client, name):
    handle = await start(client, beats, name, heartbeat_timeout=s(1))
    await until(handle, has_state("STARTED"))
    await handle.cancel(reason="no need")
    return await end_of(handle)


@case
async def ignores_its_cancellation(client, name):
    handle = await start(client, beats_and_ignores_cancellation, name, heartbeat_timeout=s(1))
    await until(handle, has_state("STARTED"))
    await handle.cancel()
    return await end_of(handle)


@case
async def never_hears_of_its_cancellation(client, name):
    handle = await start(client, hangs, name, start_to_close_timeout=s(2))
    await until(handle, has_state("STARTED"))
    await handle.cancel(reason="in vain")
    return [await told_of(handle), *await end_of(handle)]


@case
async def is_canceled_between_tries(client, name):
    handle = await start(client, fails, name, 9, False, retry_policy=tries(0, 30))
    before = await until(handle, in_backoff)
    await handle.cancel()
    return [before, *await end_of(handle)]


@case
async def fails_after_its_cancellation(client, name):
    handle = await start(client, completes_later, name)
    await until(handle, has_state("STARTED"))
    await handle.cancel()
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)
    await known.fail(ValueError("too late"))
    return await end_of(handle)


@case
async def is_canceled_twice(client, name):
    handle = await start(client, completes_later, name)
    await until(handle, has_state("STARTED"))
    await handle.cancel(reason="first")
    again = await outcome_of(handle.cancel(reason="second"))
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)
    await known.complete("all the same")
    return [again, *await end_of(handle)]


@case
async def is_canceled_after_its_end(client, name):
    handle = await start(client, fails, name, 0, False)
    await handle.result()
    return await outcome_of(handle.cancel())


@case
async def is_terminated_as_it_runs(client, name):
    handle = await start(client, hangs, name)
    await until(handle, has_state("STARTED"))
    await handle.terminate(reason="enough")
    return [*await end_of(handle), await outcome_of(handle.terminate())]


@case
async def is_terminated_in_the_queue(client, name):
    handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
    await handle.terminate()
    return await end_of(handle)


@case
async def is_terminated_between_tries(client, name):
    handle = await start(client, fails, name, 9, False, retry_policy=tries(0, 30))
    await until(handle, in_backoff)
    await handle.terminate(reason="enough")
    return await end_of(handle)


@case
async def waits_for_its_start(client, name):
    handle = await start(client, fails, name, 0, False, start_delay=s(30), schedule_to_start_timeout=s(2))
    before = await told_of(handle)
    await handle.cancel()
    return [before, *await end_of(handle)]


@case
async def completes_by_id(client, name):
    handle = await start(client, completes_later, name)
    await until(handle, has_state("STARTED"))
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)
    await known.heartbeat("half")
    half = await told_of(handle)
    await known.complete("by hand")
    return [half, *await end_of(handle), await outcome_of(known.complete("again"))]


@case
async def fails_by_id(client, name):
    handle = await start(client, completes_later, name, retry_policy=tries(1))
    await until(handle, has_state("STARTED"))
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=None)
    await known.fail(ValueError("by hand"))
    return await end_of(handle)


@case
async def is_canceled_by_id(client, name):
    handle = await start(client, completes_later, name)
    await until(handle, has_state("STARTED"))
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)
    await known.heartbeat("once")
    await handle.cancel(reason="stop")
    try:
        await known.heartbeat("twice")
    except AsyncActivityCancelledError:
        await known.report_cancellation("as you like")
    return await end_of(handle)


@case
async def runs_while_another_is_wanted(client, name):
    first = await start(client, hangs, name)
    told = [await outcome_of(start(client, hangs, name))]
    same = await start(client, hangs, name, id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING)
    told.append(same.run_id == first.run_id)
    told.append(
        await outcome_of(start(client, hangs, name, id_reuse_policy=ActivityIDReusePolicy.REJECT_DUPLICATE))
    )
    await first.terminate()
    return told


@case
async def has_run_when_another_is_wanted(client, name):
    policies = ActivityIDReusePolicy
    first = await start(client, fails, name, 0, False)
    await first.result()
    told = []
    for kind in (policies.REJECT_DUPLICATE, policies.ALLOW_DUPLICATE_FAILED_ONLY):
        told.append(await outcome_of(start(client, fails, name, 0, False, id_reuse_policy=kind)))
    second = await start(client, fails, name, 9, True)
    told += [second.run_id == first.run_id, await outcome_of(second.result())]
    third = await start(client, fails, name, 0, False, id_reuse_policy=policies.ALLOW_DUPLICATE_FAILED_ONLY)
    told.append(await outcome_of(third.result()))
    latest = client.get_activity_handle(name)
    told.append((await latest.describe()).activity_run_id == third.run_id)
    told.append(await outcome_of(latest.result()))
    told.append(await outcome_of(client.get_activity_handle(name, run_id=first.run_id).result()))
    told.append(await outcome_of(client.get_activity_handle(name, run_id=second.run_id).result()))
    for kind in (policies.REJECT_DUPLICATE, policies.ALLOW_DUPLICATE_FAILED_ONLY):
        told.append(await outcome_of(start(client, fails, name, 0, False, id_reuse_policy=kind)))
    return told


@case
async def is_not_there(client, name):
    handle = client.get_activity_handle(name)
    stranger = client.get_activity_handle("succeeds", run_id="5b5f8ac8-0000-4000-8000-000000000000")
    known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=None)
    asked = [handle.result, handle.describe, handle.cancel, handle.terminate, stranger.result, known.complete]
    return [await outcome_of(ask()) for ask in asked]


def in_the_queue(act):
    async def run(client, name):
        handle = await start(client, fails, name, 0, False, task_queue=NOBODY)
        known = client.get_async_activity_handle(activity_id=name, workflow_id=None, run_id=handle.run_id)
        told = await outcome_of(act(known))
        if (await told_of(handle))["status"] == "RUNNING":
            await handle.terminate(reason="it was not")
        return [told, *await end_of(handle), await outcome_of(known.heartbeat("again"))]

    return run


CASES["is_completed_by_id_in_the_queue"] = in_the_queue(lambda known: known.complete("early"))
CASES["is_failed_by_id_in_the_queue"] = in_the_queue(lambda known: known.fail(ValueError("early")))
CASES["beats_by_id_in_the_queue"] = in_the_queue(lambda known: known.heartbeat("early"))
CASES["is_canceled_by_id_in_the_queue"] = in_the_queue(lambda known: known.report_cancellation())


@case
async def is_canceled_at_its_end_states(client, name):
    told = []
    for number, options in enumerate(
        [{"retry_policy": tries(1)}, {"schedule_to_start_timeout": s(1), "task_queue": NOBODY}]
    ):
        handle = await start(client, fails, f"{name}-{number}", 9, False, **options)
        await outcome_of(handle.result())
        told += [await outcome_of(handle.cancel()), await outcome_of(handle.terminate())]
    return told


@case
async def is_executed(client, name):
    return await client.execute_activity(
        tells_of_itself, name, id=name, task_queue=QUEUE, schedule_to_close_timeout=s(5)
    )


FILTERS = (
    "",
    "ActivityId = 'list-1'",
    "ActivityType = 'fails' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionStatus = 'Failed' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionStatus IN ('Completed', 'Terminated') AND ActivityId STARTS_WITH 'list-'",
    "ExecutionStatus = 'Running' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionStatus = 'ContinuedAsNew'",
    "ExecutionStatus = 'TimedOut' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionStatus = 'Canceled' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionStatus = 'Paused'",
    "HistoryLength > 3",
    "ActivityStatus = 'Running'",
    "City = 'Bergen'",
    "TaskQueue = 'nobody' AND ActivityId STARTS_WITH 'list-'",
    "WorkflowId = 'list-1'",
    "WorkflowType = 'fails'",
    "CloseTime IS NULL AND ActivityId STARTS_WITH 'list-'",
    "StartTime > '2020-01-01T00:00:00Z' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionTime > '2020-01-01T00:00:00Z' AND ActivityId STARTS_WITH 'list-'",
    "ExecutionDuration > '1h' AND ActivityId STARTS_WITH 'list-'",
    "RunId = 'x'",
    "Nonsense = 1",
    "ActivityId = ",
)


async def lists(client):
    """What lists and counts say; a real server knows it after a while."""
    bergen = TypedSearchAttributes([SearchAttributePair(CITY, "Bergen")])
    handles = [
        await start(client, fails, "list-1", 0, False, search_attributes=bergen),
        await start(client, fails, "list-2", 9, True),
        await start(client, hangs, "list-3", task_queue=NOBODY),
        await start(client, hangs, "list-4", task_queue=NOBODY),
        await start(client, hangs, "list-5", task_queue=NOBODY, schedule_to_start_timeout=s(0.1)),
        await start(client, hangs, "list-6", task_queue=NOBODY),
    ]
    await handles[5].cancel()
    await handles[3].terminate()
    for handle in handles[:2]:
        await outcome_of(handle.result())
    await asyncio.sleep(2)
    told = []
    for query in FILTERS:
        told.append([query, await listed(client, query), await counted(client, query)])
    told.append(await counted(client, "ActivityId STARTS_WITH 'list-' GROUP BY ExecutionStatus"))
    limited = client.list_activities("ActivityId STARTS_WITH 'list-'", page_size=1, limit=3)
    told.append(len([one async for one in limited]))
    await handles[2].terminate()
    return told


async def listed(client, query):
    try:
        found = [one async for one in client.list_activities(query) if one.activity_id.startswith("list-")]
    except RPCError as error:
        return [error.status.name, str(error)]
    return [
        [
            *(one.activity_id, one.activity_type, one.status.name, one.task_queue),
            *(one.close_time is None, one.execution_duration is None, one.execution_time is None),
        ]
        for one in sorted(found, key=lambda one: one.activity_id)
    ]


async def counted(client, query):
    try:
        told = await client.count_activities(query)
    except RPCError as error:
        return [error.status.name, str(error)]
    groups = sorted([*map(str, one.group_values), one.count] for one in told.groups)
    return [told.count if query else "all", groups]


async def a_few_at_once(asked):
    """Run coroutines, so few at once that a real server on a busy machine is not late."""
    room = asyncio.Semaphore(12)

    async def run(one):
        async with room:
            return await one

    return await asyncio.gather(*map(run, asked))


async def play_all_here():
    client = await Client.connect("localhost:7233")
    async with Worker(client, task_queue=QUEUE, activities=ACTIVITIES):
        return await play_all(client)


async def play_all(client):
    """Play all cases beside a worker."""
    told = await a_few_at_once([in_time(name, CASES[name](client, name)) for name in CASES])
    return {**dict(told), "lists": await lists(client)}


async def in_time(name, work):
    """Give what a case tells by its name; one that goes wrong on a busy machine fails alone."""
    try:
        return name, await asyncio.wait_for(work, 40)
    except Exception as error:
        return name, repr(error)
