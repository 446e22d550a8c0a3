"""The server's calls by which an operator pauses workflows, and pauses, resets and changes their activities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.service import RPCStatusCode

from wfsim_temporal.activities import Pause, changed_options, paths_of
from wfsim_temporal.commands import told_options
from wfsim_temporal.rpc._workflow import execution_of
from wfsim_temporal.wire import not_found, rpc_error, to_ns

if TYPE_CHECKING:
    from wfsim_temporal.commands import Activity
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Server

_ALL: Final = ("match_all", "unpause_all")


async def _pause(server: Server, request: Any, answer: type[Any]) -> Any:
    for activity in _chosen(_execution(server, request), request):
        pause_activity(activity, request)
    return answer()


def pause_activity(activity: Activity, request: Any) -> None:
    """Pause an activity; the same request once more is no news. Raises RPCError if another has paused it."""
    request_id = getattr(request, "request_id", "")  # older releases of the SDK have none
    if activity.pause is None:
        pause = Pause(request.identity, request.reason, request_id, activity.server.now_ns)
        activity.set_pause(pause)
    elif activity.pause.request_id != request_id:
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, "activity is already paused")


async def _unpause(server: Server, request: Any, answer: type[Any]) -> Any:
    unpause_activities(_execution(server, request), request)
    return answer()


def unpause_activities(execution: Execution, request: Any) -> None:
    """Unpause what a request, or an operation of a batch, chooses. Raises RPCError NOT_FOUND."""
    for activity in _chosen(execution, request):
        activity.unpause(
            from_first=request.reset_attempts,
            without_heartbeat=request.reset_heartbeat,
            jitter_ns=execution.server.jittered_ns(to_ns(request.jitter)),
        )


async def _reset(server: Server, request: Any, answer: type[Any]) -> Any:
    reset_activities(_execution(server, request), request)
    return answer()


def reset_activities(execution: Execution, request: Any) -> None:
    """Reset what a request, or an operation of a batch, chooses. Raises RPCError NOT_FOUND."""
    for activity in _chosen(execution, request):
        activity.reset(
            without_heartbeat=request.reset_heartbeat,
            keeps_pause=request.keep_paused,
            restores=request.restore_original_options,
            jitter_ns=execution.server.jittered_ns(to_ns(request.jitter)),
        )


async def _update_options(server: Server, request: Any, answer: type[Any]) -> Any:
    if request.restore_original and request.update_mask.paths:
        raise _refused("Both UpdateMask and RestoreOriginal are provided")
    changed = change_activities(_execution(server, request), request)
    return answer(activity_options=told_options(changed[-1].options()))


def change_activities(execution: Execution, request: Any) -> list[Activity]:
    """Change the options of what a request, or an operation of a batch, chooses; give it. Raises RPCError."""
    if not request.restore_original and not request.HasField("activity_options"):
        raise _refused("ActivityOptions are not provided")
    chosen = _chosen(execution, request)
    if not request.restore_original and not request.HasField("update_mask"):
        raise _refused("UpdateMask is not provided")
    for activity in chosen:
        change_activity(activity, request)
    return chosen


def change_activity(activity: Activity, request: Any) -> None:
    """Change the options of an activity as a request says. Raises RPCError INVALID_ARGUMENT."""
    if request.restore_original:
        activity.change(activity.original_options())
        return
    known_as = f"ActivityId={activity.asked.activity_id} ActivityType={activity.name}"
    paths = paths_of(request.update_mask)
    activity.change(changed_options(activity.options(), request.activity_options, paths, known_as=known_as))


async def _pause_workflow(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request, must_run=True)
    if execution.pause is None:
        execution.set_pause(Pause(request.identity, request.reason, request.request_id, server.now_ns))
    elif execution.pause.request_id != request.request_id:
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, "workflow is already paused.")
    return answer()


async def _unpause_workflow(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request, must_run=True)
    if execution.pause is None:
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, "workflow is not paused.")
    execution.end_pause(Pause(request.identity, request.reason, request.request_id, server.now_ns))
    return answer()


def _execution(server: Server, request: Any) -> Execution:
    if request.WhichOneof("activity") is None:
        raise _refused("Either Activity.Id or Activity.Type should be set on request.")
    return execution_of(server, request.execution, must_run=True)


def _chosen(execution: Execution, request: Any) -> list[Activity]:
    """Give the activities of an execution that a request means. Raises RPCError NOT_FOUND if there are none."""
    kind = request.WhichOneof("activity")
    wanted = getattr(request, kind)
    if kind == "id":
        return [named_activity(execution, wanted)]
    pending = [one for one in execution.activities.values() if not one.is_over]
    found = [one for one in pending if kind in _ALL or one.name == wanted]
    if not found:
        raise _nothing()
    return found


def named_activity(execution: Execution, activity_id: str) -> Activity:
    """Give the activity under way of an id. Raises RPCError NOT_FOUND."""
    for one in execution.activities.values():
        if one.asked.activity_id == activity_id and not one.is_over:
            return one
    raise _nothing()


def _nothing() -> Exception:
    return not_found(
        "Can't find pending activity with such ID. Invalid activityID or activity already completed"
    )


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)


CALLS: Final[dict[str, Any]] = {
    "pause_activity": _pause,
    "unpause_activity": _unpause,
    "reset_activity": _reset,
    "update_activity_options": _update_options,
    "pause_workflow_execution": _pause_workflow,
    "unpause_workflow_execution": _unpause_workflow,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
