"""Cases that run on a real server and on the simulated one: what a workflow does, and what a client does with it."""

import asyncio
from datetime import timedelta

import samples
from temporalio import activity, workflow
from temporalio.client import WorkflowUpdateStage
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.workflow import ActivityCancellationType, ChildWorkflowCancellationType, ParentClosePolicy

QUEUE = "differential"


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def fails(times: int, non_retryable: bool) -> str:
    attempt = activity.info().attempt
    if attempt <= times:
        raise ApplicationError(f"boom {attempt}", "detail", type="Boom", non_retryable=non_retryable)
    return f"ok at {attempt}"


@activity.defn
async def fails_with_delay(times: int) -> str:
    if activity.info().attempt <= times:
        raise ApplicationError("later", next_retry_delay=s(0.7))
    return "ok"


@activity.defn
async def hangs() -> str:
    await asyncio.sleep(60)
    return "never"


@activity.defn
async def beats_then_hangs() -> str:
    activity.heartbeat("halfway")
    await asyncio.sleep(60)
    return "never"


@activity.defn
async def beats() -> str:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.1)


@activity.defn
async def beats_and_ignores_cancellation() -> str:
    for _ in range(20):
        try:
            activity.heartbeat()
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            return "ignored"
    return "not cancelled"


@activity.defn
async def raises_cancelled() -> str:
    raise asyncio.CancelledError


@activity.defn
async def raises_value_error() -> str:
    raise ValueError("plain")


@activity.defn
async def resumes() -> str:
    details = activity.info().heartbeat_details
    if details:
        return f"from {details[0]}"
    activity.heartbeat("page 7")
    raise ApplicationError("interrupted")


ACTIVITIES = [
    fails,
    fails_with_delay,
    hangs,
    beats_then_hangs,
    beats,
    beats_and_ignores_cancellation,
    raises_cancelled,
    raises_value_error,
    resumes,
]

IN_WORKFLOW = {}


def case(function):
    IN_WORKFLOW[function.__name__] = function
    return function


def run_activity(*args, **options):
    return workflow.execute_activity(*args, **{"start_to_close_timeout": s(5), **options})


def tries(number, first=0.2):
    return RetryPolicy(initial_interval=s(first), maximum_attempts=number)


@case
async def succeeds_at_once():
    return await run_activity(fails, args=[0, False])


@case
async def succeeds_at_third_attempt():
    return await run_activity(fails, args=[2, False], retry_policy=tries(0))


@case
async def runs_out_of_attempts():
    return await run_activity(fails, args=[9, False], retry_policy=tries(3))


@case
async def is_not_retryable():
    return await run_activity(fails, args=[9, True])


@case
async def is_of_a_type_not_retryable():
    return await run_activity(
        fails, args=[9, False], retry_policy=RetryPolicy(non_retryable_error_types=["Boom"])
    )


@case
async def raises_a_plain_error():
    return await run_activity(raises_value_error, retry_policy=tries(1))


@case
async def has_no_time_for_another_attempt():
    options = {"start_to_close_timeout": None, "schedule_to_close_timeout": s(5)}
    return await run_activity(fails, args=[9, False], retry_policy=tries(0, 3), **options)


@case
async def start_to_close_timeout():
    return await run_activity(hangs, start_to_close_timeout=s(0.7), retry_policy=tries(2))


@case
async def heartbeat_timeout():
    return await run_activity(hangs, heartbeat_timeout=s(0.7), retry_policy=tries(1))


@case
async def heartbeat_timeout_tells_the_last_details():
    return await run_activity(beats_then_hangs, heartbeat_timeout=s(1), retry_policy=tries(1))


@case
async def heartbeat_details_reach_the_next_attempt():
    return await run_activity(resumes, retry_policy=tries(2))


@case
async def schedule_to_close_timeout():
    options = {"start_to_close_timeout": None, "schedule_to_close_timeout": s(1)}
    return await run_activity(hangs, retry_policy=tries(0), **options)


@case
async def schedule_to_close_timeout_in_the_second_attempt():
    options = {"start_to_close_timeout": s(2), "schedule_to_close_timeout": s(4)}
    return await run_activity(hangs, retry_policy=tries(0, 0.5), **options)


@case
async def schedule_to_start_timeout():
    return await run_activity("nothing", task_queue="nobody", schedule_to_start_timeout=s(0.7))


@case
async def next_retry_delay():
    return await run_activity(fails_with_delay, 2, retry_policy=tries(0, 5))


@case
async def activity_is_not_registered():
    return await run_activity("nothing", retry_policy=tries(1))


@case
async def activity_cancels_itself_unasked():
    return await run_activity(raises_cancelled, retry_policy=tries(1))


