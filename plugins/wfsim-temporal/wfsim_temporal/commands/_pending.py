"""What describing a workflow tells of an activity that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.activity.v1 import ActivityOptions

from wfsim_temporal.wire import FOREVER, duration, timestamp

if TYPE_CHECKING:
    from wfsim_temporal.commands._activity import Activity

# PendingActivityState
_SCHEDULED: Final = 1
_STARTED: Final = 2
_CANCEL_REQUESTED: Final = 3
_PAUSED: Final = 4
_PAUSE_REQUESTED: Final = 5


def pending_info(activity: Activity) -> dict[str, Any]:
    """Give the fields of ``PendingActivityInfo``."""
    pause = activity.pause
    told = {
        "activity_id": activity.asked.activity_id,
        "activity_type": {"name": activity.name},
        "state": _state(activity),
        "attempt": activity.attempt,
        "maximum_attempts": activity.policy.maximum_attempts,
        "scheduled_time": timestamp(activity.due_ns),
        "expiration_time": None if activity.deadline_ns == FOREVER else timestamp(activity.deadline_ns),
        "last_started_time": timestamp(activity.started_ns) if activity.is_started else None,
        "last_worker_identity": activity.identity,
        "last_attempt_complete_time": timestamp(activity.attempt_ended_ns),
        "last_failure": activity.last_failure,
        "last_heartbeat_time": timestamp(activity.beat_ns),
        "heartbeat_details": activity.heartbeat_details if activity.beat_ns else None,
        "priority": activity.priority,
        "paused": pause is not None,
        "activity_options": told_options(activity.options()),
    }
    if pause is not None:
        by_hand = {"identity": pause.identity, "reason": pause.reason}
        told["pause_info"] = {"pause_time": timestamp(pause.at_ns), "manual": by_hand}
    elif activity.is_in_backoff:
        told["next_attempt_schedule_time"] = timestamp(activity.due_ns)
        told["current_retry_interval"] = duration(activity.due_ns - activity.attempt_ended_ns)
    return told


def told_options(options: ActivityOptions) -> ActivityOptions:
    """Give options as the server tells them: it keeps to itself which errors are not retried."""
    told = ActivityOptions()
    told.CopyFrom(options)
    del told.retry_policy.non_retryable_error_types[:]
    return told


def _state(activity: Activity) -> int:
    if activity.is_started and activity.is_cancel_requested:
        return _CANCEL_REQUESTED
    if activity.pause is not None:
        return _PAUSE_REQUESTED if activity.is_started else _PAUSED
    return _STARTED if activity.is_started else _SCHEDULED
