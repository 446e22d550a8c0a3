"""What a checker says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement on one history."""

    checker: str
    """The name of the checker."""
    valid: bool | Literal["unknown"]
    message: str
    """Why, in the words of the design."""
    ops: tuple[int, ...] = ()
    """The operations that show it, by index, in order."""

    def __bool__(self) -> bool:
        """Whether the promise was kept; "unknown" is not."""
        return self.valid is True


class Findings:
    """What a checker finds on its way through a history: breaches, doubts, and how much it could judge."""

    def __init__(self, checker: str) -> None:
        self._checker = checker
        self._breaches: list[tuple[str, tuple[int, ...]]] = []
        self._doubts: list[tuple[str, tuple[int, ...]]] = []
        self.judged = 0

    def breach(self, message: str, *ops: int | None) -> None:
        """Note that the promise is broken."""
        self._breaches.append((message, _indexes(ops)))

    def doubt(self, message: str, *ops: int | None) -> None:
        """Note that nobody can tell whether the promise is kept."""
        self._doubts.append((message, _indexes(ops)))

    def verdict(self, case: str, kept: str, nothing: str) -> Verdict:
        """Sum up: ``kept`` says what held in each ``case``, ``nothing`` why there was none."""
        found = self._breaches or self._doubts
        if found:
            shown = "; ".join(message for message, _ in found[:_SHOWN])
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            ops = sorted({op for _, indexes in found for op in indexes})
            return Verdict(self._checker, False if self._breaches else "unknown", shown + more, tuple(ops))
        if not self.judged:
            return Verdict(self._checker, "unknown", nothing)
        cases = f"{self.judged} {case}{'' if self.judged == 1 else 's'}"
        return Verdict(self._checker, True, f"{cases}: {kept}")


def _indexes(ops: Iterable[Any]) -> tuple[int, ...]:
    return tuple(op for op in ops if op is not None)
