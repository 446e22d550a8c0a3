"""Nexus operations that run on a real server and on the simulated one: what a caller's workflow sees of them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass
from datetime import timedelta

import nexusrpc
from nexusrpc.handler import (
    CancelOperationContext,
    OperationHandler,
    StartOperationContext,
    StartOperationResultAsync,
    operation_handler,
    service_handler,
    sync_operation,
)
from temporalio import nexus, workflow
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import CreateNexusEndpointRequest
from temporalio.client import Client
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, NexusOperationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.workflow import NexusOperationCancellationType as Cancellation

ENDPOINT = "greetings"
CALLERS, HANDLERS = "callers", "handlers"


@dataclass
class Greeting:
    name: str
    how: str = ""


@nexusrpc.service
class Greetings:
    greet: nexusrpc.Operation[Greeting, str]
    greet_slowly: nexusrpc.Operation[Greeting, str]
    greet_by_hand: nexusrpc.Operation[Greeting, str]
    greet_together: nexusrpc.Operation[Greeting, str]
    ask_office: nexusrpc.Operation[Greeting, str]
    tell: nexusrpc.Operation[Greeting, list]


@nexusrpc.service(name="Greetings")
class MoreGreetings:
    """What a caller believes that the service has."""

    absent: nexusrpc.Operation[Greeting, str]
    greet: nexusrpc.Operation[int, str]


@nexusrpc.service
class Nobody:
    greet: nexusrpc.Operation[Greeting, str]


@workflow.defn
class GreetsSlowly:
    @workflow.run
    async def run(self, greeting: Greeting) -> str:
        match greeting.how:
            case "fails":
                raise ApplicationError("cannot greet", type="Shy")
            case "fails once" if workflow.info().attempt < 2:
                raise ApplicationError("cannot greet yet", type="Shy")
            case "goes on":
                workflow.continue_as_new(Greeting(greeting.name))
        try:
            await workflow.sleep({"forever": 60, "too long": 60, "together": 4}.get(greeting.how, 0.2))
        except asyncio.CancelledError:
            await workflow.sleep(0.1)
            raise
        return f"Hello at last, {greeting.name}"


@workflow.defn
class Office:
    def __init__(self) -> None:
        self.signals = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    async def knock(self) -> None:
        self.signals += 1

    @workflow.query
    def knocks(self) -> int:
        return self.signals

    @workflow.update
    async def open(self, who: str) -> str:
        return f"open for {who}"


tries: dict[str, int] = {}


class ByHand(OperationHandler[Greeting, str]):
    """Begins what nobody ever ends."""

    async def start(self, ctx: StartOperationContext, greeting: Greeting) -> StartOperationResultAsync:
        if greeting.how == "late":
            await asyncio.sleep(3)
        return StartOperationResultAsync(f"{greeting.how}/{greeting.name}")

    async def cancel(self, ctx: CancelOperationContext, token: str) -> None:
        how, _, name = token.partition("/")
        number = tries[name] = tries.get(name, 0) + 1
        if how == "stumbles" and number < 2:
            raise ValueError("once")
        if how == "refuses":
            raise nexusrpc.HandlerError("no way back", type=nexusrpc.HandlerErrorType.NOT_FOUND)


@service_handler(service=Greetings)
class GreetingsHandler:
    @sync_operation
    async def greet(self, ctx: StartOperationContext, greeting: Greeting) -> str:
        number = tries[greeting.name] = tries.get(greeting.name, 0) + 1
        match greeting.how:
            case "fails":
                raise nexusrpc.OperationError("not today", state=nexusrpc.OperationErrorState.FAILED)
            case "is canceled":
                raise nexusrpc.OperationError("called off", state=nexusrpc.OperationErrorState.CANCELED)
            case "breaks":
                raise ApplicationError("broken", type="Broken", non_retryable=True)
            case "is bad":
                raise nexusrpc.HandlerError("bad name", type=nexusrpc.HandlerErrorType.BAD_REQUEST)
            case "stumbles" if number < 2:
                raise ValueError("once")
            case "hangs":
                await asyncio.sleep(30)
            case "gives what is no JSON":
                return object()
        error, _, override = greeting.how.partition("/")
        if error in nexusrpc.HandlerErrorType.__members__ and number < 2:
            kind = nexusrpc.HandlerErrorType[error]
            may_retry = {"": None, "retry": True, "stop": False}[override]
            raise nexusrpc.HandlerError("as asked", type=kind, retryable_override=may_retry)
        return f"Hello, {greeting.name}"

    @operation_handler
    def greet_by_hand(self) -> OperationHandler[Greeting, str]:
        return ByHand()

    @sync_operation
    async def ask_office(self, ctx: StartOperationContext, greeting: Greeting) -> str:
        office = nexus.client().get_workflow_handle("office")
        match greeting.how:
            case "signal":
                return str(await office.signal(Office.knock))
            case "query":
                return str(await office.query(Office.knocks) >= 0)
            case "update":
                return await office.execute_update(Office.open, greeting.name)
            case "start":
                run = await nexus.client().start_workflow(
                    GreetsSlowly.run, greeting, id=f"slow-{greeting.name}", task_queue=HANDLERS
                )
                return await run.result()
            case "no one":
                await nexus.client().get_workflow_handle("no one").signal(Office.knock)
        await nexus.client().get_workflow_handle(f"slow-{greeting.name}").terminate()
        return "terminated"

    @sync_operation
    async def tell(self, ctx: StartOperationContext, greeting: Greeting) -> list:
        told = {name: one for name, one in ctx.headers.items() if name.startswith("x-")}
        return [told, ctx.service, ctx.operation, nexus.info().task_queue, bool(ctx.request_id)]

    @nexus.workflow_run_operation
    async def greet_together(
        self, ctx: nexus.WorkflowRunOperationContext, greeting: Greeting
    ) -> nexus.WorkflowHandle[str]:
        return await ctx.start_workflow(
            GreetsSlowly.run,
            greeting,
            id=f"slow-{greeting.name}",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    @nexus.workflow_run_operation
    async def greet_slowly(
        self, ctx: nexus.WorkflowRunOperationContext, greeting: Greeting
    ) -> nexus.WorkflowHandle[str]:
        options = {
            "fails once": {"retry_policy": RetryPolicy(initial_interval=timedelta(seconds=0.2))},
            "too long": {"run_timeout": timedelta(seconds=1)},
        }.get(greeting.how, {})
        return await ctx.start_workflow(GreetsSlowly.run, greeting, id=f"slow-{greeting.name}", **options)


def asked(how="", operation="greet", **options):
    async def case(client, name):
        return await client.execute_operation(getattr(Greetings, operation), Greeting(name, how), **options)

    return case


def seconds(number):
    return timedelta(seconds=number)


def canceled(kind, after=0.3, operation="greet_slowly", how="forever", **options):
    async def case(client, name):
        handle = await client.start_operation(
            getattr(Greetings, operation), Greeting(name, how), cancellation_type=kind, **options
        )
        await workflow.sleep(after)
        handle.cancel()
        return await handle

    return case


async def canceled_at_once(client, name):
    task = asyncio.create_task(client.execute_operation(Greetings.greet_slowly, Greeting(name, "forever")))
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def tries_to_cancel_a_sync_one(client, name):
    task = asyncio.create_task(
        client.start_operation(
            Greetings.greet, Greeting(name, "hangs"), cancellation_type=Cancellation.TRY_CANCEL
        )
    )
    await workflow.sleep(0.3)
    task.cancel()
    return await task


async def has_a_token(client, name):
    handle = await client.start_operation(Greetings.greet_slowly, Greeting(name))
    return [bool(handle.operation_token), await handle]


async def canceled_while_it_starts(client, name):
    options = {"schedule_to_close_timeout": seconds(20), "cancellation_type": Cancellation.WAIT_REQUESTED}
    task = asyncio.create_task(
        client.execute_operation(Greetings.greet_by_hand, Greeting(name, "late"), **options)
    )
    await workflow.sleep(0.3)
    task.cancel()
    return await task


async def two_ask_for_one_run(client, name):
    asking = [
        client.execute_operation(Greetings.greet_together, Greeting(name, "together")) for _ in range(2)
    ]
    return await asyncio.gather(*asking)


async def another_asks_later(client, name):
    first = await client.start_operation(Greetings.greet_together, Greeting(name, "together"))
    await workflow.sleep(1)
    return [await client.execute_operation(Greetings.greet_together, Greeting(name, "together")), await first]


async def has_run_already(client, name):
    handle = await client.start_operation(Greetings.greet_slowly, Greeting(name, "together"))
    try:
        await client.execute_operation(Greetings.greet_slowly, Greeting(name))
    except NexusOperationError as error:
        return [chain(error), await handle]


async def run_is_terminated(client, name):
    handle = await client.start_operation(Greetings.greet_slowly, Greeting(name, "forever"))
    await workflow.sleep(1)
    await client.execute_operation(Greetings.ask_office, Greeting(name, "terminate"))
    return await handle


async def canceled_by_client(client, name):
    return await client.execute_operation(Greetings.greet_slowly, Greeting(name, "forever"))


def of_service(service, operation, argument=None):
    async def case(_, name):
        client = workflow.create_nexus_client(service=service, endpoint=ENDPOINT)
        argument = 7 if service is MoreGreetings and operation == "greet" else Greeting(name)
        return await client.execute_operation(getattr(service, operation), argument)

    return case


async def by_a_wrong_endpoint(_, name):
    client = workflow.create_nexus_client(service=Greetings, endpoint="nowhere")
    return await client.execute_operation(Greetings.greet, Greeting(name))


ERRORS = (
    *("BAD_REQUEST", "UNAUTHENTICATED", "UNAUTHORIZED", "NOT_FOUND", "CONFLICT", "RESOURCE_EXHAUSTED"),
    *("REQUEST_TIMEOUT", "INTERNAL", "NOT_IMPLEMENTED", "UNAVAILABLE", "UPSTREAM_TIMEOUT"),
    *("BAD_REQUEST/retry", "INTERNAL/stop", "UNAVAILABLE/stop", "NOT_FOUND/retry"),
)

CASES = {
    "hangs_for_good": asked("hangs", schedule_to_close_timeout=seconds(20)),
    "answers": asked(),
    "fails": asked("fails"),
    "is_canceled": asked("is canceled"),
    "breaks": asked("breaks"),
    "is_bad": asked("is bad"),
    "stumbles": asked("stumbles"),
    "hangs": asked("hangs", schedule_to_close_timeout=timedelta(seconds=3)),
    "runs": asked(operation="greet_slowly"),
    "has_a_token": has_a_token,
    "run_fails": asked("fails", operation="greet_slowly"),
    "run_times_out": asked(
        "forever", operation="greet_slowly", schedule_to_close_timeout=timedelta(seconds=3)
    ),
    "cancel_and_wait": canceled(Cancellation.WAIT_COMPLETED),
    "cancel_and_wait_for_request": canceled(Cancellation.WAIT_REQUESTED),
    "try_cancel": canceled(Cancellation.TRY_CANCEL),
    "abandon": canceled(Cancellation.ABANDON),
    "canceled_at_once": canceled_at_once,
    "tries_to_cancel_a_sync_one": tries_to_cancel_a_sync_one,
    **{f"error_{one}": asked(one) for one in ERRORS},
    "gives_what_is_no_json": asked("gives what is no JSON", schedule_to_close_timeout=seconds(3)),
    "cancel_comes_too_late": canceled(
        Cancellation.WAIT_REQUESTED, 2, "greet_by_hand", "works", start_to_close_timeout=seconds(3.4)
    ),
    "timeouts_are_capped": asked(
        schedule_to_close_timeout=seconds(5),
        schedule_to_start_timeout=seconds(9),
        start_to_close_timeout=seconds(9),
    ),
    "asks_for_what_is_absent": of_service(MoreGreetings, "absent"),
    "asks_with_a_wrong_type": of_service(MoreGreetings, "greet"),
    "asks_nobody": of_service(Nobody, "greet"),
    "has_headers": asked(operation="tell", headers={"x-from": "me", "X-Mixed": "Case"}),
    **{f"office_{how}": asked(how, "ask_office") for how in ("signal", "query", "update", "start", "no one")},
    "hangs_while_it_starts": asked("hangs", schedule_to_start_timeout=seconds(2)),
    "hangs_and_only_the_run_is_bounded": asked(
        "hangs", start_to_close_timeout=seconds(1), schedule_to_close_timeout=seconds(3)
    ),
    "run_takes_too_long": asked("forever", "greet_slowly", start_to_close_timeout=seconds(1)),
    "run_starts_in_time": asked(operation="greet_slowly", schedule_to_start_timeout=seconds(6)),
    "run_is_retried": asked("fails once", "greet_slowly"),
    "run_times_out_itself": asked("too long", "greet_slowly"),
    "run_goes_on": asked("goes on", "greet_slowly"),
    "run_is_terminated": run_is_terminated,
    "two_ask_for_one_run": two_ask_for_one_run,
    "another_asks_later": another_asks_later,
    "has_run_already": has_run_already,
    "canceled_by_client": canceled_by_client,
    "canceled_while_it_starts": canceled_while_it_starts,
    **{
        f"cancel_{how}_{kind.name}": canceled(
            kind, operation="greet_by_hand", how=how, schedule_to_close_timeout=seconds(12)
        )
        for how in ("works", "refuses", "stumbles")
        for kind in (Cancellation.WAIT_COMPLETED, Cancellation.WAIT_REQUESTED)
    },
}


async def asks_too_much_at_once(client, name):
    asking = [client.execute_operation(Greetings.greet, Greeting(name)) for _ in range(31)]
    return await asyncio.gather(*asking)


STUCK = {"by_a_wrong_endpoint": by_a_wrong_endpoint, "asks_too_much_at_once": asks_too_much_at_once}
"""Those whose workflow tasks fail for ever."""


@workflow.defn
class Caller:
    """Runs one case and tells what came of it."""

    @workflow.run
    async def run(self, name: str) -> list:
        client = workflow.create_nexus_client(service=Greetings, endpoint=ENDPOINT)
        try:
            return ["value", await {**CASES, **STUCK}[name](client, name)]
        except (Exception, asyncio.CancelledError) as error:
            return ["error", *chain(error)]


def chain(error):
    """Give the types and messages of an error and its causes."""
    told = []
    while error is not None:
        more = [getattr(error, name, None) for name in ("type", "endpoint", "operation", "retry_state")]
        told.append([type(error).__name__, str(error), *map(str, more)])
        error = getattr(error, "cause", None) or error.__cause__
    return told


async def create_endpoint(client):
    return await client.operator_service.create_nexus_endpoint(
        CreateNexusEndpointRequest(
            spec=EndpointSpec(
                name=ENDPOINT,
                target=EndpointTarget(
                    worker=EndpointTarget.Worker(namespace=client.namespace, task_queue=HANDLERS)
                ),
            )
        )
    )


async def play_all_here():
    return await play_all(await Client.connect("localhost:7233"))


async def play_all(client):
    tries.clear()
    await create_endpoint(client)
    plain = {"workflow_runner": UnsandboxedWorkflowRunner()}
    async with (
        Worker(client, task_queue=CALLERS, workflows=[Caller], **plain),
        Worker(
            client,
            task_queue=HANDLERS,
            workflows=[GreetsSlowly, Office],
            nexus_service_handlers=[GreetingsHandler()],
            **plain,
        ),
    ):
        office = await client.start_workflow(Office.run, id="office", task_queue=HANDLERS)
        told = await a_few_at_once(
            [
                *[in_time(name, play(client, name)) for name in CASES],
                *[in_time(name, stick(client, name)) for name in STUCK],
            ]
        )
        await office.terminate()
        return dict(told)


async def a_few_at_once(cases):
    """Run coroutines, so few at once that a real server on a busy machine is not late."""
    room = asyncio.Semaphore(12)

    async def run(case):
        async with room:
            return await case

    return await asyncio.gather(*map(run, cases))


async def in_time(name, work):
    """Give what a case tells by its name; one that goes wrong on a busy machine fails alone."""
    try:
        return name, await asyncio.wait_for(work, 40)
    except Exception as error:
        return name, [repr(error)] * 3


async def play(client, name):
    handle = await client.start_workflow(Caller.run, name, id=name, task_queue=CALLERS)
    if name == "canceled_by_client":
        await until(handle, "NEXUS_OPERATION_STARTED")
        await asyncio.sleep(1)
        await handle.cancel()
    value = await handle.result()
    backing = client.get_workflow_handle(f"slow-{name}")
    return known_part(value), await told_of(handle), await told_of(backing)


async def stick(client, name):
    handle = await client.start_workflow(Caller.run, name, id=name, task_queue=CALLERS)
    events = await until(handle, "WORKFLOW_TASK_FAILED")
    await handle.terminate()
    return None, events[:4], None


async def until(handle, kind):
    """Wait for an event of a kind, and give the events."""
    while True:
        events = await told_of(handle)
        if any(one[0] == kind for one in events):
            return events
        await asyncio.sleep(0.1)


async def told_of(handle):
    """Give the events of a run but for what differs from run to run; None if there is no run."""
    try:
        history = json.loads((await handle.fetch_history()).to_json())
    except RPCError:
        return None
    return [[one["eventType"].removeprefix("EVENT_TYPE_"), *plain(one)] for one in history["events"]]


def plain(event):
    """Give what is the same in each run, of events that have to do with Nexus."""
    if "NEXUS" not in event["eventType"]:
        told = event.get("workflowTaskFailedEventAttributes")
        failed = [] if told is None else [known_part(told)]
        return [*failed, *[plain_link(one) for one in event.get("links", ())]]
    [attributes] = [one for name, one in event.items() if name.endswith("Attributes")]
    return [known_part(attributes), *[plain_link(one) for one in event.get("links", ())]]


def plain_link(link):
    [[kind, told]] = link.items()
    return [kind, known_part(told)]


_OWN = (
    *("endpointId", "requestId", "runId", "stackTrace", "identity"),
    *("eventId", "scheduledEventId", "startedEventId", "requestedEventId", "workflowTaskCompletedEventId"),
)


_TOKENS = ("operationToken", "operationId")


def token(text):
    """Give what an operation's token says, but for the ids of runs and updates."""
    try:
        told = json.loads(base64.urlsafe_b64decode(text + "=="))
    except ValueError:
        return text
    return {name: one for name, one in told.items() if name not in {"rid", "uid"}}


def known_part(told):
    if isinstance(told, str):
        return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "some-id", told)
    if isinstance(told, dict):
        kept = {name: one for name, one in sorted(told.items()) if name not in _OWN}
        return {name: token(one) if name in _TOKENS else known_part(one) for name, one in kept.items()}
    return [known_part(one) for one in told] if isinstance(told, list) else told
