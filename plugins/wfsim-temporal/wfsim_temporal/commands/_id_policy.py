"""Whether a workflow id may be used again. Source: Temporal's documentation of workflow id reuse and conflict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution

# WorkflowIdReusePolicy
_ALLOW_DUPLICATE_FAILED_ONLY: Final = 2
_REJECT_DUPLICATE: Final = 3
TERMINATE_IF_RUNNING: Final = 4
# WorkflowIdConflictPolicy
USE_EXISTING: Final = 2
TERMINATE_EXISTING: Final = 3


def refusal(before: Execution, reuse: int) -> str:
    """Tell in the server's words why a policy refuses another run after, or beside, ``before``; else nothing."""
    named = f"WorkflowId: {before.start.workflow_id}, RunId: {before.run_id}."
    if not before.is_closed:
        is_refused = reuse != TERMINATE_IF_RUNNING
        return f"Workflow execution is already running. {named}" if is_refused else ""
    if reuse == _REJECT_DUPLICATE:
        policy = "reject duplicate workflow Id."
        return f"Workflow execution already finished. {named} Workflow Id reuse policy: {policy}"
    if reuse == _ALLOW_DUPLICATE_FAILED_ONLY and before.status == "completed":
        policy = "allow duplicate workflow Id if last run failed."
        return f"Workflow execution already finished successfully. {named} Workflow Id reuse policy: {policy}"
    return ""
