"""Cron expressions of ``cron_schedule``, as the server's robfig/cron reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from temporalio.service import RPCStatusCode

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.timetable._calendar import DAYS, HOURS, MINUTES, MONTHS, WEEKDAYS, Calendar
from wfsim_temporal.wire import rpc_error

PREDEFINED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTH_NAMES: Final = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
WEEKDAY_NAMES: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

_FIELDS: Final = (MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS)
_NAMES: Final = {
    MONTHS: {name[:3]: number for number, name in enumerate(MONTH_NAMES, 1)},
    WEEKDAYS: {name[:3]: number for number, name in enumerate(WEEKDAY_NAMES)},
}
_YEARS_AHEAD_MAX: Final = 5
_YEAR_S: Final = 366 * 86_400
_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": NS_PER_SECOND,
    "m": 60 * NS_PER_SECOND,
    "h": 3600 * NS_PER_SECOND,
    "d": 86_400 * NS_PER_SECOND,
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")

Following = Callable[[int], int | None]
"""Gives, of an instant in whole seconds since 1970, the first one after it; None if there is none."""


def backoff_ns(expression: str, from_ns: int, now_ns: int) -> int | None:
    """Tell how long a run waits, in whole seconds; None if it never comes.

    ``from_ns`` is when the run before was due. Raises RPCError INVALID_ARGUMENT if it is no cron expression.
    """
    try:
        following = _following(expression)
    except (ValueError, KeyError, OSError):  # ZoneInfo raises all three
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "invalid CronSchedule.") from None
    due_s = following(from_ns // NS_PER_SECOND)
    while due_s is not None and due_s * NS_PER_SECOND < now_ns:
        due_s = following(due_s)
    return None if due_s is None else -((now_ns - due_s * NS_PER_SECOND) // NS_PER_SECOND) * NS_PER_SECOND


def first_backoff_ns(expression: str, now_ns: int) -> int:
    """Tell how long the first run waits. Raises RPCError INVALID_ARGUMENT if it would wait for ever."""
    wait_ns = backoff_ns(expression, now_ns, now_ns)
    if wait_ns is None:
        message = "invalid CronSchedule, no time can be found to satisfy the schedule"
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
    return wait_ns


def parse_go_duration(text: str) -> int:
    """Read a duration as Go writes it, such as "1h30m"; give nanoseconds. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"{text!r} is no duration; write it as 1h30m")
    return sign * sum(int(float(number) * _UNITS_NS[unit]) for number, unit in parts)


def split_zone(expression: str) -> tuple[str, str]:
    """Split ``CRON_TZ=Europe/Oslo 0 9 * * *`` into the zone's name, empty if there is none, and the rest."""
    if not expression.startswith(("TZ=", "CRON_TZ=")):
        return "", expression
    zone, _, rest = expression.partition(" ")
    return zone.partition("=")[2], rest.strip()


def zone_of(name: str) -> tzinfo:
    """Give a time zone; the one without a name is UTC. Raises ValueError, KeyError or OSError as ZoneInfo does."""
    return UTC if name in {"", "UTC"} else ZoneInfo(name)


@lru_cache(maxsize=128)
def _following(expression: str) -> Following:
    name, text = split_zone(expression)
    zone = zone_of(name)
    if text.startswith("@every "):
        every_s = max(parse_go_duration(text.removeprefix("@every ")) // NS_PER_SECOND, 1)
        return lambda after_s: after_s + every_s
    calendar = _calendar(PREDEFINED.get(text, text))

    def following(after_s: int) -> int | None:
        found_s = calendar.next(after_s, zone)
        is_near = found_s is not None and found_s - after_s < _YEARS_AHEAD_MAX * _YEAR_S
        return found_s if is_near else None

    return following


def _calendar(text: str) -> Calendar:
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{text!r} has {len(fields)} fields; a cron expression has five")
    minutes, hours, days, months, weekdays = map(_read, fields, _FIELDS)
    # Either day counts, unless one of them may be any: a star with a step restricts.
    is_either = not (_has_star(fields[2]) or _has_star(fields[4]))
    return Calendar((0,), minutes, hours, days, months, weekdays, is_either_day=is_either)


def _read(text: str, known: range) -> list[int]:
    def number(value: str) -> int:
        named = _NAMES.get(known, {}).get(value.lower())
        return int(value) if named is None else named

    parts = [part.replace("?", "*") for part in text.split(",") if part]
    if not parts:
        raise ValueError(f"{text!r} names no value")
    return sorted({one for part in parts for one in _values(part, known, number)})


def _has_star(text: str) -> bool:
    return any(part in {"*", "?", "*/1", "?/1"} for part in text.split(","))


def _values(part: str, known: range, number: Callable[[str], int]) -> range:
    """Read one element of a field: ``*``, ``5``, ``5/10``, ``5-30`` or ``5-30/10``; ``number`` reads a value.

    Raises ValueError for anything else, and for values that are not ``known``.
    """
    span, has_step, step = part.partition("/")
    by = int(step) if has_step else 1
    if span == "*":
        first, last = known[0], known[-1]
    else:
        low, has_end, high = span.partition("-")
        first = number(low)
        last = number(high) if has_end else known[-1] if has_step else first
    if by < 1 or first > last or first not in known or last not in known:
        raise ValueError(f"{part!r} is not within {known[0]}-{known[-1]}")
    return range(first, last + 1, by)
