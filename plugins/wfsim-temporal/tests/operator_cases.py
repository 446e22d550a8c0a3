"""What an operator does to activities of workflows, on a real server and on the simulated one.

Pauses, unpauses, resets, other options: by id, by type and in batches.
"""

import asyncio
from datetime import timedelta

from cases import fails
from temporalio import activity, workflow
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.batch.v1 import (
    BatchOperationResetActivities,
    BatchOperationUnpauseActivities,
    BatchOperationUpdateActivityOptions,
)
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import BatchOperationType, EventType, PendingActivityState
from temporalio.api.workflowservice import v1 as workflowservice
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
    PauseActivityRequest,
    ResetActivityRequest,
    StartBatchOperationRequest,
    UnpauseActivityRequest,
    UpdateActivityOptionsRequest,
)
from temporalio.client import AsyncActivityCancelledError, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError
from temporalio.workflow import ActivityCancellationType

QUEUE, NOBODY = "operator", "nobody"


def s(number):
    return timedelta(seconds=number)


def tries(number=0, first=0.2, **options):
    return RetryPolicy(initial_interval=s(first), maximum_attempts=number, **options)


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


@activity.defn
async def beats() -> str:
    """Sends heartbeats, and does not catch its cancellation."""
    attempt = activity.info().attempt
    for _ in range(8 if attempt > 1 else 100):
        activity.heartbeat(attempt)
        await asyncio.sleep(0.1)
    return f"attempt {attempt}"


@activity.defn
async def goes_on() -> str:
    """Fails at its first attempt, and says what it was given of that one."""
    details = activity.info().heartbeat_details
    if activity.info().attempt == 1 and not details:
        activity.heartbeat("half")
        raise ApplicationError("first", type="First")
    return f"attempt {activity.info().attempt}, details {list(details)}"


@activity.defn
async def completes_later() -> str:
    activity.raise_complete_async()


@activity.defn
async def returns_late(seconds: float) -> str:
    """Fails at its first attempt; the second sends heartbeats and does not mind what it hears."""
    attempt = activity.info().attempt
    if attempt == 1:
        raise ApplicationError("first")
    for _ in range(int(seconds * 10)):
        try:
            activity.heartbeat(attempt)
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            pass
    return f"attempt {attempt}"


@activity.defn
async def sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"attempt {activity.info().attempt}"


@activity.defn
async def tells() -> list:
    """Says what it was told of its options."""
    info = activity.info()
    spans = (info.schedule_to_close_timeout, info.start_to_close_timeout, info.heartbeat_timeout)
    return [
        info.task_queue,
        [span and span.total_seconds() for span in spans],
        info.retry_policy and info.retry_policy.maximum_attempts,
        info.priority.priority_key,
    ]


@activity.defn
async def refuses() -> str:
    raise ApplicationError("never", type="Never", non_retryable=True)


@workflow.defn
class Works:
    """Runs activities side by side, and gives what came of each."""

    @workflow.run
    async def run(self, wanted: list) -> list:
        self.running = [self.begin(number, *one) for number, one in enumerate(wanted)]
        return [await self.end_of(one) for one in self.running]

    def begin(self, number, name, args, options):
        spans = {key: s(value) for key, value in options.items() if key.endswith("timeout")}
        policy = options.get("policy")
        known = {
            "activity_id": f"a{number}",
            "start_to_close_timeout": s(30),
            "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            **spans,
        }
        if policy is not None:
            attempts, first, coefficient = (*policy, 1)[:3]
            known["retry_policy"] = tries(attempts, first, backoff_coefficient=coefficient)
        if "queue" in options:
            known["task_queue"] = options["queue"]
        return workflow.start_activity(name, args=args, **known)

    async def end_of(self, running):
        try:
            return await running
        except ActivityError as error:
            return [error.retry_state and error.retry_state.name, *chain(error.cause)]

    @workflow.signal
    def cancel(self, number: int) -> None:
        self.running[number].cancel()


WORKFLOWS = [Works]
ACTIVITIES = [waits, beats, goes_on, completes_later, returns_late, sleeps, tells, refuses, fails]


def chain(error):
    told = []
    while error is not None:
        told.append([type(error).__name__, str(error), getattr(error, "type", None) and str(error.type)])
        error = getattr(error, "cause", None) or error.__cause__
    return told


async def outcome_of(asked):
    try:
        await asked
    except RPCError as error:
        return [error.status.name, str(error)]
    return "done"


CALLS = {
    "pause": ("pause_activity", PauseActivityRequest),
    "unpause": ("unpause_activity", UnpauseActivityRequest),
    "reset": ("reset_activity", ResetActivityRequest),
    "change": ("update_activity_options", UpdateActivityOptionsRequest),
}
SPANS = (
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "start_to_close_timeout",
    "heartbeat_timeout",
)


