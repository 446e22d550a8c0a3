"""Faults of events on their way: lost, doubled, overtaken, garbled, cut off.

None of them acts by itself: it is handed to the code at the fault point, such as an event bus, which
carries it out. They strike at the points ``publish`` (on the way to the bus), ``deliver`` (on the way from
the bus to one subscriber) and ``ack`` (the subscriber's word that it has handled the event).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack

from wfsim.errors import DesignError
from wfsim.nemesis._rule import Rule, When, check_options, fault_kind, rule
from wfsim.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from wfsim.kernel import FaultPoint, Simulation
    from wfsim.nemesis._rule import EventPlace

_CALLS: Final = ("call", "reply")
"""The points of a call, where there is no event to strike."""


class _CarriedOut:
    """A fault that the code at the fault point carries out."""

    __slots__ = ()
    kind: ClassVar[str]
    point: ClassVar[str] = "deliver"
    never_at: ClassVar[tuple[str, ...]] = _CALLS

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:
        """Do nothing: whoever came to the fault point does what is to be done."""


@fault_kind
@dataclass(frozen=True, slots=True)
class LoseEvent(_CarriedOut):
    """The event, or the acknowledgement, never arrives."""

    kind: ClassVar[str] = "lose_event"

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ())
        return cls()


@fault_kind
@dataclass(frozen=True, slots=True)
class Duplicate(_CarriedOut):
    """The event arrives more than once: itself and ``copies`` more."""

    copies: int = 1
    kind: ClassVar[str] = "duplicate"

    def __post_init__(self) -> None:
        _check_count("copies", self.copies, "duplicate")

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind, "copies": self.copies}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ("copies",))
        return cls(data.get("copies", 1))


@fault_kind
@dataclass(frozen=True, slots=True)
class Reorder(_CarriedOut):
    """The event is overtaken by the ``behind`` events after it; if none come, it is held ``at_most`` so long."""

    behind: int = 1
    at_most: Duration = "1s"
    kind: ClassVar[str] = "reorder"

    def __post_init__(self) -> None:
        _check_count("behind", self.behind, "reorder")
        at_most_ns = parse_duration(self.at_most, "at_most of reorder")
        object.__setattr__(
            self, "at_most", format_duration(at_most_ns)
        )  # in one spelling: equal faults are equal

    @property
    def at_most_ns(self) -> int:
        """How long the event is held back if nothing comes to overtake it."""
        return parse_duration(self.at_most)

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind, "behind": self.behind, "at_most": self.at_most}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ("behind", "at_most"))
        return cls(data.get("behind", 1), data.get("at_most", "1s"))


@fault_kind
@dataclass(frozen=True, slots=True)
class Corrupt(_CarriedOut):
    """The event's payload arrives garbled.

    With ``field`` that field of it becomes ``value``; without, the payload becomes what a torn message is:
    the first half of its JSON text.
    """

    field: str | None = None
    value: Any = None
    kind: ClassVar[str] = "corrupt"
    never_at: ClassVar[tuple[str, ...]] = (*_CALLS, "ack")  # an acknowledgement has no payload

    def __post_init__(self) -> None:
        if self.field is None and self.value is not None:
            raise DesignError(
                f"corrupt has a value, {self.value!r}, but no field to put it in; add field=..."
            )

    def corrupted(self, payload: Any) -> Any:
        """Give what arrives in place of this payload."""
        if self.field is None:
            text = json.dumps(payload, default=repr)
            return text[: len(text) // 2]
        return {**payload, self.field: self.value} if isinstance(payload, Mapping) else self.value

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        given = {} if self.field is None else {"field": self.field, "value": self.value}
        return {"kind": self.kind, **given}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ("field", "value"))
        return cls(data.get("field"), data.get("value"))


@fault_kind
@dataclass(frozen=True, slots=True)
class Partition(_CarriedOut):
    """Nothing gets through between two parties, in neither direction. It heals when the rule's time is over.

    ``between`` names the parties: processes, subscribers, buses, or globs of these; a list is one side of
    the line. One party alone is cut off from all others.
    """

    between: str | Sequence[str | Sequence[str]]
    kind: ClassVar[str] = "partition"
    point: ClassVar[str] = "*"  # wherever something passes between two parties

    def __post_init__(self) -> None:
        object.__setattr__(self, "between", _sides(self.between))

    def concerns(self, at: EventPlace) -> bool:
        """Tell whether the line at this place runs between the parties."""
        near, far = at.ends
        if len(self.between) == 1:
            return _is_one_of(near, self.between[0]) != _is_one_of(far, self.between[0])
        one, other = tuple(self.between)
        return (_is_one_of(near, one) and _is_one_of(far, other)) or (
            _is_one_of(near, other) and _is_one_of(far, one)
        )

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data; a side of one name is that name."""
        sides: Any = self.between
        return {"kind": self.kind, "between": [list(s) if len(s) > 1 else s[0] for s in sides]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data. Raise DesignError if it names no parties."""
        check_options(cls.kind, data, ("between",))
        if "between" not in data:
            raise DesignError("fault 'partition' needs between: the parties, such as ['billing', 'bus']")
        return cls(data["between"])


def _sides(between: Any) -> tuple[tuple[str, ...], ...]:
    """Bring the parties into one form. Raise DesignError if they are none."""
    listed = (between,) if isinstance(between, str) else between
    sides = tuple((side,) if isinstance(side, str) else tuple(side) for side in listed or ())
    if not 1 <= len(sides) <= 2 or not all(side and all(_is_name(name) for name in side) for side in sides):  # noqa: PLR2004
        raise DesignError(
            f"between={between!r} of a partition must be one party or two: 'billing', ('billing', 'orders'), "
            "(['billing', 'mail'], 'bus')"
        )
    return sides


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name)


def _is_one_of(names: Sequence[str], side: Sequence[str]) -> bool:
    return any(name and (name == party or fnmatchcase(name, party)) for name in names for party in side)


def _check_count(name: str, value: object, kind: str) -> None:
    if type(value) is not int or value < 1:
        raise DesignError(f"{name}={value!r} of fault {kind!r} must be a whole number from 1")


def lose_event(topic: str | None = None, *, to: str | None = None, **when: Unpack[When]) -> Rule:
    """Lose events of a topic, those ``to`` one subscriber if it is named, where ``when`` (see :class:`Rule`) fits.

    ::

        lose_event("order.*", probability=0.01)
        lose_event("order.placed", to="billing", count=1)
        lose_event(point="ack")  # the word that an event is handled
    """
    return _rule(LoseEvent(), topic, to, when)


def duplicate(
    topic: str | None = None, *, to: str | None = None, copies: int = 1, **when: Unpack[When]
) -> Rule:
    """Deliver events of a topic more than once (see :func:`lose_event`): themselves and ``copies`` more."""
    return _rule(Duplicate(copies), topic, to, when)


def reorder(
    topic: str | None = None,
    *,
    to: str | None = None,
    behind: int = 1,
    at_most: Duration = "1s",
    **when: Unpack[When],
) -> Rule:
    """Let events of a topic (see :func:`lose_event`) be overtaken by those after them."""
    return _rule(Reorder(behind, at_most), topic, to, when)


def corrupt(
    topic: str | None = None,
    *,
    to: str | None = None,
    field: str | None = None,
    value: Any = None,
    **when: Unpack[When],
) -> Rule:
    """Garble the payload of events of a topic (see :func:`lose_event`), or one field of it."""
    return _rule(Corrupt(field, value), topic, to, when)


def partition(*between: str | Sequence[str], **when: Unpack[When]) -> Rule:
    """Cut the line between two parties, or one party off from all others, from ``after`` until ``before``.

    ::

        partition("billing", after="2s", before="30s")
        partition("billing", "orders", after="2s", before="30s")
    """
    options: Any = when
    return rule(Partition(between), None, options)


def _rule(fault: Any, topic: str | None, to: str | None, when: When) -> Rule:
    options: Any = {**when, "topic": topic, "subscriber": to}
    return rule(fault, None, options)
