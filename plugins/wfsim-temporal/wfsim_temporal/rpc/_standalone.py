"""The server's calls about activities that no workflow asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import temporalio.api.errordetails.v1 as details
from temporalio.service import RPCStatusCode

from wfsim_temporal.rpc._standalone_ids import began, run_meant
from wfsim_temporal.visibility import ACTIVITIES, count_standalone, find_standalone
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim_temporal.server import Server, StandaloneActivity


def standalone_of(server: Server, request: Any) -> StandaloneActivity:
    """Give the activity without a workflow that a request names. Raises RPCError NOT_FOUND."""
    found = server.standalone.find(request.activity_id, request.run_id)
    if found is None:
        raise not_found(f"activity not found for ID: {request.activity_id}")
    return found


def check_runs(activity: StandaloneActivity) -> None:
    """Raise RPCError FAILED_PRECONDITION if an activity has ended."""
    if activity.is_gone:
        raise _refused(f"invalid transition from {activity.state()}")


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


async def _start(server: Server, request: Any, answer: type[Any]) -> Any:
    before = server.standalone.find(request.activity_id)
    refusal = details.ActivityExecutionAlreadyStartedFailure
    meant = run_meant(before, request, refusal, "activity")
    if meant is None:
        return _started(server.begin_standalone(request), answer, is_new=True)
    is_new = began(meant, request)
    if not is_new:
        meant.attach(getattr(request, "completion_callbacks", ()))
    return _started(meant, answer, is_new=is_new)


def _started(activity: StandaloneActivity, answer: type[Any], *, is_new: bool) -> Any:
    told, link = answer(run_id=activity.run_id, started=is_new), activity.link()
    if link is not None and "link" in told.DESCRIPTOR.fields_by_name:
        told.link.CopyFrom(link)
    return told


async def _poll(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = standalone_of(server, request)
    await asyncio.shield(activity.closed)
    return answer(run_id=activity.run_id, outcome=activity.outcome)


async def _describe(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = standalone_of(server, request)
    # Older releases of the SDK cannot say what they want, and get it.
    info = activity.described(
        has_details=getattr(request, "include_heartbeat_details", True),
        has_failure=getattr(request, "include_last_failure", True),
    )
    told = answer(run_id=activity.run_id, info=info)
    if request.include_input and activity.request.HasField("input"):
        told.input.CopyFrom(activity.request.input)
    if request.include_outcome and activity.outcome is not None:
        told.outcome.CopyFrom(activity.outcome)
    return told


async def _request_cancel(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = standalone_of(server, request)
    before = activity.asked_by.get("cancel")
    if before and before == request.request_id:
        return answer()
    if activity.is_gone:
        raise _refused(f"activity is in terminal state {activity.state()}")
    if before is not None:
        raise _refused(f"cancellation already requested with request ID {before}")
    activity.cancel_for(request.request_id, request.reason)
    return answer()


async def _terminate(server: Server, request: Any, answer: type[Any]) -> Any:
    activity = standalone_of(server, request)
    before = activity.asked_by.get("terminate")
    if before and before == request.request_id:
        return answer()
    if before is not None:
        raise _refused(f"already terminated with request ID {before}")
    check_runs(activity)
    activity.terminate(request.request_id, request.reason)
    return answer()


async def _list(server: Server, request: Any, answer: type[Any]) -> Any:
    return listing(find_standalone(server, request.query, ACTIVITIES), request, answer(), "executions")


def listing(found: list[Any], request: Any, told: Any, field: str) -> Any:
    """Put a page of what was found into a field of an answer, as far as the SDK knows what is told of it."""
    first = int(request.next_page_token or b"0")
    last = first + request.page_size if request.page_size else len(found)
    if last < len(found):
        told.next_page_token = str(last).encode()
    known = told.DESCRIPTOR.fields_by_name[field].message_type.fields_by_name
    for one in found[first:last]:
        getattr(told, field).add(**{name: value for name, value in one.listed().items() if name in known})
    return told


def counted(count: int, groups: Iterable[tuple[Any, int]], answer: type[Any]) -> Any:
    """Give a count, and the counts of its groups, as an answer."""
    told = answer(count=count)
    for payload, number in groups:
        told.groups.add(group_values=[payload], count=number)
    return told


async def _count(server: Server, request: Any, answer: type[Any]) -> Any:
    return counted(*count_standalone(server, request.query, ACTIVITIES), answer)


CALLS: Final[dict[str, Any]] = {
    "start_activity_execution": _start,
    "poll_activity_execution": _poll,
    "describe_activity_execution": _describe,
    "request_cancel_activity_execution": _request_cancel,
    "terminate_activity_execution": _terminate,
    "list_activity_executions": _list,
    "count_activity_executions": _count,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