class Bench:
    """One workflow and its operator."""

    def __init__(self, client, id, batches):
        self.client = client
        self.batches = batches
        self.id = id
        self.handle = client.get_workflow_handle(id)

    async def start(self, *wanted):
        """Start a workflow with activities, each a name, arguments and options; the first may be given so."""
        listed = [(name, list(args), options) for name, args, options in wanted]
        await self.client.start_workflow("Works", listed, id=self.id, task_queue=QUEUE)
        await self.until(lambda told: len(told) == len(wanted))

    async def act(self, call, execution=None, **request):
        name, kind = CALLS[call]
        known = {
            "namespace": "default",
            "execution": WorkflowExecution(workflow_id=execution or self.id),
            "identity": "me",
            **request,
        }
        return await getattr(self.client.workflow_service, name)(kind(**known))

    async def asks(self, call, **request):
        return await outcome_of(self.act(call, **request))

    async def change(self, *paths, **request):
        """Change options; give what the server answers, or how it refuses."""
        mask = {"paths": list(paths)}
        try:
            told = await self.act("change", update_mask=mask, **{"id": "a0", **request})
        except RPCError as error:
            return [error.status.name, str(error)]
        return options_of(told.activity_options)

    async def pending(self):
        told = (await self.handle.describe()).raw_description
        found = sorted(told.pending_activities, key=lambda one: one.activity_id)
        return [await description_of(one) for one in found]

    async def told(self):
        """Give what the server says of the first activity."""
        found = await self.pending()
        return found[0] if found else None

    async def last(self):
        """Give when the first activity's last attempt came to its end."""
        told = (await self.handle.describe()).raw_description
        return told.pending_activities[0].last_attempt_complete_time

    async def until(self, wanted):
        while True:
            told = await self.pending()
            if wanted(told):
                return told
            await asyncio.sleep(0.05)

    async def until_state(self, state):
        return (await self.until(lambda told: told and told[0]["state"] == state))[0]

    async def until_backoff(self, attempt=2):
        return (
            await self.until(lambda told: told and told[0].get("retry in") and told[0]["attempt"] == attempt)
        )[0]

    def by_hand(self):
        return self.client.get_async_activity_handle(activity_id="a0", workflow_id=self.id, run_id=None)

    async def beat(self, *details):
        """Send a heartbeat for the first activity; give what the server answers."""
        try:
            await self.by_hand().heartbeat(*details)
        except AsyncActivityCancelledError as error:
            return [name for name in ("cancel_requested", "paused", "reset") if getattr(error.details, name)]
        except RPCError as error:
            return [error.status.name, str(error)]
        return []

    async def attributes(self):
        told = await self.handle.describe()
        return {
            pair.key.name: pair.value for pair in told.typed_search_attributes if "Pause" in pair.key.name
        }

    async def end(self):
        try:
            return await self.handle.result()
        except WorkflowFailureError as error:
            return chain(error)

    async def stop(self):
        await self.handle.terminate()

    async def batch(self, job, query=None, **operation):
        async with self.batches:  # a real server does one at a time
            return await self._batch(job, query, operation)

    async def _batch(self, job, query, operation):
        chosen = {"visibility_query": query} if query else {"executions": [{"workflow_id": self.id}]}
        request = StartBatchOperationRequest(
            namespace="default", job_id=f"{self.id}-{job}", reason="why", **chosen, **operation
        )
        try:
            await self.client.workflow_service.start_batch_operation(request)
        except RPCError as error:
            return [error.status.name, str(error)]
        await asyncio.sleep(3)
        told = await self.client.workflow_service.describe_batch_operation(
            DescribeBatchOperationRequest(namespace="default", job_id=f"{self.id}-{job}")
        )
        counts = (told.total_operation_count, told.complete_operation_count, told.failure_operation_count)
        return BatchOperationType.Name(told.operation_type), told.state, counts, told.identity, told.reason


def seconds(held, name):
    if not held.HasField(name):
        return None
    span = round(getattr(held, name).ToNanoseconds() / 1e9, 1)
    return span if span < 1e6 else "since 1970"  # what the server makes of an attempt that never ended


def options_of(options):
    policy = options.retry_policy
    return [
        options.task_queue.name,
        *(seconds(options, name) for name in SPANS),
        [
            seconds(policy, "initial_interval"),
            policy.backoff_coefficient,
            seconds(policy, "maximum_interval"),
            policy.maximum_attempts,
        ],
        options.priority.priority_key,
    ]


async def description_of(one):
    """Give what the server says of an activity under way, but for instants; what there is not is left out."""
    info = one.pause_info
    failure = one.last_failure
    details = one.heartbeat_details.payloads
    told = {
        "type": one.activity_type.name,
        "state": PendingActivityState.Name(one.state).removeprefix("PENDING_ACTIVITY_STATE_"),
        "attempt": one.attempt,
        "of attempts": one.maximum_attempts,
        "paused": one.paused,
        "pause": [info.manual.identity, info.manual.reason] if info.HasField("manual") else None,
        "failure": [failure.message, failure.source, failure.WhichOneof("failure_info")],
        "heartbeat": await DataConverter.default.decode(details) if details else None,
        "retry in": seconds(one, "current_retry_interval"),
        "has": [
            name
            for name in (
                *("scheduled_time", "expiration_time", "last_started_time", "last_heartbeat_time"),
                *("last_attempt_complete_time", "next_attempt_schedule_time"),
            )
            if one.HasField(name)
        ],
        "worker": bool(one.last_worker_identity),
        "options": options_of(one.activity_options),
    }
    if not one.HasField("last_failure"):
        del told["failure"]
    return {name: value for name, value in told.items() if value}


def of(name, *args, **options):
    return name, args, options


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


# -- what describing says without any operator


@case
async def one_waits_in_its_queue(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, heartbeat_timeout=9, schedule_to_close_timeout=40))
    told = await bench.told()
    await bench.stop()
    return told


@case
async def one_runs(bench):
    await bench.start(of("waits", heartbeat_timeout=1, policy=(3, 1)))
    told = await bench.until(lambda told: told[0].get("heartbeat"))
    await bench.stop()
    return told


@case
async def one_waits_for_its_next_attempt(bench):
    await bench.start(of("goes_on", policy=(0, 50)))
    told = await bench.until_backoff()
    await bench.stop()
    return told


@case
async def one_is_to_be_canceled(bench):
    await bench.start(of("sleeps", 5))
    await bench.until_state("STARTED")
    await bench.handle.signal("cancel", 0)
    told = await bench.until_state("CANCEL_REQUESTED")
    await bench.stop()
    return told


