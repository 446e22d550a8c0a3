"""What workers take: eager starts, slots of every kind."""

import asyncio
from datetime import timedelta

import nexusrpc.handler
import pytest
import samples
from temporalio import activity, workflow
from temporalio.api.operatorservice.v1 import CreateNexusEndpointRequest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    ResourceBasedSlotConfig,
    SlotPermit,
    Worker,
    WorkerTuner,
)

import wfsim


def test_an_eager_start_reaches_the_worker_with_the_answer(simulate):
    """If a worker of the same client has room for it; the history says so."""

    async def main(client):
        async def start(id, **options):
            options = {"request_eager_start": True, **options}
            handle = await client.start_workflow(samples.Square.run, 0, id=id, **options)
            [begun, *_] = (await handle.fetch_history()).events
            accepted = begun.workflow_execution_started_event_attributes.eager_execution_accepted
            return getattr(handle, "__temporal_eagerly_started", False), accepted

        told = [
            await start("here", task_queue="wfsim"),
            await start("elsewhere", task_queue="nobody"),
            await start("late", task_queue="wfsim", start_delay=timedelta(seconds=5)),
            await start("plain", task_queue="wfsim", request_eager_start=False),
        ]
        assert await client.get_workflow_handle("here").result() == 0
        assert await client.get_workflow_handle("late").result() == 0
        return told

    run = simulate(main, workflows=[samples.Square])
    assert run.result() == [(True, True), (False, False), (False, False), (False, False)]
    assert run.events("here")[:3] == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
    ]


