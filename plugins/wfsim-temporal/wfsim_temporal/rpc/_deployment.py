"""The server's calls about worker deployments, and about the version of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import temporalio.api.deployment.v1 as deployment_api
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.service import RPCStatusCode

from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.rpc._workflow import execution_of
from wfsim_temporal.server import ask_to_skip
from wfsim_temporal.versions import DeploymentVersion, check_override, override_of
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wfsim_temporal.server import Server
    from wfsim_temporal.versions import Deployment, VersionState

# WorkerDeploymentVersionStatus
_INACTIVE: Final = 1
_CURRENT: Final = 2
_RAMPING: Final = 3
_DRAINING: Final = 4
_DRAINED: Final = 5
_COMPLETED: Final = 2  # RoutingConfigUpdateState
_UNVERSIONED: Final = "__unversioned__"
_SKIPPING: Final = "time_skipping_config"
_OPTIONS: Final = WorkflowExecutionOptions.DESCRIPTOR.full_name
_KNOWS_MANAGERS: Final = "manager_identity" in deployment_api.WorkerDeploymentInfo.DESCRIPTOR.fields_by_name
_KNOWS_MODIFIERS: Final = (
    "last_modifier_identity" in deployment_api.WorkerDeploymentVersionInfo.DESCRIPTOR.fields_by_name
)
_Summary: Any = deployment_api.WorkerDeploymentInfo.WorkerDeploymentVersionSummary


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


# -- changes


def _of_system_workflow(name: str) -> Exception:
    """Give what the server says of a workflow of its own that there is not: it keeps deployments in such."""
    return not_found(f"workflow not found for ID: temporal-sys-worker-deployment{name}")


def _check_manager(found: Deployment, identity: str) -> None:
    if found.manager not in {"", identity}:
        raise _refused(
            f"ManagerIdentity '{found.manager}' is set and does not match user identity '{identity}'; to proceed, "
            "set your own identity as the ManagerIdentity, remove the ManagerIdentity, or wait for the other client to "
            "do so"
        )


def _check_token(found: Deployment, request: Any) -> None:
    if request.conflict_token and request.conflict_token != found.token:
        raise _refused("conflict token mismatch")


def _deployment(server: Server, name: str, *, makes: bool = False) -> Deployment:
    found = server.deployments.by_name.get(name)
    if found is None and makes:
        found = server.deployments.get_or_make(name)
    if found is None:
        raise not_found(
            f"no Worker Deployment found with name '{name}'; does your Worker Deployment have pollers?"
        )
    return found


def _asked_for(server: Server, request: Any) -> tuple[Deployment, str]:
    """Give the deployment and the build id that a change names. Raises RPCError."""
    build_id = request.build_id
    if not build_id and request.version not in {"", _UNVERSIONED}:
        build_id = request.version.partition(".")[2]
    found = _deployment(server, request.deployment_name, makes=request.allow_no_pollers)
    _check_manager(found, request.identity)
    _check_token(found, request)
    if build_id and request.allow_no_pollers:
        found.version(build_id, server.now_ns)
    if build_id and build_id not in found.versions:
        raise not_found(f"build ID '{build_id}' not found in Worker Deployment '{found.name}'")
    return found, build_id


def _check_queues(server: Server, request: Any, found: Deployment, build_id: str, what: str) -> None:
    if not build_id or request.ignore_missing_task_queues:
        return
    if server.deployments.missing(found, build_id):
        raise _refused(
            f"proposed {what} version '{found.name}:{build_id}' is missing active task queues from the current "
            f"version; these would become unversioned if it is set as the {what} version"
        )


def _changed(server: Server, request: Any, found: Deployment) -> None:
    found.modifier = request.identity
    server.soon(server.serve)


async def _set_current(server: Server, request: Any, answer: type[Any]) -> Any:
    found, build_id = _asked_for(server, request)
    before = found.current
    if build_id != before:
        _check_queues(server, request, found, build_id, "current")
    found.set_current(build_id, server.now_ns)
    _changed(server, request, found)
    return answer(
        conflict_token=found.token,
        previous_version=_older(found, before),
        previous_deployment_version=_version(found, before),
    )


async def _set_ramping(server: Server, request: Any, answer: type[Any]) -> Any:
    if not 0 <= request.percentage <= 100:  # noqa: PLR2004 - percent
        message = "Percentage must be between 0 and 100 (inclusive)"
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
    found, build_id = _asked_for(server, request)
    before, percentage = found.ramping, found.percentage
    ends = not build_id and not request.percentage
    if not ends and build_id == found.current and found.current_changed_ns:
        raise _refused(f"requested ramping version {_older(found, build_id)} is already current")
    _check_queues(server, request, found, build_id, "ramping")
    found.set_ramping(None if ends else build_id, request.percentage, server.now_ns)
    _changed(server, request, found)
    return answer(
        conflict_token=found.token,
        previous_version="" if before is None else _older(found, before),
        previous_deployment_version=_version(found, before),
        previous_percentage=percentage,
    )


async def _delete(server: Server, request: Any, answer: type[Any]) -> Any:
    if not request.deployment_name:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "WorkerDeploymentName cannot be empty")
    found = server.deployments.by_name.get(request.deployment_name)
    if found is not None and found.versions:
        raise _refused("deployment has versions, can't be deleted")
    server.deployments.by_name.pop(request.deployment_name, None)  # that there is none is no objection
    return answer()


async def _delete_version(server: Server, request: Any, answer: type[Any]) -> Any:
    name, build_id = _named(request)
    if not (name and build_id):
        told = (
            f'invalid version string "{name}.{build_id}", expected format is "<deployment_name>.<build_id>"'
        )
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, told)
    found = server.deployments.by_name.get(name)
    if found is None:
        raise _of_system_workflow(f":{name}")
    state = found.versions.get(build_id)
    if state is None:
        return answer()
    for why in _reasons(server, found, state, request):
        raise _refused(f"version '{state.version.named()}' cannot be deleted since it {why}")
    del found.versions[build_id]
    found.modifier = request.identity
    return answer()


def _reasons(server: Server, found: Deployment, state: VersionState, request: Any) -> Iterator[str]:
    """Give why a version may not be deleted; raises RPCError, between the reasons, if that is the manager's alone."""
    if state.is_in_use:
        yield "is current or ramping"
    _check_manager(found, request.identity)
    if not request.skip_drainage and _status(server, state) == _DRAINING:
        yield "is draining"
    if state.has_pollers(server):
        yield "has active pollers"


