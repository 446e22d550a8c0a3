"""The values that a file writes in its own way: durations, distributions, and selectors of attempts."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from wfsim.errors import DurationError, WfsimError
from wfsim.kernel import Distribution, constant, empirical, exponential, lognormal, uniform
from wfsim.scenario._problems import Wrong, unknown
from wfsim.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

_DISTRIBUTIONS: dict[str, tuple[Callable[..., Distribution], tuple[str, ...]]] = {
    "constant": (constant, ("duration",)),
    "uniform": (uniform, ("low", "high")),
    "exponential": (exponential, ("mean",)),
    "lognormal": (lognormal, ("median", "sigma")),
    "empirical": (empirical, ("samples", "weights")),
}
_RANGE = re.compile(r"(.+?)\s*\.\.\s*(.+)")
_HOW = 'write a duration ("20ms"), a range ("20ms..60ms"), or one of these with its parameters'


def read_duration_ns(value: Any) -> int:
    """Return a duration in nanoseconds: text with a unit, or a number of seconds. Raises Wrong."""
    if not isinstance(value, str | int | float):
        raise Wrong(f"expected a duration such as 250ms, got {_what(value)}")
    try:
        return parse_duration(value)
    except DurationError as error:
        raise Wrong(str(error)) from error


def checked_duration(value: Any) -> Any:
    """Return a duration as it is written, for what reads durations itself. Raises Wrong if it is none."""
    read_duration_ns(value)
    return value


def read_distribution(value: Any) -> Distribution:
    """Return a distribution of durations. Raises Wrong.

    A plain duration is constant, ``20ms..60ms`` is uniform; otherwise a mapping names the distribution,
    with its parameters by name, or in order, or (if there is but one) alone.
    """
    if isinstance(value, str) and (bounds := _RANGE.fullmatch(value)):
        return _make("uniform", {"low": bounds[1], "high": bounds[2]}, ())
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return constant(checked_duration(value))
    if not isinstance(value, dict) or len(value) != 1:
        raise Wrong(f"expected a distribution, got {_what(value)}; {_HOW}", allowed=_DISTRIBUTIONS)
    name, given = next(iter(value.items()))
    if name not in _DISTRIBUTIONS:
        raise unknown("distribution", name, _DISTRIBUTIONS, at=(name,), key=True)
    return _make(name, _parameters(name, given), (name,))


def distribution_to_data(distribution: Any) -> Any:
    """Return what a file says for a distribution: what ``read_distribution`` reads."""
    name = type(distribution).__name__.lower()
    parameters = {
        field.name.removesuffix("_ns"): _duration_to_data(field.name, getattr(distribution, field.name))
        for field in dataclasses.fields(distribution)
        if field.init and getattr(distribution, field.name) is not None
    }
    return parameters["duration"] if name == "constant" else {name: parameters}


def _duration_to_data(field: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_duration_to_data(field, one) for one in value]
    return format_duration(value) if field.endswith("_ns") else value


def read_attempt(value: Any) -> int | range | tuple[int, ...]:
    """Return which tries a fault strikes: ``2``, ``[1, 3]`` or ``1..3``. Raises Wrong."""
    how = "write 2, [1, 3] or 1..3; tries count from 1"
    bounds = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if bounds is not None and bounds[1].isdecimal() and bounds[2].isdecimal():
        found = range(int(bounds[1]), int(bounds[2]) + 1)
        if found and found[0] >= 1:
            return found
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in numbers
    ):
        raise Wrong(f"expected the numbers of tries, got {_what(value)}; {how}")
    return tuple(value) if isinstance(value, list) else value


def _parameters(name: str, given: Any) -> dict[str, Any]:
    names = _DISTRIBUTIONS[name][1]
    if isinstance(given, dict):
        for key in given:
            if key not in names:
                raise unknown("parameter", key, names, at=(name, key), key=True)
        return given
    if name == "empirical" and isinstance(given, list):
        return {"samples": given}
    values = given if isinstance(given, list) else [given]
    if len(values) > len(names):
        raise Wrong(f"{name} takes {' and '.join(names)}, got {len(values)} values", at=(name,))
    return dict(zip(names, values, strict=False))


def _make(name: str, parameters: dict[str, Any], at: tuple[str, ...]) -> Distribution:
    make, names = _DISTRIBUTIONS[name]
    missing = [one for one in names if one not in parameters and one != "weights"]
    if missing:
        raise Wrong(f"{name} needs {' and '.join(missing)}", at=at)
    for key, value in parameters.items():
        _check(key, value, at)
    try:
        return make(*(parameters[one] for one in names if one in parameters))
    except (WfsimError, TypeError, ValueError) as error:
        raise Wrong(str(error), at=at) from error


def _check(key: str, value: Any, at: tuple[str, ...]) -> None:
    """Check one parameter before the kernel sees it, so that the problem has its own place."""
    if key in {"weights", "samples"}:
        if not isinstance(value, list) or not value:
            got = "an empty one" if value == [] else _what(value)
            raise Wrong(f"{key} must be a list, got {got}", at=at)
        return
    if key == "sigma":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(f"sigma must be a number, got {_what(value)}", at=(*at, key))
        return
    try:
        read_duration_ns(value)
    except Wrong as wrong:
        raise Wrong(wrong.problem, at=(*at, key) if at else ()) from wrong


def _what(value: Any) -> str:
    if value is None:
        return "nothing"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
