"""The server's calls about updates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import temporalio.api.errordetails.v1 as details
from temporalio.api.failure.v1 import MultiOperationExecutionAborted
from temporalio.api.update.v1 import UpdateRef
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionResponse, UpdateWorkflowExecutionResponse
from temporalio.service import RPCError, RPCStatusCode

from wfsim_temporal.rpc._workflow import check_start, execution_of, known_as, start, told_of_start
from wfsim_temporal.wire import STATUS, not_found, rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wfsim_temporal.execution import Execution, Update
    from wfsim_temporal.server import Server

# UpdateWorkflowExecutionLifecycleStage
_ADMITTED: Final = 1
_ACCEPTED: Final = 2
_COMPLETED: Final = 3


async def _update(server: Server, request: Any, answer: type[Any]) -> Any:
    named, first = request.workflow_execution, request.first_execution_run_id
    execution = execution_of(server, named, first_run_id=first)
    known = execution.updates.find(request.request.meta.update_id)
    if known is None or not known.is_completed:  # what came of one is told of a run that is over too
        _check_updatable(execution_of(server, named, must_run=True))
    update = execution.updates.admit(request.request)
    return await _told(execution, update, request, answer)


def _check_updatable(execution: Execution) -> None:
    """Refuse what a run that is paused cannot answer. Raises RPCError FAILED_PRECONDITION."""
    if execution.pause is not None:
        message = "Workflow is paused. Cannot update the workflow."
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


async def _told(execution: Execution, update: Update, request: Any, answer: type[Any]) -> Any:
    """Wait as long as the client wants to wait, and tell it how far an update has come."""
    await asyncio.shield(update.accepted)
    if request.wait_policy.lifecycle_stage == _COMPLETED:
        await asyncio.shield(update.outcome)
    named = {"workflow_id": execution.start.workflow_id, "run_id": execution.run_id}
    reference = UpdateRef(workflow_execution=named, update_id=update.id)  # type: ignore[arg-type]
    told = answer(update_ref=reference, stage=_ACCEPTED)
    if update.outcome.done():
        told = answer(update_ref=reference, outcome=update.outcome.result(), stage=_COMPLETED)
    link = update.link_for_client(execution)
    if link is not None and "link" in told.DESCRIPTOR.fields_by_name:
        told.link.CopyFrom(link)
    return told


async def _poll(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request.update_ref.workflow_execution)
    update = execution.updates.find(request.update_ref.update_id)
    if update is None:
        raise not_found(f"update {request.update_ref.update_id!r} not found")
    wanted = request.wait_policy.lifecycle_stage
    if wanted == _COMPLETED:
        await asyncio.shield(update.outcome)
    elif wanted == _ACCEPTED:
        await asyncio.shield(update.accepted)
    outcome = update.outcome.result() if update.outcome.done() else None
    return answer(outcome=outcome, stage=_stage(update), update_ref=request.update_ref)


def _stage(update: Update) -> int:
    if update.outcome.done():
        return _COMPLETED
    return _ACCEPTED if update.accepted.done() else _ADMITTED


# -- update-with-start


async def _with_start(server: Server, request: Any, answer: type[Any]) -> Any:
    """Update-with-start: the one call that does several. Both fail, or none."""
    asked, wanted = request.operations[0].start_workflow, request.operations[1].update_workflow
    refused = [_refused(check_start, asked), _refused(_check_update, asked, wanted)]
    if any(refused):
        raise _failed(refused)
    answered = answer()
    known = _known_update(server, asked, wanted)
    if known is None:
        before = server.find(asked.workflow_id)
        try:
            execution, _ = start(server, asked)
        except RPCError as error:
            raise _failed([error, None]) from error
        if (is_paused := _refused(_check_updatable, execution)) is not None:
            raise _failed([None, is_paused])
        told = told_of_start(execution, asked, StartWorkflowExecutionResponse, is_new=execution is not before)
        update = execution.updates.admit(wanted.request)
    else:
        execution, update = known
        told = StartWorkflowExecutionResponse(run_id=execution.run_id, started=False)
        known_as(told, status=STATUS[execution.status])
        if not update.is_completed:
            told = told_of_start(execution, asked, StartWorkflowExecutionResponse, is_new=False)
    answered.responses.add(start_workflow=told)
    is_over = known is not None and update.is_completed
    try:
        done = await _told(execution, update, wanted, UpdateWorkflowExecutionResponse)
    except RPCError as error:
        raise _failed([None, error]) from error
    if is_over and "link" in done.DESCRIPTOR.fields_by_name:
        done.ClearField("link")
    answered.responses.add(update_workflow=done)
    return answered


def _known_update(server: Server, asked: Any, wanted: Any) -> tuple[Execution, Update] | None:
    """Give the update that there is already, whatever the id policies say; in a run that is over, a completed one."""
    execution = server.find(asked.workflow_id)
    update = None if execution is None else execution.updates.find(wanted.request.meta.update_id)
    if execution is None or update is None or (execution.is_closed and not update.is_completed):
        return None
    return execution, update


def _check_update(asked: Any, wanted: Any) -> None:
    if not asked.workflow_id:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "WorkflowId is not set on request.")
    if wanted.first_execution_run_id:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "FirstExecutionRunId is not allowed.")
    if not wanted.request.input.name:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Update name is not set on request.")


def _refused(check: Callable[..., None], *requests: Any) -> RPCError | None:
    try:
        check(*requests)
    except RPCError as error:
        return error
    return None


def _failed(errors: Sequence[RPCError | None]) -> RPCError:
    """Make the error of a call that does several; what has no error of its own was aborted."""
    told = details.MultiOperationExecutionFailure()
    for error in errors:
        status = told.statuses.add()
        if error is None:
            status.code, status.message = RPCStatusCode.ABORTED, "Operation was aborted."
            status.details.add().Pack(MultiOperationExecutionAborted())
        else:
            status.code, status.message = error.status, error.message
            status.details.extend(error.grpc_status.details)
    first = next(error for error in errors if error is not None)
    return rpc_error(first.status, "Update-with-Start could not be executed.", told)


CALLS: Final[dict[str, Any]] = {
    "update_workflow_execution": _update,
    "poll_workflow_execution_update": _poll,
    "execute_multi_operation": _with_start,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
