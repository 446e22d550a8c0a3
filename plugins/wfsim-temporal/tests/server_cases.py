"""Cases of two servers, and of two namespaces of one, that run on real servers and on simulated ones."""

import asyncio
from datetime import timedelta

import nexusrpc
import nexusrpc.handler
from google.protobuf.json_format import MessageToDict
from temporalio import activity, nexus, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    CreateNexusEndpointRequest,
    DeleteNamespaceRequest,
    ListNexusEndpointsRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    ListNamespacesRequest,
    ListWorkerDeploymentsRequest,
    RegisterNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
)
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

RETENTION = {"seconds": 3 * 86400}


def s(number):
    return timedelta(seconds=number)


@activity.defn
async def where() -> str:
    return activity.info().workflow_namespace or "none"


@activity.defn
async def later() -> str:
    activity.raise_complete_async()


@workflow.defn
class Notes:
    """Takes notes, until it has as many as it is to have; then tells where it ran."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @workflow.signal
    def note(self, what: str) -> None:
        self.notes.append(what)

    @workflow.query
    def so_far(self) -> list[str]:
        return self.notes

    @workflow.run
    async def run(self, number: int) -> list:
        await workflow.wait_condition(lambda: len(self.notes) >= number)
        info = workflow.info()
        parent = info.parent and info.parent.namespace
        seen = await workflow.execute_activity(where, start_to_close_timeout=s(5))
        return [info.namespace, parent, seen, *self.notes]


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, id: str) -> list:
        return [
            workflow.info().namespace,
            await workflow.execute_child_workflow(Notes.run, 0, id=id),
        ]


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(later, activity_id="it", start_to_close_timeout=s(30))


@workflow.defn
class Sends:
    @workflow.run
    async def run(self, id: str) -> str:
        try:
            await workflow.get_external_workflow_handle(id).signal("note", "from elsewhere")
        except Exception as error:
            return str(error)
        return "sent"


@workflow.defn
class Ticks:
    @workflow.run
    async def run(self) -> None:
        for _ in range(1000):
            await asyncio.sleep(0.3)


@nexusrpc.service
class Service:
    at_once: nexusrpc.Operation[str, list]
    by_workflow: nexusrpc.Operation[str, list]


@nexusrpc.handler.service_handler(service=Service)
class Handler:
    @nexusrpc.handler.sync_operation
    async def at_once(self, _context: nexusrpc.handler.StartOperationContext, what: str) -> list:
        started = await nexus.client().start_workflow(
            Notes.run, 0, id=f"{what}-started", task_queue=nexus.info().task_queue
        )
        return [what, nexus.client().namespace, started.id]

    @nexus.workflow_run_operation
    async def by_workflow(
        self, context: nexus.WorkflowRunOperationContext, what: str
    ) -> nexus.WorkflowHandle[list]:
        return await context.start_workflow(Notes.run, 0, id=f"{what}-backing")


@workflow.defn
class Calls:
    @workflow.run
    async def run(self, endpoint: str) -> list:
        client = workflow.create_nexus_client(service=Service, endpoint=endpoint)
        me = workflow.info().workflow_id
        return [
            await client.execute_operation(Service.at_once, me, schedule_to_close_timeout=s(8)),
            await client.execute_operation(Service.by_workflow, me, schedule_to_close_timeout=s(8)),
        ]


WORKFLOWS = [Notes, Parent, Waits, Sends, Ticks, Calls]


async def told(work):
    """Give what a call answers, or its error."""
    try:
        return await work
    except Exception as error:
        return [type(error).__name__, str(error), getattr(getattr(error, "status", None), "name", "")]


class Bench:
    """Two servers: ``one``, with a namespace ``second`` beside the one of the client, and ``other``."""

    def __init__(self, one, second, other, name):
        self.one, self.second, self.other, self.name = one, second, other, name
        self.all = (one, second, other)

    def worker(self, client, **options):
        options = {"task_queue": self.name, "workflows": WORKFLOWS, "activities": [where, later], **options}
        return Worker(client, workflow_runner=UnsandboxedWorkflowRunner(), **options)

    async def start(self, client, kind, *args, id=""):
        id = f"{self.name}{id}"
        return await client.start_workflow(kind, args=args, id=id, task_queue=self.name)

    def handles(self, id=""):
        return [client.get_workflow_handle(f"{self.name}{id}") for client in self.all]

    def endpoint(self, namespace, name="", queue=""):
        target = EndpointTarget.Worker(namespace=namespace, task_queue=queue or self.name)
        spec = EndpointSpec(name=name or self.name, target=EndpointTarget(worker=target))
        return CreateNexusEndpointRequest(spec=spec)

    async def at(self, client, namespace):
        return await Client.connect(client.service_client.config.target_host, namespace=namespace)


CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


@case
async def the_same_id_in_each_place(bench):
    handles = [await bench.start(client, "Notes", 2) for client in bench.all]
    again = [await told(bench.start(client, "Notes", 2)) for client in bench.all]
    for handle, notes in zip(handles, ("ab", "cd", "ef"), strict=True):
        for note in notes:
            await handle.signal("note", note)
    async with bench.worker(bench.one), bench.worker(bench.second), bench.worker(bench.other):
        results = [await handle.result() for handle in handles]
        return again, results, [await handle.query("so_far") for handle in handles]


@case
async def workers_serve_their_own_place(bench):
    handles = [await bench.start(client, "Notes", 0) for client in bench.all]
    lengths = []
    for client in bench.all:
        async with bench.worker(client):
            await asyncio.sleep(1.5)
            lengths.append([(await handle.describe()).history_length for handle in handles])
    return lengths, [await handle.result() for handle in handles]


@case
async def children_stay_in_their_namespace(bench):
    async with bench.worker(bench.second):
        handle = await bench.start(bench.second, "Parent", f"{bench.name}-child")
        result = await handle.result()
    found = [await told(handle.describe()) for handle in bench.handles("-child")]
    told_of_child = (await bench.handles("-child")[1].fetch_history()).events[0]
    started = told_of_child.workflow_execution_started_event_attributes
    return (
        result,
        [one if isinstance(one, list) else one.id for one in found],
        started.parent_workflow_namespace,
    )


@case
async def nothing_is_found_in_another_place(bench):
    handle = await bench.start(bench.second, "Notes", 1)
    calls = []
    for client in (bench.one, bench.other):
        there = client.get_workflow_handle(handle.id)
        calls += [
            await told(there.describe()),
            await told(there.signal("note", "x")),
            await told(there.query("so_far")),
            await told(there.cancel()),
            await told(there.terminate()),
        ]
    await handle.terminate()
    return calls


@case
async def signals_stay_in_their_namespace(bench):
    there = await bench.start(bench.second, "Notes", 1, id="-target")
    async with bench.worker(bench.one), bench.worker(bench.second):
        said = [
            await (await bench.start(client, "Sends", there.id)).result()
            for client in (bench.one, bench.second)
        ]
        return said, await there.result()


@case
async def activities_are_completed_where_they_are(bench):
    async with bench.worker(bench.second):
        handle = await bench.start(bench.second, "Waits")
        await asyncio.sleep(1)
        said = []
        for client in (bench.one, bench.other, bench.second):
            named = client.get_async_activity_handle(workflow_id=handle.id, run_id=None, activity_id="it")
            said.append(await told(named.complete("done")))
        return said, await handle.result()


@case
async def lists_are_of_one_namespace(bench):
    for client, number in zip(bench.all, (1, 2, 3), strict=True):
        for count in range(number):
            await bench.start(client, "Notes", 1, id=f"-{count}")
    await asyncio.sleep(1.5)
    query = f'WorkflowId STARTS_WITH "{bench.name}"'
    counts = [(await client.count_workflows(query)).count for client in bench.all]
    listed = [sorted([one.id async for one in client.list_workflows(query)]) for client in bench.all]
    return counts, listed


@case
async def schedules_are_of_one_namespace(bench):
    for client in (bench.one, bench.second):
        action = ScheduleActionStartWorkflow("Notes", 0, id=f"{bench.name}-ran", task_queue=bench.name)
        schedule = Schedule(action=action, spec=ScheduleSpec())
        await client.create_schedule(bench.name, schedule, trigger_immediately=client is bench.second)
    async with bench.worker(bench.second):
        await asyncio.sleep(2)
    counts = []
    for client in bench.all:
        described = await told(client.get_schedule_handle(bench.name).describe())
        counts.append(described if isinstance(described, list) else described.info.num_actions)
    return counts


@case
async def standalone_activities_are_of_one_namespace(bench):
    options = {"task_queue": bench.name, "start_to_close_timeout": s(5)}
    async with bench.worker(bench.one), bench.worker(bench.second):
        return [
            await client.execute_activity(where, id=bench.name, **options)
            for client in (bench.one, bench.second)
        ]


@case
async def deployments_are_of_one_namespace(bench):
    version = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(bench.name, "1"),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
    known = []
    async with bench.worker(bench.second, deployment_config=version):
        await asyncio.sleep(2)
        for client in bench.all:
            request = ListWorkerDeploymentsRequest(namespace=client.namespace)
            listed = await client.workflow_service.list_worker_deployments(request)
            known.append([one.name for one in listed.worker_deployments])
    return known


@case
async def search_attributes_are_of_one_namespace(bench):
    name = "Colour"
    await bench.second.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace="second", search_attributes={name: 2})
    )
    await asyncio.sleep(2)
    known = []
    for client in bench.all:
        request = ListSearchAttributesRequest(namespace=client.namespace)
        listed = await client.operator_service.list_search_attributes(request)
        known.append(dict(listed.custom_attributes))
    return known


@case
async def nexus_leads_to_another_namespace(bench):
    await bench.one.operator_service.create_nexus_endpoint(bench.endpoint("second"))
    listed = [
        [one.spec.name for one in (await self_of(client)).endpoints if one.spec.name == bench.name]
        for client in bench.all
    ]
    async with (
        bench.worker(bench.one),
        bench.worker(bench.second, nexus_service_handlers=[Handler()]),
    ):
        handle = await bench.start(bench.one, "Calls", bench.name)
        result = await handle.result()
        found = [await told(one.describe()) for one in bench.handles("-backing")]
        events = [*await linked(handle), *await linked(bench.handles("-backing")[1])]
        return listed, result, [one if isinstance(one, list) else one.id for one in found], events


async def self_of(client):
    return await client.operator_service.list_nexus_endpoints(ListNexusEndpointsRequest())


async def linked(handle):
    """Give the events that have links, with where these lead to; not each SDK links what was done at once."""
    found = []
    for event in (await handle.fetch_history()).events:
        started = event.workflow_execution_started_event_attributes
        links = [*event.links, *(link for one in started.completion_callbacks for link in one.links)]
        for link in links:
            to = link.workflow_event
            kind = EventType.Name(event.event_type)
            if kind != "EVENT_TYPE_NEXUS_OPERATION_COMPLETED":
                found.append([kind, to.namespace, to.workflow_id, to.event_ref.event_id])
    return found


@case
async def nexus_endpoints_are_refused(bench):
    create = bench.one.operator_service.create_nexus_endpoint
    said = [await told(create(bench.endpoint(name))) for name in ("nobody", "")]
    created = await told(create(bench.endpoint("second")))
    said += [created.endpoint.spec.target.worker.namespace]
    said.append(await told(bench.second.operator_service.create_nexus_endpoint(bench.endpoint("default"))))
    there = await bench.other.operator_service.create_nexus_endpoint(bench.endpoint("default"))
    return said, there.endpoint.spec.name


@case
async def a_namespace_that_is_not_there(bench):
    nobody = await bench.at(bench.one, "nobody")
    nameless = await bench.at(bench.one, "")

    async def listed():
        return [one async for one in nobody.list_workflows()]

    async def work():
        async with bench.worker(nobody):
            await asyncio.sleep(1)

    handle = nobody.get_workflow_handle("x")
    error = await told(work())
    return [
        await told(nobody.start_workflow("Notes", 0, id="x", task_queue=bench.name)),
        await told(nameless.start_workflow("Notes", 0, id="x", task_queue=bench.name)),
        await told(handle.describe()),
        await told(handle.signal("note", "x")),
        await told(listed()),
        [error[0], error[1].partition(": Status")[0]],
    ]


@case
async def namespaces_come_and_go(bench):
    service, operator = bench.other.workflow_service, bench.other.operator_service

    async def register(name, **options):
        return bool(await service.register_namespace(RegisterNamespaceRequest(namespace=name, **options)))

    async def describe(name):
        return brief(await service.describe_namespace(DescribeNamespaceRequest(namespace=name)))

    async def names():
        listed = await service.list_namespaces(ListNamespacesRequest())
        return sorted(one.namespace_info.name for one in listed.namespaces)

    kept = {"workflow_execution_retention_period": RETENTION}
    said = [
        await told(register("orders")),
        await told(register("", **kept)),
        await told(register("orders", description="all orders", owner_email="a@b", **kept)),
        await told(register("orders", **kept)),
        await told(describe("orders")),
        await told(describe("nobody")),
        await told(describe("")),
        await names(),
    ]
    await asyncio.sleep(1)
    orders = await bench.at(bench.other, "orders")
    handle = await bench.start(orders, "Notes", 0)
    async with bench.worker(orders):
        said.append(await handle.result())
    change = UpdateNamespaceRequest(namespace="orders", update_info={"description": "more"})
    said.append(brief(await service.update_namespace(change)))
    gone = await operator.delete_namespace(DeleteNamespaceRequest(namespace="orders"))
    said.append(gone.deleted_namespace.startswith("orders-deleted-"))
    said.append(await told(operator.delete_namespace(DeleteNamespaceRequest(namespace="nobody"))))
    await asyncio.sleep(12)
    return [*said, await told(handle.describe()), await told(describe("orders")), await names()]


def brief(described):
    told = MessageToDict(described, preserving_proto_field_name=True)
    info = {
        name: told["namespace_info"].get(name) for name in ("name", "state", "description", "owner_email")
    }
    return info, told["config"]["workflow_execution_retention_ttl"]


@case
async def an_environment_has_a_namespace_of_its_own(bench):
    async with await environment(namespace="first") as third:
        listed = await third.client.workflow_service.list_namespaces(ListNamespacesRequest())
        names = sorted(one.namespace_info.name for one in listed.namespaces)
        default = await bench.at(third.client, "default")
        async with bench.worker(third.client), bench.worker(default):
            handles = [await bench.start(client, "Notes", 0) for client in (third.client, default)]
            return third.client.namespace, names, [await handle.result() for handle in handles]


@case
async def a_worker_moves_to_another_server(bench):
    handles = [await bench.start(client, "Ticks") for client in bench.all]
    moved = []
    async with bench.worker(bench.one) as worker:
        for client in (bench.one, bench.other, bench.second):  # the worker's namespace stays what it was
            worker.client = client
            await asyncio.sleep(12)
            moved.append((worker.client is client, await asyncio.gather(*map(ticks, handles))))
    for handle in handles:
        await handle.terminate()
    return moved


async def ticks(handle):
    """Tell whether a workflow goes on."""
    before = (await handle.describe()).history_length
    await asyncio.sleep(3)
    return (await handle.describe()).history_length > before


async def environment(**options):
    """Start a server; a simulated one needs no binary."""
    from real_server import BINARY

    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=BINARY, dev_server_log_level="error", **options
    )


async def play_all():
    """Play all cases beside each other, on two servers."""
    async with await environment() as one, await environment() as other:
        register = RegisterNamespaceRequest(namespace="second", workflow_execution_retention_period=RETENTION)
        await one.client.workflow_service.register_namespace(register)
        await asyncio.sleep(1)
        second = await Client.connect(one.client.service_client.config.target_host, namespace="second")
        room = asyncio.Semaphore(5)

        async def play(name):
            async with room:
                bench = Bench(one.client, second, other.client, name)
                return name, await asyncio.wait_for(CASES[name](bench), 60)

        return dict(await asyncio.gather(*[play(name) for name in CASES]))
