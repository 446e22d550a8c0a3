"""The server's calls that list and count executions, and those that do something to all that a filter chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.batch.v1 import BatchOperationUnpauseActivities
from temporalio.api.enums.v1 import BatchOperationType
from temporalio.service import RPCError, RPCStatusCode

from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.rpc._deployment import update_options
from wfsim_temporal.rpc._operator import change_activities, reset_activities, unpause_activities
from wfsim_temporal.rpc._reset import reset_in_batch
from wfsim_temporal.rpc._workflow import describe_info
from wfsim_temporal.visibility import count_executions, find_executions
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Server

_COMPLETED: Final = 2  # BatchOperationState
_INDEXED: Final = {
    1: "Text",
    2: "Keyword",
    3: "Int",
    4: "Double",
    5: "Bool",
    6: "Datetime",
    7: "KeywordList",
}
"""Types of search attributes, by their numbers in ``IndexedValueType``."""


async def _list(server: Server, request: Any, answer: type[Any]) -> Any:
    found = find_executions(server, request.query)
    first = int(request.next_page_token or b"0")
    last = first + request.page_size if request.page_size else len(found)
    token = str(last).encode() if last < len(found) else b""
    return answer(executions=[describe_info(one) for one in found[first:last]], next_page_token=token)


async def _count(server: Server, request: Any, answer: type[Any]) -> Any:
    count, groups = count_executions(server, request.query)
    told = answer(count=count)
    for payload, number in groups:
        told.groups.add(group_values=[payload], count=number)
    return told


# -- registered attributes


async def _add_search_attributes(server: Server, request: Any, answer: type[Any]) -> Any:
    for name, kind in sorted(request.search_attributes.items()):
        server.search_attribute_types[name] = _INDEXED[kind]
    return answer()


async def _remove_search_attributes(server: Server, request: Any, answer: type[Any]) -> Any:
    for name in request.search_attributes:
        server.search_attribute_types.pop(name, None)
    return answer()


async def _list_search_attributes(server: Server, _request: Any, answer: type[Any]) -> Any:
    numbers = {name: number for number, name in _INDEXED.items()}
    types = server.search_attribute_types
    return answer(custom_attributes={name: numbers[kind] for name, kind in sorted(types.items())})


# -- batches


class Batch:
    """Something that was done to all executions that a filter chose."""

    def __init__(self, request: Any, kind: int, total: int, now_ns: int) -> None:
        self.request = request
        self.kind = kind
        self.total = total
        self.began_ns = now_ns
        self.failed = 0
        self._asked = getattr(request, request.WhichOneof("operation"))

    def act(self, what: Callable[[Server, Execution, Any], object], server: Server, one: Execution) -> None:
        """Do it to one execution; what the server refuses is counted, but not that there is nothing to do."""
        try:
            what(server, one, self.request)
        except RPCError as error:
            self.failed += error.status != RPCStatusCode.NOT_FOUND

    def told(self, answer: type[Any]) -> Any:
        """Describe it."""
        told = answer(
            operation_type=self.kind,
            job_id=self.request.job_id,
            state=_COMPLETED,
            total_operation_count=self.total,
            complete_operation_count=self.total - self.failed,
            failure_operation_count=self.failed,
            reason=self.request.reason,
            identity=self._asked.identity,
        )
        told.start_time.FromNanoseconds(self.began_ns)
        told.close_time.FromNanoseconds(self.began_ns)
        return told


async def _start_batch(server: Server, request: Any, answer: type[Any]) -> Any:
    name = request.WhichOneof("operation")
    act = _OPERATIONS.get(name)
    if act is None:
        raise NotSimulated(
            f"the batch operation {name} is not simulated; act on workflows or on activities of workflows"
        )
    _check(getattr(request, name))
    if request.job_id in server.batches:
        raise rpc_error(RPCStatusCode.ALREADY_EXISTS, f"Batch job {request.job_id} already exists")
    if request.executions:
        named = [server.find(one.workflow_id, one.run_id) for one in request.executions]
        found, missing = [one for one in named if one is not None], named.count(None)
    else:
        found, missing = find_executions(server, request.visibility_query), 0
        found = [one for one in found if name not in _OF_ACTIVITIES or _can_act(one, getattr(request, name))]
    if name in _OF_OPEN:
        found = [one for one in found if not one.is_closed]
    batch = server.batches[request.job_id] = Batch(request, _TYPES[name], len(found) + missing, server.now_ns)
    for one in found:
        server.soon(batch.act, act, server, one)
    return answer()


def _terminate(server: Server, one: Execution, request: Any) -> None:
    asked = request.termination_operation
    server.terminate(one, request.reason, asked.details, asked.identity)


def _cancel(server: Server, one: Execution, request: Any) -> None:
    server.request_cancel(one, request.reason)


def _signal(server: Server, one: Execution, request: Any) -> None:
    asked = request.signal_operation
    server.signal(one, asked.signal, asked.input.payloads, dict(asked.header.fields), asked.identity)


def _delete(server: Server, one: Execution, request: Any) -> None:
    server.delete(one, request.deletion_operation.identity)


def _update_options(server: Server, one: Execution, request: Any) -> None:
    update_options(server, one, request.update_workflow_options_operation)


def _reset(server: Server, one: Execution, request: Any) -> None:
    reset_in_batch(server, one, request.reset_operation, request.reason)


def _unpause_activities(_server: Server, one: Execution, request: Any) -> None:
    unpause_activities(_running(one), request.unpause_activities_operation)


def _reset_activities(_server: Server, one: Execution, request: Any) -> None:
    reset_activities(_running(one), request.reset_activities_operation)


def _change_activities(_server: Server, one: Execution, request: Any) -> None:
    change_activities(_running(one), request.update_activity_options_operation)


def _running(one: Execution) -> Execution:
    if one.is_closed:
        raise not_found("workflow execution already completed")
    return one


def _check(operation: Any) -> None:
    """Refuse an operation on activities that names none. Raises RPCError INVALID_ARGUMENT."""
    told = _UNNAMED.get(type(operation).__name__)
    if told is not None and operation.WhichOneof("activity") is None:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, told)


def _can_act(one: Execution, operation: Any) -> bool:
    """Whether a batch that goes by a filter tries a run: it has to be open, and paused if it is to be unpaused."""
    if one.is_closed or type(operation) is not BatchOperationUnpauseActivities:
        return not one.is_closed
    paused = one.paused_types
    return bool(paused) if operation.WhichOneof("activity") == "match_all" else operation.type in paused


_UNNAMED: Final = {
    "BatchOperationUnpauseActivities": "activity filter must be set",
    "BatchOperationResetActivities": "must provide ActivityType or MatchAll",
    "BatchOperationUpdateActivityOptions": (
        "Either activity type must be set, or restore original should be set to true"
    ),
}
_OPERATIONS: Final[dict[str, Callable[[Server, Execution, Any], None]]] = {
    "termination_operation": _terminate,
    "cancellation_operation": _cancel,
    "signal_operation": _signal,
    "deletion_operation": _delete,
    "reset_operation": _reset,
    "update_workflow_options_operation": _update_options,
    "unpause_activities_operation": _unpause_activities,
    "reset_activities_operation": _reset_activities,
    "update_activity_options_operation": _change_activities,
}
_OF_ACTIVITIES: Final = {
    "unpause_activities_operation": 7,
    "update_activity_options_operation": 8,
    "reset_activities_operation": 9,
}
_OF_OPEN: Final = ("termination_operation", "cancellation_operation", "signal_operation")
_HAS_OTHERS: Final = "BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW" in BatchOperationType.keys()  # noqa: SIM118 - no dict
_TYPES: Final = {
    **{name: number for number, name in enumerate(_OPERATIONS, 13 if _HAS_OTHERS else 1)},
    **_OF_ACTIVITIES,
}
"""Numbers in BatchOperationType; servers that have batches of activities too have others for those of workflows."""


async def _describe_batch(server: Server, request: Any, answer: type[Any]) -> Any:
    found = server.batches.get(request.job_id)
    if found is None:
        raise not_found(f"workflow not found for ID: {request.job_id}")
    return found.told(answer)


CALLS: Final[dict[str, Any]] = {
    "list_workflow_executions": _list,
    "count_workflow_executions": _count,
    "add_search_attributes": _add_search_attributes,
    "remove_search_attributes": _remove_search_attributes,
    "list_search_attributes": _list_search_attributes,
    "start_batch_operation": _start_batch,
    "describe_batch_operation": _describe_batch,
}
"""The calls by their names in ``temporal.api.workflowservice`` and ``temporal.api.operatorservice``."""
