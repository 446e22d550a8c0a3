"""Cases of worker versioning that run on a real server and on the simulated one."""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.json_format import MessageToDict
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DeleteWorkerDeploymentRequest,
    DeleteWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
    ListWorkerDeploymentsRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
    StartWorkflowExecutionRequest,
    UpdateWorkerDeploymentVersionMetadataRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.common import (
    AutoUpgradeVersioningOverride,
    PinnedVersioningOverride,
    RawValue,
    RetryPolicy,
    VersioningBehavior,
    WorkerDeploymentVersion,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

SETTLES_S = 1.0
"""A change of a version reaches the partitions of a real task queue after a while."""


MADE_UP = re.compile("^[0-9a-f]{32}$")
"""The build id that the SDK makes up for a worker that has none; a simulated one goes without."""


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def where() -> str:
    return activity.info().task_queue


@activity.defn
async def stumbles() -> str:
    if activity.info().attempt == 1:
        raise ApplicationError("once", next_retry_delay=s(4))
    return activity.info().task_queue


class Steps:
    """Does what signals say, and tells which version did it."""

    def __init__(self) -> None:
        self.wishes: list[str] = []

    @workflow.signal
    def wish(self, what: str) -> None:
        self.wishes.append(what)

    @workflow.query
    def version(self) -> str:
        return here()

    @workflow.update
    def change(self) -> str:
        return here()

    async def steps(self, how: str) -> list:
        told = [here()]
        if how == "again":
            return ["again", *told]
        if how.startswith("retry") and workflow.info().attempt > 1:
            return ["retry", *told]
        if how == "retry at once":
            raise ApplicationError("asked for")
        while True:
            await workflow.wait_condition(lambda: bool(self.wishes))
            wish = self.wishes.pop(0)
            told.append(f"{wish} {here()}")
            what, _, kind = wish.partition(":")
            if what == "done":
                return told
            told += await self.step(what, kind)

    async def step(self, what: str, kind: str) -> list:
        match what:
            case "fail":
                raise ApplicationError("asked for")
            case "activity":
                await workflow.execute_activity(where, start_to_close_timeout=s(10), task_queue=kind or None)
            case "stumble":
                await workflow.execute_activity(stumbles, start_to_close_timeout=s(10))
            case "child":
                return [await child(kind, "child")]
            case "retry":
                policy = RetryPolicy(initial_interval=s(0.5), maximum_attempts=2)
                return [await child(kind, "retry", "retry at once", retry_policy=policy)]
            case "elsewhere":
                return [await child(kind, "elsewhere", task_queue=f"{workflow.info().task_queue}-other")]
            case "continue":
                workflow.continue_as_new("again")
            case "upgrade":
                how = workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
                workflow.continue_as_new("again", initial_versioning_behavior=how)
        return []


def child(kind, name, how="again", **options):
    return workflow.execute_child_workflow(kind, how, id=f"{workflow.info().workflow_id}-{name}", **options)


def here() -> str:
    version = workflow.info().get_current_deployment_version()
    changed = getattr(workflow.info(), "is_target_worker_deployment_version_changed", bool)()
    build_id = "none" if version is None else version.build_id
    return (MADE_UP.sub("", build_id) or "none") + (" changed" if changed else "")


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class Pinned(Steps):
    @workflow.run
    async def run(self, how: str) -> list:
        return await self.steps(how)


@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Auto(Steps):
    @workflow.run
    async def run(self, how: str) -> list:
        return await self.steps(how)


@workflow.defn
class Plain(Steps):
    @workflow.run
    async def run(self, how: str) -> list:
        return await self.steps(how)


class Bench:
    """What a case works with: a task queue and a deployment of its name."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def worker(self, build_id, *, default_versioning_behavior=VersioningBehavior.UNSPECIFIED, **options):
        config = WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(self.name, build_id),
            use_worker_versioning=True,
            default_versioning_behavior=default_versioning_behavior,
        )
        return self.plain_worker(deployment_config=config, **options)

    def plain_worker(self, *, queue="", workflows=(Pinned, Auto), **options):
        return Worker(
            self.client,
            task_queue=queue or self.name,
            workflows=list(workflows),
            activities=[where, stumbles],
            workflow_runner=UnsandboxedWorkflowRunner(),
            **options,
        )

    async def settle(self):
        await asyncio.sleep(SETTLES_S)

    async def known(self, *build_ids):
        """Wait until the server knows versions, for the polls of their workers."""
        request = DescribeWorkerDeploymentRequest(namespace="default", deployment_name=self.name)
        known = set()
        while not known.issuperset(build_ids):
            await self.settle()
            said = await told(self.call("describe_worker_deployment", request))
            summaries = [] if isinstance(said, list) else said.worker_deployment_info.version_summaries
            known = {one.deployment_version.build_id for one in summaries}
        await self.settle()

    async def call(self, name, request):
        return await getattr(self.client.workflow_service, name)(request)

    async def current(self, build_id, **options):
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace="default", deployment_name=self.name, build_id=build_id, identity="me", **options
        )
        told = await self.call("set_worker_deployment_current_version", request)
        await self.settle()
        return told

    async def ramp(self, build_id, percentage, **options):
        request = SetWorkerDeploymentRampingVersionRequest(
            namespace="default",
            deployment_name=self.name,
            build_id=build_id,
            percentage=percentage,
            identity="me",
            **options,
        )
        told = await self.call("set_worker_deployment_ramping_version", request)
        await self.settle()
        return told

    async def start(self, kind, how="", *, id="", **options):
        return await self.start_as(kind, how, id=f"{self.name}-{id or kind}", **options)

    async def start_as(self, kind, how, *, id, **options):
        return await self.client.start_workflow(kind, how, id=id, task_queue=self.name, **options)

    async def wish(self, handle, what):
        await handle.signal("wish", what)
        await self.settle()

    async def end(self, handle):
        await handle.signal("wish", "done")
        return await handle.result()

    async def options(self, handle, paths=("versioning_override",), **override):
        request = UpdateWorkflowExecutionOptionsRequest(
            namespace="default",
            workflow_execution={"workflow_id": handle.id},
            workflow_execution_options=WorkflowExecutionOptions(
                versioning_override=VersioningOverride(**override) if override else None
            ),
            update_mask={"paths": list(paths)},
            identity="me",
        )
        told = await self.call("update_workflow_execution_options", request)
        await self.settle()
        return MessageToDict(told.workflow_execution_options)

    async def described(self):
        """Give what the server says of the deployment and its versions, with times but as flags."""
        request = DescribeWorkerDeploymentRequest(namespace="default", deployment_name=self.name)
        told = [undated(await self.call("describe_worker_deployment", request))]
        for build_id in ("1", "2"):
            version = {"deployment_name": self.name, "build_id": build_id}
            of = DescribeWorkerDeploymentVersionRequest(namespace="default", deployment_version=version)
            told.append(undated(await self.call("describe_worker_deployment_version", of)))
        listed = await self.call("list_worker_deployments", ListWorkerDeploymentsRequest(namespace="default"))
        return [*told, [undated(one) for one in listed.worker_deployments if one.name == self.name]]

    async def refused(self, name, request):
        """Give "done", or how the server refuses."""
        said = await told(self.call(name, request))
        return said[1:] if isinstance(said, list) else "done"

    async def delete_version(self, build_id, *, of="", **options):
        version = {"deployment_name": of or self.name, "build_id": build_id}
        request = DeleteWorkerDeploymentVersionRequest(
            namespace="default", deployment_version=version, identity="me", **options
        )
        return await self.refused("delete_worker_deployment_version", request)

    async def delete(self, *, name=None):
        named = self.name if name is None else name
        request = DeleteWorkerDeploymentRequest(namespace="default", deployment_name=named, identity="me")
        return await self.refused("delete_worker_deployment", request)

    async def note(self, build_id, entries=None, *, without=()):
        request = UpdateWorkerDeploymentVersionMetadataRequest(
            namespace="default",
            deployment_version={"deployment_name": self.name, "build_id": build_id},
            upsert_entries={name: Payload(data=data) for name, data in (entries or {}).items()},
            remove_entries=without,
            identity="me",
        )
        said = await told(self.call("update_worker_deployment_version_metadata", request))
        if isinstance(said, list):
            return said[1:]
        return {name: one.data.decode() for name, one in sorted(said.metadata.entries.items())}

    async def manage(self, manager=None, *, identity="me", name="", **options):
        """Set the manager; without a name it is who asks."""
        from temporalio.api.workflowservice.v1 import SetWorkerDeploymentManagerRequest

        options |= {"self": True} if manager is None else {"manager_identity": manager}
        request = SetWorkerDeploymentManagerRequest(
            namespace="default", deployment_name=name or self.name, identity=identity, **options
        )
        said = await told(self.call("set_worker_deployment_manager", request))
        return said[1:] if isinstance(said, list) else said.previous_manager_identity

    async def versions(self):
        """Give what the server lists of the deployment: its versions, their states, and who manages it."""
        request = DescribeWorkerDeploymentRequest(namespace="default", deployment_name=self.name)
        said = await told(self.call("describe_worker_deployment", request))
        if isinstance(said, list):
            return said[1:]
        info = said.worker_deployment_info
        told_of = [(one.deployment_version.build_id, one.status) for one in info.version_summaries]
        return sorted(told_of), info.last_modifier_identity, getattr(info, "manager_identity", "")

    async def version(self, build_id):
        """Give what the server tells of a version's metadata, and who changed it last."""
        version = {"deployment_name": self.name, "build_id": build_id}
        of = DescribeWorkerDeploymentVersionRequest(namespace="default", deployment_version=version)
        said = await told(self.call("describe_worker_deployment_version", of))
        if isinstance(said, list):
            return said[1:]
        info = said.worker_deployment_version_info
        return {name: one.data.decode() for name, one in sorted(info.metadata.entries.items())}, info.status

    def once(self, build_id):
        return {
            "one_time": {"target_deployment_version": {"deployment_name": self.name, "build_id": build_id}}
        }

    def pinned_to(self, build_id):
        return {"pinned": {"behavior": 1, "version": {"deployment_name": self.name, "build_id": build_id}}}


def undated(message):
    def flagged(value):
        if isinstance(value, list):
            return sorted((flagged(one) for one in value), key=str)
        if isinstance(value, dict):
            return {
                name: "some" if name.endswith(("_time", "token")) else flagged(one)
                for name, one in value.items()
            }
        return value

    return flagged(MessageToDict(message, preserving_proto_field_name=True))


async def told(work):
    """Give what a call answers, or its error."""
    try:
        return await work
    except Exception as error:
        return [type(error).__name__, str(error), getattr(getattr(error, "status", None), "name", "")]


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


def case_of_newer_releases(function):
    """Older releases of the SDK know neither managers of deployments nor overrides for one task."""
    return case(function) if "one_time" in VersioningOverride.DESCRIPTOR.fields_by_name else function


@case
async def a_start_waits_for_a_current_version(bench):
    async with bench.worker("1"):
        await bench.known("1")
        early = await bench.start("Pinned")
        await bench.settle()
        before = (await early.describe()).history_length
        await bench.current("1")
        return before, await bench.end(early)


@case
async def pinned_stays_and_auto_moves(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
        over = await bench.start(
            "Auto",
            id="over",
            versioning_override=PinnedVersioningOverride(WorkerDeploymentVersion(bench.name, "2")),
        )
        moving = await bench.start("Pinned", id="moving", versioning_override=AutoUpgradeVersioningOverride())
        await bench.settle()
        await bench.current("2")
        handles = [pinned, auto, over, moving]
        for handle in handles:
            await bench.wish(handle, "activity")
        asked = [await handle.query("version") for handle in handles]
        changed = [await handle.execute_update("change") for handle in handles]
        return asked, changed, [await bench.end(handle) for handle in handles]


@case
async def rolled_back(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        told = [await bench.current("1")]
        pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
        await bench.settle()
        told.append(await bench.current("2"))
        await bench.wish(auto, "note")
        told.append(await bench.current("1"))
        await bench.wish(auto, "note")
        await bench.wish(pinned, "note")
        said = [[one.previous_version, one.previous_deployment_version.build_id] for one in told]
        return said, await bench.end(pinned), await bench.end(auto)


@case
async def children(bench):
    other = f"{bench.name}-other"
    async with bench.worker("1"), bench.worker("2"), bench.worker("2", queue=other):
        await bench.known("1", "2")
        await bench.current("1", ignore_missing_task_queues=True)
        handles = [
            await bench.start(kind, id=f"{kind}-{child}")
            for kind in ("Pinned", "Auto")
            for child in ("Pinned", "Auto")
        ]
        away = await bench.start("Pinned", id="away")
        await bench.settle()
        await bench.current("2")
        for handle in handles:
            await bench.wish(handle, f"child:{handle.id.split('-')[-1]}")
        await bench.wish(away, "elsewhere:Pinned")
        return [await bench.end(handle) for handle in (*handles, away)]


@case
async def continues_as_new(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        wishes = [("Pinned", "continue"), ("Pinned", "upgrade"), ("Auto", "continue")]
        handles = [await bench.start(kind, id=f"{kind}-{how}") for kind, how in wishes]
        over = await bench.start(
            "Auto",
            id="over",
            versioning_override=PinnedVersioningOverride(WorkerDeploymentVersion(bench.name, "1")),
        )
        await bench.settle()
        await bench.current("2")
        for handle, (_, how) in zip(handles, wishes, strict=True):
            await handle.signal("wish", how)
        await over.signal("wish", "continue")
        return [await handle.result() for handle in (*handles, over)]


@case
async def is_tried_again(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        policy = RetryPolicy(initial_interval=s(0.5), maximum_attempts=2)
        handles = [await bench.start(kind, "retry", retry_policy=policy) for kind in ("Pinned", "Auto")]
        await bench.settle()
        await bench.current("2")
        for handle in handles:
            await handle.signal("wish", "fail")
        return [await handle.result() for handle in handles]


@case
async def options_are_updated(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
        await bench.settle()
        said = [await bench.options(pinned, **bench.pinned_to("2"))]
        await bench.wish(pinned, "note")
        said.append(await bench.options(pinned, auto_upgrade=True))
        await bench.wish(pinned, "note")
        said.append(await bench.options(pinned))
        await bench.wish(pinned, "note")
        said.append(await bench.options(auto, **bench.pinned_to("2")))
        await bench.wish(auto, "note")
        said.append(await bench.options(auto))
        await bench.wish(auto, "note")
        said.append(await told(bench.options(auto, **bench.pinned_to("9"))))
        said.append(await told(bench.options(auto, paths=["nothing"])))
        said.append(await told(bench.options(auto, paths=[])))
        ended = [await bench.end(pinned), await bench.end(auto)]
        return said, ended, await told(bench.options(auto, auto_upgrade=True))


@case
async def versions_are_deleted(bench):
    said = [await bench.delete_version("1"), await bench.delete_version(""), await bench.delete(name="")]
    said.append(await bench.delete())
    await bench.current("7", allow_no_pollers=True)
    await bench.ramp("8", 10, allow_no_pollers=True)
    said += [await bench.delete_version(one) for one in ("7", "8", "9")]
    said += [await bench.delete(), await bench.versions()]
    await bench.ramp("", 0)
    await bench.current("")
    said += [await bench.delete_version("7"), await bench.delete_version("8", skip_drainage=True)]
    said += [await bench.versions(), await bench.delete()]
    said.append(await bench.delete_version("7", skip_drainage=True))
    said += [await bench.version("7"), await bench.versions(), await bench.delete(), await bench.versions()]
    return [*said, await bench.delete()]


@case
async def a_version_that_is_polled_is_not_deleted(bench):
    async with bench.worker("1"):
        await bench.known("1")
        said = [await bench.delete_version("1"), await bench.delete_version("1", skip_drainage=True)]
    await bench.settle()
    return said, await bench.delete_version("1")


@case
async def versions_have_metadata(bench):
    said = [await bench.note("1"), await bench.note("1", {"a": b"1"})]
    async with bench.worker("1"):
        await bench.known("1")
        said.append(await bench.note("1", {"a": b"1", "b": b"2"}))
        said.append(await bench.note("1", {"c": b"3", "b": b"4"}, without=["a", "z"]))
        said.append(await bench.note("1", {"c": b"5"}, without=["c"]))
        said.append(await bench.note("9", {"a": b"1"}))
        return said, await bench.version("1"), await bench.note("1", without=["b"])


@case_of_newer_releases
async def a_deployment_has_a_manager(bench):
    said = [await bench.manage("alice", name="nobody"), await bench.manage("alice", identity="")]
    await bench.ramp("2", 10, allow_no_pollers=True)
    await bench.current("1", allow_no_pollers=True)
    await bench.ramp("", 0)
    said += [
        await bench.manage("alice"),
        await bench.manage("alice"),
        await bench.manage(identity="bob"),
    ]
    said.append(await bench.versions())
    said += [await told(bench.current("")), await told(bench.ramp("2", 10, allow_no_pollers=True))]
    said += [await bench.delete_version(one, skip_drainage=True) for one in ("1", "2")]
    said.append(await bench.note("1", {"a": b"1"}))
    said += [await bench.manage("me", conflict_token=b"old"), await bench.manage("me")]
    await bench.current("")
    return [*said, await bench.manage(""), await bench.versions()]


@case_of_newer_releases
async def the_next_task_goes_elsewhere(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
        await bench.settle()
        said = []
        for handle in (pinned, auto):
            said += [await told(bench.options(handle, **bench.once("2")))]
            said += [await told(bench.options(handle, **bench.once("9")))]
            said += [await told(bench.options(handle, one_time={}))]
            described = (await handle.describe()).raw_description.workflow_execution_info
            said.append(MessageToDict(described.versioning_info))
            await bench.wish(handle, "activity")
            await bench.wish(handle, "note")
            said += [await bench.options(handle, **bench.once("2")), await bench.options(handle)]
            await bench.wish(handle, "note")
        return said, await bench.end(pinned), await bench.end(auto)


@case_of_newer_releases
async def the_first_task_goes_elsewhere(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        handles = []
        for kind in ("Pinned", "Auto"):
            id = f"{bench.name}-{kind}"
            request = StartWorkflowExecutionRequest(
                namespace="default",
                workflow_id=id,
                workflow_type={"name": kind},
                task_queue={"name": bench.name},
                request_id=id,
                input={"payloads": [Payload(metadata={"encoding": b"json/plain"}, data=b'""')]},
                versioning_override=VersioningOverride(**bench.once("2")),
            )
            started = await bench.call("start_workflow_execution", request)
            handles.append(bench.client.get_workflow_handle(id, run_id=started.run_id))
            await bench.settle()
        for handle in handles:
            await bench.wish(handle, "note")
            await bench.wish(handle, "child:Auto")
        return [await bench.end(handle) for handle in handles]


@case
async def a_version_is_ramped(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        said = [await bench.ramp("2", 40)]
        handles = [await bench.start("Pinned", "again", id=f"{number}" * number) for number in range(1, 10)]
        handles += [await bench.start("Pinned", "again", id=f"id-{number}") for number in range(12)]
        handles += [
            await bench.start_as("Pinned", "again", id="ramp-to-all"[:number]) for number in range(1, 12)
        ]
        some = [await handle.result() for handle in handles]
        said.append(await bench.ramp("2", 100))
        all_ = [await (await bench.start("Pinned", "again", id="all")).result()]
        auto = await bench.start("Auto", id="auto")
        await bench.settle()
        said.append(await bench.ramp("", 0))
        await bench.wish(auto, "note")
        none = [await (await bench.start("Pinned", "again", id="none")).result()]
        return (
            [[one.previous_version, one.previous_percentage] for one in said],
            some,
            all_,
            none,
            await bench.end(auto),
        )


@case
async def the_worker_has_a_default(bench):
    async with bench.worker("1", workflows=[Plain], default_versioning_behavior=VersioningBehavior.PINNED):
        await bench.known("1")
        await bench.current("1")
        handle = await bench.start("Plain")
        await bench.settle()
        return await bench.end(handle)


@case
async def a_worker_names_its_version_only(bench):
    version = WorkerDeploymentVersion(bench.name, "1")
    config = WorkerDeploymentConfig(version=version, use_worker_versioning=False)
    async with bench.plain_worker(deployment_config=config, workflows=[Plain]):
        handle = await bench.start("Plain")
        await bench.settle()
        return await bench.end(handle)


@case
async def an_eager_start_asks_for_no_version(bench):
    said = []

    async def started(id):
        handle = await bench.start("Pinned", "again", id=id, request_eager_start=True)
        await bench.settle()
        said.append([getattr(handle, "__temporal_eagerly_started", False), await handle.result()])

    async with bench.worker("1"):
        await bench.known("1")
        await started("none")
        await bench.current("1")
        await started("current")
    async with bench.worker("2"):
        await bench.known("2")
        await started("other")
    return said


MOVES = {"workflows": [Plain, Pinned], "default_versioning_behavior": VersioningBehavior.AUTO_UPGRADE}


@case
async def versions_go_back_to_none(bench):
    async with bench.worker("1", **MOVES), bench.plain_worker(workflows=[Plain]):
        await bench.known("1")
        await bench.current("1")
        auto, pinned = await bench.start("Plain"), await bench.start("Pinned")
        await bench.settle()
        await bench.current("")
        for handle in (auto, pinned):
            await bench.wish(handle, "activity")
        later = await bench.start("Plain", id="later")
        await bench.settle()
        return [await bench.end(handle) for handle in (auto, pinned, later)]


@case
async def nothing_is_cached_when_versions_go_back(bench):
    uncached = {"max_cached_workflows": 0}
    async with (
        bench.worker("1", **MOVES, **uncached),
        bench.plain_worker(workflows=[Plain], **uncached),
    ):
        await bench.known("1")
        await bench.current("1")
        auto = await bench.start("Plain")
        await bench.settle()
        await bench.current("")
        await bench.wish(auto, "activity")
        return await bench.end(auto)


@case
async def a_version_comes_to_what_has_none(bench):
    async with bench.plain_worker(workflows=[Plain]):
        plain = await bench.start("Plain")
        await bench.settle()
        async with bench.worker("1", **MOVES):
            await bench.settle()
            await bench.current("1")
            await bench.wish(plain, "activity")
            return await bench.end(plain)


@case
async def a_ramp_leads_to_none(bench):
    async with bench.worker("1", **MOVES), bench.plain_worker(workflows=[Plain]):
        await bench.known("1")
        await bench.current("1")
        said = await bench.ramp("", 100)
        handle = await bench.start("Plain")
        await bench.settle()
        return said.previous_version, await bench.end(handle)


@case
async def a_behavior_without_a_version(bench):
    async with bench.plain_worker():
        handle = await bench.start("Auto")
        await asyncio.sleep(14)
        async with bench.worker("1"):
            await bench.known("1")
            await bench.current("1")
            await asyncio.sleep(20)
            return await bench.end(handle)


@case
async def an_activity_is_tried_again(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        handles = [await bench.start(kind) for kind in ("Pinned", "Auto")]
        await bench.settle()
        for handle in handles:
            await bench.wish(handle, "stumble")
        await bench.current("2")
        await asyncio.sleep(4)
        return [await bench.end(handle) for handle in handles]


@case
async def a_child_is_tried_again(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
        await bench.settle()
        await bench.current("2")
        for handle in (pinned, auto):
            await bench.wish(handle, "retry:Pinned")
        return [await bench.end(handle) for handle in (pinned, auto)]


@case
async def an_override_is_inherited(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        over = PinnedVersioningOverride(WorkerDeploymentVersion(bench.name, "2"))
        child = await bench.start("Auto", id="child", versioning_override=over)
        moving = await bench.start("Pinned", id="moving", versioning_override=AutoUpgradeVersioningOverride())
        policy = RetryPolicy(initial_interval=s(0.5), maximum_attempts=2)
        again = await bench.start(
            "Auto", "retry at once", id="again", versioning_override=over, retry_policy=policy
        )
        for handle in (child, moving):
            await bench.wish(handle, "child:Auto")
        return [await bench.end(handle) for handle in (child, moving)], await again.result()


@workflow.defn(dynamic=True)
class Anything(Steps):
    @workflow.dynamic_config
    def configured(self) -> workflow.DynamicWorkflowConfig:
        return workflow.DynamicWorkflowConfig(versioning_behavior=VersioningBehavior.PINNED)

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> list:
        return await self.steps("")


@case
async def a_dynamic_workflow_says_how(bench):
    async with bench.worker("1", workflows=[Anything]):
        await bench.known("1")
        await bench.current("1")
        handle = await bench.start("Whatever")
        await bench.settle()
        return await bench.end(handle)


@case
async def an_activity_goes_elsewhere(bench):
    other, third = f"{bench.name}-other", f"{bench.name}-third"
    async with (
        bench.worker("1"),
        bench.worker("2"),
        bench.worker("1", queue=other),
        bench.worker("2", queue=other),
        bench.plain_worker(queue=third),
    ):
        await bench.known("1", "2")
        await bench.current("1")
        pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
        await bench.settle()
        await bench.current("2")
        for handle in (pinned, auto):
            await bench.wish(handle, f"activity:{other}")
            await bench.wish(handle, f"activity:{third}")
        return [await bench.end(handle) for handle in (pinned, auto)]


@case
async def calls_are_refused(bench):
    async with bench.worker("1"), bench.worker("2"):
        await bench.known("1", "2")
        nobody = Bench(bench.client, f"{bench.name}-nobody")
        said = [
            await told(nobody.current("1")),
            await told(nobody.ramp("1", 10)),
            await told(bench.current("9")),
        ]
        said += [
            await told(bench.ramp("9", 10)),
            await told(bench.ramp("2", 101)),
            await told(bench.ramp("2", -1)),
        ]
        said += [await told(bench.current("1", conflict_token=b"stale"))]
        await bench.current("1")
        said += [await told(bench.ramp("1", 10)), (await bench.ramp("", 0)).previous_version]
        said += [(await bench.current("1")).previous_version]
        over = PinnedVersioningOverride(WorkerDeploymentVersion(bench.name, "9"))
        said += [await told(bench.start("Pinned", versioning_override=over))]
        for request in (
            DescribeWorkerDeploymentRequest(namespace="default", deployment_name=nobody.name),
            DescribeWorkerDeploymentVersionRequest(
                namespace="default", deployment_version={"deployment_name": nobody.name, "build_id": "1"}
            ),
            DescribeWorkerDeploymentVersionRequest(
                namespace="default", deployment_version={"deployment_name": bench.name, "build_id": "9"}
            ),
        ):
            of_version = "deployment_version" in request.DESCRIPTOR.fields_by_name
            name = "describe_worker_deployment" + ("_version" if of_version else "")
            said.append(await told(bench.call(name, request)))
        return said


@case
async def task_queues_are_missing(bench):
    other = f"{bench.name}-other"
    async with bench.worker("1"), bench.worker("1", queue=other), bench.worker("2"):
        await bench.known("1", "2")
        await bench.current("1")
        handle = await bench.client.start_workflow("Pinned", "again", id=f"{other}-Pinned", task_queue=other)
        await handle.result()
        said = [await told(bench.current("2")), await told(bench.ramp("2", 10))]
        forced = await bench.ramp("2", 10, ignore_missing_task_queues=True)
        return [*said, forced.previous_version]


@case
async def nobody_polls_for_the_version(bench):
    async with bench.worker("2"):
        async with bench.worker("1"):
            await bench.known("1", "2")
            await bench.current("1")
            pinned, auto = await bench.start("Pinned"), await bench.start("Auto")
            await bench.settle()
        await bench.settle()
        await pinned.signal("wish", "note")
        await auto.signal("wish", "note")
        await asyncio.sleep(12)
        await bench.current("2")
        moved = await bench.end(auto)
        async with bench.worker("1"):
            await bench.settle()
            return moved, await bench.end(pinned)


@case
async def deployments_are_described(bench):
    async with bench.worker("1"):
        await bench.known("1")
        async with bench.worker("2"):
            await bench.known("1", "2")
            said = [await bench.described()]
            await bench.current("1")
            pinned = await bench.start("Pinned")
            await bench.settle()
            said.append(await bench.described())
            await bench.ramp("2", 30)
            said.append(await bench.described())
            await bench.current("2")
            said.append(await bench.described())
            await bench.end(pinned)
            await bench.ramp("1", 10)
            said.append(await bench.described())
            await bench.current("")
            said.append(await bench.described())
            return said


VERSIONED = ("version", "deploy", "build", "inherit", "stamp", "behavior", "declined")


def brief(event):
    """Give an event's type and what it says of versions."""
    attributes = MessageToDict(
        getattr(event, event.WhichOneof("attributes")), preserving_proto_field_name=True
    )
    told = {name: value for name, value in attributes.items() if any(part in name for part in VERSIONED)}
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_"), told]


async def play(client, name):
    bench = Bench(client, name)
    value = await asyncio.wait_for(CASES[name](bench), 120)
    await asyncio.sleep(2 * SETTLES_S)  # a real server lists late
    runs = {}
    found = [one async for one in client.list_workflows(f'TaskQueue STARTS_WITH "{name}"')]
    for one in sorted(found, key=lambda one: (one.id, one.start_time)):
        handle = client.get_workflow_handle(one.id, run_id=one.run_id)
        events = [brief(event) for event in (await handle.fetch_history()).events]
        described = await handle.describe()
        info = described.raw_description.workflow_execution_info
        known = {
            key: value
            for key, value in described.search_attributes.items()
            if key.startswith(("Temporal", "BuildIds"))
        }
        runs.setdefault(one.id, []).append([events, MessageToDict(info.versioning_info), known])
    return name, [value, runs]


async def play_all(client, names=tuple(CASES), *, at_once=5):
    """Play cases; a real server takes no more than so many at once, or it comes late."""
    room = asyncio.Semaphore(at_once)

    async def in_turn(name):
        async with room:
            return await play(client, name)

    return dict(await asyncio.gather(*[in_turn(name) for name in names]))
