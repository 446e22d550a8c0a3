"""A sentence as data: what it is about, what has happened, what comes, and under which faults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from wfsim.errors import DesignError
from wfsim.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wfsim.nemesis import Rule
    from wfsim.units import Duration
    from wfsim.words._subject import Subject


@dataclass(frozen=True, slots=True)
class Comes:
    """Something comes: the input of a run, an event for a machine, events on a bus."""

    args: tuple[Any, ...]
    options: Mapping[str, Any]
    key: str | None

    def __str__(self) -> str:
        what = ", ".join(map(_brief, self.args)) or "it begins"
        return what if self.key is None else f"{what} for {self.key}"


@dataclass(frozen=True, slots=True)
class Passes:
    """An amount of time passes, to the nanosecond."""

    ns: int

    def __str__(self) -> str:
        return f"{format_duration(self.ns)} pass"


@dataclass(frozen=True, slots=True)
class Reaches:
    """The wall clock comes to a date."""

    date: datetime

    def __str__(self) -> str:
        return f"it is {self.date.isoformat()}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A journal holds records of an instance."""

    key: str
    records: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return f"the journal knows {self.key}"


@dataclass(frozen=True, slots=True)
class Restarts:
    """All instances crash and start anew; those that a journal alone knows are carried on."""

    after_ns: int

    def __str__(self) -> str:
        return "it is restarted"


Happening: TypeAlias = Comes | Passes | Reaches | Recorded | Restarts


@dataclass(frozen=True, slots=True)
class Sentence:
    """All that a run needs to know. ``when_at`` is the first happening that is to be watched.

    Faults strike from there on; ``judged_from`` is the first that the expectations at hand speak of. ``done``
    are steps that must have succeeded after ``when_at`` before either begins.
    """

    subject: Subject
    start: datetime
    seed: int
    max_time: Duration | None = None
    happenings: tuple[Happening, ...] = ()
    faults: tuple[Rule, ...] = ()
    done: tuple[str, ...] = ()
    answers: tuple[tuple[str, Callable[..., Any]], ...] = ()
    when_at: int | None = None
    judged_from: int = 0

    def then(self, *happenings: Happening, judged: bool = False) -> Sentence:
        """Let more happen; ``judged`` says that the expectations to come speak of nothing earlier."""
        judged_from = len(self.happenings) if judged else self.judged_from
        return replace(self, happenings=self.happenings + happenings, judged_from=judged_from)

    def under(self, faults: Sequence[Rule]) -> Sentence:
        """Give the same sentence under more faults."""
        return replace(self, faults=(*self.faults, *faults))


def passes(duration: Any) -> Passes:
    """Read a duration. Raise DesignError if no time would pass."""
    ns = parse_duration(duration)
    if not ns:
        raise DesignError(f"{duration!r} is no time at all; leave it out, or say how much time passes")
    return Passes(ns)


def reaches(date: str | datetime) -> Reaches:
    """Read a date. Raise DesignError if it is none."""
    return Reaches(as_date(date))


def as_date(date: str | datetime) -> datetime:
    """Read a date, in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(date) if isinstance(date, str) else date
    except ValueError:
        raise DesignError(f"{date!r} is no date; write it as '2030-01-31T12:00'") from None
    if not isinstance(found, datetime):
        raise DesignError(f"{date!r} is no date; write it as '2030-01-31T12:00', or pass a datetime")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def ns_until(date: datetime, now: datetime) -> int:
    """How long it is until a date. Raise DesignError if it is over."""
    left = date - now
    if left < timedelta():
        raise DesignError(f"it is {now.isoformat()} already: time does not go back to {date.isoformat()}")
    return left // timedelta(microseconds=1) * 1_000


def _brief(value: Any) -> str:
    topic = getattr(value, "topic", None)
    if isinstance(topic, str):
        return topic
    text = value if isinstance(value, str) else repr(value)
    is_opaque = " at 0x" in text or len(text) > 60  # noqa: PLR2004 - about a line
    return type(value).__name__ if is_opaque else text
