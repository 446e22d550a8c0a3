"""When the server tries an activity or a workflow again. Source: ``service/history/workflow/retry.go``."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from temporalio.api.common.v1 import RetryPolicy
from temporalio.api.failure.v1 import Failure

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.wire._proto import duration, to_ns

# temporal.api.enums.v1.RetryState
IN_PROGRESS: Final = 1
NON_RETRYABLE_FAILURE: Final = 2
TIMEOUT: Final = 3
MAXIMUM_ATTEMPTS_REACHED: Final = 4
RETRY_POLICY_NOT_SET: Final = 5
CANCEL_REQUESTED: Final = 7

# temporal.api.enums.v1.TimeoutType
START_TO_CLOSE: Final = 1
SCHEDULE_TO_START: Final = 2
SCHEDULE_TO_CLOSE: Final = 3
HEARTBEAT: Final = 4
TIMEOUT_NAMES: Final = {
    START_TO_CLOSE: "StartToClose",
    SCHEDULE_TO_START: "ScheduleToStart",
    SCHEDULE_TO_CLOSE: "ScheduleToClose",
    HEARTBEAT: "Heartbeat",
}

DEFAULT_POLICY: Final = RetryPolicy()
"""What an activity has that names none: every field is at the server's default."""

_DEFAULT_INTERVAL_NS: Final = NS_PER_SECOND
_DEFAULT_COEFFICIENT: Final = 2.0
_INTERVALS_TO_MAXIMUM: Final = 100


class Next(NamedTuple):
    """What comes after a failure: a retry state and, if it is IN_PROGRESS, the wait in nanoseconds."""

    state: int
    delay_ns: int = 0


def next_try(policy: Any, attempt: int, failure: Failure, now_ns: int, deadline_ns: int) -> Next:
    """Decide what comes after ``attempt`` (from 1) has failed; ``deadline_ns`` bounds when the next one begins."""
    if policy is None:
        return Next(RETRY_POLICY_NOT_SET)
    if not _is_retryable(failure, policy.non_retryable_error_types):
        return Next(NON_RETRYABLE_FAILURE)
    if 0 < policy.maximum_attempts <= attempt:
        return Next(MAXIMUM_ATTEMPTS_REACHED)
    delay_ns = _delay_ns(policy, attempt, failure)
    return Next(TIMEOUT) if now_ns + delay_ns > deadline_ns else Next(IN_PROGRESS, delay_ns)


def completed_policy(policy: Any) -> RetryPolicy:
    """Give a policy with the server's defaults for what it leaves open."""
    initial_ns = to_ns(policy.initial_interval) or _DEFAULT_INTERVAL_NS
    maximum_ns = to_ns(policy.maximum_interval) or _INTERVALS_TO_MAXIMUM * initial_ns
    return RetryPolicy(
        initial_interval=duration(initial_ns),
        backoff_coefficient=policy.backoff_coefficient or _DEFAULT_COEFFICIENT,
        maximum_interval=duration(maximum_ns),
        maximum_attempts=policy.maximum_attempts,
        non_retryable_error_types=policy.non_retryable_error_types,
    )


def _delay_ns(policy: Any, attempt: int, failure: Failure) -> int:
    if has_own_delay(failure):  # which goes before the policy's maximum too
        return to_ns(failure.application_failure_info.next_retry_delay)
    return backoff_ns(policy, attempt)


def has_own_delay(failure: Failure) -> bool:
    """Whether a failure says itself when the next attempt is to begin."""
    told = failure.application_failure_info
    return failure.HasField("application_failure_info") and told.HasField("next_retry_delay")


def backoff_ns(policy: Any, attempt: int) -> int:
    """Give how long a policy lets the attempt after ``attempt`` (from 1) wait, in nanoseconds."""
    initial_ns = to_ns(policy.initial_interval) or _DEFAULT_INTERVAL_NS
    maximum_ns = to_ns(policy.maximum_interval) or _INTERVALS_TO_MAXIMUM * initial_ns
    try:
        wanted = initial_ns * (policy.backoff_coefficient or _DEFAULT_COEFFICIENT) ** (attempt - 1)
    except OverflowError:
        return maximum_ns
    return int(min(wanted, maximum_ns))


def _is_retryable(failure: Failure, non_retryable: Any) -> bool:
    kind = failure.WhichOneof("failure_info")
    if kind in {"terminated_failure_info", "canceled_failure_info"}:
        return False
    if kind == "timeout_failure_info":
        timeout = failure.timeout_failure_info.timeout_type
        named = f"TemporalTimeout:{TIMEOUT_NAMES.get(timeout)}" in non_retryable
        return timeout in {START_TO_CLOSE, HEARTBEAT} and not named
    if kind == "server_failure_info":
        return not failure.server_failure_info.non_retryable
    if kind == "application_failure_info":
        told = failure.application_failure_info
        return not told.non_retryable and told.type not in non_retryable
    return True


def timeout_failure(kind: int, message: str, source: str = "Server") -> Failure:
    """Make the server's own failure for a timeout."""
    failure = Failure(message=message, source=source)
    failure.timeout_failure_info.timeout_type = kind  # type: ignore[assignment]
    return failure
