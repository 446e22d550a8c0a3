"""The server's calls about worker deployments, and about the version of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import temporalio.api.deployment.v1 as deployment_api
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.service import RPCStatusCode

from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.rpc._workflow import execution_of
from wfsim_temporal.versions import DeploymentVersion, check_override, override_of
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable

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
_OPTIONS: Final = WorkflowExecutionOptions.DESCRIPTOR.full_name
_Summary: Any = deployment_api.WorkerDeploymentInfo.WorkerDeploymentVersionSummary


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


# -- changes


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
    if request.conflict_token and request.conflict_token != found.token:
        raise _refused("conflict token mismatch")
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
    info.create_time.FromNanoseconds(found.created_ns)
    return answer(conflict_token=found.token, worker_deployment_info=info)


async def _describe_version(server: Server, request: Any, answer: type[Any]) -> Any:
    named = request.deployment_version
    name, build_id = named.deployment_name, named.build_id
    if not name:
        name, _, build_id = request.version.partition(".")
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
    return answer(workflow_execution_options=told)


def update_options(server: Server, execution: Any, request: Any) -> None:
    """Change the options of an execution as far as the request's mask says. Raises RPCError INVALID_ARGUMENT."""
    for path in request.update_mask.paths:
        if path.partition(".")[0] not in WorkflowExecutionOptions.DESCRIPTOR.fields_by_name:
            message = f'error parsing UpdateMask: proto: invalid path "{path}" for message "{_OPTIONS}"'
            raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
        if path != "versioning_override":
            raise NotSimulated(
                f"the option {path} of a workflow is not simulated; change its versioning_override"
            )
    if not request.update_mask.paths:
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
