"""What a work is: the same computation, written once for each contender."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

# What a contender computed, by name of the figure: all contenders have to agree on it.
Figures = dict[str, float]

# A contender runs a work of a size from a seed.
Contender = Callable[[int, int], Figures]

BASELINE = "simpy"


@dataclass(frozen=True)
class Work:
    """A work and those who do it.

    Attributes:
        name: its name on the command line.
        about: one line for the list.
        size: how many sagas or jobs one round runs; `quick_size` with `--quick`.
        contenders: by name; "simpy" among them is what the others are measured against.
        check: raises AssertionError when the figures of the baseline itself are not plausible.
        exact: whether all contenders compute the very same; else each draws its own chance, and `check` judges all.
    """

    name: str
    about: str
    size: int
    quick_size: int
    contenders: dict[str, Contender]
    check: Callable[[Figures], None]
    exact: bool = True


def assert_same(figures: Figures, expected: Figures, who: str) -> None:
    """Every contender computes the same: equal counts, times equal to the rounding of the clock."""
    assert figures.keys() == expected.keys(), f"{who} computed {sorted(figures)}, not {sorted(expected)}"
    for name, value in figures.items():
        if not math.isclose(value, expected[name], rel_tol=1e-6, abs_tol=1e-6):
            raise AssertionError(f"{who} computed {name} = {value}, simpy {expected[name]}")
