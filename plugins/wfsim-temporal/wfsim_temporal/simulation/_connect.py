"""Unmodified programs: clients that connect and workers that are made in a simulation are simulated ones.

In force while `simulated_temporal` is entered, and only for code that a simulation runs. What is replaced:
``ServiceClient.connect`` (so ``Client.connect`` runs as it is, plugins and all), what ``Worker(...)`` makes, the
two ways in which ``WorkflowEnvironment`` starts a server, where ``Replayer`` replays, and a ``Runtime`` that
would send or serve metrics.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import temporalio.worker
from temporalio.client import Client
from temporalio.runtime import OpenTelemetryConfig, PrometheusConfig, Runtime
from temporalio.service import ConnectConfig, ServiceClient
from temporalio.testing import WorkflowEnvironment
from temporalio.testing import _workflow as sdk
from temporalio.worker import Replayer
from temporalio.worker._activity import _ThreadExceptionRaiser

from wfsim.kernel import current
from wfsim_temporal.activities import raising_in_simulation
from wfsim_temporal.execution import configured
from wfsim_temporal.rpc import SimulatedServiceClient
from wfsim_temporal.server import Host, Settings, hosts_here
from wfsim_temporal.simulation._manager import simulated_manager
from wfsim_temporal.worker import Worker, replaying_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RealWorker = temporalio.worker.Worker
_RAISES = "_raise_in_thread_if_pending_unlocked"


@contextmanager
def simulated_temporal(settings: Settings | None = None) -> Iterator[None]:
    """Let code in simulations that run meanwhile connect to simulated servers: one at each address."""
    chosen = Settings() if settings is None else settings

    def connect(config: ConnectConfig) -> SimulatedServiceClient:
        return SimulatedServiceClient(config, hosts_here().at(config.target_host, chosen))

    undo = [
        _replace(ServiceClient, "connect", staticmethod(_inside(connect, ServiceClient.connect))),
        _replace(_RealWorker, "__new__", staticmethod(_new_worker)),
        _replace(Replayer, "workflow_replay_iterator", replaying_outside(Replayer.workflow_replay_iterator)),
        _replace(Runtime, "__init__", _without_exporter(Runtime.__init__)),
        simulated_manager(),
        _replace(
            _ThreadExceptionRaiser, _RAISES, raising_in_simulation(getattr(_ThreadExceptionRaiser, _RAISES))
        ),
        *_replace_environments(chosen),
    ]
    try:
        yield
    finally:
        for put_back in reversed(undo):
            put_back()


def make_client(host: Host, **options: Any) -> Client:
    """Make a real client of a simulated server; ``options`` are those of ``Client``."""
    service = SimulatedServiceClient(ConnectConfig(target_host=host.address), host)
    return Client(service, **{"namespace": host.settings.namespace, **options})


def _inside(act: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """Make a coroutine function that calls ``act`` in a simulation, and outside of one the real thing."""

    async def chosen(*args: Any, **options: Any) -> Any:
        return await real(*args, **options) if current() is None else act(*args, **options)

    return chosen


def _new_worker(cls: type, *_args: Any, **_options: Any) -> Any:
    return object.__new__(cls if current() is None else _simulated(cls))


@functools.cache
def _simulated(cls: type) -> type:
    """Give the simulated kind of a worker class. What a user's own class inherits comes from the simulated one."""
    if cls is _RealWorker:
        return Worker
    if issubclass(cls, Worker):
        return cls
    return type(cls.__name__, (cls, Worker), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})


def _replace(owner: type, name: str, value: Any) -> Callable[[], None]:
    """Set an attribute of a class, and give what puts it back."""
    before = vars(owner).get(name)
    setattr(owner, name, value)

    def put_back() -> None:
        if before is not None:
            setattr(owner, name, before)
        elif name == "__new__":
            # A class whose __new__ was deleted refuses its own arguments: leave one that lets them through.
            setattr(owner, name, staticmethod(_plain_new))
        else:
            delattr(owner, name)

    return put_back


def _plain_new(cls: type, *_args: Any, **_options: Any) -> Any:
    return object.__new__(cls)


