"""The server's calls about activities that complete asynchronously, by task token or by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wfsim_temporal._rpc_error import not_found

if TYPE_CHECKING:
    from wfsim_temporal._activity import Activity
    from wfsim_temporal._server import Server


def _activity(server: Server, request: Any) -> Activity:
    """Give the activity that a request names, if an attempt of it is under way. Raises RPCError NOT_FOUND."""
    token = getattr(request, "task_token", b"")
    found = server.activities.get(token) if token else _by_id(server, request)
    if found is None or not found.is_started:
        raise not_found("activity not found, or its attempt is over")
    return found


def _by_id(server: Server, request: Any) -> Activity | None:
    execution = server.find(request.workflow_id, request.run_id)
    known = () if execution is None else execution.activities.values()
    return next((one for one in known if one.asked.activity_id == request.activity_id), None)


async def _completed(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = _activity(server, request)
    payloads = request.result.payloads
    activity.complete(activity.token, payloads[0] if payloads else None)
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
    _, is_cancel_requested = activity.heartbeat(activity.token, request.details)
    return answer(cancel_requested=is_cancel_requested)


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
