"""Hang: the call never returns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from wfsim.nemesis._rule import Rule, Where, check_options, fault_kind, rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.kernel import FaultPoint, Simulation


@fault_kind
@dataclass(frozen=True, slots=True)
class Hang:
    """The call waits for ever: until somebody cancels it, or the run ends."""

    kind: ClassVar[str] = "hang"
    point: ClassVar[str] = "call"

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data."""
        return {"kind": self.kind}

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:  # noqa: ARG002
        """Wait for what never comes."""
        await asyncio.get_running_loop().create_future()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data."""
        check_options(cls.kind, data, ())
        return cls()


def hang(step: str | None = None, **where: Unpack[Where]) -> Rule:
    """Let a step hang, at those of its calls that ``where`` (see :class:`Rule`) fits."""
    return rule(Hang(), step, where)