@activity.defn
async def rest(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow.defn
class Many:
    """Does several activities at once."""

    @workflow.run
    async def run(self, number: int, is_local: bool) -> None:
        execute = workflow.execute_local_activity if is_local else workflow.execute_activity
        each = [execute(rest, 10, start_to_close_timeout=timedelta(seconds=60)) for _ in range(number)]
        await asyncio.gather(*each)


def lasts(simulate, *args, **options):
    done = simulate(Many, *args, activities=[rest], worker_options=options)
    assert done.error is None
    return round(done.duration / 10)


@pytest.mark.parametrize(
    "tuner",
    [
        WorkerTuner.create_fixed(activity_slots=2, local_activity_slots=3),
        WorkerTuner.create_composite(
            workflow_supplier=FixedSizeSlotSupplier(5),
            activity_supplier=FixedSizeSlotSupplier(2),
            local_activity_supplier=FixedSizeSlotSupplier(3),
            nexus_supplier=FixedSizeSlotSupplier(1),
        ),
        WorkerTuner.create_resource_based(
            target_memory_usage=0.5,
            target_cpu_usage=0.5,
            activity_config=ResourceBasedSlotConfig(maximum_slots=2),
            local_activity_config=ResourceBasedSlotConfig(maximum_slots=3),
        ),
    ],
    ids=["fixed", "composite", "by resources"],
)
def test_a_tuner_says_how_much_is_done_at_once(simulate, tuner):
    """Six activities of ten seconds take three rounds in two slots, and two rounds in three."""
    assert lasts(simulate, 6, False, tuner=tuner) == 3
    assert lasts(simulate, 6, True, tuner=tuner) == 2


def test_the_workers_own_limits_are_kept(simulate):
    """Those of local activities too."""
    assert lasts(simulate, 6, False, max_concurrent_activities=3) == 2
    assert lasts(simulate, 6, True, max_concurrent_local_activities=2) == 3


def test_a_tuner_beside_limits_is_refused(simulate):
    """With the SDK's words."""
    tuner = WorkerTuner.create_fixed(activity_slots=2)
    done = simulate(
        Many, 1, False, activities=[rest], worker_options={"tuner": tuner, "max_concurrent_activities": 1}
    )
    assert "when also specifying tuner" in str(done.error)


def test_workflow_tasks_wait_for_a_slot(simulate):
    """One slot, and a task that takes its time: the others come after it, whether the worker has them cached or not."""

    async def main(client):
        each = [
            client.execute_workflow(samples.Square.run, 0, id=f"square-{number}", task_queue="wfsim")
            for number in range(3)
        ]
        await asyncio.gather(*each)

    slow = [wfsim.delay("Square", "4s", on="workflow_task")]
    options = {"workflows": [samples.Square], "faults": slow}
    one = simulate(
        main, worker_options={"max_concurrent_workflow_tasks": 1, "max_cached_workflows": 0}, **options
    )
    many = simulate(main, **options)
    assert one.duration == pytest.approx(3 * many.duration, rel=0.1)


class Permit(SlotPermit):
    pass


class Counting(CustomSlotSupplier):
    """Two permits, each after a second's thought."""

    def __init__(self):
        self.free = asyncio.Semaphore(2)
        self.log: list[str] = []

    async def reserve_slot(self, ctx):
        await self.free.acquire()
        await asyncio.sleep(1)
        self.log.append(f"reserve {ctx.slot_type} {ctx.task_queue}")
        return Permit()

    def try_reserve_slot(self, ctx):
        return None

    def mark_slot_used(self, ctx):
        assert isinstance(ctx.permit, Permit)
        self.log.append(f"use {ctx.slot_info.activity_type}")

    def release_slot(self, ctx):
        self.free.release()
        self.log.append("release" if ctx.slot_info else "release unused")


def test_a_custom_supplier_permits_each_slot(simulate):
    """It is asked before a task is taken, told what it is used for, and gets each permit back once."""
    supplier = Counting()
    fixed = FixedSizeSlotSupplier(10)
    tuner = WorkerTuner.create_composite(
        workflow_supplier=fixed,
        activity_supplier=supplier,
        local_activity_supplier=fixed,
        nexus_supplier=fixed,
    )
    done = simulate(Many, 3, False, activities=[rest], worker_options={"tuner": tuner})
    assert done.error is None
    assert supplier.log[:2] == ["reserve activity wfsim", "use rest"]
    assert supplier.log.count("use rest") == 3
    assert supplier.log.count("release") == 3
    taken, given = (sum(one.startswith(word) for one in supplier.log) for word in ("reserve", "release"))
    assert taken == given
    assert 22 <= done.duration <= 24


@nexusrpc.handler.service_handler
class Lounge:
    @nexusrpc.handler.sync_operation
    async def rest(self, _context: nexusrpc.handler.StartOperationContext, seconds: float) -> None:
        await asyncio.sleep(seconds)


@workflow.defn
class Guests:
    """Asks for several operations at once, and gives how long they took."""

    @workflow.run
    async def run(self, number: int) -> float:
        client = workflow.create_nexus_client(endpoint="lounge", service=Lounge)
        began = workflow.time()
        await asyncio.gather(*(client.execute_operation(Lounge.rest, 2.0) for _ in range(number)))
        return round(workflow.time() - began)


def lounge(simulate, supplier):
    """How long three guests of a lounge took, if ``supplier`` permits its slots."""
    fixed = FixedSizeSlotSupplier(10)
    tuner = WorkerTuner.create_composite(
        workflow_supplier=fixed,
        activity_supplier=fixed,
        local_activity_supplier=fixed,
        nexus_supplier=supplier,
    )

    async def main():
        client = await Client.connect("localhost:7233")
        target = {"worker": {"namespace": "default", "task_queue": "q"}}
        request = CreateNexusEndpointRequest(spec={"name": "lounge", "target": target})
        await client.operator_service.create_nexus_endpoint(request)
        options = {"workflows": [Guests], "nexus_service_handlers": [Lounge()], "tuner": tuner}
        async with Worker(client, task_queue="q", **options):
            return await client.execute_workflow(Guests.run, 3, id="guests", task_queue="q")

    return simulate(main).result()


def test_nexus_requests_wait_for_a_slot_of_the_tuner(simulate):
    """As many are done at once as it says."""
    assert lounge(simulate, FixedSizeSlotSupplier(3)) == 2
    assert lounge(simulate, FixedSizeSlotSupplier(1)) == 6


def test_a_custom_supplier_permits_nexus_requests(simulate):
    """It is told of the service and the operation."""

    class Doorkeeper(Counting):
        def mark_slot_used(self, ctx):
            self.log.append(f"use {ctx.slot_info.service} {ctx.slot_info.operation}")

    supplier = Doorkeeper()
    assert lounge(simulate, supplier) == 6
    assert supplier.log[:2] == ["reserve nexus q", "use Lounge rest"]
    assert supplier.log.count("use Lounge rest") == supplier.log.count("release") == 3


def test_a_crash_takes_the_slots_and_a_restart_gives_new_ones(simulate):
    """The activity is done again by the worker that comes back."""
    done = simulate(
        Many,
        1,
        False,
        activities=[rest],
        worker_options={"max_concurrent_activities": 1},
        faults=[wfsim.crash("rest", attempts=1, restart_after="5s")],
    )
    assert done.error is None
    assert len(done.history.where(kind="activity", type="invoke")) == 2


def test_a_worker_that_restarts_is_not_starved_by_what_died(simulate):
    """All permits of its custom supplier were in use, and one more was waited for: they are given back, each once."""
    supplier = Counting()
    fixed = FixedSizeSlotSupplier(10)
    tuner = WorkerTuner.create_composite(
        workflow_supplier=fixed,
        activity_supplier=supplier,
        local_activity_supplier=fixed,
        nexus_supplier=fixed,
    )
    crash = wfsim.crash("rest", point="reply", count=1, restart_after="5s")
    done = simulate(
        Many, 4, False, activities=[rest], worker_options={"tuner": tuner}, faults=[crash], max_time="1h"
    )
    assert done.error is None
    taken, given = (sum(one.startswith(word) for one in supplier.log) for word in ("reserve", "release"))
    assert taken == given
    assert not supplier.free.locked()


@workflow.defn
class Line:
    """Does three local activities; the last waits for a slot, or no longer."""

    @workflow.run
    async def run(self, case: str) -> str:
        whole = timedelta(seconds=60)
        begun = [workflow.start_local_activity(rest, one, start_to_close_timeout=whole) for one in (1, 4)]
        options = {"start_to_close_timeout": whole}
        if case == "timed out":
            options["schedule_to_start_timeout"] = timedelta(seconds=4)
        if case == "cancelled":
            options["cancellation_type"] = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        last = workflow.start_local_activity(rest, 2, **options)
        await begun[0]
        if case == "cancelled":
            last.cancel()
        try:
            await last
        except ActivityError as error:
            return type(error.cause).__name__
        finally:
            await begun[1]
        return "done"


@pytest.mark.parametrize(
    ("case", "ended", "times"),
    [("neither", "done", 3), ("timed out", "TimeoutError", 2), ("cancelled", "CancelledError", 2)],
)
def test_a_local_activity_may_end_while_it_waits_for_a_slot(simulate, case, ended, times):
    """By its schedule-to-start timeout or cancelled: then its code never runs."""
    options = {"max_concurrent_local_activities": 1}
    done = simulate(Line, case, activities=[rest], worker_options=options)
    assert done.result() == ended
    assert len(done.history.where(kind="local_activity", type="invoke")) == times


@workflow.defn
class TooLong:
    """Gives how a local activity ended that takes too long."""

    @workflow.run
    async def run(self, limit: str) -> list:
        policy = RetryPolicy(maximum_attempts=1)
        limits = {limit: timedelta(seconds=1)}
        try:
            await workflow.execute_local_activity(rest, 3, retry_policy=policy, **limits)
        except ActivityError as error:
            return [error.message, error.activity_type, error.cause.message, error.cause.type]
        return []


@pytest.mark.parametrize(("limit", "kind"), [("start_to_close_timeout", 1), ("schedule_to_close_timeout", 3)])
def test_a_local_activity_times_out_in_cores_words(simulate, limit, kind):
    """What a worker of the SDK gave on a real server."""
    done = simulate(TooLong, limit, activities=[rest])
    assert done.result() == ["Local Activity timed out", "rest", "Activity timed out", kind]


@workflow.defn
class Local:
    """Does a local activity that ends before the workflow task has to be kept alive."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(rest, 5, start_to_close_timeout=timedelta(seconds=60))


def test_a_local_activity_keeps_its_workflows_slot(simulate):
    """The task that waits for it is open: another workflow comes after it."""

    async def main(client):
        begun = asyncio.get_running_loop().time()

        async def ends(number):
            id = f"local-{number}"
            await client.execute_workflow(Local.run, id=id, task_queue="wfsim")
            return round(asyncio.get_running_loop().time() - begun)

        return await asyncio.gather(*[ends(number) for number in range(3)])

    options = {"workflows": [Local], "activities": [rest]}
    one_slot = {"max_concurrent_workflow_tasks": 1, "max_cached_workflows": 0}
    assert simulate(main, **options).result() == [5, 5, 5]
    assert sorted(simulate(main, worker_options=one_slot, **options).result()) == [5, 10, 15]


class EagerPermit(SlotPermit):
    pass


class Eager(Counting):
    """Has one slot for what was not polled for."""

    def try_reserve_slot(self, ctx):
        self.log.append(f"try {ctx.slot_type}")
        return EagerPermit() if self.log.count("try workflow") == 1 else None

    def mark_slot_used(self, ctx):
        permit = type(ctx.permit).__name__
        self.log.append(f"use {ctx.slot_info.workflow_type} {ctx.slot_info.is_sticky} {permit}")

    def release_slot(self, ctx):
        if not isinstance(ctx.permit, EagerPermit):
            self.free.release()
        self.log.append(f"release {type(ctx.permit).__name__}")


def test_a_custom_supplier_is_asked_for_an_eager_start(simulate):
    """What it does not permit at once comes by way of the queue."""
    supplier = Eager()
    fixed = FixedSizeSlotSupplier(10)
    tuner = WorkerTuner.create_composite(
        workflow_supplier=supplier,
        activity_supplier=fixed,
        local_activity_supplier=fixed,
        nexus_supplier=fixed,
    )

    async def main(client):
        told = []
        for number in range(2):
            options = {"id": f"square-{number}", "task_queue": "wfsim", "request_eager_start": True}
            handle = await client.start_workflow(samples.Square.run, 0, **options)
            told.append(getattr(handle, "__temporal_eagerly_started", False))
            await handle.result()
        return told

    done = simulate(main, workflows=[samples.Square], worker_options={"tuner": tuner})
    assert done.result() == [True, False]
    assert supplier.log[:2] == ["try workflow", "use Square False EagerPermit"]
    assert supplier.log.count("use Square False Permit") == 1
    assert supplier.log.count("release EagerPermit") == 1
    taken = [one for one in supplier.log if one.startswith("reserve")]
    assert supplier.log.count("release Permit") == len(taken)


@activity.defn
async def takes_long(name: str) -> str:
    await asyncio.sleep(25)
    wfsim.effect("worked", name)
    return name


@activity.defn
async def bomb(seconds: float) -> None:
    await asyncio.sleep(seconds)


@workflow.defn
class Locally:
    @workflow.run
    async def run(self, seconds: float) -> str:
        ticking = workflow.start_activity(bomb, seconds, start_to_close_timeout=timedelta(minutes=1))
        told = await workflow.execute_local_activity(
            takes_long, "x", start_to_close_timeout=timedelta(minutes=1)
        )
        await ticking
        return told


@pytest.mark.parametrize(("struck", "seconds"), [("takes_long", 0), ("bomb", 1), ("bomb", 12)])
def test_a_local_activity_begins_again_on_another_worker(simulate, struck, seconds):
    """Whether its worker crashes within the first workflow task, or when heartbeats have ended some."""
    point = {"point": "reply"} if struck == "bomb" else {}
    faults = [wfsim.crash(struck, count=1, restart_after="1s", **point)]
    run = simulate(Locally, seconds, activities=[takes_long, bomb], faults=faults)
    assert run.result() == "x"
    assert len(run.history.where(kind="effect")) == 1
    assert run.check_replay() == 1


def test_a_worker_that_crashes_keeps_no_task_alive(simulate):
    """The workflow task that a local activity keeps open times out, as any other."""
    faults = [wfsim.crash("takes_long", count=1, restart_after="1s")]
    kinds = simulate(Locally, 0, activities=[takes_long, bomb], faults=faults).events("Locally")
    assert kinds.index("WORKFLOW_TASK_TIMED_OUT") < kinds.index("WORKFLOW_TASK_COMPLETED")
