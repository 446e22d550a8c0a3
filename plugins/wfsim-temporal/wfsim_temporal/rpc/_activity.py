"""The server's calls about activities that complete asynchronously, by task token or by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import WorkflowExecution

from wfsim_temporal.rpc._standalone import check_runs
from wfsim_temporal.rpc._workflow import execution_of
from wfsim_temporal.server import StandaloneActivity
from wfsim_temporal.wire import not_found

if TYPE_CHECKING:
    from wfsim_temporal.activities import AnyActivity
    from wfsim_temporal.server import Server


def _activity(server: Server, request: Any) -> AnyActivity:
    """Give the activity that a request names, if an attempt of it is under way. Raises RPCError NOT_FOUND."""
    token = getattr(request, "task_token", b"")
    found = server.activities.get(token) if token else _by_id(server, request)
    if found is None or not found.is_started:
        raise _not_found(server, request, found)
    return found


def _not_found(server: Server, request: Any, found: AnyActivity | None) -> Exception:
    """Say what the server says of an activity that is none any more, or never was."""
    token = getattr(request, "task_token", b"")
    if b"//" in token or not (token or request.workflow_id):  # it has no workflow
        return not_found(f"activity not found for ID: {getattr(request, 'activity_id', '')}")
    told = "invalid activityID or activity already timed out or invoking workflow is completed"
    if token:
        execution = server.executions.get(token.decode(errors="replace").partition("/")[0])
    else:
        execution = execution_of(
            server, WorkflowExecution(workflow_id=request.workflow_id, run_id=request.run_id)
        )
        if found is None or found.is_over:
            told = (
                f"cannot find pending activity with ActivityID {request.activity_id}, check workflow execution "
                "history for more details"
            )
    is_over = execution is not None and execution.is_closed
    return not_found("workflow execution already completed" if is_over else told)


def _by_id(server: Server, request: Any) -> AnyActivity | None:
    if not request.workflow_id:
        return server.standalone.find(request.activity_id, request.run_id)
    execution = server.find(request.workflow_id, request.run_id)
    known = () if execution is None else execution.activities.values()
    return next((one for one in known if one.asked.activity_id == request.activity_id), None)


async def _completed(server: Server, request: Any, answer: type[Any]) -> Any:
    payloads = request.result.payloads
    payload = payloads[0] if payloads else None
    named = None if getattr(request, "task_token", b"") else _by_id(server, request)
    if named is None or named.is_started:
        activity = _activity(server, request)
        activity.complete(activity.token, payload)
    else:
        if isinstance(named, StandaloneActivity):
            check_runs(named)
        elif named.is_over or named.is_gone:
            raise _not_found(server, request, named)
        named.complete_early(payload, request.identity)
    return answer()


async def _failed(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = _activity(server, request)
    activity.fail(activity.token, request.failure)
    return answer()


async def _canceled(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = _activity(server, request)
    activity.cancel(activity.token, request.details if request.HasField("details") else None)
    return answer()


async def _heartbeat(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = _activity(server, request)
    wishes = activity.heartbeat(activity.token, request.details)
    return answer(cancel_requested=wishes.cancel, activity_paused=wishes.pause, activity_reset=wishes.reset)


CALLS: Final[dict[str, Any]] = {
    f"{call}{by}": answer
    for call, answer in {
        "respond_activity_task_completed": _completed,
        "respond_activity_task_failed": _failed,
        "respond_activity_task_canceled": _canceled,
        "record_activity_task_heartbeat": _heartbeat,
    }.items()
    for by in ("", "_by_id")
}
"""The calls by their names in ``temporal.api.workflowservice``."""
