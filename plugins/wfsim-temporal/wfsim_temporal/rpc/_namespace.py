"""The server's calls about namespaces, and those about the server as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import temporalio.api.errordetails.v1 as details
from temporalio.service import RPCStatusCode

from wfsim_temporal.server import Namespace, no_namespace
from wfsim_temporal.wire import rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.server import Host

_OF_THE_SERVER: Final = "temporal-system"


def _find(host: Host, name: str) -> Namespace:
    if not name:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Namespace not set on request.")
    found = host.namespaces.get(name)
    if found is None:
        raise no_namespace(name)
    return found


async def _register(host: Host, request: Any, answer: type[Any]) -> Any:
    name, kept = request.namespace, request.workflow_execution_retention_period
    if not name:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Namespace not set on request.")
    if not kept.ToNanoseconds():
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "A valid retention period is not set on request.")
    if name in host.namespaces:
        told = details.NamespaceAlreadyExistsFailure()
        raise rpc_error(RPCStatusCode.ALREADY_EXISTS, f'Namespace "{name}" already exists', told)
    made = Namespace(name, kept.ToSeconds())
    made.info.description, made.info.owner_email = request.description, request.owner_email
    made.info.data.update(request.data)
    host.register(made)
    return answer()


async def _describe(host: Host, request: Any, answer: type[Any]) -> Any:
    if request.id and not request.namespace:
        found = next((one for one in host.namespaces.values() if one.info.id == request.id), None)
        if found is None:
            raise no_namespace(request.id)
    else:
        found = _find(host, request.namespace)
    return answer(namespace_info=found.info, config=found.config)


async def _list(host: Host, _request: Any, answer: type[Any]) -> Any:
    told = answer()
    for one in (*host.namespaces.values(), Namespace(_OF_THE_SERVER)):
        told.namespaces.add(namespace_info=one.info, config=one.config)
    return told


async def _update(host: Host, request: Any, answer: type[Any]) -> Any:
    found, change = _find(host, request.namespace), request.update_info
    found.info.description = change.description or found.info.description
    found.info.owner_email = change.owner_email or found.info.owner_email
    found.info.data.update(change.data)
    if request.config.HasField("workflow_execution_retention_ttl"):
        kept = request.config.workflow_execution_retention_ttl
        found.config.workflow_execution_retention_ttl.CopyFrom(kept)
    return answer(namespace_info=found.info, config=found.config)


async def _delete(host: Host, request: Any, answer: type[Any]) -> Any:
    found = _find(host, request.namespace)
    host.delete(found.info.name)
    return answer(deleted_namespace=f"{found.info.name}-deleted-{host.hosts.new_id()[-5:]}")


async def _system_info(_host: Host, _request: Any, answer: type[Any]) -> Any:
    return answer(server_version="wfsim")


CALLS: Final[dict[str, Any]] = {
    "register_namespace": _register,
    "describe_namespace": _describe,
    "list_namespaces": _list,
    "update_namespace": _update,
    "delete_namespace": _delete,
    "get_system_info": _system_info,
}
"""The calls by their names in ``temporal.api.workflowservice`` and ``temporal.api.operatorservice``."""
