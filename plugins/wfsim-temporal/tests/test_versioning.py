"""Worker deployments and versions: equal to the real server's in its cases, and under faults."""

import asyncio
import json
import re
from datetime import timedelta

import pytest
import versioning_cases
import wfsim_temporal
from real_server import RECORDED, on_real_server
from temporalio import activity, workflow
from temporalio.api.enums.v1 import VersionDrainageStatus
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import BuildIdOpAddNewDefault, Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker, WorkerDeploymentConfig
from wfsim_temporal import NonDeterministicWorkflow, NotSimulated, WorkflowTaskStuck, crash_worker
from wfsim_temporal.versions._fingerprint import fingerprint32

import wfsim

NAMES = list(versioning_cases.CASES)


async def play_all_here():
    return await versioning_cases.play_all(await Client.connect("localhost:7233"))


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(play_all_here)
    played = run.result()
    assert run.check_replay() > len(NAMES)
    return comparable(played)


@pytest.fixture(scope="module")
def real():
    idle = {"task_queue": "idle", "workflows": [versioning_cases.Plain]}
    return comparable(on_real_server(versioning_cases.play_all, **idle))


def comparable(played):
    return {name: (plain(value), told_of(runs)) for name, (value, runs) in played.items()}


def plain(value):
    """Give it as JSON has it; Go's protobuf puts spaces of one kind or the other into its errors."""
    return json.loads(json.dumps(value).replace("\\u00a0", " "))


def told_of(runs):
    return {
        id: [(list(map(event, events)), *rest(*more)) for events, *more in known]
        for id, known in runs.items()
    }


def event(told):
    """Give an event without what a real server says now and then, and without build ids that the SDK makes up."""
    kind, attributes = told
    stamp = attributes.get("worker_version", {}).get("build_id", "")
    if kind == "WORKFLOW_TASK_STARTED" or is_made_up(stamp):
        attributes = {name: one for name, one in attributes.items() if name != "worker_version"}
    return kind, {name: one for name, one in attributes.items() if one != ""}


def rest(info, attributes):
    kept = {name: [one for one in held if not is_made_up(one)] for name, held in attributes.items()}
    return info, {name: held for name, held in kept.items() if held}


def is_made_up(build_id):
    return build_id == "unversioned" or re.search("[0-9a-f]{32}$", build_id) is not None


@pytest.mark.parametrize("name", [name for name in RECORDED["versions"] if name in NAMES])
def test_the_answers_are_those_that_the_real_server_gave(simulated, name):
    """When they were recorded; for where there is none."""
    assert simulated[name][0] == RECORDED["versions"][name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_the_real_server(simulated, real, name):
    """Results, which version did what, what the server's calls answer, and how it refuses."""
    assert simulated[name][0] == real[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """All events, all that they say of versions, and what describing a run tells of them."""
    assert simulated[name][1] == real[name][1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0xDC56D17A),
        ("a", 0x3C973D4D),
        ("abcd", 0x98B51E95),
        ("abcde", 0xA3F366AC),
        ("0123456789-0", 0xF8CC7928),
        ("0123456789~01", 0x0D92CAFB),
        ("0123456789%0123456789\u00a3", 0x1723DD7A),
        ("0123456789$0123456789!0", 0xFA88D020),
        ("Nepal premier won't resign.", 0x322984D9),
        ("Discard medicine more than two years old.", 0xE273108F),
        ("For every action there is an equal and opposite government program.", 0xA5812AC8),
    ],
)
def test_fingerprints_are_farmhashs(text, number):
    """Known values of FarmHash for each of its classes of length."""
    assert fingerprint32(text.encode()) == number


# -- a design and the next version of it


@activity.defn
async def charge(order: str) -> None:
    wfsim.effect("charged", order)


@activity.defn
async def ship(order: str) -> None:
    wfsim.effect("shipped", order)


def do(function, order):
    return workflow.execute_activity(function, order, start_to_close_timeout=timedelta(seconds=10))


class Waiting:
    def __init__(self) -> None:
        self.is_paid = False

    @workflow.signal
    def pay(self) -> None:
        self.is_paid = True

    async def payment(self) -> None:
        await workflow.wait_condition(lambda: self.is_paid)


class First(Waiting):
    async def steps(self, order):
        await self.payment()
        await do(ship, order)
        return "first"


class Second(Waiting):
    """The next version charges before anything else, for those orders that do not wait already."""

    is_patched = True

    async def steps(self, order):
        if not self.is_patched or workflow.patched("charge first"):
            await do(charge, order)
        await self.payment()
        await do(ship, order)
        return "second"


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.PINNED)
class FirstPinned(First):
    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class FirstMoving(First):
    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order")
