"""Comparing what was expected with what happened: in order or not, with others between or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ExpectedT = TypeVar("ExpectedT")
ActualT = TypeVar("ActualT")


@dataclass(frozen=True, slots=True)
class Match:
    """What fits: ``missing`` are the places of what was expected and did not happen, ``surplus`` of the rest."""

    missing: tuple[int, ...]
    surplus: tuple[int, ...]


def match(
    expected: Sequence[ExpectedT],
    actual: Sequence[ActualT],
    fits: Callable[[ExpectedT, ActualT], bool],
    *,
    in_order: bool,
) -> Match:
    """Pair as many as can be."""
    pairs = _in_order(expected, actual, fits) if in_order else _in_any_order(expected, actual, fits)
    taken = list(pairs.values())
    missing = tuple(place for place in range(len(expected)) if place not in pairs)
    return Match(missing, tuple(place for place in range(len(actual)) if place not in taken))


def _in_order(
    expected: Sequence[ExpectedT], actual: Sequence[ActualT], fits: Callable[[ExpectedT, ActualT], bool]
) -> dict[int, int]:
    """Find the longest common subsequence."""
    wide, high = len(actual), len(expected)
    best = [[0] * (wide + 1) for _ in range(high + 1)]
    fit = [[fits(one, other) for other in actual] for one in expected]
    for row in reversed(range(high)):
        for column in reversed(range(wide)):
            skip = max(best[row + 1][column], best[row][column + 1])
            best[row][column] = max(skip, 1 + best[row + 1][column + 1]) if fit[row][column] else skip
    pairs: dict[int, int] = {}
    row = column = 0
    while row < high and column < wide:
        if fit[row][column] and best[row][column] == 1 + best[row + 1][column + 1]:
            pairs[row] = column
            row, column = row + 1, column + 1
        elif best[row + 1][column] > best[row][column + 1]:
            row += 1
        else:
            column += 1
    return pairs


def _in_any_order(
    expected: Sequence[ExpectedT], actual: Sequence[ActualT], fits: Callable[[ExpectedT, ActualT], bool]
) -> dict[int, int]:
    """Find a largest pairing by augmenting paths (Kuhn, 1955): of two that fit, neither robs the other."""
    owner: dict[int, int] = {}

    def place(one: int, tried: list[int]) -> bool:
        for spot, other in enumerate(actual):
            if spot in tried or not fits(expected[one], other):
                continue
            tried.append(spot)
            if spot not in owner or place(owner[spot], tried):
                owner[spot] = one
                return True
        return False

    for one in range(len(expected)):
        place(one, [])
    return {one: spot for spot, one in owner.items()}
