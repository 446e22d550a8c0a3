"""Delay: the call takes longer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, Unpack

from wfsim.errors import DesignError
from wfsim.kernel import Distribution, constant, empirical, exponential, lognormal, sleep, uniform
from wfsim.nemesis._rule import Rule, Where, check_options, fault_kind, rule
from wfsim.units import NS_PER_SECOND, Duration, format_duration

if TYPE_CHECKING:
    from wfsim.kernel import FaultPoint, Simulation

_MAKERS: Final[Mapping[str, Callable[..., Distribution]]] = {
    "constant": constant,
    "uniform": uniform,
    "exponential": exponential,
    "lognormal": lognormal,
    "empirical": empirical,
}


@fault_kind
@dataclass(frozen=True, slots=True)
class Delay:
    """The call begins later, by a duration (seconds, or ``"2s"``) or by one drawn from a distribution.

    Each step draws from a stream of its own, so that a delay of one shifts no other.
    """

    by: Distribution | Duration
    kind: ClassVar[str] = "delay"
    point: ClassVar[str] = "call"

    def __post_init__(self) -> None:
        by: Any = self.by
        if not callable(getattr(by, "sample_ns", None)):
            object.__setattr__(self, "by", constant(by, "delay"))  # refuses what is no duration

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data; lengths of time are texts."""
        return {"kind": self.kind, "by": _describe(self.by)}

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:
        """Wait, then let the call go on."""
        stream = simulation.stream(f"nemesis/delay/{at.design}/{at.name}")
        await sleep(self.by.sample_ns(stream) / NS_PER_SECOND)  # type: ignore[union-attr] # see __post_init__

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data. Raise DesignError if it names no known distribution."""
        check_options(cls.kind, data, ("by",))
        if "by" not in data:
            raise DesignError(
                "fault 'delay' needs by: a duration, or a distribution such as {'distribution': 'uniform'}"
            )
        by = data["by"]
        return cls(_distribution(by) if isinstance(by, Mapping) else by)


def delay(step: str | None = None, by: Distribution | Duration = "1s", **where: Unpack[Where]) -> Rule:
    """Delay a step, at those of its calls that ``where`` (see :class:`Rule`) fits.

    ::

        delay("charge", "2s", after="1m")
        delay("charge", lognormal("200ms", 0.8))
    """
    return rule(Delay(by), step, where)


def _describe(by: Any) -> Any:
    """Write a distribution down: one that never varies as its duration, any other by name and arguments."""
    name = type(by).__name__.lower()
    if name == "constant":
        return format_duration(by.duration_ns)
    if name not in _MAKERS:
        return {"distribution": f"{type(by).__module__}.{type(by).__qualname__}"}
    arguments = {field.name: getattr(by, field.name) for field in dataclasses.fields(by) if field.init}
    return {"distribution": name} | {
        field.removesuffix("_ns"): _in_words(value) if field.endswith("_ns") else value
        for field, value in arguments.items()
        if value is not None
    }


def _in_words(value: int | tuple[int, ...]) -> str | list[str]:
    return [format_duration(one) for one in value] if isinstance(value, tuple) else format_duration(value)


def _distribution(data: Mapping[str, Any]) -> Distribution:
    name = str(data.get("distribution"))
    if name not in _MAKERS:
        raise DesignError(f"there is no distribution {name!r}; there are {', '.join(_MAKERS)}")
    try:
        return _MAKERS[name](**{key: value for key, value in data.items() if key != "distribution"})
    except TypeError as error:
        raise DesignError(f"distribution {name!r}: {error}") from None