@case
async def one_waits_too_long_as_a_whole(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, schedule_to_close_timeout=1))
    return await bench.end()


# -- pauses


@case
async def is_paused_in_its_queue(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, schedule_to_start_timeout=1))
    said = [await bench.asks("pause", id="a0", reason="wait"), await bench.told(), await bench.attributes()]
    await asyncio.sleep(2.5)  # its time to wait in the queue does not pass
    said.append(await bench.told())
    said.append(await bench.asks("unpause", id="a0"))
    said.append([await bench.told(), await bench.attributes()])
    return said, await bench.end()


@case
async def is_paused_as_it_runs(bench):
    await bench.start(of("waits", heartbeat_timeout=1))
    await bench.until_state("STARTED")
    return await bench.asks("pause", id="a0"), await bench.end()


@case
async def does_not_catch_its_pause(bench):
    await bench.start(of("beats", heartbeat_timeout=1))
    await bench.until_state("STARTED")
    said = [await bench.asks("pause", id="a0", reason="why not")]
    said.append(await bench.until_state("PAUSED"))
    await bench.asks("unpause", id="a0")
    return said, await bench.end()


@case
async def a_pause_is_wanted(bench):
    await bench.start(of("completes_later"))
    await bench.until_state("STARTED")
    said = [
        await bench.beat("one"),
        await bench.asks("pause", id="a0"),
        await bench.told(),
        await bench.beat("two"),
    ]
    said.append(await bench.told())
    await bench.by_hand().complete("all the same")
    return said, await bench.end()


@case
async def a_pause_is_taken_back(bench):
    await bench.start(of("completes_later"))
    await bench.until_state("STARTED")
    said = [await bench.asks("pause", id="a0"), await bench.asks("unpause", id="a0"), await bench.told()]
    said.append(await bench.beat("one"))
    await bench.by_hand().complete("as ever")
    return said, await bench.end()


@case
async def a_pause_is_taken_back_as_it_runs(bench):
    await bench.start(of("sleeps", 3))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await asyncio.sleep(0.5)
    await bench.asks("unpause", id="a0")
    return await bench.end()


@case
async def is_changed_and_completes(bench):
    await bench.start(of("sleeps", 3))
    await bench.until_state("STARTED")
    options = ActivityOptions(task_queue={"name": NOBODY}, start_to_close_timeout=s(20))
    return await bench.change(
        "task_queue.name", "start_to_close_timeout", activity_options=options
    ), await bench.end()


@case
async def fails_when_a_pause_is_wanted(bench):
    await bench.start(of("completes_later", policy=(3, 1)))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await bench.by_hand().fail(ValueError("later"))
    said = [await bench.until_state("PAUSED")]
    await bench.asks("unpause", id="a0")
    said.append(await bench.until_state("STARTED"))
    await bench.by_hand().complete("late")
    return said, await bench.end()


@case
async def fails_for_the_last_time_when_a_pause_is_wanted(bench):
    await bench.start(of("completes_later", policy=(1, 1)))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await bench.by_hand().fail(ValueError("later"))
    said = [await bench.until_state("PAUSED"), await bench.asks("unpause", id="a0")]
    said.append(await bench.until_state("STARTED"))
    await bench.by_hand().fail(ValueError("again"))
    return said, await bench.end()


@case
async def fails_for_good_when_a_pause_is_wanted(bench):
    await bench.start(of("completes_later"))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await bench.by_hand().fail(ApplicationError("never", type="Never", non_retryable=True))
    return await bench.end()


def has_timers(name, function, *args, **options):
    """Make a case: what its timeouts do while a pause is wanted or there, and after it."""

    async def run(bench):
        await bench.start(of(function, *args, **options))
        if "queue" not in options:
            await bench.until_state("STARTED")
        await bench.asks("pause", id="a0")
        await asyncio.sleep(3.5)
        said = [await bench.told(), await bench.asks("unpause", id="a0")]
        await asyncio.sleep(2.5)
        said.append(await bench.told())
        await outcome_of(bench.stop())
        return said

    CASES[name] = run


has_timers("takes-too-long-when-a-pause-is-wanted", "sleeps", 40, start_to_close_timeout=1.5, policy=(0, 20))
has_timers(
    "misses-its-heartbeat-when-a-pause-is-wanted", "completes_later", heartbeat_timeout=1, policy=(0, 20)
)
has_timers("waits-as-a-whole-when-it-is-paused", "sleeps", 40, queue=NOBODY, schedule_to_close_timeout=2)
has_timers("takes-too-long-as-a-whole-when-a-pause-is-wanted", "sleeps", 40, schedule_to_close_timeout=2)
has_timers(
    "has-time-left-after-its-pause",
    "completes_later",
    start_to_close_timeout=4.5,
    schedule_to_close_timeout=20,
)


