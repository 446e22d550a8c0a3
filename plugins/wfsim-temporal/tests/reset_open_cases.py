"""Cases of resets while something is open, of children, and to tasks that were never completed."""

import asyncio
from datetime import timedelta

import nexusrpc
import nexusrpc.handler
from google.protobuf.json_format import MessageToDict
from reset_cases import Bench as AnyBench
from reset_cases import told
from temporalio import activity, nexus, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import CreateNexusEndpointRequest
from temporalio.client import WorkflowUpdateStage

QUEUE = "open-resets"
BLOCKS_S = 1.2
STUMBLES: list[str] = []
"""The ids of workflows whose next task fails."""


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def beats(takes_s: float) -> None:
    """Beat until it is cancelled; then it takes some time to end. With less than none it ends by itself."""
    if takes_s < 0:
        await asyncio.sleep(-takes_s)
        return
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        await asyncio.sleep(takes_s)
        raise


@activity.defn
async def pauses(takes_s: float) -> None:
    """Hold a workflow task open."""
    await asyncio.sleep(takes_s)


@workflow.defn
class Follower:
    """Takes notes until it is told to end."""

    def __init__(self) -> None:
        self.wishes: list[str] = []

    @workflow.signal
    def wish(self, what: str) -> None:
        self.wishes.append(what)

    @workflow.run
    async def run(self, name: str) -> list:
        seen = [name]
        while seen[-1] not in {"done", "renew"}:
            await workflow.wait_condition(lambda: bool(self.wishes))
            seen.append(self.wishes.pop(0))
        if seen[-1] == "renew":
            workflow.continue_as_new("renewed")
        return seen


@nexusrpc.service
class Service:
    follow: nexusrpc.Operation[str, list]
    follow_slowly: nexusrpc.Operation[str, list]


@nexusrpc.handler.service_handler(service=Service)
class Handler:
    @nexus.workflow_run_operation
    async def follow(self, context: nexus.WorkflowRunOperationContext, id: str) -> nexus.WorkflowHandle[list]:
        return await context.start_workflow(Follower.run, "backing", id=id)

    @nexus.workflow_run_operation
    async def follow_slowly(
        self, context: nexus.WorkflowRunOperationContext, id: str
    ) -> nexus.WorkflowHandle[list]:
        await asyncio.sleep(4)
        return await context.start_workflow(Follower.run, "slow", id=id)


@workflow.defn
class Leader:
    """Does what signals say; what it has begun then is under way until one says that it is done."""

    def __init__(self) -> None:
        self.wishes: list[str] = []
        self.told: list = []
        self.under_way: list = []
        self.answers = 0

    @workflow.signal
    def wish(self, what: str) -> None:
        self.wishes.append(what)

    @workflow.signal
    def answer(self) -> None:
        self.answers += 1

    @workflow.update
    async def ask(self, what: str) -> str:
        self.told.append(f"asked {what}")
        await workflow.wait_condition(lambda: self.answers > 0)
        return f"{what} it is"

    @workflow.run
    async def run(self) -> list:
        while True:
            await workflow.wait_condition(lambda: bool(self.wishes))
            wish = self.wishes.pop(0)
            self.told.append(wish)
            if wish == "done":
                return [*self.told, *[await one for one in self.under_way]]
            what, _, named = wish.removesuffix("!").partition(":")
            self.do(what, named)
            await asyncio.sleep(0)
            if wish.endswith("!"):
                await workflow.execute_local_activity(pauses, BLOCKS_S, start_to_close_timeout=s(9))

    def do(self, what: str, named: str) -> None:
        me = workflow.info().workflow_id
        match what:
            case "child":
                how = workflow.ParentClosePolicy[named.upper() or "TERMINATE"]
                self.begin(self.follow(f"{me}-child", how))
            case "signal child":
                self.begin(self.child.signal("wish", "hello"))
            case "nexus":
                client = workflow.create_nexus_client(service=Service, endpoint=QUEUE)
                how = Service.follow_slowly if named else Service.follow
                self.begin(client.execute_operation(how, f"{me}-backing"))
            case "activity" | "forgotten activity":
                kinds = workflow.ActivityCancellationType
                kind = kinds.WAIT_CANCELLATION_COMPLETED if what == "activity" else kinds.ABANDON
                self.activity = workflow.start_activity(
                    beats,
                    float(named),
                    start_to_close_timeout=s(60),
                    heartbeat_timeout=s(5),
                    cancellation_type=kind,
                )
                self.begin(self.activity)
            case "cancel activity":
                self.activity.cancel()
            case "cancel last":
                self.under_way[-1].cancel()
            case "signal":
                self.begin(workflow.get_external_workflow_handle(f"{me}-target").signal("wish", "hello"))
            case "stop":
                self.begin(workflow.get_external_workflow_handle(f"{me}-target").cancel())
            case "stumble" if me in STUMBLES:
                raise RuntimeError("it stumbles")

    async def follow(self, id: str, how) -> list:
        self.child = await workflow.start_child_workflow(
            Follower.run, "child", id=id, parent_close_policy=how
        )
        return await self.child

    def begin(self, awaitable) -> None:
        self.under_way.append(asyncio.create_task(outcome(awaitable)))


