"""The server's calls about schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import temporalio.api.errordetails.v1 as details
from temporalio.service import RPCStatusCode

from wfsim_temporal.server import Schedule
from wfsim_temporal.timetable import NotASpec, canonical
from wfsim_temporal.visibility import find_schedules
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.server import Server


def _schedule_of(server: Server, request: Any) -> Schedule:
    """Give the schedule that a request names. Raises RPCError NOT_FOUND."""
    found = server.schedules.get(request.schedule_id)
    if found is None:
        # The real server keeps schedules as workflows, and says so.
        raise not_found(f"workflow not found for ID: temporal-sys-scheduler:{request.schedule_id}")
    if found.is_deleted:
        raise not_found("workflow execution already completed")
    return found


def _check(request: Any) -> None:
    try:
        canonical(request.schedule.spec)
    except NotASpec as error:
        message = f"Invalid schedule spec: {error}"
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message) from None


async def _create(server: Server, request: Any, answer: type[Any]) -> Any:
    _check(request)
    known = server.schedules.get(request.schedule_id)
    if known is not None and not known.is_deleted:
        if known.request_id != request.request_id:
            told = details.WorkflowExecutionAlreadyStartedFailure(start_request_id=known.request_id)
            raise rpc_error(RPCStatusCode.ALREADY_EXISTS, "Schedule already running", told)
        return answer(conflict_token=_token(known))
    made = server.schedules[request.schedule_id] = Schedule(server, request.schedule_id, request)
    if request.HasField("initial_patch"):
        made.patch(request.initial_patch)
    else:
        made.wake()
    return answer(conflict_token=_token(made))


async def _describe(server: Server, request: Any, answer: type[Any]) -> Any:
    known = server.schedules.get(request.schedule_id)
    if known is not None and known.is_deleted:
        raise not_found("schedule not found")
    found = _schedule_of(server, request)
    return answer(
        schedule=found.proto,
        info=found.info(),
        memo=found.memo,
        search_attributes=found.search_attributes,
        conflict_token=_token(found),
    )


async def _update(server: Server, request: Any, answer: type[Any]) -> Any:
    _check(request)
    found = _schedule_of(server, request)
    # With a stale token the server drops the update without a word.
    if not request.conflict_token or request.conflict_token == _token(found):
        found.update(request)
    return answer()


async def _patch(server: Server, request: Any, answer: type[Any]) -> Any:
    _schedule_of(server, request).patch(request.patch)
    return answer()


async def _delete(server: Server, request: Any, answer: type[Any]) -> Any:
    _schedule_of(server, request).delete()
    return answer()


async def _list(server: Server, request: Any, answer: type[Any]) -> Any:
    told = answer()
    for one in find_schedules(server, request.query):
        told.schedules.add(
            schedule_id=one.schedule_id,
            memo=one.memo,
            search_attributes=one.search_attributes,
            info=one.list_info(),
        )
    return told


async def _matching_times(server: Server, request: Any, answer: type[Any]) -> Any:
    found = _schedule_of(server, request)
    told = answer()
    for time_ns in found.matching_times(request.start_time.ToNanoseconds(), request.end_time.ToNanoseconds()):
        told.start_time.add().FromNanoseconds(time_ns)
    return told


def _token(schedule: Schedule) -> bytes:
    return schedule.token.to_bytes(8, "big")


CALLS: Final[dict[str, Any]] = {
    "create_schedule": _create,
    "describe_schedule": _describe,
    "update_schedule": _update,
    "patch_schedule": _patch,
    "delete_schedule": _delete,
    "list_schedules": _list,
    "list_schedule_matching_times": _matching_times,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
