"""The server's calls that reset and delete executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.service import RPCStatusCode

from wfsim_temporal.rpc._deployment import update_options
from wfsim_temporal.rpc._workflow import execution_of
from wfsim_temporal.server import Reset, reset, task_id_of
from wfsim_temporal.wire import rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Server

_FIRST: Final = 1  # ResetType


async def _reset(server: Server, request: Any, answer: type[Any]) -> Any:
    execution = execution_of(server, request.workflow_execution)
    for one in getattr(request, "post_reset_operations", ()):
        if one.WhichOneof("variant") != "update_workflow_options":
            message = "unsupported post reset operation: *workflow.PostResetOperation_SignalWorkflow_"
            raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
    asked = Reset(
        request.workflow_task_finish_event_id,
        request.reason,
        request.reset_reapply_type,
        tuple(request.reset_reapply_exclude_types),
    )
    again = reset(server, execution, asked)
    for one in getattr(request, "post_reset_operations", ()):
        update_options(server, again, one.update_workflow_options)
    return answer(run_id=again.run_id)


def reset_in_batch(server: Server, execution: Execution, asked: Any, reason: str) -> None:
    """Reset one execution of a batch. Raises RPCError, as the call for one."""
    options = asked.options
    target = options.WhichOneof("target")
    is_first = target == "first_workflow_task" or (target is None and asked.reset_type == _FIRST)
    task_id = (
        options.workflow_task_id if target == "workflow_task_id" else task_id_of(execution, first=is_first)
    )
    reapply = options.reset_reapply_type if target else asked.reset_reapply_type
    reset(server, execution, Reset(task_id, reason, reapply, tuple(options.reset_reapply_exclude_types)))


async def _delete(server: Server, request: Any, answer: type[Any]) -> Any:
    server.delete(execution_of(server, request.workflow_execution))
    return answer()


CALLS: Final[dict[str, Any]] = {
    "reset_workflow_execution": _reset,
    "delete_workflow_execution": _delete,
}
"""The calls by their names in ``temporal.api.workflowservice``."""