def _without_exporter(init: Callable[..., None]) -> Callable[..., None]:
    """Make a ``Runtime.__init__`` that opens no port: Core would, past all that a simulation can see."""

    @functools.wraps(init)
    def without_exporter(self: Runtime, **options: Any) -> None:
        told: Any = options.get("telemetry")
        exports = isinstance(getattr(told, "metrics", None), OpenTelemetryConfig | PrometheusConfig)
        if exports and current() is not None:
            options["telemetry"] = replace(told, metrics=None)
        init(self, **options)

    return without_exporter


# -- WorkflowEnvironment


class SimulatedEnvironment(WorkflowEnvironment):
    """What ``WorkflowEnvironment.start_local`` gives in a simulation."""

    async def shutdown(self) -> None:
        """Give the server's address free. What it has lives on, to be looked at when the simulation has ended."""
        service = self.client.service_client
        if isinstance(service, SimulatedServiceClient):
            service.host.hosts.stop(service.host)

    async def sleep(self, duration: timedelta | float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(duration.total_seconds() if isinstance(duration, timedelta) else duration)

    async def get_current_time(self, handle: Any = None) -> datetime:  # noqa: ARG002
        """Give the date on the virtual clock."""
        return datetime.now(UTC)  # noqa: TID251 - inside a simulation this is the virtual clock


_LOCAL = "127.0.0.1"
_TEST_SERVER = "start_time_skipping"


class SimulatedTestServer(SimulatedEnvironment):
    """What ``start_time_skipping`` gives. In both time passes as fast as it can, but tests ask this one whether."""

    @property
    def supports_time_skipping(self) -> bool:
        """Whether it stands for the test server, which lacks some things that tests then leave out."""
        return True

    @property
    def supports_time_skipping_v1(self) -> bool:
        """The same, as newer releases of the SDK ask."""
        return True


class _OwnServer:
    """What an environment of the SDK's own shuts down."""

    def __init__(self, client: Client) -> None:
        self._environment = SimulatedEnvironment(client)

    async def shutdown(self) -> None:
        """See above."""
        await self._environment.shutdown()


_CLIENT_OPTIONS = (
    "namespace",
    "data_converter",
    "interceptors",
    "plugins",
    "default_workflow_query_reject_condition",
    "retry_config",
    "rpc_metadata",
    "identity",
    "runtime",
)


def _replace_environments(settings: Settings) -> list[Callable[[], None]]:
    def own_clocks(client: Client, options: dict[str, Any]) -> WorkflowEnvironment:
        config = options.get("ts_config") or sdk.TimeSkippingConfig()  # type: ignore[attr-defined,unused-ignore]
        made: WorkflowEnvironment = sdk._V2WorkflowEnvironment(client, _OwnServer(client), config)  # type: ignore[arg-type,unused-ignore]
        return made

    # ``from_client`` adds what makes an assertion that fails a failure of its workflow.
    kinds: dict[str, Callable[[Client, dict[str, Any]], WorkflowEnvironment]] = {
        "start_local": lambda client, _: SimulatedEnvironment.from_client(client),
        _TEST_SERVER: lambda client, _: SimulatedTestServer.from_client(client),
        "start_time_skipping_v2": own_clocks,
    }
    known = {name: make for name, make in kinds.items() if hasattr(WorkflowEnvironment, name)}
    return [_replace_environment(name, make, settings) for name, make in known.items()]


def _replace_environment(
    name: str, make: Callable[[Client, dict[str, Any]], WorkflowEnvironment], settings: Settings
) -> Callable[[], None]:
    async def start(**options: Any) -> WorkflowEnvironment:
        known = {name: one for name, one in options.items() if name in _CLIENT_OPTIONS and one is not None}
        namespace = known.setdefault("namespace", settings.namespace)
        address = options.get("ip", _LOCAL), options.get("port")
        host = hosts_here().start(settings, namespace, *address, is_open=name == _TEST_SERVER)
        host.limits = configured(host.limits, options.get("dev_server_extra_args", ()))
        types = host.server(namespace).search_attribute_types
        for key in options.get("search_attributes", ()):
            types[key.name] = key.indexed_value_type.name.title().replace("_", "")
        return make(await Client.connect(host.address, **known), options)

    real = getattr(WorkflowEnvironment, name)

    async def chosen(**options: Any) -> Any:
        return await (real if current() is None else start)(**options)

    return _replace(WorkflowEnvironment, name, staticmethod(chosen))