def _named(request: Any) -> tuple[str, str]:
    """Give the deployment and the build id of the version that a request names, in one way or the older one."""
    named = request.deployment_version
    if named.deployment_name or named.build_id:
        return named.deployment_name, named.build_id
    name, _, build_id = request.version.partition(".")
    return name, build_id


async def _set_manager(server: Server, request: Any, answer: type[Any]) -> Any:
    if not request.identity:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Identity is required")
    found = server.deployments.by_name.get(request.deployment_name)
    if found is None:
        raise _of_system_workflow(f":{request.deployment_name}")
    _check_token(found, request)
    before = found.manager
    found.set_manager(request.identity if request.self else request.manager_identity)
    found.modifier = request.identity
    return answer(conflict_token=found.token, previous_manager_identity=before)


async def _update_metadata(server: Server, request: Any, answer: type[Any]) -> Any:
    if not (request.upsert_entries or request.remove_entries):
        message = "At least one of remove_entries or upsert_entries must be provided"
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
    name, build_id = _named(request)
    found = server.deployments.by_name.get(name)
    state = None if found is None else found.versions.get(build_id)
    if state is None:
        raise _of_system_workflow(f"-version:{name}:{build_id}")
    state.metadata.update(sorted(request.upsert_entries.items()))
    for entry in request.remove_entries:
        state.metadata.pop(entry, None)
    state.modifier = request.identity
    return answer(metadata={"entries": state.metadata})


# -- descriptions


def _older(found: Deployment, build_id: str) -> str:
    return DeploymentVersion(found.name, build_id).named(".") if build_id else _UNVERSIONED


def _version(found: Deployment, build_id: str | None) -> dict[str, Any] | None:
    return DeploymentVersion(found.name, build_id).message() if build_id else None


def _date(message: Any, field: str, ns: int) -> None:
    if ns:
        getattr(message, field).FromNanoseconds(ns)


