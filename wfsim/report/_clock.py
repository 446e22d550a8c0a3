"""Times of a timeline: one format for all its lines, so that they align and can be compared at a glance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_SHORT_NS: Final = 10_000_000

Clock = Callable[[int], str]


def clock(times_ns: Iterable[int]) -> Clock:
    """Choose how to write these times: ``0.250s``, ``02:05.250``, ``1:02:05.250`` or ``3d 01:02:05``.

    Decimals go as far as the times need them: none if all are whole seconds, six below ten milliseconds.
    """
    times = list(times_ns)
    longest = max(times, default=0)
    if longest < _SHORT_NS and any(time % 1_000_000 for time in times):
        digits = 6
    else:
        digits = 3 if longest < _DAY and any(time % _SECOND for time in times) else 0
    if longest < _MINUTE:
        return lambda ns: f"{_seconds(ns, digits)}s"
    return lambda ns: _clock_face(ns, longest, digits)


def _seconds(ns: int, digits: int, width: int = 1) -> str:
    """Write seconds, cut (not rounded: 59.9999 s must not become 60) to some decimals."""
    whole, rest = divmod(ns, _SECOND)
    fraction = f".{rest:09d}"[: digits + 1] if digits else ""
    return f"{whole:0{width}d}{fraction}"


def _clock_face(ns: int, longest: int, digits: int) -> str:
    days, ns = divmod(ns, _DAY) if longest >= _DAY else (0, ns)
    hours, ns = divmod(ns, _HOUR)
    minutes, ns = divmod(ns, _MINUTE)
    seconds = _seconds(ns, digits, width=2)
    if longest >= _DAY:
        return f"{days}d {hours:02d}:{minutes:02d}:{seconds}"
    if longest >= _HOUR:
        return f"{hours}:{minutes:02d}:{seconds}"
    return f"{minutes:02d}:{seconds}"
