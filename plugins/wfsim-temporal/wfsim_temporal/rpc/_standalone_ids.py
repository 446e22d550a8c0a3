"""What ids of activities and Nexus operations without a workflow allow: whether a start means a run that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from temporalio.service import RPCStatusCode

from wfsim_temporal.wire import rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.server import StandaloneActivity, StandaloneNexusOperation

_Run = TypeVar("_Run", "StandaloneActivity", "StandaloneNexusOperation")

# ActivityIdReusePolicy and NexusOperationIdReusePolicy
_ALLOW_DUPLICATE_FAILED_ONLY: Final = 2
_REJECT_DUPLICATE: Final = 3
# ActivityIdConflictPolicy and NexusOperationIdConflictPolicy
_USE_EXISTING: Final = 2


def run_meant(before: _Run | None, request: Any, told: type[Any], kind: str) -> _Run | None:
    """Give ``before``, the latest run of an id, if a request to start means that one; None if it begins another.

    It means it if it began it and asks once more, or joins it. Raises RPCError ALREADY_EXISTS, with details of the
    type ``told``, where it may do neither.
    """
    if before is None:
        return None
    if began(before, request) or (not before.is_gone and request.id_conflict_policy == _USE_EXISTING):
        return before
    if _refuses(before, request.id_reuse_policy):
        details = told(run_id=before.run_id, start_request_id=before.start_request_id)
        raise rpc_error(RPCStatusCode.ALREADY_EXISTS, f"{kind} execution already started", details)
    return None


def began(before: _Run, request: Any) -> bool:
    """Whether the same request began a run: its answer was lost."""
    return bool(request.request_id) and before.start_request_id == request.request_id


def _refuses(before: _Run, reuse: int) -> bool:
    if not before.is_gone or reuse == _REJECT_DUPLICATE:
        return True
    return reuse == _ALLOW_DUPLICATE_FAILED_ONLY and before.status == "completed"
