"""How long something takes: distributions of durations.

Arguments are durations: `"250ms"`, `"1.5s"`, a number of seconds, a `timedelta`. Samples are whole
nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from wfsim.errors import DesignError
from wfsim.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.kernel._streams import Stream

_SIGMA_MAX = 20.0


class Distribution(Protocol):
    """What `constant`, `uniform`, `exponential`, `lognormal` and `empirical` make."""

    def sample_ns(self, stream: Stream) -> int:
        """One duration in nanoseconds, drawn from `stream`."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same; draws nothing."""

    duration_ns: int

    def sample_ns(self, _stream: Stream) -> int:
        """The duration."""
        return self.duration_ns

    def __str__(self) -> str:
        return f"constant {format_duration(self.duration_ns)}"


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every duration from `low_ns` to `high_ns` is equally likely."""

    low_ns: int
    high_ns: int

    def sample_ns(self, stream: Stream) -> int:
        """One duration."""
        return self.low_ns + stream.randrange(self.high_ns - self.low_ns + 1)

    def __str__(self) -> str:
        return f"uniform {format_duration(self.low_ns)} to {format_duration(self.high_ns)}"


@dataclass(frozen=True, slots=True)
class Exponential:
    """Times between events that know nothing of each other."""

    mean_ns: int

    def sample_ns(self, stream: Stream) -> int:
        """One duration."""
        return round(stream.expovariate() * self.mean_ns)

    def __str__(self) -> str:
        return f"exponential, mean {format_duration(self.mean_ns)}"


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Latencies of services: most near the median, a few far above. `sigma` is the spread of the log."""

    median_ns: int
    sigma: float

    def sample_ns(self, stream: Stream) -> int:
        """One duration."""
        return round(stream.lognormal(0.0, self.sigma) * self.median_ns)

    def __str__(self) -> str:
        return f"lognormal, median {format_duration(self.median_ns)}, sigma {self.sigma:g}"


@dataclass(frozen=True, slots=True)
class Empirical:
    """Durations that were measured, each as likely as its weight."""

    samples_ns: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    _totals: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_totals", tuple(accumulate(self.weights or ())))

    def sample_ns(self, stream: Stream) -> int:
        """One of the samples."""
        if not self._totals:
            return stream.choice(self.samples_ns)
        place = bisect_right(self._totals, stream.random() * self._totals[-1])
        return self.samples_ns[min(place, len(self.samples_ns) - 1)]

    def __str__(self) -> str:
        low, high = min(self.samples_ns), max(self.samples_ns)
        return f"empirical, {len(self.samples_ns)} samples {format_duration(low)} to {format_duration(high)}"


def constant(duration: Duration, what: str = "constant: duration") -> Constant:
    """Always `duration`.

    Raises:
        DesignError: it is no duration; it says `what` the duration is of.
    """
    return Constant(parse_duration(duration, what))


def uniform(low: Duration, high: Duration) -> Uniform:
    """Any duration from `low` to `high`.

    Raises:
        DesignError: one is no duration, or `low` is above `high`.
    """
    low_ns, high_ns = _duration("uniform", "low", low), _duration("uniform", "high", high)
    if low_ns > high_ns:
        raise DesignError(f"uniform: low ({low!r}) is above high ({high!r}); swap them")
    return Uniform(low_ns, high_ns)


def exponential(mean: Duration) -> Exponential:
    """Exponentially distributed durations of the given mean.

    Raises:
        DesignError: `mean` is no duration, or zero.
    """
    mean_ns = _duration("exponential", "mean", mean)
    if not mean_ns:
        raise DesignError("exponential: mean must be above zero; for no time at all use constant(0)")
    return Exponential(mean_ns)


def lognormal(median: Duration, sigma: float) -> LogNormal:
    """Durations half of which are below `median`; about 16 % are above `median * e**sigma`.

    Raises:
        DesignError: `median` is no duration or zero, or `sigma` is not between 0 and 20.
    """
    median_ns = _duration("lognormal", "median", median)
    if not median_ns:
        raise DesignError("lognormal: median must be above zero; for no time at all use constant(0)")
    if not _is_number(sigma) or not 0.0 < sigma <= _SIGMA_MAX:
        raise DesignError(
            f"lognormal: sigma must be a number above 0 and at most {_SIGMA_MAX:g}, not {sigma!r}; it is the "
            "standard deviation of the logarithm: 0.25 is narrow, 1 is wide; for none use constant(median)"
        )
    return LogNormal(median_ns, float(sigma))


def empirical(samples: Iterable[Duration], weights: Iterable[float] | None = None) -> Empirical:
    """One of the measured `samples`, all equally likely or by `weights` of any scale.

    Raises:
        DesignError: there are no samples, one is no duration, or the weights do not fit them.
    """
    if isinstance(samples, str):
        raise DesignError(f"empirical: samples must be a list of durations; put {samples!r} in a list")
    values = tuple(_duration("empirical", f"sample {place}", one) for place, one in enumerate(samples, 1))
    if not values:
        raise DesignError('empirical: there are no samples; give at least one measured duration: ["120ms"]')
    return Empirical(values, None if weights is None else _weights(tuple(weights), len(values)))


def _weights(weights: tuple[float, ...], size: int) -> tuple[float, ...]:
    if len(weights) != size:
        raise DesignError(f"empirical: {size} samples need as many weights, not {len(weights)}")
    for place, weight in enumerate(weights, 1):
        if not _is_number(weight) or not isfinite(weight) or weight < 0:
            raise DesignError(f"empirical: weight {place} must be a number from 0 up, not {weight!r}")
    if not any(weights):
        raise DesignError("empirical: at least one weight must be above zero")
    return tuple(float(weight) for weight in weights)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _duration(what: str, argument: str, value: Duration) -> int:
    return parse_duration(value, f"{what}: {argument}")