class FirstPlain(First):
    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.PINNED)
class SecondPinned(Second):
    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.PINNED)
class UnpatchedPinned(Second):
    is_patched = False

    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class SecondMoving(Second):
    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class UnpatchedMoving(Second):
    is_patched = False

    @workflow.run
    async def run(self, order: str) -> str:
        return await self.steps(order)


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class ChargesFirst(Waiting):
    what = "the price"

    @workflow.run
    async def run(self, order: str) -> str:
        await do(charge, self.what)
        await self.payment()
        return self.what


@workflow.defn(name="Order", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class ChargesAnother(ChargesFirst):
    what = "another price"

    @workflow.run
    async def run(self, order: str) -> str:
        return await super().run(order)


def worker(client, build_id, *workflows, **options):
    config = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion("orders", build_id), use_worker_versioning=True, **options
    )
    return Worker(
        client,
        task_queue="orders",
        workflows=list(workflows),
        activities=[charge, ship],
        deployment_config=config,
    )


async def current(client, build_id):
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace="default", deployment_name="orders", build_id=build_id
    )
    await client.workflow_service.set_worker_deployment_current_version(request)
    await asyncio.sleep(1)


async def start(client, id):
    handle = await client.start_workflow("Order", id, id=id, task_queue="orders")
    await asyncio.sleep(1)
    return handle


async def paid(*handles):
    for handle in handles:
        await handle.signal("pay")
    return [await handle.result() for handle in handles]


def deployed(first, second, after):
    """Start an order on the first version, make the second one current, start another order; then ``after``."""

    async def main():
        client = await Client.connect("localhost:7233")
        async with worker(client, "1", first), worker(client, "2", second):
            await current(client, "1")
            old = await start(client, "old")
            await current(client, "2")
            new = await start(client, "new")
            return await after(client, old, new)

    return main


async def both_are_paid(client, old, new):
    return await paid(old, new)


def versions(run, id):
    """Give the build ids that completed the workflow tasks of a run."""
    [log] = [log for known, log in run.logs if known == id]
    done = [one.workflow_task_completed_event_attributes for one in log.events()]
    builds = [one.deployment_version.build_id for one in done if one.ByteSize()]
    return "".join(builds)


@pytest.mark.parametrize(
    ("first", "second", "results", "old"),
    [
        (FirstPinned, SecondPinned, ["first", "second"], "111"),
        (FirstMoving, SecondMoving, ["second", "second"], "122"),
    ],
)
def test_an_open_workflow_stays_or_moves_as_it_says(simulate, first, second, results, old):
    """The patched change meets the old order on neither branch wrongly: it is not charged, the new one is."""
    run = simulate(deployed(first, second, both_are_paid))
    assert run.result() == results
    assert versions(run, "old") == old
    assert versions(run, "new") == "2222"
    assert [one.data["key"] for one in run.history.where(kind="effect", name="charged")] == ["new"]
    assert run.check_replay() == 2


def test_a_change_that_is_not_patched_breaks_what_moves(simulate):
    """And leaves alone what is pinned."""
    moved = simulate(deployed(FirstMoving, UnpatchedMoving, both_are_paid))
    assert isinstance(moved.error, NonDeterministicWorkflow)
    pinned = simulate(deployed(FirstPinned, UnpatchedPinned, both_are_paid))
    assert pinned.result() == ["first", "second"]
    assert pinned.check_replay() == 2


def test_another_version_may_give_other_arguments(simulate):
    """Temporal compares types and ids of activities: such a change needs no patch."""
    run = simulate(deployed(ChargesFirst, ChargesAnother, both_are_paid))
    assert run.result() == ["another price", "another price"]
    assert versions(run, "old") == "112"
    assert run.check_replay() == 2


def test_a_worker_of_the_new_version_that_crashes_goes_on(simulate):
    """It dies over the first task that it does; the workflow waits until it is back, on no other version."""
    crash = crash_worker("Order", task=2, restart_after="20s")
    run = simulate(deployed(FirstMoving, SecondMoving, both_are_paid), faults=[crash])
    assert run.result() == ["second", "second"]
    assert versions(run, "old") == "122"
    assert run.duration > 20


