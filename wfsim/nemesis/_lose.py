"""Lose the reply: the call takes effect, and the caller does not learn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from wfsim.errors import ReplyLost
from wfsim.nemesis._rule import Rule, Where, check_options, fault_kind, rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.kernel import FaultPoint, Simulation


@fault_kind
@dataclass(frozen=True, slots=True)
class LoseReply:
    """The call is done, but its reply is lost: the caller gets ReplyLost, a TimeoutError."""

    kind: ClassVar[str] = "lose_reply"
    point: ClassVar[str] = "reply"
    never_at: ClassVar[tuple[str, ...]] = ("call",)  # before the call there is no reply to lose

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind}

    def error_at(self, step: str) -> ReplyLost:
        """Make the error for a step of this name."""
        return ReplyLost(f"the reply of {step!r} was lost; whether it took effect is unknown to the caller")

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:  # noqa: ARG002
        """Raise ReplyLost in place of the value."""
        raise self.error_at(at.name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ())
        return cls()


def lose_reply(step: str | None = None, **where: Unpack[Where]) -> Rule:
    """Lose the reply of a step, at those of its calls that ``where`` (see :class:`Rule`) fits."""
    return rule(LoseReply(), step, where)
