"""The server's calls that list and count executions, and those that do something to all that a filter chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.enums.v1 import BatchOperationType
from temporalio.service import RPCError, RPCStatusCode

from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.rpc._deployment import update_options
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
        """Do it to one execution; what the server refuses is counted."""
        try:
            what(server, one, self.request)
        except RPCError:
            self.failed += 1

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
            f"the batch operation {name} is not simulated; act on workflows, not on activities"
        )
    if request.job_id in server.batches:
        raise rpc_error(RPCStatusCode.ALREADY_EXISTS, f"Batch job {request.job_id} already exists")
    if request.executions:
        named = [server.find(one.workflow_id, one.run_id) for one in request.executions]
        found, missing = [one for one in named if one is not None], named.count(None)
    else:
        found, missing = find_executions(server, request.visibility_query), 0
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


_OPERATIONS: Final[dict[str, Callable[[Server, Execution, Any], None]]] = {
    "termination_operation": _terminate,
    "cancellation_operation": _cancel,
    "signal_operation": _signal,
    "deletion_operation": _delete,
    "reset_operation": _reset,
    "update_workflow_options_operation": _update_options,
}
_OF_OPEN: Final = ("termination_operation", "cancellation_operation", "signal_operation")
_HAS_OTHERS: Final = "BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW" in BatchOperationType.keys()  # noqa: SIM118 - no dict
_TYPES: Final = {name: number for number, name in enumerate(_OPERATIONS, 13 if _HAS_OTHERS else 1)}
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
