"""The server's calls about Nexus operations that no workflow calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import temporalio.api.errordetails.v1 as details
from temporalio.service import RPCStatusCode

from wfsim_temporal.rpc._standalone import counted, listing
from wfsim_temporal.rpc._standalone_ids import began, run_meant
from wfsim_temporal.visibility import OPERATIONS, count_standalone, find_standalone
from wfsim_temporal.wire import not_found, rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.server import Server, StandaloneNexusOperation

# NexusOperationWaitStage
_STARTED: Final = 1
_CLOSED: Final = 2


def _named(server: Server, request: Any) -> StandaloneNexusOperation:
    found = server.operations.find(request.operation_id, request.run_id)
    if found is None:
        raise not_found(f"operation not found for ID: {request.operation_id}")
    return found


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


async def _start(server: Server, request: Any, answer: type[Any]) -> Any:
    if server.nexus_endpoint(request.endpoint) is None:
        raise not_found(f"could not find Nexus endpoint by name: {request.endpoint}")
    before = server.operations.find(request.operation_id)
    refusal = details.NexusOperationExecutionAlreadyStartedFailure
    meant = run_meant(before, request, refusal, "nexus operation")
    if meant is None:
        return answer(run_id=server.begin_operation(request).run_id, started=True)
    return answer(run_id=meant.run_id, started=began(meant, request))


async def _poll(server: Server, request: Any, answer: type[Any]) -> Any:
    operation = _named(server, request)
    if request.wait_stage == _STARTED and operation.is_started:
        return answer(run_id=operation.run_id, wait_stage=_STARTED, operation_token=operation.token)
    await asyncio.shield(operation.closed)
    return answer(
        run_id=operation.run_id,
        wait_stage=_CLOSED,
        operation_token=operation.token,
        result=operation.result,
        failure=operation.failure,
    )


async def _describe(server: Server, request: Any, answer: type[Any]) -> Any:
    operation = _named(server, request)
    told = answer(run_id=operation.run_id, info=operation.described())
    if request.include_input:
        told.input.CopyFrom(operation.asked.input)
    if request.include_outcome and operation.failure is not None:
        told.failure.CopyFrom(operation.failure)
    elif request.include_outcome and operation.result is not None:
        told.result.CopyFrom(operation.result)
    return told


async def _request_cancel(server: Server, request: Any, answer: type[Any]) -> Any:
    operation = _named(server, request)
    before = operation.stopped_by.get("cancel")
    if before == request.request_id:
        return answer()
    if operation.is_gone:
        raise _refused("operation already completed")
    if before is not None:
        raise _refused(f"cancellation already requested with request ID {before}")
    operation.cancel_for(request.request_id, request.reason)
    return answer()


async def _terminate(server: Server, request: Any, answer: type[Any]) -> Any:
    operation = _named(server, request)
    before = operation.stopped_by.get("terminate")
    if before is not None and before != request.request_id:
        raise _refused(f"already terminated with request ID {before}")
    if not operation.is_gone:
        operation.terminate(request.request_id, request.reason)
    return answer()


async def _list(server: Server, request: Any, answer: type[Any]) -> Any:
    return listing(find_standalone(server, request.query, OPERATIONS), request, answer(), "operations")


async def _count(server: Server, request: Any, answer: type[Any]) -> Any:
    return counted(*count_standalone(server, request.query, OPERATIONS), answer)


CALLS: Final[dict[str, Any]] = {
    "start_nexus_operation_execution": _start,
    "poll_nexus_operation_execution": _poll,
    "describe_nexus_operation_execution": _describe,
    "request_cancel_nexus_operation_execution": _request_cancel,
    "terminate_nexus_operation_execution": _terminate,
    "list_nexus_operation_executions": _list,
    "count_nexus_operation_executions": _count,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
