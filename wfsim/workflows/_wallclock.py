"""The time of day: what outlives a process, so that a deadline of one life holds in the next."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from wfsim.kernel import current

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def wall_ns() -> int:
    """Nanoseconds on the wall clock, the virtual one in a simulation: it goes on while a process is down."""
    simulation = current()
    if simulation is not None:
        return (simulation.start - _EPOCH) // _MICROSECOND * 1_000 + simulation.now_ns
    return time.time_ns()  # noqa: TID251 - outside a simulation time is real
