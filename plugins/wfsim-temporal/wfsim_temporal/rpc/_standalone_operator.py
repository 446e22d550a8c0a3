"""The server's calls by which an operator pauses, resets and changes one activity, be it of a workflow or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.service import RPCStatusCode

from wfsim_temporal.activities import PATHS, Pause, changed_options, check_policy, paths_of
from wfsim_temporal.commands import told_options
from wfsim_temporal.rpc._operator import change_activity, named_activity, pause_activity
from wfsim_temporal.rpc._standalone import standalone_of
from wfsim_temporal.rpc._workflow import execution_of
from wfsim_temporal.wire import completed_policy, rpc_error, to_ns

if TYPE_CHECKING:
    from temporalio.api.activity.v1 import ActivityOptions

    from wfsim_temporal.commands import Activity
    from wfsim_temporal.server import Server, StandaloneActivity

_PAUSABLE: Final = ("Scheduled", "Started")
_UNPAUSABLE: Final = ("Paused", "PauseRequested")
_CHANGEABLE: Final = (*_PAUSABLE, *_UNPAUSABLE)


async def _pause(server: Server, request: Any, answer: type[Any]) -> Any:
    of_workflow = _of_workflow(server, request)
    if of_workflow is not None:
        pause_activity(of_workflow, request)
        return answer()
    activity = standalone_of(server, request)
    if _is_news(activity, "pause", request):
        if activity.state() not in _PAUSABLE:
            raise _refused(f"activity is in non-pausable state {activity.state()}")
        activity.set_pause(Pause(request.identity, request.reason, request.request_id, server.now_ns))
        activity.asked_by["pause"] = request.request_id
    return answer()


async def _unpause(server: Server, request: Any, answer: type[Any]) -> Any:
    jitter_ns = server.jittered_ns(to_ns(request.jitter))
    of_workflow = _of_workflow(server, request)
    if of_workflow is not None:
        of_workflow.unpause(from_first=False, without_heartbeat=False, jitter_ns=jitter_ns)
        return answer()
    activity = standalone_of(server, request)
    if _is_news(activity, "unpause", request):
        if activity.is_gone:
            raise _refused(f"activity is in terminal state {activity.state()}")
        if activity.state() not in _UNPAUSABLE:
            raise _refused(f"activity is in non-unpausable state {activity.state()}")
        activity.unpause(jitter_ns)
        activity.asked_by["unpause"] = request.request_id
    return answer()


async def _reset(server: Server, request: Any, answer: type[Any]) -> Any:
    how = {
        "without_heartbeat": request.reset_heartbeat,
        "keeps_pause": request.keep_paused,
        "restores": request.restore_original_options,
        "jitter_ns": server.jittered_ns(to_ns(request.jitter)),
    }
    of_workflow = _of_workflow(server, request)
    if of_workflow is not None:
        of_workflow.reset(**how)
        return answer()
    activity = standalone_of(server, request)
    if _is_news(activity, "reset", request):
        _check_reset(activity)
        activity.reset(**how)
        activity.asked_by["reset"] = request.request_id
    return answer()


def _check_reset(activity: StandaloneActivity) -> None:
    state = activity.state()
    if activity.is_gone:
        raise _refused("activity execution is not running")
    for other, what in (("CancelRequested", "cancellation"), ("ResetRequested", "reset")):
        if state == other:
            raise _refused(f"cannot reset an activity with a pending {what}")


async def _change(server: Server, request: Any, answer: type[Any]) -> Any:
    request = _checked(request)
    of_workflow = _of_workflow(server, request)
    if of_workflow is not None:
        change_activity(of_workflow, request)
        return answer(activity_options=told_options(of_workflow.options()))
    activity = standalone_of(server, request)
    if _is_news(activity, "change", request):
        if activity.state() not in _CHANGEABLE:
            raise _refused(f"Cannot update options for activity in state {activity.state()}")
        options, is_policy = _options(activity, request)
        activity.change(options, is_policy=is_policy)
        activity.asked_by["change"] = request.request_id
    return answer(activity_options=activity.options())


def _options(activity: StandaloneActivity, request: Any) -> tuple[ActivityOptions, bool]:
    """Give the options that a request wants, and whether they say anew how attempts follow each other."""
    if request.restore_original:
        return activity.original_options(), True
    paths, wanted = paths_of(request.update_mask), request.activity_options
    if "start_delay" in paths:
        _check_delay(activity, to_ns(wanted.start_delay))
    known_as = f"ActivityId={activity.asked.activity_id} ActivityType={activity.name}"
    options = changed_options(activity.options(), wanted, paths, known_as=known_as)
    if "start_delay" in paths:
        options.start_delay.CopyFrom(wanted.start_delay)
    return options, any(path.startswith("retry_policy") for path in paths)


def _check_delay(activity: StandaloneActivity, delay_ns: int) -> None:
    if delay_ns < 0:
        raise _invalid("invalid StartDelay: negative duration")
    is_paused = activity.state() == "Paused" and not activity.started_ns
    if not is_paused and activity.scheduled_ns <= activity.server.now_ns:
        raise _refused("cannot update start_delay: the first activity attempt has already been dispatched")


def _checked(request: Any) -> Any:
    """Give a request to change options with a whole retry policy, if it has one. Raises RPCError INVALID_ARGUMENT."""
    _check_fields(request)
    if "retry_policy" not in paths_of(request.update_mask):
        return request
    whole = type(request)()
    whole.CopyFrom(request)
    whole.activity_options.retry_policy.CopyFrom(completed_policy(request.activity_options.retry_policy))
    check_policy(whole.activity_options.retry_policy)
    return whole


def _check_fields(request: Any) -> None:
    paths = request.update_mask.paths
    if request.restore_original:
        if paths:
            raise _invalid("Both UpdateMask and RestoreOriginal are provided")
        return
    if not request.HasField("activity_options"):
        raise _invalid("ActivityOptions are not provided")
    if not request.HasField("update_mask"):
        raise _invalid("UpdateMask is not provided")
    if not paths:
        raise _invalid("UpdateMask must specify at least one path")
    for path, known_as in zip(paths, paths_of(request.update_mask), strict=True):
        if known_as not in PATHS:
            raise _invalid(f'unsupported update_mask path: "{path}"')


def _of_workflow(server: Server, request: Any) -> Activity | None:
    """Give the activity of a workflow that a request names; None if it names no workflow. Raises RPCError."""
    if not request.activity_id:
        raise _invalid("activity ID is required")
    if not request.workflow_id:
        return None
    named = WorkflowExecution(workflow_id=request.workflow_id, run_id=request.run_id)
    return named_activity(execution_of(server, named, must_run=True), request.activity_id)


def _is_news(activity: StandaloneActivity, what: str, request: Any) -> bool:
    """Whether a request is not the latest of its kind once more: its answer was lost."""
    return not request.request_id or activity.asked_by.get(what) != request.request_id


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


def _invalid(message: str) -> Exception:
    return rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)


CALLS: Final[dict[str, Any]] = {
    "pause_activity_execution": _pause,
    "unpause_activity_execution": _unpause,
    "reset_activity_execution": _reset,
    "update_activity_execution_options": _change,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
