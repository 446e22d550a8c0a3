"""The terms of delivery: what a subscriber is promised, checked when it is written down."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from wfsim.errors import DesignError
from wfsim.units import Duration, format_duration, parse_duration
from wfsim.workflows._naming import did_you_mean

Delivering: TypeAlias = Literal["at_most_once", "at_least_once", "effectively_once"]
Order: TypeAlias = Literal["none", "key", "all"]
Overflow: TypeAlias = Literal["block", "drop_oldest", "drop_new", "error"]
Ack: TypeAlias = Literal["auto", "manual"]

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "delivery": get_args(Delivering),
    "order": get_args(Order),
    "overflow": get_args(Overflow),
    "ack": get_args(Ack),
}
_DURATIONS: Final = ("visibility_timeout", "redelivery_delay")
_COUNTS: Final = ("concurrency", "dedupe_window")
_LIMITS: Final = ("max_deliveries", "prefetch", "capacity")


@dataclass(frozen=True, slots=True)
class Terms:
    """How events reach one subscriber, or one group of them. Durations are in nanoseconds.

    ``EventBus`` says what each field means.
    """

    delivery: Delivering = "at_least_once"
    visibility_timeout: Any = "30s"
    redelivery_delay: Any = "1s"
    max_deliveries: int | None = 5
    order: Order = "none"
    concurrency: int = 1
    prefetch: int | None = None
    capacity: int | None = None
    overflow: Overflow = "block"
    ack: Ack = "auto"
    dedupe_window: int = 10_000
    dead_letter_topic: str | None = None

    def __post_init__(self) -> None:
        for name in _DURATIONS:
            object.__setattr__(self, name, _positive_ns(name, getattr(self, name)))
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        for name in (*_COUNTS, *_LIMITS):
            value = getattr(self, name)
            if not (value is None and name in _LIMITS) and (type(value) is not int or value < 1):
                hint = "; None means no limit" if name in _LIMITS else ""
                raise DesignError(f"{name}={value!r} must be a whole number from 1{hint}")

    def but(self, given: dict[str, Any]) -> Terms:
        """Give these terms with some of them replaced. Raise DesignError if there is no such term."""
        known = [field.name for field in fields(self)]
        for name in given:
            if name not in known:
                raise DesignError(
                    f"there is no term of delivery {name!r}{did_you_mean(name, known)}; "
                    f"there are {', '.join(known)}"
                )
        return replace(self, **given) if given else self

    @property
    def acknowledged(self) -> bool:
        """Whether an event is kept until it is acknowledged."""
        return self.delivery != "at_most_once"

    def describe(self) -> dict[str, Any]:
        """Give what differs from the usual as data, for the history."""
        data: dict[str, Any] = {"delivery": self.delivery}
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != getattr(_USUAL, field.name):
                data[field.name] = format_duration(value) if field.name in _DURATIONS else value
        return data


def _positive_ns(name: str, value: Duration) -> int:
    # A whole number of nanoseconds, once read, stays what it is when other terms are replaced.
    ns = value if isinstance(value, _Nanoseconds) else _Nanoseconds(parse_duration(value, name))
    if ns < 1:
        raise DesignError(f"{name} must be longer than nothing; a tenth of a second is '100ms'")
    return ns


class _Nanoseconds(int):
    """A duration that is read already."""

    __slots__ = ()


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise DesignError(f"{name}={value!r} is none of {', '.join(choices)}{hint}")


_USUAL: Final = Terms()
