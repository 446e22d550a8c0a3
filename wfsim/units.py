"""Durations: ``"250ms"`` for people, integer nanoseconds for the clock.

Integers, because float seconds drift (ten steps of 0.1 make 0.9999999999999999) and cannot hold a nanosecond
on top of today's date.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from wfsim.errors import DurationError

__all__ = ["NS_PER_SECOND", "Duration", "format_duration", "parse_duration"]

NS_PER_SECOND = 1_000_000_000

Duration: TypeAlias = str | int | float | timedelta
"""What people may write where a duration is asked for; a bare number is seconds."""

_NS_PER_UNIT = {
    "d": 86_400 * NS_PER_SECOND,
    "h": 3_600 * NS_PER_SECOND,
    "m": 60 * NS_PER_SECOND,
    "s": NS_PER_SECOND,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,  # the micro sign, and below it the Greek letter, which keyboards offer for it
    "\u03bcs": 1_000,
    "ns": 1,
}
_UNITS = "|".join(sorted(_NS_PER_UNIT, key=len, reverse=True))  # "ms" is tried before "m"
_PART = rf"(\d+(?:\.\d+)?)\s*({_UNITS})"
_FIND_PARTS = re.compile(_PART, re.ASCII)
_WHOLE = re.compile(rf"{_PART}(?:\s*{_PART})*", re.ASCII)
_HOW = 'write it as "250ms", "1.5s", "2m", "1h30m" or "3d", or as a number of seconds'


def parse_duration(value: Duration, what: str = "") -> int:
    """Turn ``"250ms"``, ``"1h30m"``, ``1.5`` (seconds) or a ``timedelta`` into whole nanoseconds.

    Units are ``d h m s ms us ns``, largest first, each at most once. What is finer than a nanosecond is
    rounded. Raise DurationError if the value is no duration, is negative, or is not finite; it says ``what``
    the duration is of, if that is given.
    """
    if not what:
        return _parse(value)
    try:
        return _parse(value)
    except DurationError as error:
        raise DurationError(f"{what}: {error}") from None


def _parse(value: Duration) -> int:
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, timedelta):
        return _not_negative(value // timedelta(microseconds=1) * 1_000, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DurationError(f"{value!r} is no duration; {_HOW}")
    ns = value * NS_PER_SECOND
    if isinstance(ns, float) and not math.isfinite(ns):
        raise DurationError(f"{value!r} is no duration, because it is not finite; {_HOW}")
    return _not_negative(round(ns), value)


def _parse_text(text: str) -> int:
    stripped = text.strip()
    if not _WHOLE.fullmatch(stripped):
        raise DurationError(_why_not(text))
    parts = [(Fraction(number), _NS_PER_UNIT[unit]) for number, unit in _FIND_PARTS.findall(stripped)]
    sizes = [size for _, size in parts]
    if any(size <= following for size, following in pairwise(sizes)):
        raise DurationError(
            f"{text!r} is no duration: its units must go from the largest to the smallest, each once"
        )
    return round(sum((number * size for number, size in parts), Fraction(0)))


def _why_not(text: str) -> str:
    stripped = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", stripped, re.ASCII):
        return f'{text!r} has no unit; did you mean "{stripped}s"?'
    if stripped.startswith("-"):
        return f"{text!r} is no duration, because it is negative; it must be 0 or longer"
    return f"{text!r} is no duration; {_HOW}"


def _not_negative(ns: int, value: object) -> int:
    if ns < 0:
        raise DurationError(f"{value!r} is no duration, because it is negative; it must be 0 or longer")
    return ns


def format_duration(ns: int, *, decimals: int | None = None) -> str:
    """Write nanoseconds for people: ``"250ms"``, ``"1.5s"``, ``"1m 30s"``, ``"0s"``.

    The text is exact, ``parse_duration(format_duration(ns)) == ns``, unless ``decimals`` says how many
    digits to keep after the point.
    """
    if ns < 0:
        return f"-{format_duration(-ns, decimals=decimals)}"
    unit = next((unit for unit in ("s", "ms", "us") if ns >= _NS_PER_UNIT[unit]), "ns")
    if decimals is not None and unit != "ns":
        rounded = _round_to(ns, max(1, _NS_PER_UNIT[unit] // 10**decimals))
        if rounded != ns:  # rounding may reach the next unit: 999.9996ms is 1s
            return format_duration(rounded)
    if not ns:
        return "0s"
    return _long(ns) if ns >= _NS_PER_UNIT["m"] else _decimal(ns, unit)


def _round_to(ns: int, step: int) -> int:
    return (ns + step // 2) // step * step


def _long(ns: int) -> str:
    """From a minute on: whole days, hours and minutes, then seconds with a decimal part."""
    parts = []
    for unit in ("d", "h", "m"):
        count, ns = divmod(ns, _NS_PER_UNIT[unit])
        if count:
            parts.append(f"{count}{unit}")
    if ns:
        parts.append(_decimal(ns, "s"))
    return " ".join(parts)


def _decimal(ns: int, unit: str) -> str:
    """One unit, its decimal part without trailing zeros."""
    size = _NS_PER_UNIT[unit]
    whole, rest = divmod(ns, size)
    if not rest:
        return f"{whole}{unit}"
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}{unit}"
