"""The operator's calls about Nexus endpoints: names by which callers reach the task queue of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.nexus.v1 import Endpoint
from temporalio.service import RPCStatusCode

from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.server import Host


async def _create(host: Host, request: Any, answer: type[Any]) -> Any:
    name = request.spec.name
    if host.nexus_endpoint(name) is not None:
        raise rpc_error(
            RPCStatusCode.ALREADY_EXISTS,
            f"error creating Nexus endpoint. Endpoint with name {name} already registered",
        )
    made = Endpoint(id=host.hosts.new_id(), version=1, spec=_spec(host, request))
    host.nexus_endpoints[made.id] = made
    return answer(endpoint=made)


def _spec(host: Host, request: Any) -> Any:
    if not request.spec.target.HasField("worker"):
        raise NotSimulated(
            "a Nexus endpoint that leads out of this server is not simulated; name a worker's queue"
        )
    namespace = request.spec.target.worker.namespace
    if not namespace:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "target namespace not set")
    if not host.has(namespace):
        message = (
            f"could not verify namespace referenced by target exists: Namespace {namespace} is not found."
        )
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)
    return request.spec


async def _update(host: Host, request: Any, answer: type[Any]) -> Any:
    found = _endpoint(host, request.id)
    _check_version(found, request.version)
    made = Endpoint(id=found.id, version=found.version + 1, spec=_spec(host, request))
    host.nexus_endpoints[found.id] = made
    return answer(endpoint=made)


async def _delete(host: Host, request: Any, answer: type[Any]) -> Any:
    found = _endpoint(host, request.id)
    _check_version(found, request.version)
    del host.nexus_endpoints[found.id]
    return answer()


async def _get(host: Host, request: Any, answer: type[Any]) -> Any:
    return answer(endpoint=_endpoint(host, request.id))


async def _list(host: Host, request: Any, answer: type[Any]) -> Any:
    known = sorted(host.nexus_endpoints.values(), key=lambda one: str(one.id))
    return answer(endpoints=[one for one in known if request.name in {"", one.spec.name}])


def _endpoint(host: Host, endpoint_id: str) -> Any:
    found = host.nexus_endpoints.get(endpoint_id)
    if found is None:
        raise not_found(f"could not find Nexus endpoint by ID: {endpoint_id}")
    return found


def _check_version(found: Any, version: int) -> None:
    if found.version != version:
        message = f"nexus endpoint version mismatch. received: {version} expected {found.version}"
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


CALLS: Final[dict[str, Any]] = {
    "create_nexus_endpoint": _create,
    "update_nexus_endpoint": _update,
    "delete_nexus_endpoint": _delete,
    "get_nexus_endpoint": _get,
    "list_nexus_endpoints": _list,
}
"""The calls by their names in ``temporal.api.operatorservice``."""