async def cancelled(kind, function=beats, wait=0.6, **options):
    handle = workflow.start_activity(
        function, start_to_close_timeout=s(20), heartbeat_timeout=s(0.5), cancellation_type=kind, **options
    )
    if wait:
        await workflow.sleep(wait)
    handle.cancel()
    return await handle


@case
async def try_cancel():
    return await cancelled(ActivityCancellationType.TRY_CANCEL)


@case
async def wait_for_cancellation():
    return await cancelled(ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)


@case
async def abandon():
    return await cancelled(ActivityCancellationType.ABANDON)


@case
async def cancellation_is_ignored():
    kind = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
    return await cancelled(kind, beats_and_ignores_cancellation)


@case
async def cancelled_before_it_was_scheduled():
    return await cancelled(ActivityCancellationType.WAIT_CANCELLATION_COMPLETED, wait=0)


@case
async def cancelled_while_it_waits_to_be_tried_again():
    handle = workflow.start_activity(
        fails,
        args=[9, False],
        start_to_close_timeout=s(5),
        retry_policy=RetryPolicy(initial_interval=s(30)),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )
    await workflow.sleep(2)
    handle.cancel()
    return await handle


@case
async def timer():
    await workflow.sleep(0.5)
    return "rang"


@case
async def timer_is_cancelled():
    timer = asyncio.create_task(asyncio.sleep(30))
    await workflow.sleep(0.3)
    timer.cancel()
    return "stopped"


@case
async def timer_is_cancelled_before_it_was_started():
    timer = asyncio.create_task(asyncio.sleep(30))
    await asyncio.sleep(0)
    timer.cancel()
    await workflow.sleep(0.2)
    return "stopped"


@case
async def condition_times_out():
    await workflow.wait_condition(lambda: False, timeout=0.4)


@case
async def local_activity_tries_again():
    return await workflow.execute_local_activity(
        fails, args=[2, False], start_to_close_timeout=s(5), retry_policy=tries(0)
    )


@case
async def local_activity_fails():
    return await workflow.execute_local_activity(
        fails, args=[9, False], start_to_close_timeout=s(5), retry_policy=tries(2)
    )


def child(number, **options):
    id = f"{workflow.info().workflow_id}-child"
    return workflow.execute_child_workflow(samples.Square.run, number, **{"id": id, **options})


@case
async def child_succeeds():
    return await child(1)


@case
async def child_times_out():
    return await child(13, execution_timeout=s(1))


@case
async def child_fails():
    return await workflow.execute_child_workflow(
        Case.run, "fails_itself", id=f"{workflow.info().workflow_id}-child"
    )


@case
async def child_id_is_taken():
    await workflow.start_child_workflow(samples.Square.run, 1, id=f"{workflow.info().workflow_id}-child")
    return await child(1)


@case
async def child_id_was_used():
    await child(0)
    return await child(0, id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE)


async def cancelled_child(kind):
    handle = asyncio.create_task(
        child(60, cancellation_type=kind, parent_close_policy=ParentClosePolicy.TERMINATE)
    )
    await workflow.sleep(2)
    handle.cancel()
    return await handle


@case
async def child_try_cancel():
    return await cancelled_child(ChildWorkflowCancellationType.TRY_CANCEL)


@case
async def child_wait_for_cancellation():
    return await cancelled_child(ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED)


@case
async def child_wait_for_request():
    return await cancelled_child(ChildWorkflowCancellationType.WAIT_CANCELLATION_REQUESTED)


@case
async def child_abandon():
    return await cancelled_child(ChildWorkflowCancellationType.ABANDON)


@case
async def signals_nobody():
    await workflow.get_external_workflow_handle("nobody-at-all").signal("x")


@case
async def cancels_nobody():
    await workflow.get_external_workflow_handle("nobody-at-all").cancel()


@case
async def signals_its_child():
    handle = await workflow.start_child_workflow(
        samples.Approval.run, 30, id=f"{workflow.info().workflow_id}-child"
    )
    await handle.signal(samples.Approval.approve, "parent")
    return await handle


@case
async def patches():
    answers = [workflow.patched("one"), workflow.patched("one"), workflow.patched("two")]
    await workflow.sleep(0.1)
    return answers


@case
async def changes_its_memo():
    workflow.upsert_memo({"note": "x"})
    await workflow.sleep(0.1)
    return workflow.memo_value("note")


@case
async def fails_itself():
    raise ApplicationError("on purpose", type="Purpose")


def chain(error):
    """Tell an error and its causes."""
    told = []
    while error is not None:
        known = [type(error).__name__, str(error)]
        for name in ("type", "retry_state", "non_retryable", "details", "last_heartbeat_details"):
            value = getattr(error, name, None)
            known += [] if value is None else [f"{name}={getattr(value, 'name', value)}"]
        told.append(" ".join(known))
        error = error.__cause__
    return told


