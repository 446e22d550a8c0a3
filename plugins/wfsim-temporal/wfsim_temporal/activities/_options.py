"""The options of an activity: its timeouts as the server completes them, and how an operator changes them.

Source of the rules: what a real server does, and its ``common/activityoptions``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.activity.v1 import ActivityOptions
from temporalio.service import RPCStatusCode

from wfsim_temporal.wire import duration, ns_of, rpc_error, to_ns

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUTS: Final = (
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "start_to_close_timeout",
    "heartbeat_timeout",
)
"""The fields of the four timeouts, in every message that has them."""

_PARTS: Final = {
    "task_queue": ("TaskQueue", ("name",)),
    "retry_policy": (
        "RetryPolicy",
        ("initial_interval", "backoff_coefficient", "maximum_interval", "maximum_attempts"),
    ),
    "priority": ("Priority", ("priority_key", "fairness_key", "fairness_weight")),
}
"""Options whose fields change one by one, by what the server calls them."""
_WHOLE: Final = ("retry_policy", "priority")
PATHS: Final = (
    *(*TIMEOUTS, *_WHOLE, "start_delay"),
    *(f"{name}.{field}" for name, (_, fields) in _PARTS.items() for field in fields),
)
"""The paths of ``ActivityOptions`` that a field mask may name."""
_IN_CAMEL_CASE: Final = re.compile("[A-Z]")


class Limits:
    """The four timeouts in nanoseconds, None where there is none, as the server completes them."""

    __slots__ = ("heartbeat_ns", "schedule_to_close_ns", "schedule_to_start_ns", "start_to_close_ns")

    def __init__(self, asked: Any, run_timeout_ns: int | None) -> None:
        whole, start = ns_of(asked, "schedule_to_close_timeout"), ns_of(asked, "start_to_close_timeout")
        wait = ns_of(asked, "schedule_to_start_timeout")
        if whole is not None:
            wait = min(wait or whole, whole)
            start = min(start or whole, whole)
        elif start is not None:
            whole = run_timeout_ns
            wait = wait or run_timeout_ns
        beat = ns_of(asked, "heartbeat_timeout")
        self.schedule_to_close_ns, self.schedule_to_start_ns, self.start_to_close_ns = whole, wait, start
        self.heartbeat_ns = min(beat, start) if beat and start else beat

    def attributes(self) -> dict[str, Any]:
        """Give them as fields of the event that schedules the activity."""
        return {name: duration(ns) for name, ns in self._named() if ns is not None}

    def options(self) -> dict[str, Any]:
        """Give them as fields of ``ActivityOptions``, which has all of them."""
        return {name: duration(ns or 0) for name, ns in self._named()}

    def _named(self) -> Iterable[tuple[str, int | None]]:
        values = (
            self.schedule_to_close_ns,
            self.schedule_to_start_ns,
            self.start_to_close_ns,
            self.heartbeat_ns,
        )
        return zip(TIMEOUTS, values, strict=True)


def paths_of(mask: Any) -> list[str]:
    """Give the paths of a field mask; the server takes them in either case."""
    return [_IN_CAMEL_CASE.sub(lambda found: f"_{found[0].lower()}", path) for path in mask.paths]


def changed_options(
    before: ActivityOptions, wanted: Any, paths: list[str], *, known_as: str
) -> ActivityOptions:
    """Give options with those of another message at some paths; what is no path of theirs changes nothing.

    ``known_as`` names the activity in what the server says. Raises RPCError INVALID_ARGUMENT.
    """
    after = ActivityOptions()
    after.CopyFrom(before)
    for path in paths:
        _merge(after, wanted, path)
    if any(path.startswith("retry_policy.") for path in paths):
        check_policy(after.retry_policy)
    _check(after, known_as)
    limits = Limits(after, None)
    for name, one in limits.options().items():
        getattr(after, name).CopyFrom(one)
    return after


def _merge(after: ActivityOptions, wanted: Any, path: str) -> None:
    name, _, field = path.partition(".")
    is_part = name in _PARTS and field in _PARTS[name][1]
    if (is_part or path == "retry_policy") and not wanted.HasField(name):
        raise _refused(f"{_PARTS[name][0]} is not provided")
    if is_part:
        _set(getattr(after, name), getattr(wanted, name), field)
    elif path in (*TIMEOUTS, *_WHOLE):
        after.ClearField(name)  # type: ignore[arg-type]
        if wanted.HasField(name):
            getattr(after, name).CopyFrom(getattr(wanted, name))


def _set(after: Any, wanted: Any, field: str) -> None:
    value = getattr(wanted, field)
    if hasattr(value, "CopyFrom"):
        getattr(after, field).CopyFrom(value)
    else:
        setattr(after, field, value)


def _check(options: ActivityOptions, known_as: str) -> None:
    if not options.task_queue.name:
        raise _refused("missing task queue name")
    if options.priority.priority_key < 0:
        raise _refused("priority key can't be negative")
    for name in TIMEOUTS:
        if to_ns(getattr(options, name)) < 0:
            called = name.title().replace("_", "")
            raise _refused(f"invalid {called}: negative duration")
    if not to_ns(options.start_to_close_timeout) and not to_ns(options.schedule_to_close_timeout):
        told = "a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity."
        raise _refused(f"{told} {known_as}")


def check_policy(policy: Any) -> None:
    """Check a retry policy as the server does. Raises RPCError INVALID_ARGUMENT."""
    if policy.maximum_attempts == 1:
        return
    initial_ns, maximum_ns = to_ns(policy.initial_interval), to_ns(policy.maximum_interval)
    if initial_ns < 0:
        raise _refused("invalid InitialInterval set on retry policy: negative duration")
    if policy.backoff_coefficient < 1:
        raise _refused("BackoffCoefficient cannot be less than 1 on retry policy.")
    if maximum_ns < 0:
        raise _refused("invalid MaximumInterval set on retry policy: negative duration")
    if 0 < maximum_ns < initial_ns:
        raise _refused("MaximumInterval cannot be less than InitialInterval on retry policy.")
    if policy.maximum_attempts < 0:
        raise _refused("MaximumAttempts cannot be negative on retry policy.")


def _refused(message: str) -> Exception:
    return rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
