"""Protobuf messages of Temporal: event types by name, durations and times in nanoseconds, codes of the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import temporalio.common
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.bridge.proto import activity_result, workflow_activation

from wfsim.units import NS_PER_SECOND

Job = workflow_activation.WorkflowActivationJob
EVENT: Final[dict[str, int]] = {
    name.removeprefix("EVENT_TYPE_"): number for name, number in EventType.items()
}
"""The numbers of event types, by their names without the prefix."""
ATTRIBUTES: Final[dict[int, str]] = {
    number: f"{name.lower()}_event_attributes" for name, number in EVENT.items()
}
"""The field of HistoryEvent that holds the attributes of a type."""
STATUS: Final[dict[str, int]] = {
    name.removeprefix("WORKFLOW_EXECUTION_STATUS_").lower(): number
    for name, number in WorkflowExecutionStatus.items()
}
"""The numbers of an execution's status, by their names in lower case."""
_STAYS: Final = {0, 1}
"""VersioningIntent: unspecified, which stays on the same task queue, and compatible."""
_NO_PRIORITY: Final = temporalio.common.Priority.default
FOREVER: Final = 1 << 62
"""A deadline that never comes, in nanoseconds."""


def job_of(**variant: Any) -> Job:
    """Make a job for a workflow; messages inside may be written as dicts, which protobuf takes."""
    return Job(**variant)


def resolution(**outcome: Any) -> Any:
    """Make what a workflow is told of an activity's end."""
    return activity_result.ActivityResolution(**outcome)


def to_ns(duration: Any) -> int:
    """Give a Duration in nanoseconds."""
    return int(duration.seconds) * NS_PER_SECOND + int(duration.nanos)


def ns_of(message: Any, field: str) -> int | None:
    """Give a Duration field in nanoseconds; None if it is not set or zero, which mean the same to Temporal."""
    if not message.HasField(field):
        return None
    held = getattr(message, field)
    return held.seconds * NS_PER_SECOND + held.nanos or None


@lru_cache(maxsize=1024)
def duration(ns: int) -> Duration:
    """Give nanoseconds as a Duration, to be put into other messages: who asks again gets the same one."""
    return Duration(seconds=ns // NS_PER_SECOND, nanos=ns % NS_PER_SECOND)


def changed(frozen: Any, changes: dict[str, Any]) -> Any:
    """Give a frozen dataclass with other values: what ``dataclasses.replace`` does, in an eighth of its time."""
    made = object.__new__(type(frozen))
    known = vars(made)
    known.update(vars(frozen))
    known.update(changes)
    return made


def delta(ns: int | None) -> timedelta | None:
    """Give nanoseconds as a timedelta; None stays None."""
    return None if ns is None else timedelta(microseconds=ns / 1000)


def date(ns: int) -> datetime:
    """Give nanoseconds since 1970 as a date in UTC."""
    return datetime.fromtimestamp(ns // NS_PER_SECOND, UTC) + timedelta(
        microseconds=ns % NS_PER_SECOND // 1000
    )


def timestamp(ns: int) -> Timestamp | None:
    """Give nanoseconds since 1970 as a Timestamp; 0 stands for an instant that there is not."""
    return Timestamp(seconds=ns // NS_PER_SECOND, nanos=ns % NS_PER_SECOND) if ns else None


def field_or_none(message: Any, field: str) -> Any:
    """Give a message's field if it is set."""
    return getattr(message, field) if message.HasField(field) else None


def keeps_build_id(command: Any, queue: str) -> bool | None:
    """Tell whether Core asks the server to stay with the build id, for what a workflow on a queue starts.

    None stands for no: such a field is left out.
    """
    stays = command.versioning_intent in _STAYS and (not command.task_queue or command.task_queue == queue)
    return stays or None


def indexed_fields(command: Any) -> dict[str, Any]:
    """Give a command's search attributes; in some releases of the SDK they are a plain map."""
    held = command.search_attributes
    return dict(getattr(held, "indexed_fields", held))


def merged_priority(base: Any, own: Any) -> Any:
    """Give the priority of what a workflow starts: what its command leaves open is the workflow's own."""
    if base is None or not own.ByteSize():
        return own if own.ByteSize() else base
    merged = type(own)()
    merged.CopyFrom(base)
    merged.MergeFrom(own)
    return merged


def priority_of(message: Any) -> temporalio.common.Priority:
    """Give a priority as the SDK's infos have it; None is the default one."""
    return _NO_PRIORITY if message is None else temporalio.common.Priority._from_proto(message)
