"""A rule: which fault strikes where and when. It is data; it can be printed, saved and read back."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self, TypedDict

from wfsim.errors import DesignError
from wfsim.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from wfsim.kernel import FaultPoint, Simulation

_NAMES: Final = ("design", "step", "on", "point", "process", "topic", "subscriber")


class RuleFault(Protocol):
    """A kind of fault: what a rule needs to know of it, beside what the kernel does."""

    kind: ClassVar[str]
    """The word for it, such as ``fail``."""
    point: ClassVar[str]
    """Where it strikes unless the rule says otherwise: ``call`` or ``reply``."""

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data, its ``kind`` among them."""

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:
        """Do the damage: raise, wait, crash."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make it again from what ``describe`` gave."""


class EventPlace(Protocol):
    """What a rule is asked about an event, beside point, kind, design and name."""

    @property
    def topic(self) -> str:
        """The event's topic."""

    @property
    def subscriber(self) -> str:
        """Whom it is on its way to; empty while it is being published."""

    @property
    def ends(self) -> tuple[Sequence[str], Sequence[str]]:
        """The names by which each end of the line goes that it passes on."""


FAULTS: Final[dict[str, type[RuleFault]]] = {}
"""The kinds of fault by name; each announces itself with :func:`fault_kind`."""


def fault_kind(cls: type[Any]) -> type[Any]:
    """Announce a kind of fault, so that data can be turned back into it."""
    FAULTS[cls.kind] = cls
    return cls


@dataclass(frozen=True, slots=True)
class Rule:
    """``fault`` strikes at each fault point that fits all that is given; what is None fits anything.

    ``design``, ``step``, ``on`` (the kind of operation: ``forward``, ``task``, ``call``, ``compensate``),
    ``point`` (``call``: before it has any effect; ``reply``: after its effect, before the caller knows; or
    one of the user's own) and ``process`` are names, or globs such as ``charge*``. Without ``on`` a rule
    spares compensations, or strikes the one kind of operation that its fault has an ``on`` for; without
    ``point`` it strikes where its fault is at home. ``topic`` and
    ``subscriber`` are of events: they fit at the points ``publish``, ``deliver`` and ``ack`` of an event
    bus, and where it calls a handler.

    ``attempt`` is the number of a try, a list of them or a range. ``after`` and ``before`` bound the virtual
    time, counted from the start of the run: ``after <= time < before``. Of what fits, the fault strikes with
    ``probability``, and at most ``count`` times in a run, after the first ``skip`` times, which it lets pass.
    """

    fault: RuleFault
    design: str | None = None
    step: str | None = None
    on: str | None = None
    attempt: int | Sequence[int] | None = None
    point: str | None = None
    process: str | None = None
    after: Duration | None = None
    before: Duration | None = None
    probability: float = 1.0
    count: int | None = None
    topic: str | None = None
    subscriber: str | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "attempt", _attempts(self.attempt))
        for name in ("after", "before"):  # kept in one spelling, so that equal rules are equal
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, format_duration(parse_duration(value, f"{name} of a fault")))
        if self.window_ns[0] >= self.window_ns[1]:
            raise DesignError(f"a fault after {self.after} and before {self.before} can never strike")

    @property
    def window_ns(self) -> tuple[int, float]:
        """When the fault may strike: from the first instant up to but not including the second."""
        after = 0 if self.after is None else parse_duration(self.after)
        return after, float("inf") if self.before is None else parse_duration(self.before)

    def fits_place(self, point: str, kind: str, design: str, name: str) -> bool:
        """Tell whether this is a place the rule speaks of, whatever the process, the time and the attempt."""
        return (
            _fits(self.step, name)
            and _fits(self.design, design)
            and _fits(self.point or self.fault.point, point)
            and self._fits_kind(kind)
        )

    def _fits_kind(self, kind: str) -> bool:
        if self.on is not None:
            return fnmatchcase(kind, self.on)
        home = getattr(self.fault, "on", None)
        return kind != "compensate" if home is None else kind == home

    @property
    def is_of_events(self) -> bool:
        """Whether only an event's fault point can satisfy the rule."""
        return (self.topic, self.subscriber) != (None, None) or hasattr(self.fault, "concerns")

    def fits_event(self, at: EventPlace) -> bool:
        """Tell whether the rule speaks of this topic, this subscriber and the line between these ends."""
        concerns = getattr(self.fault, "concerns", None)
        return (
            _fits(self.topic, at.topic)
            and _fits(self.subscriber, at.subscriber)
            and (concerns is None or bool(concerns(at)))
        )

    def fits_process(self, process: str) -> bool:
        """Tell whether the rule speaks of this process."""
        return _fits(self.process, process)

    def describe(self) -> dict[str, Any]:
        """Give the rule as plain data, without what is not set. ``Rule.from_dict`` makes it again."""
        data: dict[str, Any] = {"fault": self.fault.describe()}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                data[field.name] = _plain(value)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rule:
        """Make a rule from what ``describe`` gave. Raise DesignError, with the field, if it is no rule."""
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                raise DesignError(f"a rule has no {name!r}{_close(name, known)}; it has {', '.join(known)}")
        if "fault" not in data:
            raise DesignError(f"the rule {dict(data)!r} names no fault")
        options = {name: _unplain(value) for name, value in data.items() if name != "fault"}
        return cls(fault_from_dict(data["fault"]), **options)


