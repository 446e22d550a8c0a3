"""The way from a real ``Client`` to the simulated server: a service client whose calls go no further."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from temporalio.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient

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
from wfsim_temporal.rpc._patience import Patience
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
_CHANCE: Final = "temporal/client"


class _Asked(NamedTuple):
    """One call of a client, and how long it waits for each answer."""

    answer: Any
    rpc: str
    request: Any
    response: type[Any]
    seconds: float | None


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
        retry: bool,
        metadata: Mapping[str, str | bytes],  # noqa: ARG002
        timeout: timedelta | None,  # noqa: ASYNC109 - the SDK's signature
    ) -> Any:
        answer = CALLS.get(rpc)
        if answer is None:
            raise NotSimulated(f"the server's call {rpc} is not simulated")
        seconds = None if timeout is None else timeout.total_seconds()
        asked = _Asked(answer, rpc, req, resp_type, seconds)
        called = self.host.hosts.here(self._patiently(asked) if retry else self._once(asked))
        if getattr(req, "request_eager_execution", False):
            called = self._eagerly(called, req)
        return await called

    async def _patiently(self, asked: _Asked) -> Any:
        """Ask again, as Core does, while a fault keeps the server from answering. What it answers is the answer."""
        simulation = self.host.hosts.simulation
        if simulation.watch is None:
            return await self._once(asked)
        patience = Patience(self.config.retry_config, simulation.stream(_CHANCE))
        while True:
            try:
                return await self._once(asked, patience.tries)
            except RPCError as error:
                wait_ns = None
                if isinstance(error.__cause__, InjectedFault):
                    wait_ns = patience.wait_ns(simulation.now_ns)
                if wait_ns is None:
                    raise
            await sleep(wait_ns / NS_PER_SECOND)

    async def _once(self, asked: _Asked, number: int = 1) -> Any:
        """Ask once; the time that a caller has is that of each try."""
        if asked.seconds is None:
            return await self._call(asked, number)
        try:
            async with asyncio.timeout(asked.seconds):
                return await self._call(asked, number)
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

    async def _call(self, asked: _Asked, number: int) -> Any:
        host, rpc = self.host, asked.rpc
        await sleep(host.settings.latency_ns / NS_PER_SECOND)
        if host.hosts.simulation.watch is None:
            return await self._answer(asked)
        try:
            await fault_point("call", kind="rpc", name=rpc, attempt=number)
            answered = await self._answer(asked)
            await fault_point("reply", kind="rpc", name=rpc, attempt=number)
        except InjectedFault as error:
            raise rpc_error(RPCStatusCode.UNAVAILABLE, str(error)) from error
        return answered

    async def _answer(self, asked: _Asked) -> Any:
        host = self.host if asked.rpc in _OF_HOSTS else self.host.used(asked.request.namespace)
        return await asked.answer(host, asked.request, asked.response)
