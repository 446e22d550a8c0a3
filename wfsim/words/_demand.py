"""What all expectations share: they look at each run of a sentence, and fail with its story."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wfsim.words._failure import Finding
from wfsim.words._match import match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wfsim.words._play import Scene

ExpectedT = TypeVar("ExpectedT")
ActualT = TypeVar("ActualT")


class Demands(ABC):
    """Anything that can be asked how a sentence went."""

    @abstractmethod
    def _demand(self, word: str, look: Callable[[Scene], Finding | None]) -> Self:
        """Let ``look`` judge every run; raise ExpectationFailed for one that it objects to."""

    @property
    @abstractmethod
    def _scenes(self) -> tuple[Scene, ...]:
        """The runs, played when they are first asked for."""


def compared(
    what: str,
    expected: Sequence[ExpectedT],
    actual: Sequence[ActualT],
    fits: Callable[[ExpectedT, ActualT], bool],
    *,
    in_order: bool,
    none_other: bool,
    write: Callable[[ExpectedT], str] = str,
) -> Finding | None:
    """Hold what was expected against what happened; ``what`` is the noun of one of them."""
    found = match(expected, actual, fits, in_order=in_order)
    surplus = found.surplus if none_other else ()
    if not found.missing and not surplus:
        return None
    missing = [write(expected[place]) for place in found.missing]
    extra = [str(actual[place]) for place in surplus]
    loose = match(expected, actual, fits, in_order=False)
    if in_order and not loose.missing and not (none_other and loose.surplus):
        short = f"{', '.join(missing)} out of order"
    else:
        parts = [
            f"no {what} {', '.join(missing)}" if missing else "",
            f"{', '.join(extra)} not expected" if extra else "",
        ]
        short = "; ".join(part for part in parts if part)
    ops = tuple(op for place in surplus for op in _ops(actual[place]))
    return Finding(
        short,
        tuple(map(write, expected)),
        _how(expected, in_order=in_order, none_other=none_other),
        tuple(map(str, actual)),
        ops=ops,
    )


def _how(expected: Sequence[Any], *, in_order: bool, none_other: bool) -> str:
    order = "in this order" if in_order else "in any order"
    if not expected:
        return "none at all"
    return f"{order}, and none other" if none_other else f"{order}, others between"


def _ops(one: Any) -> tuple[int, ...]:
    found = getattr(one, "ops", None)
    return found if found is not None else (one.op,)
