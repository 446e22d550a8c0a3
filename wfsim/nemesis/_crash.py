"""Crash: the process is gone, in the middle of whatever it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from wfsim.kernel import crash as crash_process
from wfsim.nemesis._rule import Rule, Where, check_options, fault_kind, rule
from wfsim.units import NS_PER_SECOND, Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.kernel import FaultPoint, Simulation


@fault_kind
@dataclass(frozen=True, slots=True)
class Crash:
    """The process that comes to the fault point crashes: no code of it runs on, not even ``finally``.

    After ``restart_after`` (seconds, or ``"5s"``) it starts anew, from the beginning; without it, never.
    """

    restart_after: Duration | None = None
    kind: ClassVar[str] = "crash"
    point: ClassVar[str] = "call"

    def __post_init__(self) -> None:
        if self.restart_after is not None:  # kept in one spelling, so that equal faults are equal
            after_ns = parse_duration(self.restart_after, "restart_after of a crash")
            object.__setattr__(self, "restart_after", format_duration(after_ns))

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind} | (
            {} if self.restart_after is None else {"restart_after": self.restart_after}
        )

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:  # noqa: ARG002
        """Crash the process, and never come back to the code that runs in it."""
        seconds = None if self.restart_after is None else parse_duration(self.restart_after) / NS_PER_SECOND
        await crash_process(at.process, restart_after=seconds)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ("restart_after",))
        return cls(data.get("restart_after"))


def crash(step: str | None = None, *, restart_after: Duration | None = None, **where: Unpack[Where]) -> Rule:
    """Crash the process that comes to a step, at those calls that ``where`` (see :class:`Rule`) fits."""
    return rule(Crash(restart_after), step, where)