@case
async def is_changed_when_its_time_is_over_in_a_pause(bench):
    await bench.start(of("completes_later", start_to_close_timeout=1.5, policy=(0, 20)))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await asyncio.sleep(2.5)
    options = ActivityOptions(start_to_close_timeout=s(1))
    said = [await bench.change("start_to_close_timeout", activity_options=options)]
    await asyncio.sleep(1.5)
    said += [await bench.told(), await bench.asks("unpause", id="a0")]
    await asyncio.sleep(1.5)
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def is_paused_between_attempts(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    said = [await bench.asks("pause", id="a0"), await bench.told(), await bench.asks("unpause", id="a0")]
    return said, await bench.end()  # and it does not wait any longer


@case
async def waits_longer_than_its_next_attempt(bench):
    await bench.start(of("goes_on", policy=(0, 1)))
    await bench.until_backoff()
    await bench.asks("pause", id="a0")
    await asyncio.sleep(2.5)
    said = await bench.told()
    await bench.asks("unpause", id="a0")
    return said, await bench.end()


@case
async def goes_on_from_the_first_attempt(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    await bench.asks("pause", id="a0")
    said = [await bench.asks("unpause", id="a0", reset_attempts=True)]
    return said, await bench.end()


@case
async def goes_on_without_its_heartbeat(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    await bench.asks("pause", id="a0")
    said = [await bench.asks("unpause", id="a0", reset_heartbeat=True)]
    return said, await bench.end()


@case
async def attempts_and_heartbeat_begin_again_as_it_runs(bench):
    await bench.start(of("completes_later", policy=(0, 0.5)))
    await bench.until_state("STARTED")
    await bench.by_hand().fail(ValueError("one"))
    await bench.until(lambda told: told[0]["state"] == "STARTED" and told[0]["attempt"] == 2)
    said = [await bench.beat("half"), await bench.asks("pause", id="a0")]
    said.append(await bench.asks("unpause", id="a0", reset_attempts=True, reset_heartbeat=True))
    said.append(await bench.told())
    said.append(await bench.beat("more"))
    await bench.by_hand().complete("so")
    return said, await bench.end()


@case
async def is_unpaused_with_jitter(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    await bench.asks("pause", id="a0")
    said = [await bench.asks("unpause", id="a0", jitter=s(50)), await bench.told()]
    await bench.stop()
    return said


@case
async def is_paused_twice(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    said = [
        await bench.asks("pause", id="a0"),
        await bench.asks("pause", id="a0", reason="more"),
        (await bench.told())["pause"],
        await bench.asks("unpause", id="a0"),
        await bench.asks("unpause", id="a0"),
        await bench.asks("pause", id="a0"),
        await bench.asks("pause", id="a0"),
    ]
    await bench.stop()
    return said


async def is_paused_by_two(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    said = [
        await bench.asks("pause", id="a0", request_id="one"),
        await bench.asks("pause", id="a0", request_id="one"),
        await bench.asks("pause", id="a0", request_id="two", reason="more"),
        await bench.asks("pause", id="a0"),
        (await bench.told())["pause"],
        await bench.asks("unpause", id="a0"),
        await bench.asks("pause", id="a0", request_id="one"),
        (await bench.told()).get("paused", False),
    ]
    await bench.stop()
    return said


if "request_id" in PauseActivityRequest.DESCRIPTOR.fields_by_name:  # older releases of the SDK know none
    case(is_paused_by_two)


@case
async def all_of_a_type_are_paused(bench):
    two = of("sleeps", 0, queue=NOBODY)
    await bench.start(two, two, of("waits", queue=NOBODY))
    said = [await bench.asks("pause", type="sleeps", reason="all"), await bench.pending()]
    said.append(sorted((await bench.attributes()).items()))
    said.append(await bench.asks("pause", type="sleeps"))
    said.append(await bench.asks("pause", id="a2"))
    said.append([[key, sorted(value)] for key, value in (await bench.attributes()).items()])
    said.append(await bench.asks("unpause", type="sleeps"))
    said.append([one.get("paused", False) for one in await bench.pending()])
    said.append(await bench.asks("unpause", unpause_all=True))
    said.append([one.get("paused", False) for one in await bench.pending()])
    said.append(await bench.attributes())
    await bench.stop()
    return said


@case
async def is_canceled_when_it_is_paused(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    await bench.asks("pause", id="a0")
    await bench.handle.signal("cancel", 0)
    return await bench.end()


@case
async def is_canceled_when_a_pause_is_wanted(bench):
    await bench.start(of("completes_later"))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await bench.handle.signal("cancel", 0)
    said = [await bench.until_state("CANCEL_REQUESTED"), await bench.beat(1)]
    said.append(await bench.asks("unpause", id="a0"))
    said.append(await bench.beat(1))
    await bench.by_hand().report_cancellation("so be it")
    return said, await bench.end()


@case
async def is_paused_when_its_cancellation_is_wanted(bench):
    await bench.start(of("waits", heartbeat_timeout=1.5))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    await bench.handle.signal("cancel", 0)
    return await bench.end()


@case
async def completes_by_hand_when_it_is_paused(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    await bench.asks("pause", id="a0")
    said = [await bench.beat(1)]
    try:
        await bench.by_hand().complete("by hand")
    except RPCError as error:
        said.append([error.status.name, str(error)])
        await bench.stop()
    return said, await bench.end()


# -- resets


@case
async def is_reset_in_its_queue(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, schedule_to_start_timeout=1.5))
    await asyncio.sleep(0.7)
    said = [await bench.asks("reset", id="a0"), await bench.told()]
    return said, await bench.end()


@case
async def is_reset_between_attempts(bench):
    await bench.start(of("fails", 3, False, policy=(0, 1)))
    await bench.until_backoff(3)
    said = [await bench.asks("reset", id="a0"), await bench.until_backoff(2)]
    return said, await bench.end()


@case
async def is_reset_with_its_heartbeat(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    last = await bench.last()
    said = [await bench.asks("reset", id="a0", reset_heartbeat=True)]
    while (await bench.told())["state"] != "SCHEDULED" or await bench.last() == last:
        await asyncio.sleep(0.05)
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def is_reset_and_keeps_its_heartbeat(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    said = [await bench.asks("reset", id="a0")]
    return said, await bench.end()


@case
async def is_reset_as_it_runs(bench):
    await bench.start(of("waits", heartbeat_timeout=1))
    await bench.until_state("STARTED")
    return await bench.asks("reset", id="a0"), await bench.end()


@case
async def does_not_catch_its_reset(bench):
    await bench.start(of("beats", heartbeat_timeout=1, policy=(0, 1)))
    await bench.until_state("STARTED")
    return await bench.asks("reset", id="a0"), await bench.end()


@case
async def a_reset_is_wanted(bench):
    await bench.start(of("completes_later", policy=(0, 1)))
    await bench.until_state("STARTED")
    await bench.by_hand().fail(ValueError("one"))
    await bench.until(lambda told: told[0]["state"] == "STARTED" and told[0]["attempt"] == 2)
    said = [await bench.beat(1), await bench.asks("reset", id="a0"), await bench.told(), await bench.beat(2)]
    await bench.by_hand().fail(ValueError("two"))
    await asyncio.sleep(0.3)
    said.append(await bench.told())
    said.append(await bench.until_state("STARTED"))
    said.append(await bench.beat(3))
    await bench.by_hand().complete("so")
    return said, await bench.end()


@case
async def a_reset_with_its_heartbeat_is_wanted(bench):
    await bench.start(of("completes_later", policy=(0, 1)))
    await bench.until_state("STARTED")
    said = [await bench.beat(1), await bench.asks("reset", id="a0", reset_heartbeat=True), await bench.told()]
    said += [await bench.beat(2), await bench.told()]
    await bench.by_hand().fail(ValueError("one"))
    await asyncio.sleep(0.3)
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def is_reset_at_its_last_attempt(bench):
    await bench.start(of("completes_later", policy=(1, 1)))
    await bench.until_state("STARTED")
    said = [await bench.asks("reset", id="a0")]
    await bench.by_hand().fail(ValueError("one"))
    return said, await bench.end()


@case
async def is_reset_at_its_second_attempt(bench):
    await bench.start(of("returns_late", 3, policy=(2, 0.2), heartbeat_timeout=1))
    await bench.until(lambda told: told[0]["state"] == "STARTED" and told[0]["attempt"] == 2)
    said = [await bench.asks("reset", id="a0"), (await bench.told())["attempt"]]
    # Its worker sends heartbeats for an attempt that the server does not know any more.
    timeout = "activity Heartbeat timeout"
    told = await bench.until(lambda told: not told or told[0]["failure"][0] == timeout)
    said.append([one["failure"] for one in told])
    return said, await bench.end()


@case
async def is_reset_when_its_cancellation_is_wanted(bench):
    await bench.start(of("completes_later", policy=(0, 1)))
    await bench.until_state("STARTED")
    await bench.handle.signal("cancel", 0)
    await bench.until_state("CANCEL_REQUESTED")
    said = [await bench.asks("reset", id="a0"), await bench.told(), await bench.beat(1)]
    await bench.by_hand().fail(ValueError("one"))
    return said, await bench.end()


@case
async def is_reset_with_its_options_as_it_runs(bench):
    await bench.start(of("completes_later", policy=(0, 1)))
    await bench.until_state("STARTED")
    options = ActivityOptions(start_to_close_timeout=s(9), task_queue={"name": NOBODY})
    said = [await bench.change("start_to_close_timeout", "task_queue.name", activity_options=options)]
    said += [await bench.told(), await bench.asks("reset", id="a0", restore_original_options=True)]
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def is_reset_and_stays_paused_as_it_runs(bench):
    await bench.start(of("completes_later", policy=(0, 1)))
    await bench.until_state("STARTED")
    await bench.asks("pause", id="a0")
    said = [await bench.asks("reset", id="a0", keep_paused=True), await bench.told(), await bench.beat(1)]
    await bench.by_hand().fail(ValueError("one"))
    said.append(await bench.until_state("PAUSED"))
    said.append(await bench.asks("unpause", id="a0"))
    said.append(await bench.until_state("STARTED"))
    said.append(await bench.beat(1))
    await bench.stop()
    return said


@case
async def is_reset_when_it_is_paused(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    await bench.asks("pause", id="a0")
    said = [await bench.asks("reset", id="a0"), await bench.attributes()]
    return said, await bench.end()


@case
async def is_reset_and_stays_paused(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    await bench.asks("pause", id="a0", reason="mine")
    said = [await bench.asks("reset", id="a0", keep_paused=True, reset_heartbeat=True), await bench.told()]
    await bench.asks("unpause", id="a0")
    said.append(await bench.until_backoff())
    await bench.stop()
    return said


@case
async def is_reset_when_a_pause_is_wanted(bench):
    await bench.start(of("completes_later", policy=(0, 1)))
    await bench.until_state("STARTED")
    await bench.by_hand().fail(ValueError("one"))
    await bench.until(lambda told: told[0]["state"] == "STARTED" and told[0]["attempt"] == 2)
    await bench.asks("pause", id="a0")
    said = [await bench.asks("reset", id="a0"), await bench.told(), await bench.beat(1)]
    await bench.by_hand().fail(ValueError("two"))
    await asyncio.sleep(0.3)
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def is_reset_with_its_options(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, policy=(4, 1)))
    said = [
        await bench.change(
            "start_to_close_timeout",
            "retry_policy.maximum_attempts",
            "task_queue.name",
            activity_options=ActivityOptions(
                start_to_close_timeout=s(7),
                retry_policy={"maximum_attempts": 9},
                task_queue={"name": "no one"},
            ),
        )
    ]
    said += [await bench.told(), await bench.asks("reset", id="a0", restore_original_options=True)]
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def is_reset_with_jitter(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    said = [await bench.asks("reset", id="a0", jitter=s(50)), await bench.told()]
    await bench.stop()
    return said


@case
async def all_are_reset(bench):
    await bench.start(of("goes_on", policy=(0, 30)), of("fails", 1, False, policy=(0, 30)))
    await bench.until(lambda told: all(one["attempt"] == 2 for one in told))
    said = [await bench.asks("reset", match_all=True), await bench.until(lambda told: len(told) == 1)]
    await bench.until_backoff()
    said.append(await bench.asks("reset", type="fails"))
    said.append(await bench.asks("reset", type="goes_on"))
    await bench.stop()
    return said


# -- options


@case
async def goes_to_another_queue(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    options = ActivityOptions(task_queue={"name": QUEUE})
    return await bench.change("task_queue.name", activity_options=options), await bench.end()


@case
async def its_next_attempt_comes_sooner(bench):
    await bench.start(of("goes_on", policy=(0, 60)))
    await bench.until_backoff()
    options = ActivityOptions(retry_policy={"initial_interval": s(2)})
    said = [await bench.change("retry_policy.initial_interval", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def its_third_attempt_comes_sooner(bench):
    await bench.start(of("fails", 2, False, policy=(0, 4, 3)))
    await bench.until_backoff(3)
    options = ActivityOptions(retry_policy={"initial_interval": s(0.5)})
    said = [await bench.change("retry_policy.initial_interval", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def its_next_attempt_is_due(bench):
    await bench.start(of("goes_on", policy=(0, 60)))
    await bench.until_backoff()
    await asyncio.sleep(1.5)
    options = ActivityOptions(retry_policy={"initial_interval": s(0.5)})
    return await bench.change("retry_policy.initial_interval", activity_options=options), await bench.end()


@case
async def its_options_are_changed_between_attempts(bench):
    await bench.start(of("fails", 1, False, policy=(0, 3)))
    await bench.until_backoff()
    options = ActivityOptions(start_to_close_timeout=s(7))
    said = [await bench.change("start_to_close_timeout", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def it_learns_of_its_options(bench):
    await bench.start(of("tells", queue=NOBODY, policy=(3, 1), heartbeat_timeout=20))
    options = ActivityOptions(
        task_queue={"name": QUEUE},
        start_to_close_timeout=s(7),
        retry_policy={"maximum_attempts": 5},
        priority={"priority_key": 2},
    )
    paths = ["task_queue.name", "start_to_close_timeout", "retry_policy.maximum_attempts", "priority"]
    return await bench.change(*paths, activity_options=options), await bench.end()


@case
async def has_less_time_as_it_runs(bench):
    await bench.start(of("sleeps", 20, policy=(1, 1)))
    await bench.until_state("STARTED")
    options = ActivityOptions(start_to_close_timeout=s(1))
    said = [await bench.change("start_to_close_timeout", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def is_to_beat_as_it_runs(bench):
    await bench.start(of("sleeps", 20, policy=(1, 1)))
    await bench.until_state("STARTED")
    options = ActivityOptions(heartbeat_timeout=s(1))
    said = [await bench.change("heartbeat_timeout", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def has_fewer_attempts_as_it_runs(bench):
    await bench.start(of("completes_later"))
    await bench.until_state("STARTED")
    options = ActivityOptions(retry_policy={"maximum_attempts": 1})
    said = [await bench.change("retry_policy.maximum_attempts", activity_options=options)]
    await bench.by_hand().fail(ValueError("one"))
    return said, await bench.end()


@case
async def has_less_time_in_its_queue(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    options = ActivityOptions(schedule_to_start_timeout=s(1))
    said = [await bench.change("schedule_to_start_timeout", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def has_less_time_as_a_whole(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    options = ActivityOptions(schedule_to_close_timeout=s(1.5))
    said = [await bench.change("schedule_to_close_timeout", activity_options=options), await bench.told()]
    return said, await bench.end()


@case
async def has_more_time_as_a_whole(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, schedule_to_close_timeout=1.5))
    options = ActivityOptions(schedule_to_close_timeout=s(20))
    said = [await bench.change("schedule_to_close_timeout", activity_options=options)]
    await asyncio.sleep(2.5)
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def its_options_are_changed_and_restored(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, policy=(4, 1), heartbeat_timeout=5))
    options = ActivityOptions(
        task_queue={"name": "no one"},
        schedule_to_close_timeout=s(20),
        schedule_to_start_timeout=s(90),
        start_to_close_timeout=s(40),
        heartbeat_timeout=s(50),
        retry_policy={
            "initial_interval": s(3),
            "backoff_coefficient": 3,
            "maximum_interval": s(9),
            "maximum_attempts": 8,
        },
        priority={"priority_key": 2},
    )
    paths = ["task_queue.name", *SPANS, "retry_policy", "priority"]
    said = [await bench.change(*paths, activity_options=options), await bench.told()]
    said.append(await bench.change(restore_original=True))
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def options_are_taken_away(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, policy=(4, 1), heartbeat_timeout=5))
    said = []
    for path in ("heartbeat_timeout", "schedule_to_start_timeout", "start_to_close_timeout", "priority"):
        said.append([path, await bench.change(path, activity_options=ActivityOptions()), await bench.told()])
    await bench.stop()
    return said


@case
async def single_fields_are_changed(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, policy=(4, 1)))
    options = ActivityOptions(
        retry_policy={"initial_interval": s(3), "backoff_coefficient": 3, "maximum_interval": s(9)},
        priority={"priority_key": 3, "fairness_key": "me", "fairness_weight": 2},
    )
    paths = (
        *(
            "retry_policy.initial_interval",
            "retry_policy.backoff_coefficient",
            "retry_policy.maximum_interval",
        ),
        *("priority.priority_key", "priority.fairness_key", "priority.fairness_weight"),
    )
    said = [[path, await bench.change(path, activity_options=options)] for path in paths]
    said.append(await bench.told())
    await bench.stop()
    return said


@case
async def options_are_refused(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    some = ActivityOptions(start_to_close_timeout=s(7))
    bad = {
        "retry_policy": {"retry_policy": {"maximum_attempts": -1}},
        "retry_policy.initial_interval": {"retry_policy": {"initial_interval": s(-1)}},
        "retry_policy.backoff_coefficient": {"retry_policy": {"backoff_coefficient": 0.5}},
        "retry_policy.maximum_interval": {
            "retry_policy": {"initial_interval": s(9), "maximum_interval": s(1)}
        },
        "start_to_close_timeout": {"start_to_close_timeout": s(-1)},
        "task_queue.name": {"task_queue": {"name": ""}},
        "priority": {"priority": {"priority_key": -1}},
    }
    said = [
        await bench.change(activity_options=some),
        await bench.change("start_to_close_timeout"),
        await bench.change("nonsense", activity_options=some),
        await bench.change("task_queue", activity_options=ActivityOptions(task_queue={"name": "other"})),
        await bench.change("task_queue.name", activity_options=some),
        await bench.change("retry_policy", activity_options=some),
        await bench.change("retry_policy.maximum_attempts", activity_options=some),
        await bench.change("priority.priority_key", activity_options=some),
        await bench.change("startToCloseTimeout", activity_options=some),
        await bench.change("start_to_close_timeout", activity_options=some, restore_original=True),
        await bench.asks("change", id="a0", activity_options=some),
        [
            [path, await bench.change(path, activity_options=ActivityOptions(**one))]
            for path, one in bad.items()
        ],
        await bench.told(),
    ]
    await bench.stop()
    return said


@case
async def options_of_all_are_changed(bench):
    two = of("sleeps", 0, queue=NOBODY)
    await bench.start(two, two, of("waits", queue=NOBODY))
    some = ActivityOptions(start_to_close_timeout=s(7))
    said = [await bench.change("start_to_close_timeout", activity_options=some, type="sleeps", id=None)]
    said.append([one["options"] for one in await bench.pending()])
    said.append(await bench.change("start_to_close_timeout", activity_options=some, match_all=True, id=None))
    said.append([one["options"] for one in await bench.pending()])
    said.append(await bench.change(restore_original=True, match_all=True, id=None))
    said.append([one["options"] for one in await bench.pending()])
    await bench.stop()
    return said


@case
async def is_changed_when_it_is_paused(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY, schedule_to_start_timeout=1))
    await bench.asks("pause", id="a0")
    options = ActivityOptions(task_queue={"name": QUEUE})
    said = [await bench.change("task_queue.name", activity_options=options)]
    await asyncio.sleep(1.5)
    said += [await bench.told(), await bench.asks("unpause", id="a0")]
    return said, await bench.end()


# -- refusals


@case
async def what_is_not_there_is_refused(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    some = {
        "activity_options": ActivityOptions(start_to_close_timeout=s(7)),
        "update_mask": {"paths": ["priority"]},
    }
    said = []

    async def all_of(**request):
        for call in CALLS:
            more = some if call == "change" else {}
            said.append([call, sorted(request), await bench.asks(call, **{"id": "a0", **more, **request})])

    await all_of(id="nothing")
    await all_of(id=None)
    await all_of(id=None, type="nothing")
    await all_of(execution="nobody")
    await all_of(id="")
    await bench.stop()
    await all_of()
    return said


# -- the calls that know both activities of workflows and those without one


async def the_other_calls_do_the_same(bench):
    await bench.start(of("goes_on", policy=(0, 30)))
    await bench.until_backoff()
    service, named = bench.client.workflow_service, {"workflow_id": bench.id, "activity_id": "a0"}

    async def asks(call, kind, **request):
        return await outcome_of(getattr(service, call)(kind(**{**named, "namespace": "default", **request})))

    change, pause = UpdateActivityExecutionOptionsRequest, PauseActivityExecutionRequest
    changes = [
        {
            "update_mask": {"paths": ["start_to_close_timeout"]},
            "activity_options": {"start_to_close_timeout": s(7)},
        },
        {"update_mask": {"paths": ["start_delay"]}, "activity_options": {"start_delay": s(7)}},
        {"update_mask": {"paths": ["nonsense"]}, "activity_options": {}},
        {"update_mask": {"paths": []}, "activity_options": {}},
        {
            "update_mask": {"paths": ["retry_policy"]},
            "activity_options": {"retry_policy": {"maximum_attempts": -1}},
        },
        {
            "update_mask": {"paths": ["retry_policy"]},
            "activity_options": {"retry_policy": {"maximum_attempts": 5}},
        },
        {"restore_original": True},
        {},
    ]
    said = [
        await asks("pause_activity_execution", pause, identity="me", reason="other", request_id="a"),
        await bench.told(),
        await asks("pause_activity_execution", pause, request_id="b"),
        await asks("reset_activity_execution", ResetActivityExecutionRequest, keep_paused=True),
        await bench.told(),
    ]
    for one in changes:
        said.append([await asks("update_activity_execution_options", change, **one), await bench.told()])
    said.append(await asks("pause_activity_execution", pause, activity_id="nothing"))
    said.append(await asks("unpause_activity_execution", UnpauseActivityExecutionRequest))
    return said, await bench.end()


if hasattr(workflowservice, "PauseActivityExecutionRequest"):  # older releases of the SDK have none of them
    from temporalio.api.workflowservice.v1 import (
        PauseActivityExecutionRequest,
        ResetActivityExecutionRequest,
        UnpauseActivityExecutionRequest,
        UpdateActivityExecutionOptionsRequest,
    )

    case(the_other_calls_do_the_same)


# -- batches


@case
async def a_batch_unpauses(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY), of("waits", queue=NOBODY))
    for id in ("a0", "a1"):
        await bench.asks("pause", id=id)
    unpause = BatchOperationUnpauseActivities(identity="me", type="waits")
    said = [await bench.batch("type", unpause_activities_operation=unpause)]
    said.append([one.get("paused", False) for one in await bench.pending()])
    unpause = BatchOperationUnpauseActivities(identity="me", match_all=True)
    said.append(await bench.batch("all", unpause_activities_operation=unpause))
    said.append([one.get("paused", False) for one in await bench.pending()])
    await bench.stop()
    return said


@case
async def a_batch_resets(bench):
    await bench.start(of("fails", 1, False, policy=(0, 30)), of("goes_on", policy=(0, 30)))
    await bench.until(lambda told: all(one["attempt"] == 2 for one in told))
    for id in ("a0", "a1"):
        await bench.asks("pause", id=id)
    reset = BatchOperationResetActivities(identity="me", type="fails", keep_paused=True)
    said = [await bench.batch("type", reset_activities_operation=reset)]
    said.append([[one["attempt"], one.get("paused", False)] for one in await bench.pending()])
    reset = BatchOperationResetActivities(identity="me", match_all=True, keep_paused=True)
    said.append(await bench.batch("all", reset_activities_operation=reset))
    said.append([[one["attempt"], one.get("paused", False)] for one in await bench.pending()])
    await bench.stop()
    return said


@case
async def a_batch_changes_options(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY), of("waits", queue=NOBODY))
    change = BatchOperationUpdateActivityOptions(
        identity="me",
        type="waits",
        activity_options=ActivityOptions(start_to_close_timeout=s(7)),
        update_mask={"paths": ["start_to_close_timeout"]},
    )
    said = [await bench.batch("type", update_activity_options_operation=change)]
    said.append([one["options"] for one in await bench.pending()])
    change.match_all = True
    said.append(await bench.batch("all", update_activity_options_operation=change))
    said.append([one["options"] for one in await bench.pending()])
    none = {"update_mask": {}}  # a real server that is given none stops
    restore = BatchOperationUpdateActivityOptions(
        identity="me", match_all=True, restore_original=True, **none
    )
    said.append(await bench.batch("restore", update_activity_options_operation=restore))
    said.append([one["options"] for one in await bench.pending()])
    await bench.stop()
    return said


@case
async def a_batch_goes_by_a_filter(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY), of("waits", queue=NOBODY))
    await bench.asks("pause", id="a0")
    await asyncio.sleep(3)  # a real server's lists come late
    this = f"WorkflowId = '{bench.id}'"
    filters = [
        "TemporalPauseInfo = 'property:activityType=sleeps'",
        "TemporalPauseInfo = 'property:activityType=waits'",
        "TemporalPauseInfo IS NULL",
    ]
    said = [
        [one, len([1 async for _ in bench.client.list_workflows(f"{one} AND {this}")])] for one in filters
    ]
    for number, which in enumerate([{"type": "waits"}, {"type": "sleeps"}]):
        unpause = BatchOperationUnpauseActivities(identity="me", **which)
        said.append(await bench.batch(number, query=this, unpause_activities_operation=unpause))
        said.append([one.get("paused", False) for one in await bench.pending()])
    await bench.stop()
    return said


@case
async def batches_of_activities_are_refused(bench):
    await bench.start(of("sleeps", 0, queue=NOBODY))
    none = {"update_mask": {}}  # a real server that is given none stops
    said = [
        await bench.batch("0", unpause_activities_operation=BatchOperationUnpauseActivities()),
        await bench.batch("1", reset_activities_operation=BatchOperationResetActivities()),
        await bench.batch("2", update_activity_options_operation=BatchOperationUpdateActivityOptions(**none)),
        await bench.batch("3", unpause_activities_operation=BatchOperationUnpauseActivities(type="nothing")),
        await bench.batch("4", reset_activities_operation=BatchOperationResetActivities(type="nothing")),
    ]
    await bench.stop()
    return said


def brief(event):
    """Give an event's type, and what it says of attempts and failures."""
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    if kind == "ACTIVITY_TASK_STARTED":
        held = event.activity_task_started_event_attributes
        return [kind, held.attempt, held.last_failure.message]
    if kind == "ACTIVITY_TASK_FAILED":
        held = event.activity_task_failed_event_attributes
        return [kind, held.failure.message, held.retry_state]
    if kind == "ACTIVITY_TASK_TIMED_OUT":
        held = event.activity_task_timed_out_event_attributes
        return [kind, held.failure.message, held.failure.cause.message, held.retry_state]
    return [kind]


async def play(client, name, batches):
    """Give what a case tells, and the events of its workflow."""
    try:
        value = await asyncio.wait_for(CASES[name](Bench(client, name, batches)), 60)
    except Exception as error:  # on a busy machine one case fails alone
        value = repr(error)
    history = await client.get_workflow_handle(name).fetch_history()
    return name, [value, [brief(one) for one in history.events]]


async def play_all(client):
    """Play all cases; a real server takes no more than some at once, or it comes late."""
    room, batches = asyncio.Semaphore(8), asyncio.Lock()

    async def in_turn(name):
        async with room:
            return await play(client, name, batches)

    return dict(await asyncio.gather(*[in_turn(name) for name in CASES]))