def fault_from_dict(data: Mapping[str, Any]) -> RuleFault:
    """Make a fault from what its ``describe`` gave."""
    kind = data.get("kind")
    if kind not in FAULTS:
        hint = _close(str(kind), FAULTS)
        raise DesignError(f"{kind!r} is no kind of fault{hint}; there are {', '.join(sorted(FAULTS))}")
    return FAULTS[kind].from_dict(data)


class When(TypedDict, total=False):
    """What every shorthand passes on to the rule. Its ``attempt`` is ``attempts`` here: it is often several."""

    design: str | None
    on: str | None
    attempts: int | Sequence[int] | None
    point: str | None
    process: str | None
    after: Duration | None
    before: Duration | None
    probability: float
    count: int | None
    skip: int


class Where(When, total=False):
    """What most shorthands pass on to the rule; those of events have a topic and a subscriber themselves."""

    topic: str | None
    subscriber: str | None


def rule(fault: RuleFault, step: str | None, where: Where) -> Rule:
    """Make the rule that a shorthand stands for."""
    options: dict[str, Any] = dict(where)
    known = list(Where.__annotations__)
    for name in options:
        if name not in known:
            raise DesignError(
                f"{fault.kind}() has no option {name!r}{_close(name, known)}; it has {', '.join(known)}"
            )
    attempt = options.pop("attempts", None)
    return Rule(fault, step=step, attempt=attempt, **options)


def _check(rule: Any) -> None:
    """Raise DesignError, with the field and the cure, if a field can be seen to be wrong by itself."""
    if isinstance(rule.fault, type) or not callable(getattr(rule.fault, "strike", None)):
        raise DesignError(f"a rule needs a fault, such as Fail() or Delay('2s'), not {rule.fault!r}")
    for name in _NAMES:
        value = getattr(rule, name)
        if value is not None and (not isinstance(value, str) or not value):
            raise DesignError(f"{name}={value!r} of a fault must be a name or a glob such as 'charge*'")
    for point in getattr(rule.fault, "never_at", ()):
        if rule.point is not None and fnmatchcase(point, rule.point):
            raise DesignError(
                f"{rule.fault.kind} cannot strike at point {point!r}; leave point={rule.point!r} out"
            )
    if type(rule.probability) not in {int, float} or not 0 <= rule.probability <= 1:
        raise DesignError(f"probability={rule.probability!r} of a fault must be a number from 0 to 1")
    _check_how_often(rule)


def _check_how_often(rule: Any) -> None:
    if rule.count is not None and (type(rule.count) is not int or rule.count < 1):
        raise DesignError(f"count={rule.count!r} of a fault must be 1 or more; leave it out for no limit")
    if type(rule.skip) is not int or rule.skip < 0:
        raise DesignError(f"skip={rule.skip!r} of a fault must be 0 or more: how often it lets pass first")


def _fits(pattern: str | None, name: str) -> bool:
    return pattern is None or pattern == name or fnmatchcase(name, pattern)


def _attempts(value: Any) -> int | Sequence[int] | None:
    """Bring the attempts into a form that is hashable and compares well. Raise DesignError if it is none."""
    if value is None:
        return None
    attempts = value if isinstance(value, range | list | tuple) else (value,)
    if not attempts or not all(type(one) is int for one in attempts) or min(attempts) < 1:
        raise DesignError(f"attempts={value!r} of a fault must be numbers from 1: 2, [1, 3] or range(1, 4)")
    if isinstance(value, int | range):
        return value
    return tuple(sorted(dict.fromkeys(attempts)))


def _plain(value: Any) -> Any:
    if isinstance(value, range):
        return {"start": value.start, "stop": value.stop, "step": value.step}
    return list(value) if isinstance(value, tuple) else value


def _unplain(value: Any) -> Any:
    return range(value["start"], value["stop"], value.get("step", 1)) if isinstance(value, Mapping) else value


def _close(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_options(kind: str, data: Mapping[str, Any], options: Sequence[str]) -> None:
    """Raise DesignError if the data of a fault hold what this kind does not know."""
    for name in data:
        if name != "kind" and name not in options:
            known = f"it has {', '.join(options)}" if options else "it has none"
            raise DesignError(f"fault {kind!r} has no option {name!r}{_close(name, options)}; {known}")
