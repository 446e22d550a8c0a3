"""How long something takes, said in one of two ways: a duration, or a distribution of durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from wfsim.kernel import Distribution, constant

if TYPE_CHECKING:
    from wfsim.kernel import Stream
    from wfsim.units import Duration

Latency: TypeAlias = "Duration | Distribution"


def as_distribution(latency: Latency, what: str) -> Distribution:
    """Give the distribution; of a bare duration, the one that always gives it.

    Raise DurationError, which says ``what`` is meant, if it is neither.
    """
    if hasattr(latency, "sample_ns"):
        return cast("Distribution", latency)
    return constant(latency, what)


def sample_s(latency: Distribution, stream: Stream) -> float:
    """Draw one, in seconds."""
    return latency.sample_ns(stream) / 1e9
