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


def refuses(before: Execution, reuse: int) -> bool:
    """Tell whether a policy refuses to start another run after (or beside) ``before``."""
    if not before.is_closed:
        return reuse != TERMINATE_IF_RUNNING
    return reuse == _REJECT_DUPLICATE or (
        reuse == _ALLOW_DUPLICATE_FAILED_ONLY and before.status == "completed"
    )