async def outcome(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return [type(error).__name__, str(error), type(error.__cause__).__name__, str(error.__cause__)]
    except asyncio.CancelledError:
        return "cancelled"


class Bench(AnyBench):
    def __init__(self, client, name):
        super().__init__(client)
        self.name = name

    async def start(self, id="", kind="Leader", args=(), **options):
        id = f"{self.name}{id}"
        handle = await self.client.start_workflow(kind, args=args, id=id, task_queue=QUEUE, **options)
        self.note(id, handle.result_run_id)
        await self.rest(id)
        return handle

    async def rest(self, id, *, has_activities=True):
        await super().rest(id, has_activities=True)

    async def found(self, suffix):
        """Note the latest run of another workflow of the case, and give its id."""
        id = f"{self.name}{suffix}"
        described = await self.client.get_workflow_handle(id).describe()
        self.note(id, described.run_id)
        await self.rest(id)
        return id

    async def back_while_open(self, wish, **options):
        """Reset to the task that is scheduled, and started, when the one that grants a wish ends.

        Of what the wish has begun nothing has come back by then. How the first run goes on is left out: it is a matter
        of milliseconds what comes back before that task starts.
        """
        handle = self.client.get_workflow_handle(self.name)
        await handle.signal("wish", f"{wish}!")
        await asyncio.sleep(0.4)
        await handle.signal("wish", "other")
        await asyncio.sleep(BLOCKS_S)
        await self.rest(self.name)
        events = [one.event_type for one in (await handle.fetch_history()).events]
        scheduled = [
            place
            for place, kind in enumerate(events, 1)
            if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
        ]
        self.runs = [one for one in self.runs if one[0] != self.name]
        await self.reset(self.name, scheduled[2] + 2, **options)

    async def backing(self):
        """Wait until there is the workflow that backs an operation, and give its id."""
        id, said = f"{self.name}-backing", [""]
        while isinstance(said, list):
            await asyncio.sleep(0.3)
            said = await told(self.client.get_workflow_handle(id).describe())
        await self.rest(id)
        return id

    async def back(self, place=-1, **options):
        await self.reset(self.name, (await self.tasks(self.name))[place], **options)

    async def but_for_tasks(self):
        """Give the kinds of the latest run's events in their order; when its tasks are is a matter of milliseconds."""
        self.runs.pop()
        history = await self.client.get_workflow_handle(self.name).fetch_history()
        kinds = [EventType.Name(one.event_type).removeprefix("EVENT_TYPE_") for one in history.events]
        return [kind for kind in kinds if not kind.startswith("WORKFLOW_TASK_")]

    async def last(self, id=""):
        """Give the id of the last event."""
        return (await self.client.get_workflow_handle(f"{self.name}{id}").describe()).history_length


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


# -- children


@case
async def an_open_child_is_reset(bench):
    await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.wish(child, "one")
    await bench.reset(child, 4)
    await bench.wish(child, "done")
    return await bench.end(bench.name)


@case
async def a_child_that_has_ended_is_reset(bench):
    await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.wish(child, "one", "done")
    await bench.reset(child, 4, reset_reapply_type=2)
    await bench.wish(child, "two", "done")
    return await bench.client.get_workflow_handle(child).result(), await bench.end(bench.name)


@case
async def a_child_that_was_reset_is_terminated(bench):
    await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.reset(child, 4)
    await bench.client.get_workflow_handle(child).terminate("enough")
    await asyncio.sleep(1)
    return await bench.end(bench.name)


@case
async def a_child_that_was_reset_goes_with_its_parent(bench):
    handle = await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.reset(child, 4)
    await handle.terminate("enough")
    await asyncio.sleep(1)
    return (await bench.client.get_workflow_handle(child).describe()).status


@case
async def a_child_that_was_reset_stays(bench):
    handle = await bench.start()
    await bench.wish(bench.name, "child:abandon")
    child = await bench.found("-child")
    await bench.reset(child, 4)
    await handle.terminate("enough")
    await asyncio.sleep(1)
    await bench.wish(child, "done")
    return await bench.client.get_workflow_handle(child).result()


@case
async def a_child_is_reset_when_its_parent_is_gone(bench):
    await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.wish(child, "done")
    ended = await bench.end(bench.name)
    await bench.reset(child, 4, reset_reapply_type=2)
    await bench.wish(child, "again", "done")
    return ended, await bench.client.get_workflow_handle(child).result()


@case
async def a_child_is_open(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    await bench.back()
    await bench.wish(child, "done")
    return await bench.end(bench.name)


@case
async def a_child_has_not_begun(bench):
    await bench.start()
    await bench.back_while_open("child")
    child = await bench.found("-child")
    await bench.wish(child, "done")
    return await bench.end(bench.name)


@case
async def a_child_has_ended_since(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    task = (await bench.tasks(bench.name))[-1]
    await bench.wish(child, "done")
    await bench.reset(bench.name, task)
    return await bench.end(bench.name)


@case
async def a_child_has_ended_since_and_nothing_comes_again(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    task = (await bench.tasks(bench.name))[-1]
    await bench.wish(child, "done")
    await bench.reset(bench.name, task, reset_reapply_type=2)
    await bench.wish(bench.name, "more")
    return await bench.end(bench.name)


@case
async def a_child_begins_after_the_task(bench):
    await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.reset(bench.name, 4)
    await bench.wish(child, "done")
    return await bench.end(bench.name)


@case
async def a_child_has_come_and_gone_after_the_task(bench):
    await bench.start()
    await bench.wish(bench.name, "child")
    child = await bench.found("-child")
    await bench.wish(child, "done")
    await bench.reset(bench.name, 4)
    again = await bench.found("-child")
    await bench.wish(again, "done")
    return await bench.end(bench.name)


@case
async def a_child_that_is_open_is_cancelled_later(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    await bench.back()
    handle = bench.client.get_workflow_handle(bench.name)
    await handle.signal("wish", "cancel last")
    await asyncio.sleep(2)
    described = await bench.client.get_workflow_handle(child).describe()
    await handle.terminate("enough")
    return described.status


@case
async def a_child_that_is_open_is_signalled_later(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    await bench.back()
    await bench.wish(bench.name, "signal child")
    await bench.wish(child, "done")
    return await bench.end(bench.name)


@case
async def an_open_child_outlives_the_run_that_was_reset(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    await bench.back()
    await bench.client.get_workflow_handle(bench.name).terminate("enough")
    await asyncio.sleep(1)
    return (await bench.client.get_workflow_handle(child).describe()).status


@case
async def parent_and_child_are_reset(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    await bench.back()
    await bench.wish(child, "one")
    await bench.reset(child, 4)
    await bench.wish(child, "done")
    return await bench.end(bench.name)


@case
async def an_open_child_that_continues_as_new(bench):
    await bench.start()
    await bench.wish(bench.name, "child", "other")
    child = await bench.found("-child")
    await bench.back()
    await bench.wish(child, "renew")
    await asyncio.sleep(1)
    await bench.wish(child, "done")
    return await bench.end(bench.name)


# -- Nexus operations


@case
async def a_nexus_operation_is_open(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus")
    await bench.backing()
    await bench.rest(bench.name)
    await bench.wish(bench.name, "other")
    await bench.back()
    await bench.wish(await bench.backing(), "done")
    return await bench.end(bench.name)


@case
async def a_nexus_operation_is_scheduled(bench):
    await bench.start()
    await bench.back_while_open("nexus")
    await bench.wish(await bench.backing(), "done")
    return await bench.end(bench.name)


@case
async def a_nexus_operation_begins_slowly(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus:slowly", "other")
    await bench.back()
    await asyncio.sleep(8)
    await bench.wish(await bench.backing(), "done")
    return await bench.end(bench.name)


@case
async def a_nexus_operation_has_begun_since(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus:slowly", "other")
    task = (await bench.tasks(bench.name))[-1]
    await asyncio.sleep(8)
    await bench.reset(bench.name, task)
    await bench.wish(await bench.backing(), "done")
    return await bench.end(bench.name)


@case
async def a_nexus_operation_has_ended_since(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus")
    await bench.backing()
    await bench.rest(bench.name)
    await bench.wish(bench.name, "other")
    task = (await bench.tasks(bench.name))[-1]
    await bench.wish(await bench.backing(), "done")
    await bench.reset(bench.name, task)
    return await bench.end(bench.name)


@case
async def a_nexus_operation_that_has_ended_since_is_left_out(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus")
    await bench.backing()
    await bench.rest(bench.name)
    await bench.wish(bench.name, "other")
    task = (await bench.tasks(bench.name))[-1]
    await bench.wish(await bench.backing(), "done")
    await bench.reset(bench.name, task, reset_reapply_exclude_types=[3])
    await bench.wish(bench.name, "more")
    await bench.client.get_workflow_handle(bench.name).terminate()


@case
async def a_nexus_operation_has_ended_since_and_nothing_comes_again(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus")
    await bench.backing()
    await bench.rest(bench.name)
    await bench.wish(bench.name, "other")
    task = (await bench.tasks(bench.name))[-1]
    await bench.wish(await bench.backing(), "done")
    await bench.reset(bench.name, task, reset_reapply_type=2)
    await bench.wish(bench.name, "more")
    await bench.client.get_workflow_handle(bench.name).terminate()


@case
async def a_nexus_operation_is_cancelled_since(bench):
    await bench.start()
    await bench.wish(bench.name, "nexus")
    await bench.backing()
    await bench.rest(bench.name)
    await bench.wish(bench.name, "other")
    task = (await bench.tasks(bench.name))[-1]
    await bench.wish(bench.name, "cancel last")
    await asyncio.sleep(1)
    bench.runs.clear()  # what comes back first is a matter of milliseconds
    await bench.reset(bench.name, task)
    return await bench.end(bench.name)


# -- updates


@case
async def an_update_is_open(bench):
    handle = await bench.start()
    accepted = WorkflowUpdateStage.ACCEPTED
    update = await handle.start_update("ask", "tea", id="update", wait_for_stage=accepted)
    await bench.wish(bench.name, "other")
    await bench.back()
    again = bench.client.get_workflow_handle(bench.name)
    await again.signal("answer")
    said = [await outcome(update.result()), await outcome(again.get_update_handle("update").result())]
    return said, await bench.end(bench.name)


@case
async def an_update_is_completed_since(bench):
    handle = await bench.start()
    accepted = WorkflowUpdateStage.ACCEPTED
    update = await handle.start_update("ask", "tea", id="update", wait_for_stage=accepted)
    await bench.wish(bench.name, "other")
    task = (await bench.tasks(bench.name))[-1]
    await handle.signal("answer")
    said = await update.result()
    await bench.rest(bench.name)
    await bench.reset(bench.name, task)
    again = bench.client.get_workflow_handle(bench.name)
    return said, await outcome(again.get_update_handle("update").result()), await bench.end(bench.name)


@case
async def the_same_update_is_sent_to_the_run_that_was_reset(bench):
    handle = await bench.start()
    accepted = WorkflowUpdateStage.ACCEPTED
    await handle.start_update("ask", "tea", id="update", wait_for_stage=accepted)
    await bench.wish(bench.name, "other")
    await bench.back()
    again = bench.client.get_workflow_handle(bench.name)
    same = await again.start_update("ask", "coffee", id="update", wait_for_stage=accepted)
    await again.signal("answer")
    return await outcome(same.result()), await bench.end(bench.name)


@case
async def an_update_comes_again_twice(bench):
    handle = await bench.start()
    accepted = WorkflowUpdateStage.ACCEPTED
    await handle.start_update("ask", "tea", id="update", wait_for_stage=accepted)
    await bench.rest(bench.name)
    await bench.reset(bench.name, 4)
    await bench.back()
    again = bench.client.get_workflow_handle(bench.name)
    await again.signal("answer")
    said = await outcome(again.get_update_handle("update").result())
    await bench.rest(bench.name)
    return said, await bench.end(bench.name)


# -- other workflows


@case
async def a_signal_is_open(bench):
    await bench.start()
    target = await bench.start("-target", "Follower", ["target"])
    await bench.back_while_open("signal")
    await asyncio.sleep(1)
    await bench.wish(target.id, "done")
    return await target.result(), await bench.end(bench.name), await bench.but_for_tasks()


@case
async def a_cancellation_is_open(bench):
    await bench.start()
    target = await bench.start("-target", "Follower", ["target"])
    await bench.back_while_open("stop")
    await asyncio.sleep(1)
    return await outcome(target.result()), await bench.end(bench.name), await bench.but_for_tasks()


# -- activities whose cancellation was requested


@case
async def an_activity_is_cancelled_since(bench):
    await bench.start()
    await bench.wish(bench.name, "activity:2", "cancel activity")
    await bench.back()
    await asyncio.sleep(3)
    return await bench.end(bench.name)


@case
async def a_cancelled_activity_is_open(bench):
    await bench.start()
    await bench.wish(bench.name, "activity:2", "cancel activity", "other")
    await bench.back()
    described = (await bench.client.get_workflow_handle(bench.name).describe()).raw_description
    pending = [(one.activity_type.name, one.state) for one in described.pending_activities]
    await asyncio.sleep(3)
    return pending, await bench.end(bench.name)


@case
async def an_activity_that_was_forgotten_is_open(bench):
    await bench.start()
    await bench.wish(bench.name, "forgotten activity:-4", "cancel activity", "other")
    bench.runs.clear()  # it may yet end in the first run
    await bench.back()
    await asyncio.sleep(5)
    return await bench.end(bench.name)


# -- tasks that were never completed


@case
async def the_first_task_is_scheduled(bench):
    id = bench.name
    handle = await bench.client.start_workflow("Leader", id=id, task_queue=f"{QUEUE}-nobody")
    bench.note(id, handle.result_run_id)
    said = [await told(reset_at_once(bench, number)) for number in (2, 3)]
    await bench.client.get_workflow_handle(id).terminate()
    return said


async def reset_at_once(bench, number):
    """Reset without waiting for what follows: nobody does the task."""
    rest, bench.rest = bench.rest, nothing
    try:
        await bench.reset(bench.name, number)
    finally:
        bench.rest = rest


async def nothing(_id):
    """Take no time."""


@case
async def a_task_is_started(bench):
    await bench.start()
    handle = bench.client.get_workflow_handle(bench.name)
    await handle.signal("wish", "other!")
    await asyncio.sleep(0.4)
    said = [await told(reset_at_once(bench, await bench.last() + 1))]
    await bench.reset(bench.name, await bench.last())
    await asyncio.sleep(2 * BLOCKS_S)
    return said, await bench.end(bench.name)


@case
async def a_task_has_failed(bench):
    STUMBLES.append(bench.name)
    await bench.start()
    handle = bench.client.get_workflow_handle(bench.name)
    await handle.signal("wish", "stumble")
    await asyncio.sleep(0.7)
    STUMBLES.remove(bench.name)
    await bench.reset(bench.name, 8)
    return await bench.end(bench.name)


@case
async def a_task_has_failed_and_is_reset_from_its_start(bench):
    STUMBLES.append(bench.name)
    await bench.start()
    handle = bench.client.get_workflow_handle(bench.name)
    await handle.signal("wish", "stumble")
    await asyncio.sleep(0.7)
    STUMBLES.remove(bench.name)
    await bench.reset(bench.name, 7)
    return await bench.end(bench.name)


@case
async def a_run_after_a_failed_task_is_reset(bench):
    STUMBLES.append(bench.name)
    await bench.start()
    handle = bench.client.get_workflow_handle(bench.name)
    await handle.signal("wish", "stumble")
    await asyncio.sleep(0.7)
    STUMBLES.remove(bench.name)
    await asyncio.sleep(12)
    await bench.wish(bench.name, "other")
    await bench.back()
    return await bench.end(bench.name)


KEPT = {
    "workflow_id",
    "workflow_execution",
    "initiated_event_id",
    "started_event_id",
    "scheduled_event_id",
    "latest_cancel_requested_event_id",
    "accepted_event_id",
    "parent_workflow_execution",
    "parent_initiated_event_id",
    "root_workflow_execution",
    "original_execution_run_id",
    "first_execution_run_id",
    "cause",
    "reason",
    "base_run_id",
    "new_run_id",
    "signal_name",
    "timeout_type",
    "origin",
    "protocol_instance_id",
}


REASONS = {"reason", "cause"}
"""Of cancellations, what the SDK's core makes up; it names its run."""


def brief(event):
    """Give an event's type, and what it says of other events and other runs."""
    told = MessageToDict(event, preserving_proto_field_name=True)
    [attributes] = [one for name, one in told.items() if name.endswith("_attributes")] or [{}]
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    kept = KEPT - REASONS if "CANCEL" in kind and not kind.endswith("FAILED") else KEPT
    return [kind, {name: one for name, one in sorted(attributes.items()) if name in kept}]


async def play(client, name):
    bench = Bench(client, name)
    value = await asyncio.wait_for(CASES[name](bench), 60)
    names = {}
    for place, (_, run_id) in enumerate(bench.runs):
        names.setdefault(run_id, f"run {place}")
    histories = {}
    for id, run_id in bench.runs:
        history = await client.get_workflow_handle(id, run_id=run_id).fetch_history()
        histories[names[run_id]] = [brief(one) for one in history.events]
    return name, [value, named(histories, names)]


def named(told, names):
    """Give names instead of run ids; those of runs that no case has noted are all the same."""
    if isinstance(told, dict):
        return {name: named(one, names) for name, one in told.items()}
    if isinstance(told, list):
        return [named(one, names) for one in told]
    if isinstance(told, str):
        for run_id, name in names.items():
            told = told.replace(run_id, name)
        is_run_id = len(told) == 36 and told.count("-") == 4
        return "another run" if is_run_id else told
    return told


async def play_all(client):
    """Play all cases; a real server takes no more than some at once, or it comes late."""
    target = EndpointTarget.Worker(namespace="default", task_queue=QUEUE)
    spec = EndpointSpec(name=QUEUE, target=EndpointTarget(worker=target))
    await client.operator_service.create_nexus_endpoint(CreateNexusEndpointRequest(spec=spec))
    room = asyncio.Semaphore(4)

    async def in_turn(name):
        async with room:
            return await play(client, name)

    return dict(await asyncio.gather(*[in_turn(name) for name in CASES]))