@workflow.defn
class Case:
    """Does what one case says, and tells the errors it met."""

    @workflow.run
    async def run(self, name: str) -> list:
        if name == "fails_itself":
            return await fails_itself()
        began = workflow.now()
        try:
            told = [await IN_WORKFLOW[name]()]
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                raise
            told = chain(error)
        return [(workflow.now() - began).total_seconds(), *told]


@workflow.defn
class Again:
    """Fails until its third attempt."""

    @workflow.run
    async def run(self) -> str:
        if workflow.info().attempt < 3:
            raise ApplicationError(f"attempt {workflow.info().attempt}")
        return f"attempt {workflow.info().attempt}"


@workflow.defn
class Counted:
    """Continues as new twice, with a signal that may come in between."""

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.sleep(0.2)
        if number < 2:
            workflow.continue_as_new(number + 1)
        return number


WORKFLOWS = [Case, Again, Counted, samples.Square, samples.Approval, samples.Cancellable]

BY_CLIENT = {}


def by_client(function):
    BY_CLIENT[function.__name__] = function
    return function


def start(client, function, *args, **options):
    return client.start_workflow(function, args=args, task_queue=QUEUE, **options)


async def at_rest(handle):
    """Wait until the first workflow task is done and the workflow waits for something."""
    while (await handle.describe()).history_length < 5:
        await asyncio.sleep(0.1)


@by_client
async def signal_wakes(client, id):
    handle = await start(client, samples.Approval.run, 30, id=id)
    await at_rest(handle)
    await handle.signal(samples.Approval.approve, "ann")
    return await handle.result()


@by_client
async def signal_with_start(client, id):
    handle = await start(
        client, samples.Approval.run, 30, id=id, start_signal="approve", start_signal_args=["sue"]
    )
    return await handle.result()


@by_client
async def update_is_refused_then_accepted(client, id):
    handle = await start(client, samples.Approval.run, 30, id=id)
    await at_rest(handle)
    try:
        await handle.execute_update(samples.Approval.approve_later, "")
        refused = "no"
    except Exception as error:
        refused = chain(error)
    update = await handle.start_update(
        samples.Approval.approve_later, "bob", wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )
    return refused, await update.result(), await handle.result()


@by_client
async def workflow_is_cancelled(client, id):
    handle = await start(client, samples.Square.run, 60, id=id)
    await at_rest(handle)
    await handle.cancel()
    return await handle.result()


@by_client
async def workflow_is_terminated(client, id):
    handle = await start(client, samples.Square.run, 60, id=id)
    await at_rest(handle)
    await handle.terminate("enough")
    return await handle.result()


@by_client
async def workflow_times_out(client, id):
    handle = await start(client, samples.Square.run, 60, id=id, run_timeout=s(8))
    return await handle.result()


@by_client
async def workflow_is_tried_again(client, id):
    policy = RetryPolicy(initial_interval=s(0.2), maximum_attempts=3)
    handle = await start(client, Again.run, id=id, retry_policy=policy)
    return await handle.result()


@by_client
async def workflow_runs_out_of_attempts(client, id):
    policy = RetryPolicy(initial_interval=s(0.2), maximum_attempts=2)
    handle = await start(client, Again.run, id=id, retry_policy=policy)
    return await handle.result()


@by_client
async def continues_as_new(client, id):
    handle = await start(client, Counted.run, 0, id=id)
    return await handle.result()


@by_client
async def start_is_delayed(client, id):
    handle = await start(client, samples.Square.run, 0, id=id, start_delay=s(0.5))
    return await handle.result()


@by_client
async def query_fails(client, id):
    handle = await start(client, samples.Approval.run, 1, id=id)
    try:
        await handle.query("nothing")
        told = "no"
    except Exception as error:
        told = type(error).__name__
    return told, await handle.result()


@by_client
async def signal_comes_too_late(client, id):
    handle = await start(client, samples.Square.run, 0, id=id)
    await handle.result()
    await handle.signal("x")


@by_client
async def update_comes_too_late(client, id):
    handle = await start(client, samples.Square.run, 0, id=id)
    await handle.result()
    await handle.execute_update("x")


async def play_all(client):
    """Run all cases at once; give for each its outcome and the types of its events."""

    async def told(name, outcome, id):
        try:
            value = await asyncio.wait_for(outcome, 40)
        except Exception as error:
            value = chain(error)
        try:
            history = await client.get_workflow_handle(id).fetch_history()
        except Exception:
            history = None
        return name, value, [one.event_type for one in history.events] if history else []

    async def in_workflow(name):
        handle = await start(client, Case.run, name, id=f"case-{name}")
        return await handle.result()

    return await asyncio.gather(
        *[told(name, in_workflow(name), f"case-{name}") for name in IN_WORKFLOW if name != "fails_itself"],
        *[
            told(name, function(client, f"client-{name}"), f"client-{name}")
            for name, function in BY_CLIENT.items()
        ],
    )
