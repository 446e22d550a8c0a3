"""The way from a real ``Client`` to the simulated server: a service client whose calls go no further."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from temporalio.service import ConnectConfig, RPCStatusCode, ServiceClient

from wfsim.errors import InjectedFault
from wfsim.kernel import fault_point, sleep
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.rpc import (
    _activity,
    _deployment,
    _namespace,
    _nexus,
    _operator,
    _reset,
    _schedule,
    _standalone,
    _standalone_nexus,
    _standalone_operator,
    _time_skipping,
    _update,
    _visibility,
    _workflow,
)
from wfsim_temporal.wire import rpc_error

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from datetime import timedelta

    from wfsim_temporal.server import Host

_OF_NAMESPACES: Final[dict[str, Any]] = {
    **_workflow.CALLS,
    **_update.CALLS,
    **_activity.CALLS,
    **_standalone.CALLS,
    **_standalone_nexus.CALLS,
    **_schedule.CALLS,
    **_visibility.CALLS,
    **_deployment.CALLS,
    **_reset.CALLS,
    **_operator.CALLS,
    **_standalone_operator.CALLS,
    **_time_skipping.CALLS,
}
"""Those that concern what is in one namespace."""
_OF_HOSTS: Final[dict[str, Any]] = {**_nexus.CALLS, **_namespace.CALLS}
CALLS: Final[dict[str, Any]] = {**_OF_NAMESPACES, **_OF_HOSTS}
"""All calls that are simulated, by their names."""

_IDENTITY: Final = "client@wfsim"


class SimulatedServiceClient(ServiceClient):
    """Answers the calls of clients in a simulation. Each is a fault point of kind "rpc", named after the call."""

    def __init__(self, config: ConnectConfig, host: Host) -> None:
        if config.identity == ConnectConfig(target_host=config.target_host).identity:
            config.identity = _IDENTITY  # the SDK's names the process and the machine, and histories repeat
        super().__init__(config)
        self.host = host

    @property
    def worker_service_client(self) -> Any:
        """Refuse: what would be done with it needs a real connection."""
        raise NotSimulated("the SDK's own worker needs a real server; make the worker inside the simulation")

    def update_rpc_metadata(self, metadata: Any) -> None:
        """See the SDK; nothing here reads metadata."""

    def update_api_key(self, api_key: str | None) -> None:
        """See the SDK; every key is good."""

    async def _rpc_call(
        self,
        rpc: str,
        req: Any,
        resp_type: type[Any],
        *,
        service: str,  # noqa: ARG002
        retry: bool,  # noqa: ARG002
        metadata: Mapping[str, str | bytes],  # noqa: ARG002
        timeout: timedelta | None,  # noqa: ASYNC109 - the SDK's signature
    ) -> Any:
        answer = CALLS.get(rpc)
        if answer is None:
            raise NotSimulated(f"the server's call {rpc} is not simulated")
        called = self.host.hosts.here(self._call(answer, rpc, req, resp_type))
        if getattr(req, "request_eager_execution", False):
            called = self._eagerly(called, req)
        if timeout is None:
            return await called
        try:
            return await asyncio.wait_for(called, timeout.total_seconds())
        except TimeoutError:
            raise rpc_error(RPCStatusCode.DEADLINE_EXCEEDED, "Timeout expired") from None

    async def _eagerly(self, called: Coroutine[Any, Any, Any], req: Any) -> Any:
        """Start a workflow as Core does, which asks for its first task only if a worker of this client has room."""
        sessions = [
            one.session
            for one in self.host.server(req.namespace).workers
            if one.task_queue == req.task_queue.name
            and one.client.service_client is self
            and one.runs_workflows
        ]
        alive = [one for one in sessions if one is not None and one.is_alive]
        slots = next((one.slots.workflow for one in alive if one.slots.workflow.try_reserve()), None)
        req.request_eager_execution = slots is not None
        told = None
        try:
            told = await called
            return told
        finally:
            if slots is not None and not (told and told.HasField("eager_workflow_task")):
                slots.unreserve()

    async def _call(self, answer: Any, rpc: str, req: Any, resp_type: type[Any]) -> Any:
        host = self.host
        await sleep(host.settings.latency_ns / NS_PER_SECOND)
        if host.hosts.simulation.watch is None:
            return await answer(host if rpc in _OF_HOSTS else host.used(req.namespace), req, resp_type)
        try:
            await fault_point("call", kind="rpc", name=rpc)
            answered = await answer(host if rpc in _OF_HOSTS else host.used(req.namespace), req, resp_type)
            await fault_point("reply", kind="rpc", name=rpc)
        except InjectedFault as error:
            raise rpc_error(RPCStatusCode.UNAVAILABLE, str(error)) from error
        return answered