def test_a_version_that_died_is_rolled_back(simulate):
    """With its only worker gone, what is on the new version waits for ever, until another one is current."""

    async def after(client, old, new):
        await old.signal("pay")
        await asyncio.sleep(60)
        waited = (await old.describe()).status.name
        await current(client, "1")
        return waited, await old.result()

    crash = crash_worker("Order", task=2, restart_after=None)
    run = simulate(deployed(FirstMoving, SecondMoving, after), faults=[crash])
    assert run.result() == ("RUNNING", "first")
    assert set(versions(run, "old")) == {"1"}


async def drainage(client, seconds):
    """Give the drainage of the first version after some time."""
    await asyncio.sleep(seconds)
    version = {"deployment_name": "orders", "build_id": "1"}
    request = DescribeWorkerDeploymentVersionRequest(namespace="default", deployment_version=version)
    told = await client.workflow_service.describe_worker_deployment_version(request)
    return VersionDrainageStatus.Name(told.worker_deployment_version_info.drainage_info.status).split("_")[-1]


async def pays(client, old):
    await paid(old)


async def moves(client, old):
    version = {"deployment_name": "orders", "build_id": "2"}
    options = WorkflowExecutionOptions(
        versioning_override=VersioningOverride(pinned={"behavior": 1, "version": version})
    )
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace="default",
        workflow_execution={"workflow_id": old.id},
        workflow_execution_options=options,
        update_mask={"paths": ["versioning_override"]},
    )
    await client.workflow_service.update_workflow_execution_options(request)


@pytest.mark.parametrize("leaves", [pays, moves])
def test_a_version_is_drained_when_nothing_is_pinned_to_it(simulate, leaves):
    """Since all are closed or moved away. The server looks every three minutes."""

    async def after(client, old, new):
        before = await drainage(client, 600)
        await leaves(client, old)
        return before, await drainage(client, 1), await drainage(client, 180)

    run = simulate(deployed(FirstPinned, SecondPinned, after))
    assert run.result() == ("DRAINING", "DRAINING", "DRAINED")


def test_a_version_to_which_nothing_was_pinned_is_drained_after_three_minutes(simulate):
    """Not before: the server does not look at once."""

    async def after(client, old, new):
        return await drainage(client, 100), await drainage(client, 100)

    assert simulate(deployed(FirstMoving, SecondMoving, after)).result() == ("DRAINING", "DRAINED")


def test_versions_are_search_attributes(simulate):
    """By the names and values of the server."""

    async def after(client, old, new):
        async def ids(query):
            return sorted([one.id async for one in client.list_workflows(query)])

        return [
            await ids("TemporalWorkerDeploymentVersion = 'orders:1'"),
            await ids("TemporalWorkflowVersioningBehavior = 'Pinned'"),
            await ids("BuildIds = 'unversioned:2'"),
            await ids("TemporalUsedWorkerDeploymentVersions IN ('orders:1', 'orders:2')"),
            await ids("TemporalWorkerDeployment = 'others'"),
        ]

    run = simulate(deployed(FirstPinned, SecondPinned, after))
    assert run.result() == [["old"], ["new", "old"], ["new"], ["new", "old"], []]


# -- what is refused


def plain_worker(order=FirstPlain, **options):
    async def main():
        client = await Client.connect("localhost:7233")
        async with Worker(client, task_queue="orders", workflows=[order], activities=[ship], **options):
            return await paid(await start(client, "old"))

    return main


