"""When a schedule acts: intervals, calendars, cron expressions, what they exclude, jitter and time zone.

Source of the rules and of the words of errors: ``spec.go`` and ``calendar.go`` of the server's scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from temporalio.api.schedule.v1 import Range, ScheduleSpec, StructuredCalendarSpec

from wfsim.kernel import Stream
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.timetable._calendar import DAYS, HOURS, MINUTES, MONTHS, YEARS, Calendar
from wfsim_temporal.timetable._cron import (
    MONTH_NAMES,
    PREDEFINED,
    WEEKDAY_NAMES,
    parse_go_duration,
    split_zone,
    zone_of,
)
from wfsim_temporal.wire import duration, to_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXCLUDED_MAX: Final = 100_000
_NS_PER_MS: Final = 1_000_000
_LAST_S: Final = 4_133_980_800  # the server's calendars end with the year 2100


class NotASpec(ValueError):
    """A schedule's specification that the server refuses; the message is the server's."""


class Field(NamedTuple):
    """A field of a calendar: its name in messages and in protobuf, what it may be, and what it is if it is empty."""

    title: str
    name: str
    known: range
    default: str
    names: tuple[str, ...] = ()
    prefix: int = 0


FIELDS: Final = (
    Field("Second", "second", MINUTES, "0"),
    Field("Minute", "minute", MINUTES, "0"),
    Field("Hour", "hour", HOURS, "0"),
    Field("DayOfMonth", "day_of_month", DAYS, "*"),
    Field("Month", "month", MONTHS, "*", ("", *MONTH_NAMES), 3),
    Field("DayOfWeek", "day_of_week", range(8), "*", WEEKDAY_NAMES, 2),
    Field("Year", "year", YEARS, "*"),
)
_WEEKDAY, _YEAR = FIELDS[5:]
_CRON_FIELDS: Final = {7: FIELDS, 6: FIELDS[1:], 5: FIELDS[1:6]}
"""What cron expressions say, by how many fields they have."""


class Due(NamedTuple):
    """When an action is due by the specification, and when it is taken: later by the jitter."""

    nominal_ns: int
    at_ns: int


@dataclass(frozen=True)
class Jitter:
    """How late actions may be; each has a random number of its own."""

    seed: int
    name: str

    def ns(self, nominal_s: int, limit_ns: int) -> int:
        """Give the delay of one action, in whole milliseconds."""
        share = Stream(self.seed, f"temporal/jitter/{self.name}/{nominal_s}").random()
        return int(share * (limit_ns // _NS_PER_MS)) * _NS_PER_MS


class Spec:
    """A specification, as ``proto`` in the form in which the server describes it. Raises NotASpec."""

    def __init__(self, asked: Any, jitter: Jitter) -> None:
        self.proto = canonical(asked)
        self._jitter = jitter
        self._jitter_ns = to_ns(asked.jitter)
        self._zone = _zone(self.proto.timezone_name)
        self._calendars = [_compiled(one) for one in self.proto.structured_calendar]
        self._excluded = [_compiled(one) for one in self.proto.exclude_structured_calendar]
        self._intervals = [
            (to_ns(one.interval) // NS_PER_SECOND, to_ns(one.phase) // NS_PER_SECOND)
            for one in self.proto.interval
        ]

    def due_after(self, after_ns: int) -> Iterator[Due]:
        """Give what is due after an instant, one after the other."""
        while (due := self.next(after_ns)) is not None:
            yield due
            after_ns = due.at_ns

    def next(self, after_ns: int) -> Due | None:
        """Give what is due next after an instant; None if there is nothing."""
        proto = self.proto
        if proto.HasField("start_time") and after_ns < proto.start_time.ToNanoseconds():
            after_ns = proto.start_time.ToNanoseconds() - NS_PER_SECOND
        nominal_s: int | None = after_ns // NS_PER_SECOND
        for _ in range(_EXCLUDED_MAX):
            nominal_s = None if nominal_s is None else self._following(nominal_s)
            if nominal_s is None or self._is_past(nominal_s):
                return None
            if not any(one.matches(nominal_s, self._zone) for one in self._excluded):
                return Due(nominal_s * NS_PER_SECOND, nominal_s * NS_PER_SECOND + self._late_ns(nominal_s))
        return None

    def _is_past(self, at_s: int) -> bool:
        end_ns = self.proto.end_time.ToNanoseconds() if self.proto.HasField("end_time") else None
        return at_s > _LAST_S or (end_ns is not None and at_s * NS_PER_SECOND > end_ns)

    def _following(self, after_s: int) -> int | None:
        found = [one.next(after_s, self._zone) for one in self._calendars]
        found += [((after_s - phase) // every + 1) * every + phase for every, phase in self._intervals]
        return min((one for one in found if one is not None), default=None)

    def _late_ns(self, nominal_s: int) -> int:
        if not self._jitter_ns:
            return 0
        following_s = self._following(nominal_s)
        limit_ns = self._jitter_ns
        if following_s is not None:
            limit_ns = min(limit_ns, (following_s - nominal_s) * NS_PER_SECOND)
        return self._jitter.ns(nominal_s, limit_ns)


def canonical(asked: Any) -> Any:
    """Bring calendars and cron expressions into the one form that the server keeps. Raises NotASpec."""
    spec = ScheduleSpec()
    spec.CopyFrom(asked)
    for name in ("calendar", "cron_string", "exclude_calendar"):
        spec.ClearField(name)
    spec.structured_calendar.extend(_from_texts(_texts(one), one.comment) for one in asked.calendar)
    spec.exclude_structured_calendar.extend(
        _from_texts(_texts(one), one.comment) for one in asked.exclude_calendar
    )
    zones = [_add_cron(spec, text) for text in asked.cron_string]
    if any(zone != zones[0] for zone in zones):
        raise NotASpec("conflicting timezone names")
    if zones and zones[0]:
        if spec.timezone_name not in {"", zones[0]}:
            raise NotASpec("conflicting timezone names")
        spec.timezone_name = zones[0]
    _zone(spec.timezone_name)
    for calendar in (*spec.structured_calendar, *spec.exclude_structured_calendar):
        _check_calendar(calendar)
        _complete(calendar)
    for interval in spec.interval:
        _check_interval(to_ns(interval.interval), to_ns(interval.phase))
    return spec


def _zone(name: str) -> Any:
    try:
        return zone_of(name)
    except (ValueError, KeyError, OSError):  # ZoneInfo raises all three
        raise NotASpec(f"unknown time zone {name}") from None


# -- cron expressions


def _add_cron(spec: Any, text: str) -> str:
    """Add what a cron expression stands for; give the name of its time zone."""
    expression, _, comment = text.partition("#")
    zone, expression = split_zone(expression.strip())
    if expression.startswith("@every"):
        every, _, phase = expression.removeprefix("@every").strip().partition("/")
        spec.interval.add(interval=_duration(every), phase=_duration(phase) if phase else None)
        return ""
    texts = PREDEFINED.get(expression, expression).split()
    fields = _CRON_FIELDS.get(len(texts))
    if fields is None:
        raise NotASpec("CronString does not have 5-7 fields")
    named = {field.name: value for field, value in zip(fields, texts, strict=True)}
    spec.structured_calendar.append(_from_texts(named, comment.strip()))
    return zone


def _duration(text: str) -> Any:
    try:
        return duration(parse_go_duration(text))
    except ValueError:
        raise NotASpec(f'time: invalid duration "{text}"') from None


# -- calendars


def _from_texts(texts: dict[str, str], comment: str) -> Any:
    made = StructuredCalendarSpec(comment=comment)
    for field in FIELDS:
        getattr(made, field.name).extend(_ranges(field, texts.get(field.name, "")))
    return made


def _texts(calendar: Any) -> dict[str, str]:
    return {field.name: getattr(calendar, field.name) for field in FIELDS}


def _ranges(field: Field, text: str) -> list[Range]:
    text = text.strip() or field.default
    if text == "*" and field is _YEAR:
        return []
    found = [_range(field, part) for part in text.split(",")]
    return [one for made in found for one in _without_eighth_day(field, made)]


def _range(field: Field, part: str) -> Range:
    span, has_step, step = part.partition("/")
    if has_step and (not step.isdigit() or int(step) < 1):
        raise NotASpec(f"{field.title} has invalid Step")
    low, has_end, high = span.partition("-")
    if "-" in high:
        raise NotASpec(f"{field.title} has too many dashes")
    known = field.known
    last = 6 if field is _WEEKDAY else known[-1]
    if span == "*":
        return Range(start=known[0], end=last, step=int(step or 1))
    first = _number(field, low, known[0], "is not in range")
    end = first if not has_step else last
    if has_end:
        end = _number(field, high, first, "End is before Start or not in range")
    return Range(start=first, end=end, step=int(step or 1))


def _number(field: Field, text: str, least: int, complaint: str) -> int:
    named = [
        number
        for number, name in enumerate(field.names)
        if len(text) >= field.prefix and name.startswith(text.lower())
    ]
    number = named[0] if named else int(text) if text.isdigit() else -1
    if not least <= number <= field.known[-1]:
        raise NotASpec(f"{field.title} {complaint} [{field.known[0]}-{field.known[-1]}]")
    return number


def _without_eighth_day(field: Field, made: Range) -> list[Range]:
    """Sunday may be called 7; the server keeps it as 0."""
    if field is not _WEEKDAY or 7 not in range(made.start, made.end + 1, made.step):  # noqa: PLR2004
        return [made]
    sunday = Range(start=0, end=0, step=1)
    return [sunday] if made.start == made.end else [sunday, Range(start=made.start, end=6, step=made.step)]


def _check_calendar(calendar: Any) -> None:
    wrong = []
    for field in (*FIELDS[:5], _YEAR, _WEEKDAY):
        first, last = field.known[0], 6 if field is _WEEKDAY else field.known[-1]
        for one in getattr(calendar, field.name):
            if not first <= one.start <= last:
                wrong.append(f"{field.title} Start is not in range [{first}-{last}]")
            if one.end and not one.start <= one.end <= last:
                wrong.append(f"{field.title} End is before Start or not in range [{first}-{last}]")
            if one.step < 0:
                wrong.append(f"{field.title} has invalid Step")
    if wrong:
        raise NotASpec(f"invalid calendar spec: {', '.join(wrong)}")


def _complete(calendar: Any) -> None:
    for field in FIELDS:
        for one in getattr(calendar, field.name):
            one.end, one.step = max(one.start, one.end), one.step or 1


def _check_interval(every_ns: int, phase_ns: int) -> None:
    if every_ns < NS_PER_SECOND:
        raise NotASpec("interval is too small")
    if phase_ns < 0:
        raise NotASpec("phase is negative")
    if phase_ns >= every_ns:
        raise NotASpec("phase cannot be greater than Interval")


def _compiled(calendar: Any) -> Calendar:
    second, minute, hour, day, month, weekday, year = (
        sorted({n for one in getattr(calendar, field.name) for n in range(one.start, one.end + 1, one.step)})
        for field in FIELDS
    )
    return Calendar(second, minute, hour, day, month, weekday, year or YEARS)
