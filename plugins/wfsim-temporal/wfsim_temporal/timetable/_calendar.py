"""Instants that a cron expression or a schedule's calendar names, in a time zone.

cronsim walks the clock on the wall. The rest is what Temporal's server does and no cron library: expressions
of other grammars, years, and days on which the clock is changed. Instants are whole seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTES: Final = range(60)
HOURS: Final = range(24)
DAYS: Final = range(1, 32)
MONTHS: Final = range(1, 13)
WEEKDAYS: Final = range(7)
"""Of a week that begins with Sunday."""
YEARS: Final = range(2000, 2101)
"""Source: the server's ``calendar.go``."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - times on the wall have no zone
_SECOND: Final = timedelta(seconds=1)
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class Calendar:
    """The instants whose parts, on a clock on the wall, are all among the values given.

    With ``is_either_day`` a day counts whose day of the month *or* day of the week is among them.
    """

    seconds: Sequence[int] = (0,)
    minutes: Sequence[int] = MINUTES
    hours: Sequence[int] = HOURS
    days: Sequence[int] = DAYS
    months: Sequence[int] = MONTHS
    weekdays: Sequence[int] = WEEKDAYS
    years: Sequence[int] = YEARS
    is_either_day: bool = False
    _expression: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # cronsim takes either day if both are restricted. Where both have to fit, it is told of the first.
        days, weekdays = _listed(self.days, DAYS), _listed(self.weekdays, WEEKDAYS)
        if self.is_either_day and "*" in {days, weekdays}:
            days = weekdays = "*"
        elif not self.is_either_day and days != "*":
            weekdays = "*"
        parts = (
            _listed(self.seconds, MINUTES),
            _listed(self.minutes, MINUTES),
            _listed(self.hours, HOURS),
            days,
            _listed(self.months, MONTHS),
            weekdays,
        )
        object.__setattr__(self, "_expression", " ".join(parts))

    def matches(self, at_s: int, zone: tzinfo) -> bool:
        """Tell whether an instant is one of them."""
        wall = datetime.fromtimestamp(at_s, zone)
        day, weekday = wall.day in self.days, _weekday(wall) in self.weekdays
        return (
            wall.second in self.seconds
            and wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.month in self.months
            and wall.year in self.years
            and (day or weekday if self.is_either_day else day and weekday)
        )

    def next(self, after_s: int, zone: tzinfo) -> int | None:
        """Give the first after an instant; None if there is none.

        Where the clock is set forward, times that it leaves out do not happen; where it is set back, times that
        it shows twice happen twice.
        """
        at_s, offset_s = after_s, _offset_s(zone, after_s)
        while (wall := self._next_on_wall(_EPOCH + (at_s + offset_s) * _SECOND)) is not None:
            found_s = (wall - _EPOCH) // _SECOND - offset_s
            change_s = _next_change(zone, at_s, found_s, offset_s)
            if change_s is None:
                return found_s
            at_s, offset_s = change_s - 1, _offset_s(zone, change_s)
        return None

    def _next_on_wall(self, after: datetime) -> datetime | None:
        while True:
            try:
                found = next(CronSim(self._expression, after))
            except (CronSimError, StopIteration):  # no such day, as February 30
                return None
            if found.year not in self.years:
                later = [year for year in self.years if year > found.year]
                if not later:
                    return None
                after = datetime(min(later), 1, 1) - _SECOND  # noqa: DTZ001 - as above
            elif not self.is_either_day and _weekday(found) not in self.weekdays:
                after = found.replace(hour=23, minute=59, second=59)
            else:
                return found


def _listed(chosen: Sequence[int], known: range) -> str:
    return "*" if all(one in chosen for one in known) else ",".join(str(one) for one in chosen)


def _weekday(wall: datetime) -> int:
    return wall.isoweekday() % 7


def _offset_s(zone: tzinfo, at_s: int) -> int:
    return 0 if zone is UTC else (datetime.fromtimestamp(at_s, zone).utcoffset() or timedelta()) // _SECOND


def _next_change(zone: tzinfo, after_s: int, until_s: int, offset_s: int) -> int | None:
    """Give the first instant after one, and until another, at which the clock is set to another offset."""
    if zone is UTC:
        return None
    while after_s < until_s:
        probe_s = min(after_s + _DAY_S, until_s)
        if _offset_s(zone, probe_s) != offset_s:
            while probe_s - after_s > 1:
                middle_s = (probe_s + after_s) // 2
                if _offset_s(zone, middle_s) == offset_s:
                    after_s = middle_s
                else:
                    probe_s = middle_s
            return probe_s
        after_s = probe_s
    return None
