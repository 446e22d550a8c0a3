"""A worker in a simulation: takes what ``temporalio.worker.Worker`` takes, and is one to whoever asks."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import temporalio.activity
import temporalio.worker
import temporalio.workflow
from temporalio.client import HeaderCodecBehavior
from temporalio.runtime import Runtime
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner

from wfsim.kernel import start_process
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.nexus import sdk_worker
from wfsim_temporal.rpc import SimulatedServiceClient
from wfsim_temporal.versions import ACTIVITY, NEXUS, WORKFLOW, DeploymentVersion
from wfsim_temporal.worker._capture import Captured, capture
from wfsim_temporal.worker._codec import Codec
from wfsim_temporal.worker._session import Session
from wfsim_temporal.worker._slots import tuner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from temporalio.client import Client

    from wfsim.kernel import Process
    from wfsim_temporal.server import Server

_SIGNATURE: Final = inspect.signature(temporalio.worker.Worker.__init__)


class Worker(temporalio.worker.Worker):
    """Runs workflows and activities in a simulated process, named ``{task_queue}-worker-{n}``.

    A crash fault may strike that process; when it restarts, the worker begins anew with an empty cache. Raises
    what the SDK's worker raises for arguments that do not fit, and NotSimulated for what is not simulated.
    """

    def __init__(self, client: Client, **options: Any) -> None:
        config = _configured(client, options)
        service = _service_of(client)
        self.server = service.host.server(client.namespace)
        self._settings = config
        self.data_converter = client.data_converter
        self.codec = Codec(client.data_converter, with_headers=_encodes_headers(client))
        self._client = client
        self.tuner = tuner_of(config)
        self._take_version(config["deployment_config"], config["build_id"])
        self.cached_max: int = config["max_cached_workflows"]
        self.default_throttle_ns = _ns(config["default_heartbeat_throttle_interval"])
        self.longest_throttle_ns = _ns(config["max_heartbeat_throttle_interval"])
        self.grace_ns = _ns(config["graceful_shutdown_timeout"])
        self.interceptors = _interceptors(client, config)
        self._workflow_worker = self._activity_worker = self._nexus_worker = (
            None  # the SDK's; tests ask for them
        )
        self._activities = _activities(config)
        if self.runs_nexus:
            sdk_worker(self)  # handlers that are none are told here and now
        self.metric_meter = _runtime_of(service).metric_meter
        self.captured = self._capture()
        self._check_behaviors()
        self.patch_activation_callback: Any = config.get("patch_activation_callback")
        self.extern_functions = self._extern_functions()
        self.runner = self._runner()
        known = self.server.host.hosts.workers
        number = sum(one.task_queue == self.task_queue for one in known) + 1
        known.append(self)
        self.server.workers.append(self)
        self._process_name = f"{self.task_queue}-worker-{number}"
        self.identity: str = config["identity"] or self._process_name
        self.session: Session | None = None
        self._left: list[Session] = []
        self._process: Process | None = None
        self._over: asyncio.Future[None] = self.server.future()
        self._begun: asyncio.Future[None] = self.server.future()
        self._stop: asyncio.Future[None] | None = None
        self._run_task: asyncio.Task[None] | None = None

    def _take_version(self, told: Any, build_id: str | None) -> None:
        """Note its version.

        ``routed_as`` is the one by which the server chooses its tasks, ``told_as`` the one that its workflows are
        told, ``stamp`` what events say of it. A build id that the SDK would make up of the code that it has loaded
        stays unknown: it would be another one in each environment.
        """
        self.version: Any = None if told is None else told.version
        self.build_id: str = (build_id or "") if told is None else told.version.build_id
        name = "" if told is None else told.version.deployment_name
        self.told_as = DeploymentVersion(name, self.build_id) if self.build_id else None
        self.routed_as = self.told_as if told is not None and told.use_worker_versioning else None
        self.default_behavior: int = 0 if told is None else told.default_versioning_behavior.value
        self.stamp = {"build_id": self.build_id} if self.build_id else None

    def completed_attributes(self, behavior: int) -> dict[str, Any]:
        """Give what the completion of a workflow task says of its version."""
        if self.told_as is None:
            return {}
        told: dict[str, Any] = {
            "worker_version": self.stamp,
            "worker_deployment_name": self.told_as.deployment,
        }
        if self.routed_as is not None:
            told["versioning_behavior"] = behavior or self.default_behavior
            told["deployment_version"] = self.routed_as.message()
        return told

    # -- what it runs

    @property
    def caches(self) -> bool:
        """Whether it keeps workflows between their tasks."""
        return bool(self._settings["max_cached_workflows"])

    @property
    def kinds(self) -> list[int]:
        """The kinds of task that it polls for."""
        known = ((self.runs_workflows, WORKFLOW), (self.runs_activities, ACTIVITY), (self.runs_nexus, NEXUS))
        return [kind for runs, kind in known if runs]

    @property
    def task_queue(self) -> str:
        """The queue that it takes tasks from."""
        return str(self._settings["task_queue"])

    @property
    def client(self) -> Client:
        """The client that it was made with, or another: with other credentials, or of another server.

        To that server the worker moves at once; its namespace stays what it was.
        """
        return self._client

    @client.setter
    def client(self, value: Client) -> None:
        service, before = _service_of(value), _service_of(self._client)
        if _runtime_of(service) is not _runtime_of(before):
            raise ValueError("New client is not on the same runtime as the existing client")
        self._client = self._settings["client"] = value
        if service.host is not before.host:
            self._move(service.host.server(self.server.namespace))

    def _move(self, server: Server) -> None:
        """Take tasks of another server; what is under way is brought to its end where it was taken."""
        self.server = server
        if self not in server.workers:
            server.workers.append(self)
        session = self.session
        if session is not None and session.is_alive:
            session.leave()
            self._left.append(session)
            self.session = session.successor()
            self.session.poll()

    def config(self, **_options: Any) -> Any:
        """Give the arguments that it was made with, completed."""
        return dict(self._settings)

    @property
    def runs_workflows(self) -> bool:
        """Whether it takes workflow tasks."""
        return bool(self._settings["workflows"])

    @property
    def runs_activities(self) -> bool:
        """Whether it takes activity tasks."""
        return bool(self._activities) and not self._settings["no_remote_activities"]

    @property
    def threads_max(self) -> int | None:
        """How many synchronous activities its executor runs at once; None if it says nothing."""
        limit = getattr(self._settings["activity_executor"], "_max_workers", None)
        return limit if isinstance(limit, int) else None

    @property
    def runs_nexus(self) -> bool:
        """Whether it takes Nexus requests."""
        return bool(self._settings["nexus_service_handlers"])

    @property
    def activity_names(self) -> list[str]:
        """The names of its activities, sorted."""
        return sorted(name for name in self._activities if name)

    def fails_on_nondeterminism(self, workflow_type: str) -> bool:
        """Whether a workflow that is not deterministic shall fail, where others wait for code that is."""
        definition = self.captured.definitions.get(workflow_type) or self.captured.definitions.get(None)
        own = () if definition is None else definition.failure_exception_types
        kinds = (*self._settings["workflow_failure_exception_types"], *own)
        return any(issubclass(temporalio.workflow.NondeterminismError, kind) for kind in kinds)

    def activity(self, name: str) -> Any:
        """Give the definition of an activity: that of the name, or the dynamic one; None if it has neither."""
        return self._activities.get(name) or self._activities.get(None)

    def _capture(self) -> Captured:
        if not self.runs_workflows:
            return Captured(None, {})
        return capture(
            list(self._settings["workflows"]),
            namespace=self.server.namespace,
            data_converter=self.data_converter,
            interceptors=self.interceptors,
            workflow_failure_exception_types=list(self._settings["workflow_failure_exception_types"]),
        )

    def _check_behaviors(self) -> None:
        """Refuse what the SDK's worker does: workflows that do not say what a new version does to them."""
        if self.routed_as is None or self.default_behavior:
            return
        for name, definition in self.captured.definitions.items():
            if not (definition.versioning_behavior or definition.dynamic_config_fn):
                raise ValueError(
                    f"Workflow {name} must specify a versioning behavior using the `versioning_behavior` argument to "
                    "`@workflow.defn` or by defining a function decorated with `@workflow.dynamic_config`."
                )

    def _extern_functions(self) -> dict[str, Any]:
        """Give what workflows reach out of the sandbox for; those captured belong to a replayer's runtime."""
        if self.captured.details is None:
            return {}
        known = dict(self.captured.details.extern_functions)
        return {**known, "__temporal_get_metric_meter": lambda: self.metric_meter}

    def _runner(self) -> Any:
        chosen, plain = self._settings["workflow_runner"], self._settings["unsandboxed_workflow_runner"]
        is_sandbox = isinstance(chosen, temporalio.worker.workflow_sandbox.SandboxedWorkflowRunner)
        if is_sandbox and not self.server.settings.sandbox:
            return UnsandboxedWorkflowRunner()
        if not is_sandbox:
            return chosen
        # A workflow's module may import wfsim; a second one in the sandbox would know nothing of this simulation.
        known = chosen.restrictions.with_passthrough_modules("wfsim", "wfsim_temporal")
        chosen = replace(chosen, restrictions=known)
        for definition in self.captured.definitions.values():
            if definition.sandboxed:
                _keeping_loop(chosen.prepare_workflow, definition)
        return _ByDefinition(chosen, plain)

    # -- life

    @property
    def process_is_alive(self) -> bool:
        """Whether its process runs: it has neither crashed nor ended."""
        return self._process is not None and self._process.alive

    @property
    def is_running(self) -> bool:
        """Whether it was started and not shut down; a crash is not noticed from outside."""
        return self._process is not None and not self._over.done()

    @property
    def is_shutdown(self) -> bool:
        """Whether it has been shut down."""
        return self._over.done()

    async def run(self) -> None:
        """Run until it is shut down; plugins take part as with the SDK's worker."""
        following: Callable[[Any], Any] = Worker._run
        for plugin in reversed(self._settings["plugins"]):
            following = _through(plugin, following)
        await following(self)

    async def _run(self) -> None:
        await self.server.here(self._run_here())

    async def _run_here(self) -> None:
        if self._process is not None:
            raise RuntimeError("Already started")
        self._check_namespace()
        self._process = start_process(self._process_name, self._live)
        try:
            await asyncio.shield(self._over)
        finally:
            await self._end()

    def _check_namespace(self) -> None:
        try:
            self.server.host.used(self.server.namespace)
        except RPCError as error:
            raise RuntimeError(
                f"Worker validation failed: Namespace {self.server.namespace} was not found or otherwise could not be "
                f"described: Status {{ code: NotFound, message: {error.message!r} }}"
            ) from None

    async def _live(self) -> None:
        """One life, in the worker's process; a restart calls it again."""
        self._stop = self.server.future()
        if self.session is not None:
            self.session.slots.lose()
        self.session = Session(self)
        try:
            self.session.poll()
        except Exception as error:
            self._over.set_exception(error)  # nobody but who runs the worker hears of it
            raise
        if not self._begun.done():
            self._begun.set_result(None)
        await self._stop
        for session in (*self._left, self.session):
            await session.stop()

    async def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
        if self.process_is_alive and self._process is not None and self._stop is not None:
            if not self._stop.done():
                self._stop.set_result(None)
            await self._process

    async def shutdown(self) -> None:
        """Stop taking tasks, cancel the activities under way, and wait for them."""
        if self._process is None:
            raise RuntimeError("Never started")
        await self.server.here(self._end())

    async def __aenter__(self) -> Self:
        """See the SDK."""
        self._run_task = asyncio.get_running_loop().create_task(self.run())
        begun = asyncio.ensure_future(self.server.here(self._has_begun()))
        await asyncio.wait((self._run_task, begun), return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if self._run_task.done():
            self._run_task.result()
        return self

    async def _has_begun(self) -> None:
        await asyncio.shield(self._begun)

    async def __aexit__(self, exc_type: type[BaseException] | None, *args: object) -> None:
        """See the SDK."""
        await self.shutdown()
        if self._run_task is not None:
            await self._run_task


class _ByDefinition:
    """Runs in the sandbox what wants it."""

    def __init__(self, sandboxed: Any, plain: Any) -> None:
        self._sandboxed = sandboxed
        self._plain = plain

    def create_instance(self, details: Any) -> Any:
        return (self._sandboxed if details.defn.sandboxed else self._plain).create_instance(details)


def _service_of(client: Client) -> SimulatedServiceClient:
    service = client.service_client
    if not isinstance(service, SimulatedServiceClient):
        raise TypeError("a worker in a simulation wants a client that was connected in the same simulation")
    return service


def _runtime_of(service: SimulatedServiceClient) -> Runtime:
    return service.config.runtime or Runtime.default()


def _configured(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    """Complete the arguments as the SDK does, and let plugins change them."""
    bound = _SIGNATURE.bind(None, client, **options)
    bound.apply_defaults()
    config: dict[str, Any] = {name: one for name, one in bound.arguments.items() if name != "self"}
    inherited = [one for one in client.config().get("plugins", ()) if hasattr(one, "configure_worker")]
    config["plugins"] = [*inherited, *(config.get("plugins") or ())]
    for plugin in config["plugins"]:
        config = dict(plugin.configure_worker(config))
    _check(config)
    _warn_of_threads(config)
    return config


def _check(config: Mapping[str, Any]) -> None:
    if config["use_worker_versioning"] and not config["build_id"]:
        raise ValueError("build_id must be specified when use_worker_versioning is True")
    told = config["deployment_config"]
    if told is not None and (config["build_id"] or config["use_worker_versioning"]):
        raise ValueError("deployment_config cannot be used with build_id or use_worker_versioning")
    if told is not None and not told.use_worker_versioning and told.default_versioning_behavior.value:
        raise ValueError(
            "default_versioning_behavior must be UNSPECIFIED when use_worker_versioning is False"
        )
    if config["use_worker_versioning"]:
        raise NotSimulated(
            "servers of today have versioning by build ids alone disabled; give the worker a deployment_config"
        )
    if not (config["workflows"] or config["activities"] or config["nexus_service_handlers"]):
        raise ValueError("At least one activity, Nexus service, or workflow must be specified")


def _encodes_headers(client: Client) -> bool:
    behavior = client.config(active_config=True).get("header_codec_behavior")
    return behavior == HeaderCodecBehavior.CODEC


def _interceptors(client: Client, config: Mapping[str, Any]) -> list[Any]:
    known = client.config(active_config=True)["interceptors"]  # those that its plugins have added too
    own = [one for one in known if isinstance(one, temporalio.worker.Interceptor)]
    return [*own, *(config["interceptors"] or ())]


def _activities(config: Mapping[str, Any]) -> dict[str | None, Any]:
    found: dict[str | None, Any] = {}
    for function in config["activities"]:
        definition = temporalio.activity._Definition.must_from_callable(function)
        if definition.name in found and definition.name is None:
            raise TypeError("More than one dynamic activity")
        if definition.name in found:
            raise ValueError(f"More than one activity named {definition.name}")
        _check_bound(definition.name, function)
        if not definition.is_async:
            _check_executor(definition.name, function, config)
        found[definition.name] = definition
    return found


def _check_bound(name: str | None, function: Any) -> None:
    """Say what the SDK says of a class, and of a method that belongs to no object."""
    if inspect.isclass(function):
        raise TypeError(f"Activity named {name} is a class instead of an instance")
    if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters), "") == "self":
        warnings.warn(
            f"Activity named {name} has a first parameter named self but is not bound to an instance, did you mean "
            "to register it from an instance of the class?",
            stacklevel=4,
        )