def _routing(found: Deployment) -> Any:
    told = deployment_api.RoutingConfig(
        current_version=_older(found, found.current),
        current_deployment_version=_version(found, found.current),  # type: ignore[arg-type]
        ramping_deployment_version=_version(found, found.ramping),  # type: ignore[arg-type]
        ramping_version="" if found.ramping is None else _older(found, found.ramping),
        ramping_version_percentage=found.percentage,
        revision_number=found.revision,
    )
    _date(told, "current_version_changed_time", found.current_changed_ns)
    _date(told, "ramping_version_changed_time", found.ramping_changed_ns)
    _date(told, "ramping_version_percentage_changed_time", found.percentage_changed_ns)
    return told


def _status(server: Server, state: VersionState) -> int:
    if state.current_since_ns:
        return _CURRENT
    if state.ramping_since_ns:
        return _RAMPING
    if not state.last_used_ns:
        return _INACTIVE
    return _DRAINED if state.is_drained(server) else _DRAINING


def _drainage(server: Server, state: VersionState, status: int) -> Any:
    if not state.last_used_ns:
        return None
    told = deployment_api.VersionDrainageInfo(status=status - _DRAINING + 1)  # type: ignore[arg-type]
    _date(told, "last_changed_time", state.last_used_ns)
    _date(told, "last_checked_time", state.looked_ns(server.now_ns))
    return told


def _summary(server: Server, state: VersionState, *, is_listed: bool = False) -> Any:
    status = _status(server, state)
    drainage = _drainage(server, state, status)
    told = _Summary(
        version=state.version.named("."),
        deployment_version=state.version.message(),
        status=status,
        drainage_status=0 if drainage is None or is_listed else drainage.status,
        drainage_info=drainage,
    )
    if status == _CURRENT:  # the real server has these two instants there, and no status
        told.drainage_info.last_changed_time.FromNanoseconds(state.current_since_ns)
        told.drainage_info.last_checked_time.FromNanoseconds(state.current_since_ns)
    _date(told, "create_time", state.created_ns)
    _date(told, "routing_update_time", state.changed_ns)
    _date(told, "last_current_time", state.last_current_ns)
    _used(told, state)
    return told


def _used(told: Any, state: VersionState) -> None:
    _date(told, "current_since_time", state.current_since_ns)
    _date(told, "ramping_since_time", state.ramping_since_ns)
    _date(told, "first_activation_time", state.first_used_ns)
    _date(told, "last_deactivation_time", state.last_used_ns)


async def _describe(server: Server, request: Any, answer: type[Any]) -> Any:
    found = _deployment(server, request.deployment_name)
    states = sorted(found.versions.values(), key=lambda one: one.created_ns)
    info = deployment_api.WorkerDeploymentInfo(
        name=found.name,
        version_summaries=[_summary(server, state) for state in states],
        routing_config=_routing(found),
        last_modifier_identity=found.modifier,
        routing_config_update_state=_COMPLETED,  # type: ignore[arg-type]
    )
    if _KNOWS_MANAGERS:
        info.manager_identity = found.manager
    info.create_time.FromNanoseconds(found.created_ns)
    return answer(conflict_token=found.token, worker_deployment_info=info)


async def _describe_version(server: Server, request: Any, answer: type[Any]) -> Any:
    name, build_id = _named(request)
    found = server.deployments.by_name.get(name)
    state = None if found is None else found.versions.get(build_id)
    if found is None or state is None:
        raise not_found("Worker Deployment Version not found")
    status = _status(server, state)
    queues: list[dict[str, Any]] = [{"name": queue, "type": kind} for queue, kind in state.queues]
    info = deployment_api.WorkerDeploymentVersionInfo(
        version=state.version.named("."),
        deployment_version=state.version.message(),  # type: ignore[arg-type]
        status=status,  # type: ignore[arg-type]
        ramp_percentage=found.percentage if state.ramping_since_ns else 0.0,
        task_queue_infos=queues,  # type: ignore[arg-type]
        drainage_info=_drainage(server, state, status),
    )
    for entry, payload in state.metadata.items():
        info.metadata.entries[entry].CopyFrom(payload)
    if _KNOWS_MODIFIERS:
        info.last_modifier_identity = state.modifier
    _date(info, "create_time", state.created_ns)
    _date(info, "routing_changed_time", state.changed_ns)
    _date(info, "current_since_time", state.current_since_ns)
    _date(info, "ramping_since_time", state.ramping_since_ns)
    return answer(worker_deployment_version_info=info, version_task_queues=queues)


