"""The server's calls about updates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.update.v1 import UpdateRef
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionResponse

from wfsim_temporal.rpc._workflow import execution_of, start
from wfsim_temporal.wire import not_found

if TYPE_CHECKING:
    from wfsim_temporal.execution import Update
    from wfsim_temporal.server import Server

# UpdateWorkflowExecutionLifecycleStage
_ADMITTED: Final = 1
_ACCEPTED: Final = 2
_COMPLETED: Final = 3


async def _update(server: Server, request: Any, answer: type[Any]) -> Any:
    first = request.first_execution_run_id
    execution = execution_of(server, request.workflow_execution, must_run=True, first_run_id=first)
    update = execution.updates.admit(request.request)
    await asyncio.shield(update.accepted)
    if request.wait_policy.lifecycle_stage == _COMPLETED:
        await asyncio.shield(update.outcome)
    named = {"workflow_id": execution.start.workflow_id, "run_id": execution.run_id}
    reference = UpdateRef(workflow_execution=named, update_id=update.id)  # type: ignore[arg-type]
    told = answer(update_ref=reference, stage=_ACCEPTED)
    if update.outcome.done():
        told = answer(update_ref=reference, outcome=update.outcome.result(), stage=_COMPLETED)
    if update.is_accepted and "link" in told.DESCRIPTOR.fields_by_name:
        told.link.CopyFrom(update.link(execution))
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


async def _with_start(server: Server, request: Any, answer: type[Any]) -> Any:
    """Update-with-start: the one call that does several."""
    first, second = request.operations
    execution, is_new = start(server, first.start_workflow)
    answered = answer()
    answered.responses.add(start_workflow={"run_id": execution.run_id, "started": is_new})
    told = await _update(server, second.update_workflow, UpdateWorkflowExecutionResponse)
    answered.responses.add(update_workflow=told)
    return answered


CALLS: Final[dict[str, Any]] = {
    "update_workflow_execution": _update,
    "poll_workflow_execution_update": _poll,
    "execute_multi_operation": _with_start,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