def _warn_of_threads(config: Mapping[str, Any]) -> None:
    """Warn of executors with fewer threads than the worker has slots, in the SDK's words."""
    tuner = config["tuner"]
    for executor, limit, ask in (
        ("activity_executor", "max_concurrent_activities", "_get_activities_max"),
        ("nexus_task_executor", "max_concurrent_nexus_tasks", "_get_nexus_tasks_max"),
    ):
        asked = getattr(tuner, ask, None)
        slots = (asked and asked()) or config.get(limit)
        threads = getattr(config.get(executor), "_max_workers", None)
        if isinstance(threads, int) and threads < (slots or 0):
            warnings.warn(
                f"Worker {limit} is {slots} but {executor}'s max_workers is only {threads}", stacklevel=4
            )


def _check_executor(name: str | None, function: Any, config: Mapping[str, Any]) -> None:
    """Raise what the SDK raises for a synchronous activity that an executor cannot run."""
    executor, told = config["activity_executor"], f"Activity {name} is not async"
    if executor is None:
        raise ValueError(f"{told} so an activity_executor must be present")
    if not isinstance(executor, ThreadPoolExecutor) and not config["shared_state_manager"]:
        wanted = "so a shared_state_manager must be present"
        raise ValueError(f"{told} and executor is not thread-pool executor, {wanted}")
    if isinstance(executor, ProcessPoolExecutor):
        try:
            pickle.dumps(function)
        except Exception as error:
            raise TypeError(f"Activity {name} must be picklable when using a process executor") from error


def _through(plugin: Any, following: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda worker: plugin.run_worker(worker, following)


def _keeping_loop(act: Callable[[Any], Any], argument: Any) -> None:
    loop = asyncio._get_running_loop()
    try:
        act(argument)
    finally:
        asyncio._set_running_loop(loop)


def _ns(interval: timedelta) -> int:
    return round(interval.total_seconds() * NS_PER_SECOND)
