"""What a caller is told of a Nexus operation that did not succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf import json_format
from temporalio.api.failure.v1 import Failure

from wfsim_temporal.wire import TIMEOUT_NAMES

if TYPE_CHECKING:
    from wfsim_temporal.commands import NexusOperation
    from wfsim_temporal.execution import Execution

_UNSUCCESSFUL: Final = "nexus operation completed unsuccessfully"
_TEMPORAL_FAILURE: Final = "temporal.api.failure.v1.Failure"
_FINAL: Final = ("BAD_REQUEST", "UNAUTHENTICATED", "UNAUTHORIZED", "NOT_FOUND", "NOT_IMPLEMENTED", "CONFLICT")
# NexusHandlerErrorRetryBehavior
_RETRYABLE: Final = 1


class Completion(NamedTuple):
    """What came of that which backs an operation, and a link to it. It has succeeded if there is no failure."""

    link: Any
    result: Any
    failure: Failure | None


def operation_failure(operation: NexusOperation, cause: Failure, message: str = _UNSUCCESSFUL) -> Failure:
    """Wrap why an operation did not succeed in the failure that names it."""
    failure = Failure(message=message, cause=cause)
    told = failure.nexus_operation_execution_failure_info
    asked = operation.asked
    told.scheduled_event_id = operation.event_id
    told.endpoint, told.service, told.operation = asked.endpoint, asked.service, asked.operation
    told.operation_id = told.operation_token = operation.token
    return failure


def timeout_cause(kind: int) -> Failure:
    """Give the failure for a timeout of the server's."""
    failure = Failure(message="operation timed out")
    failure.timeout_failure_info.timeout_type = kind  # type: ignore[assignment]
    return failure


def no_time_left(kind: int) -> Failure:
    """Give why no other request to cancel an operation is made: a timeout of this kind is too near."""
    failure = Failure(
        message=f"not enough time to execute another request before {TIMEOUT_NAMES[kind]} timeout"
    )
    failure.application_failure_info.type = "CallError"
    failure.application_failure_info.non_retryable = True
    return failure


def no_endpoint() -> Failure:
    """Give why an operation comes to nothing whose endpoint was deleted."""
    failure = Failure(message="endpoint not registered")
    failure.nexus_handler_failure_info.type = "NOT_FOUND"
    return failure


def refusal(completion: Any) -> Failure:
    """Give why a handler did not answer: a failure with the kind of handler error."""
    if completion.HasField("failure"):
        failure: Failure = completion.failure
        if not failure.HasField("nexus_handler_failure_info"):
            failure.nexus_handler_failure_info.type = "INTERNAL"
        return failure
    error = completion.error
    failure = Failure(message=error.failure.message, cause=_inner(error.failure))
    failure.nexus_handler_failure_info.type = error.error_type or "INTERNAL"
    failure.nexus_handler_failure_info.retry_behavior = error.retry_behavior
    return failure


def _inner(told: Any) -> Failure | None:
    """Read the failure that older releases of the SDK pack into one of Nexus."""
    if dict(told.metadata).get("type") != _TEMPORAL_FAILURE:
        return None
    failure: Failure = json_format.Parse(told.details, Failure())
    failure.message = failure.message or told.message
    return failure


def cancel_refusal(refused: Failure) -> Failure:
    """Give why a request to cancel was refused, as the server notes it: the handler's error within another."""
    failure = Failure(cause=refused)
    failure.nexus_handler_failure_info.CopyFrom(refused.nexus_handler_failure_info)
    return failure


def is_retryable(failure: Failure) -> bool:
    """Whether the server tries again."""
    told = failure.nexus_handler_failure_info
    if told.retry_behavior:
        return bool(told.retry_behavior == _RETRYABLE)
    return told.type not in _FINAL


def canceled_by_handler(response: Any) -> Failure:
    """Give the failure of an operation that its handler has ended at once; it says whether it is cancelled."""
    if response.WhichOneof("variant") == "failure":
        failure: Failure = response.failure
        return failure
    error = response.operation_error
    failure = _inner(error.failure) or Failure(message=error.failure.message)
    kind = failure.WhichOneof("failure_info")
    if error.operation_state == "canceled" and kind != "canceled_failure_info":
        failure.canceled_failure_info.SetInParent()
    elif kind is None:
        failure.application_failure_info.type = "OperationError"
        failure.application_failure_info.non_retryable = True
    return failure


def outcome_of_run(run: Execution) -> Failure:
    """Give the failure of a workflow that backs an operation and has not completed."""
    if run.status == "failed":
        return Failure.FromString(run.failure.SerializeToString())
    if run.status == "canceled":
        failure = Failure(message="operation canceled")
        failure.canceled_failure_info.SetInParent()
    elif run.status == "terminated":
        failure = Failure(message="operation terminated")
        failure.terminated_failure_info.SetInParent()
    else:
        failure = Failure(message="operation exceeded internal timeout")
        failure.timeout_failure_info.SetInParent()
    return failure