async def _list(server: Server, _request: Any, answer: type[Any]) -> Any:
    told = answer()
    for found in server.deployments.by_name.values():
        one = told.worker_deployments.add(name=found.name, routing_config=_routing(found))
        one.create_time.FromNanoseconds(found.created_ns)
        latest = max(found.versions.values(), key=lambda state: state.created_ns, default=None)
        named = {"latest": latest, "current": found.versions.get(found.current)}
        named["ramping"] = found.versions.get(found.ramping or "")
        for name, state in named.items():
            if state is not None:
                getattr(one, f"{name}_version_summary").CopyFrom(_summary(server, state, is_listed=True))
    return told


# -- the version of a workflow


async def _update_options(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request.workflow_execution, must_run=True)
    update_options(server, execution, request)
    told = WorkflowExecutionOptions(versioning_override=execution.versioning.override)
    told.priority.SetInParent()
    skipping = server.skipping.get(execution.start.workflow_id)
    if skipping is not None:
        told.time_skipping_config.CopyFrom(skipping.config)
    return answer(workflow_execution_options=told)


def update_options(server: Server, execution: Any, request: Any) -> None:
    """Change the options of an execution as far as the request's mask says. Raises RPCError INVALID_ARGUMENT."""
    for path in request.update_mask.paths:
        if path.partition(".")[0] not in WorkflowExecutionOptions.DESCRIPTOR.fields_by_name:
            message = f'error parsing UpdateMask: proto: invalid path "{path}" for message "{_OPTIONS}"'
            raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
        if path not in {"versioning_override", _SKIPPING}:
            raise NotSimulated(
                f"the option {path} of a workflow is not simulated; change its versioning_override"
            )
    if _SKIPPING in request.update_mask.paths:
        config = request.workflow_execution_options.time_skipping_config
        asked = ask_to_skip(server, execution.start.workflow_id, config)
        told = {_SKIPPING: asked, f"{_SKIPPING}_updated": True, "identity": request.identity}
        execution.receive("WORKFLOW_EXECUTION_OPTIONS_UPDATED", told, None, wakes=False)
    if "versioning_override" not in request.update_mask.paths:
        return
    options = request.workflow_execution_options
    override = override_of(options.versioning_override) if options.HasField("versioning_override") else None
    check_override(server, override, execution.start.task_queue)
    if override == execution.versioning.override:
        return
    execution.versioning.override_with(override)
    told = {"unset_versioning_override": True} if override is None else {"versioning_override": override}
    execution.receive(
        "WORKFLOW_EXECUTION_OPTIONS_UPDATED", {**told, "identity": request.identity}, None, wakes=False
    )
    server.soon(server.serve)


# -- versioning by build ids alone


def _disabled(which: str) -> Callable[..., Any]:
    async def refuse(_server: Server, _request: Any, _answer: type[Any]) -> Any:
        message = f"Worker versioning {which}, deprecated) is disabled on this namespace."
        raise rpc_error(RPCStatusCode.PERMISSION_DENIED, message)

    return refuse


CALLS: Final[dict[str, Any]] = {
    "set_worker_deployment_current_version": _set_current,
    "set_worker_deployment_ramping_version": _set_ramping,
    "delete_worker_deployment": _delete,
    "delete_worker_deployment_version": _delete_version,
    "set_worker_deployment_manager": _set_manager,
    "update_worker_deployment_version_metadata": _update_metadata,
    "describe_worker_deployment": _describe,
    "describe_worker_deployment_version": _describe_version,
    "list_worker_deployments": _list,
    "update_workflow_execution_options": _update_options,
    "update_worker_build_id_compatibility": _disabled("v0.1 (Version Set-based"),
    "get_worker_build_id_compatibility": _disabled("v0.1 (Version Set-based"),
    "get_worker_task_reachability": _disabled("v0.2 (Rules-based"),
    "update_worker_versioning_rules": _disabled("v0.2 (Rules-based"),
    "get_worker_versioning_rules": _disabled("v0.2 (Rules-based"),
}
"""The calls by their names in ``temporal.api.workflowservice``."""
