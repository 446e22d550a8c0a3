"""Nexus operations that a client calls, without a workflow, on a real server and on the simulated one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import nexus_cases
from nexus_cases import (
    ENDPOINT,
    HANDLERS,
    Greeting,
    Greetings,
    GreetingsHandler,
    GreetsSlowly,
    Office,
    a_few_at_once,
    chain,
    in_time,
    known_part,
)
from temporalio.client import Client
from temporalio.common import (
    NexusOperationIDConflictPolicy,
    NexusOperationIDReusePolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

CITY = SearchAttributeKey.for_keyword("City")


def seconds(number):
    return timedelta(seconds=number)


def start(client, name, how="", operation="greet", **options):
    callee = client.create_nexus_client(service=Greetings, endpoint=ENDPOINT)
    known = {"id": name, "schedule_to_close_timeout": seconds(15), **options}
    return callee.start_operation(getattr(Greetings, operation), Greeting(name, how), **known)


async def outcome_of(asked):
    try:
        return ["value", known_part(await asked)]
    except (TemporalError, RPCError) as error:
        return ["error", *known_part(chain(error)), str(getattr(error, "status", None))]


async def end_of(handle):
    return [*await outcome_of(handle.result()), await told_of(handle)]


async def told_of(handle):
    """Give what a description says, but for instants and ids."""
    found = await handle.describe()
    info = found.raw_description
    spans = ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout")
    canceled, is_timed_out = found.cancellation_info, found.status.name == "TIMED_OUT"
    wanted = ("close_time", "expiration_time", "links", "nexus_header", "search_attributes", "user_metadata")
    return {
        "id": found.operation_id,
        "what": [found.endpoint, found.service, found.operation],
        "status": found.status.name,
        "state": found.state and found.state.name,
        "token": nexus_cases.token(found.operation_token) if found.operation_token else None,
        **{name: span(getattr(found, name)) for name in spans},
        # When the last request was and what came of it is a race with the timeout.
        "attempt": None if is_timed_out else found.attempt,
        "failure": None if is_timed_out else info.last_attempt_failure.message,
        "fields": sorted(one.name for one, _ in info.ListFields() if one.name in wanted),
        "canceled": canceled and [canceled.state.name, canceled.reason],
    }


def span(held):
    return held if held is None else held.total_seconds()


async def until(handle, wanted):
    while True:
        told = await told_of(handle)
        if wanted(told):
            return told
        await asyncio.sleep(0.05)


def is_started(told):
    return told["state"] == "STARTED"


def asked(how="", operation="greet", **options):
    async def case(client, name):
        return await end_of(await start(client, name, how, operation, **options))

    return case


def canceled(how):
    async def case(client, name):
        handle = await start(client, name, how, "greet_by_hand", schedule_to_close_timeout=seconds(5))
        before = await until(handle, is_started)
        await handle.cancel(reason="no need")
        again = await outcome_of(handle.cancel())
        return [before, again, *await end_of(handle)]

    return case


async def run_is_canceled(client, name):
    handle = await start(client, name, "forever", "greet_slowly")
    await until(handle, is_started)
    await handle.cancel()
    return [*await end_of(handle), await outcome_of(handle.cancel()), await outcome_of(handle.terminate())]


async def is_canceled_before_it_starts(client, name):
    handle = await start(client, name, "hangs", schedule_to_close_timeout=seconds(4))
    await handle.cancel(reason="too soon")
    return [await told_of(handle), *await end_of(handle)]


async def is_terminated(client, name):
    handle = await start(client, name, "forever", "greet_slowly")
    await until(handle, is_started)
    await handle.terminate(reason="enough")
    return [*await end_of(handle), await outcome_of(handle.terminate()), await outcome_of(handle.cancel())]


async def is_not_there(client, name):
    handle = client.get_nexus_operation_handle(name)
    return [
        await outcome_of(ask()) for ask in (handle.result, handle.describe, handle.cancel, handle.terminate)
    ]


async def runs_while_another_is_wanted(client, name):
    first = await start(client, name, "forever", "greet_slowly")
    told = [await outcome_of(start(client, name))]
    same = await start(client, name, id_conflict_policy=NexusOperationIDConflictPolicy.USE_EXISTING)
    told.append(same.run_id == first.run_id)
    await first.terminate()
    return told


async def has_run_when_another_is_wanted(client, name):
    policies = NexusOperationIDReusePolicy
    first = await start(client, name)
    await first.result()
    told = []
    for kind in (policies.REJECT_DUPLICATE, policies.ALLOW_DUPLICATE_FAILED_ONLY):
        told.append(await outcome_of(start(client, name, id_reuse_policy=kind)))
    second = await start(client, name, "fails")
    told.append(await outcome_of(second.result()))
    third = await start(client, name, id_reuse_policy=policies.ALLOW_DUPLICATE_FAILED_ONLY)
    told.append(await outcome_of(third.result()))
    return told


async def by_a_wrong_endpoint(client, name):
    callee = client.create_nexus_client(service=Greetings, endpoint="nowhere")
    return await outcome_of(callee.start_operation(Greetings.greet, Greeting(name), id=name))


CASES = {
    "answers": asked(),
    **{how: asked(how) for how in ("fails", "is canceled", "breaks", "is bad", "stumbles")},
    "hangs": asked("hangs", schedule_to_close_timeout=seconds(3)),
    "waits too long": asked("hangs", schedule_to_start_timeout=seconds(2)),
    "runs": asked("", "greet_slowly"),
    "has attributes": asked(
        search_attributes=TypedSearchAttributes([SearchAttributePair(CITY, "Oslo")]), summary="a summary"
    ),
    "run fails": asked("fails", "greet_slowly"),
    "run takes too long": asked("forever", "greet_slowly", start_to_close_timeout=seconds(1)),
    "run times out": asked("forever", "greet_slowly", schedule_to_close_timeout=seconds(3)),
    "run times out itself": asked("too long", "greet_slowly"),
    **{f"cancel {how}": canceled(how) for how in ("works", "refuses")},
    "is executed": asked("", "tell", headers={"x-from": "me"}),
    "run is canceled": run_is_canceled,
    "is canceled before it starts": is_canceled_before_it_starts,
    "is terminated": is_terminated,
    "is not there": is_not_there,
    "runs while another is wanted": runs_while_another_is_wanted,
    "has run when another is wanted": has_run_when_another_is_wanted,
    "by a wrong endpoint": by_a_wrong_endpoint,
}

FILTERS = (
    "Endpoint = 'greetings' AND OperationId STARTS_WITH 'list-'",
    "Operation = 'greet' AND OperationId STARTS_WITH 'list-'",
    "Service = 'Greetings' AND OperationId STARTS_WITH 'list-' AND ExecutionStatus = 'Failed'",
    "OperationId = 'list-1'",
    "ExecutionStatus = 'Running' AND OperationId STARTS_WITH 'list-'",
    "WorkflowId = 'list-1'",
    "CloseTime IS NULL AND OperationId STARTS_WITH 'list-'",
    "City = 'Bergen'",
    "TaskQueue = 'handlers'",
    "Nonsense = 1",
)


async def lists(client):
    bergen = TypedSearchAttributes([SearchAttributePair(CITY, "Bergen")])
    handles = [
        await start(client, "list-1", search_attributes=bergen),
        await start(client, "list-2", "fails"),
        await start(client, "list-3", "forever", "greet_slowly"),
    ]
    for handle in handles[:2]:
        await outcome_of(handle.result())
    await asyncio.sleep(2)
    told = [[query, await listed(client, query), await counted(client, query)] for query in FILTERS]
    told.append(await counted(client, "OperationId STARTS_WITH 'list-' GROUP BY ExecutionStatus"))
    await handles[2].terminate()
    return told


async def listed(client, query):
    try:
        found = [one async for one in client.list_nexus_operations(query)]
    except RPCError as error:
        return [error.status.name, str(error)]
    return [
        [
            *(one.operation_id, one.endpoint, one.service, one.operation, one.status.name),
            *(one.close_time is None, one.execution_duration is None),
        ]
        for one in sorted(found, key=lambda one: one.operation_id)
    ]


async def counted(client, query):
    try:
        told = await client.count_nexus_operations(query)
    except RPCError as error:
        return [error.status.name, str(error)]
    return [told.count, sorted([*map(str, one.group_values), one.count] for one in told.groups)]


async def play_all_here():
    return await play_all(await Client.connect("localhost:7233"))


def handler(client):
    """Make a worker for the service."""
    return Worker(
        client,
        task_queue=HANDLERS,
        workflows=[GreetsSlowly, Office],
        nexus_service_handlers=[GreetingsHandler()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def play_all(client):
    nexus_cases.tries.clear()
    await nexus_cases.create_endpoint(client)
    async with handler(client):
        told = await a_few_at_once([in_time(name, CASES[name](client, name)) for name in CASES])
        return {**dict(told), "lists": await lists(client)}
