"""The server's calls about workflows: start, signal, query, cancel, terminate, describe, history."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

import temporalio.api.errordetails.v1 as details
from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import History
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.service import RPCStatusCode

from wfsim_temporal.commands import (
    TERMINATE_EXISTING,
    TERMINATE_IF_RUNNING,
    USE_EXISTING,
    own_links,
    pending_info,
    refusal,
    start_of,
)
from wfsim_temporal.core import ActivationFailed
from wfsim_temporal.server import ask_to_skip, skipping_info
from wfsim_temporal.versions import check_override
from wfsim_temporal.wire import STATUS, duration, link_to_request, not_found, rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.commands import Start
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Server
    from wfsim_temporal.worker import Session

_Info: Any = WorkflowExecutionInfo  # messages inside are written as dicts, which protobuf takes
_CLOSE_EVENT: Final = 2  # HistoryEventFilterType
_NOT_OPEN: Final = 2  # QueryRejectCondition
_NOT_COMPLETED_CLEANLY: Final = 3
_ID_LENGTH_MAX: Final = 1000
_QUERY_S: Final = 29.0  # after which the server gives up on a query that no worker takes


def execution_of(server: Server, named: Any, *, must_run: bool = False, first_run_id: str = "") -> Execution:
    """Give the execution that a request names, of the chain of runs that began with ``first_run_id``.

    Raises RPCError NOT_FOUND.
    """
    found = server.find(named.workflow_id, named.run_id)
    if found is None or found.start.workflow_id != named.workflow_id:
        raise _unknown(named)
    if first_run_id and found.first_run_id != first_run_id:
        raise not_found("workflow execution not found")
    if must_run and found.is_closed:
        raise not_found("workflow execution already completed")
    return found


def _unknown(named: Any) -> Exception:
    if not named.run_id:
        return not_found(f"workflow not found for ID: {named.workflow_id}")
    try:
        uuid.UUID(named.run_id)
    except ValueError:
        return rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Invalid RunId.")
    told = f'workflow execution not found for workflow ID "{named.workflow_id}" and run ID "{named.run_id}"'
    return not_found(told)


def check_start(request: Any) -> None:
    """Refuse what the server refuses of a request to start. Raises RPCError INVALID_ARGUMENT."""
    length = len(request.workflow_id.encode())
    if not length:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "WorkflowId is not set on request.")
    if length > _ID_LENGTH_MAX:
        told = f"WorkflowId exceeds maximum allowed length ({length}/{_ID_LENGTH_MAX})"
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, told)
    if not request.task_queue.name:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "missing task queue name")


def start(server: Server, request: Any, signal: tuple[Any, ...] = ()) -> tuple[Execution, bool]:
    """Start a workflow as the id policies allow; tell whether it is new.

    Raises RPCError ALREADY_EXISTS, or INVALID_ARGUMENT.
    """
    check_start(request)
    wanted = start_of(request, server.now_ns)
    check_override(server, wanted.heritage.override, wanted.task_queue)
    before = server.find(request.workflow_id)
    if before is None:
        return _begin(server, request, wanted, signal), True
    if request.request_id and before.start.request_id == request.request_id:
        return before, True  # the same request once more: its answer was lost
    reuse, conflict = request.workflow_id_reuse_policy, request.workflow_id_conflict_policy
    if not before.is_closed and conflict == USE_EXISTING:
        if request.HasField("on_conflict_options"):
            before.attach(request.request_id, wanted.callbacks, own_links(request))
        return before, False
    replaces = not before.is_closed and (conflict == TERMINATE_EXISTING or reuse == TERMINATE_IF_RUNNING)
    message = "" if replaces else refusal(before, reuse)
    if message:
        told = details.WorkflowExecutionAlreadyStartedFailure(
            run_id=before.run_id, start_request_id=before.start.request_id
        )
        known_as(told, first_execution_run_id=before.first_run_id)
        raise rpc_error(RPCStatusCode.ALREADY_EXISTS, message, told)
    if replaces:
        server.terminate(before, "TerminateIfRunning WorkflowIdReusePolicy Policy")
    return _begin(server, request, wanted, signal), True


def _begin(server: Server, request: Any, wanted: Start, signal: tuple[Any, ...]) -> Execution:
    server.skipping.pop(request.workflow_id, None)
    if "time_skipping_config" in request.DESCRIPTOR.fields_by_name and request.HasField(
        "time_skipping_config"
    ):
        ask_to_skip(server, request.workflow_id, request.time_skipping_config)
    return server.begin(wanted, signal)


async def _start(server: Server, request: Any, answer: type[Any]) -> Any:
    execution, is_new = start(server, request)
    return told_of_start(execution, request, answer, is_new=is_new)


def told_of_start(execution: Execution, request: Any, answer: type[Any], *, is_new: bool) -> Any:
    """Answer a request to start that led to an execution."""
    told = answer(run_id=execution.run_id, started=is_new)
    known_as(told, status=STATUS[execution.status])
    if execution.has_attached(request.request_id):
        add_link(told, execution, request.request_id, "WORKFLOW_EXECUTION_OPTIONS_UPDATED")
    else:
        told.link.CopyFrom(execution.first_event_link())
    if is_new and execution.start.is_eager:
        told.eager_workflow_task.task_token = execution.run_id.encode()
    return told


def known_as(told: Any, **fields: Any) -> None:
    """Set fields of an answer that older releases of the SDK do not know."""
    for name, value in fields.items():
        if name in told.DESCRIPTOR.fields_by_name:
            setattr(told, name, value)


def add_link(told: Any, execution: Execution, request_id: str, kind: str) -> Any:
    """Link an answer to the event of a kind that the request brings about; older releases of the SDK know no such."""
    if "link" in told.DESCRIPTOR.fields_by_name:
        named = (execution.server.namespace, execution.start.workflow_id, execution.run_id)
        told.link.CopyFrom(link_to_request(*named, request_id, kind))
    return told


async def _signal_with_start(server: Server, request: Any, answer: type[Any]) -> Any:
    headers = dict(request.header.fields)
    signal = (request.signal_name, request.signal_input.payloads, headers, request.identity)
    copies = await server.passage.copies_of_signal(request.workflow_type.name, request.signal_name)
    execution, is_new = server.open_execution(request.workflow_id), False
    if execution is None:
        execution, is_new = start(server, request, signal)
        execution.hears(request.request_id)
        copies -= 1
    elif not execution.hears(request.request_id):
        return answer(run_id=execution.run_id, started=execution.start.request_id == request.request_id)
    for _ in range(copies):
        server.signal(execution, *signal)
    return answer(run_id=execution.run_id, started=is_new)


async def _signal(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request.workflow_execution, must_run=True)
    if not execution.hears(request.request_id):
        return add_link(answer(), execution, request.request_id, "WORKFLOW_EXECUTION_SIGNALED")
    headers = dict(request.header.fields)
    for _ in range(await server.passage.copies_of_signal(execution.start.workflow_type, request.signal_name)):
        server.signal(
            execution,
            request.signal_name,
            request.input.payloads,
            headers,
            request.identity,
            list(request.links),
        )
    if execution.limits.reason:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, execution.limits.reason)
    return add_link(answer(), execution, request.request_id, "WORKFLOW_EXECUTION_SIGNALED")


def _asked_to_end(server: Server, request: Any, *, must_run: bool) -> Execution:
    first = request.first_execution_run_id
    return execution_of(server, request.workflow_execution, must_run=must_run, first_run_id=first)


async def _request_cancel(server: Server, request: Any, answer: type[Any]) -> Any:
    # A run that has ended needs no cancelling: the server does not object, as it does to a signal.
    execution = _asked_to_end(server, request, must_run=False)
    server.request_cancel(execution, request.reason)
    return answer()


async def _terminate(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = _asked_to_end(server, request, must_run=True)
    server.terminate(execution, request.reason, request.details, request.identity)
    return answer()


async def _query(server: Server, request: Any, answer: type[Any]) -> Any:
    execution, condition = execution_of(server, request.execution), request.query_reject_condition
    is_clean = execution.status == "completed"
    if execution.is_closed and (
        condition == _NOT_OPEN or (condition == _NOT_COMPLETED_CLEANLY and not is_clean)
    ):
        return answer(query_rejected={"status": STATUS[execution.status]})
    if execution.told_status == "paused":
        return answer(query_rejected={"status": STATUS["paused"]})
    session = await _session(server, execution)
    try:
        told = await session.query(execution, request.query)
    except ActivationFailed as error:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, error.args[0].message) from error
    if not told.HasField("succeeded"):
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, told.failed.message, details.QueryFailedFailure())
    return answer(query_result=Payloads(payloads=[told.succeeded.response]))


async def _session(server: Server, execution: Execution) -> Session:
    """Give a worker that can answer a query: there may be none yet. Raises RPCError when it has waited too long."""
    try:
        async with asyncio.timeout(_QUERY_S):
            await execution.task.at_rest()
    except TimeoutError:
        raise rpc_error(RPCStatusCode.CANCELLED, "Timeout expired") from None
    sticky = execution.task.sticky
    if sticky is not None and sticky.is_alive:
        return sticky
    version = execution.versioning.workflow_target()
    found = await server.queue(execution.start.task_queue).session(version, _QUERY_S)
    if found is None:
        message = "no poller seen for task queue recently, worker may be down"
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, message, details.QueryFailedFailure())
    return found


async def _history(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request.execution)
    if request.wait_new_event and not execution.closed.done():
        await asyncio.shield(execution.closed)
    if request.wait_new_event and execution.closed.done():
        execution.closed.result()  # raises for a run that a server would try for ever
    is_close_only = request.history_event_filter_type == _CLOSE_EVENT
    events = [execution.log.event(-1)] if is_close_only else execution.log.events()
    return answer(history=History(events=events))


async def _describe(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request.execution)
    told = answer(
        workflow_execution_info=describe_info(execution),
        execution_config=_config(execution.start),
        pending_workflow_task=None if execution.is_closed else execution.task.pending_info(),
    )
    if execution.pause is not None:
        pause = told.workflow_extended_info.pause_info
        pause.identity, pause.reason = execution.pause.identity, execution.pause.reason
        pause.paused_time.FromNanoseconds(execution.pause.at_ns)
    for activity in execution.activities.values():
        if not activity.is_over:
            told.pending_activities.add(**pending_info(activity))
    for operation in execution.nexus_operations.values():
        if operation.event_id and not operation.is_over:
            told.pending_nexus_operations.add(**operation.pending_info())
    skipping = skipping_info(server, execution)
    if skipping is not None:
        told.workflow_extended_info.time_skipping_info.CopyFrom(
            type(told.workflow_extended_info.time_skipping_info)(**skipping)
        )
    return told


def _config(start: Start) -> dict[str, Any]:
    timeouts = {
        "workflow_execution_timeout": start.execution_timeout_ns,
        "workflow_run_timeout": start.run_timeout_ns,
        "default_workflow_task_timeout": start.task_timeout_ns,
    }
    return {
        "task_queue": {"name": start.task_queue, "kind": 1},
        "user_metadata": start.user_metadata,
        **{name: duration(ns) for name, ns in timeouts.items() if ns is not None},
    }


def describe_info(execution: Execution) -> Any:
    """Describe an execution, as lists do too."""
    start, parent = execution.start, execution.start.parent
    info = _Info(
        execution={"workflow_id": start.workflow_id, "run_id": execution.run_id},
        type={"name": start.workflow_type},
        status=STATUS[execution.told_status],
        task_queue=start.task_queue,
        history_length=len(execution.log),
        history_size_bytes=execution.log.size,
        search_attributes={"indexed_fields": {**execution.search_attributes, **execution.kept_attributes()}},
        versioning_info=execution.versioning.info(),
        memo={"fields": execution.memo},
        parent_execution=parent and _named(parent.owner),
        root_execution=_named(execution.root),
        first_run_id=execution.first_run_id,
    )
    info.start_time.FromNanoseconds(execution.began_ns)
    info.execution_time.FromNanoseconds(execution.began_ns + start.delay_ns)
    if execution.is_closed:
        info.close_time.FromNanoseconds(execution.closed_ns)
    return info


def _named(execution: Execution) -> dict[str, str]:
    return {"workflow_id": execution.start.workflow_id, "run_id": execution.run_id}


async def _reset_sticky(server: Server, request: Any, answer: type[Any]) -> Any:
    execution_of(server, request.execution, must_run=True).task.drop_if_idle()
    return answer()


CALLS: Final[dict[str, Any]] = {
    "start_workflow_execution": _start,
    "signal_with_start_workflow_execution": _signal_with_start,
    "signal_workflow_execution": _signal,
    "request_cancel_workflow_execution": _request_cancel,
    "terminate_workflow_execution": _terminate,
    "query_workflow": _query,
    "get_workflow_execution_history": _history,
    "describe_workflow_execution": _describe,
    "reset_sticky_task_queue": _reset_sticky,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