def config(**options):
    return WorkerDeploymentConfig(version=WorkerDeploymentVersion("orders", "1"), **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"use_worker_versioning": True}, ValueError, "build_id must be specified"),
        (
            {"deployment_config": config(use_worker_versioning=True), "build_id": "1"},
            ValueError,
            "deployment_config cannot be used with build_id",
        ),
        (
            {
                "deployment_config": config(
                    use_worker_versioning=False, default_versioning_behavior=VersioningBehavior.PINNED
                )
            },
            ValueError,
            "must be UNSPECIFIED",
        ),
        (
            {"deployment_config": config(use_worker_versioning=True)},
            ValueError,
            "Workflow Order must specify a versioning behavior",
        ),
        (
            {"use_worker_versioning": True, "build_id": "1"},
            NotSimulated,
            "give the worker a deployment_config",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(simulate, options, error, message):
    """In the words of the SDK, if it has any."""
    run = simulate(plain_worker(**options))
    assert isinstance(run.error, error)
    assert message in str(run.error)


def test_a_behavior_wants_a_version(simulate):
    """A server refuses every answer of a worker that has none: the task times out for ever."""
    run = simulate(plain_worker(FirstPinned))
    assert isinstance(run.error, WorkflowTaskStuck)
    assert "versioning behavior cannot be specified" in str(run.error)


def test_versioning_by_build_ids_is_disabled(simulate):
    """As on the newest server, in its words."""

    async def main(client):
        told = []
        for call in (
            client.update_worker_build_id_compatibility("orders", BuildIdOpAddNewDefault("1")),
            client.get_worker_build_id_compatibility("orders"),
            client.get_worker_task_reachability(["1"]),
        ):
            with pytest.raises(RPCError) as caught:
                await call
            told.append((caught.value.status, caught.value.message))
        return told

    run = simulate(main, workflows=[FirstPlain])
    sets = "Worker versioning v0.1 (Version Set-based, deprecated) is disabled on this namespace."
    rules = "Worker versioning v0.2 (Rules-based, deprecated) is disabled on this namespace."
    assert run.result() == [(RPCStatusCode.PERMISSION_DENIED, words) for words in (sets, sets, rules)]


def test_a_workflow_whose_worker_is_gone_goes_on_elsewhere_once(simulate):
    """As on a real server: its task first waits ten seconds for the worker that had it; then another one replays it."""

    async def main():
        client = await Client.connect("localhost:7233")

        def plain():
            return Worker(client, task_queue="orders", workflows=[FirstPlain], activities=[ship])

        async with plain():
            old = await start(client, "old")
        await old.signal("pay")
        await asyncio.sleep(13)
        async with plain():
            return await old.result()

    run = simulate(main)
    assert run.result() == "first"
    task = ["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"]
    assert run.events("old")[:9] == [
        "WORKFLOW_EXECUTION_STARTED",
        *task,
        "WORKFLOW_EXECUTION_SIGNALED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_TIMED_OUT",
        *task[:2],
    ]


@workflow.defn
class Told:
    @workflow.run
    async def run(self) -> str:
        return workflow.info().get_current_build_id()


def test_a_build_id_is_told(simulate):
    """It does without versions, and events name it."""
    run = simulate(Told, worker_options={"build_id": "7"})
    assert run.result() == "7"
    [done] = [
        one.workflow_task_completed_event_attributes
        for one in run.workflow_histories[0].events
        if one.HasField("workflow_task_completed_event_attributes")
    ]
    assert done.worker_version.build_id == "7"
    assert not done.HasField("deployment_version")


def test_a_version_is_deleted_when_it_is_drained_and_polled_no_more():
    """Its workers count for five minutes after their last poll; one that polls again makes it anew."""

    async def main():
        client = await Client.connect("localhost:7233")
        bench = versioning_cases.Bench(client, "orders")
        async with bench.worker("1"):
            await bench.known("1")
            await bench.current("1")
        await bench.current("")
        said = [await bench.delete_version("1"), await bench.delete_version("1", skip_drainage=True)]
        await asyncio.sleep(200)
        said.append(await bench.delete_version("1"))
        await asyncio.sleep(110)
        said += [await bench.delete_version("1"), await bench.delete(), await bench.versions()]
        async with bench.worker("1"):
            await bench.known("1")
            return [*said, (await bench.versions())[0]]

    refused = [
        f"version 'orders:1' cannot be deleted since it {why}"
        for why in ("is draining", "has active pollers")
    ]
    [*kept, deleted, also, gone, again] = wfsim_temporal.simulate(main).result()
    assert [message for message, _ in kept] == [*refused, refused[1]]
    assert (deleted, also, gone[1], again) == ("done", "done", "NOT_FOUND", [("1", 1)])


@pytest.mark.skipif(
    "one_time" not in VersioningOverride.DESCRIPTOR.fields_by_name,
    reason="the SDK does not know such overrides",
)
def test_a_task_that_goes_elsewhere_waits_for_a_worker_there():
    """One that fails there, or dies, is tried there again; what comes after it goes where it did before."""

    async def main():
        client = await Client.connect("localhost:7233")
        bench = versioning_cases.Bench(client, "orders")
        async with bench.worker("1"):
            async with bench.worker("2"):
                await bench.known("1", "2")
                await bench.current("1")
                handle = await bench.start("Auto")
                await bench.settle()
            await bench.options(handle, **bench.once("2"))
            await bench.wish(handle, "note")
            await asyncio.sleep(60)
            waits = (await handle.describe()).raw_description.HasField("pending_workflow_task")
            async with bench.worker("2"):
                await asyncio.sleep(60)
                await bench.wish(handle, "note")
                return waits, await bench.end(handle)

    crash = crash_worker("Auto", task=2, restart_after="5s")
    run = wfsim_temporal.simulate(main, faults=[crash])
    assert run.result()[1] == ["1", "note 2", "note 1", "done 1"]
    assert run.check_replay() == 1
