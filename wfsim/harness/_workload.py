"""The workload: how many instances of a design run, when each arrives, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wfsim.kernel import Distribution, Stream


@dataclass(frozen=True, slots=True)
class Workload:
    """``instances`` runs of a design, numbered from 1; the first arrives when the simulation starts.

    ``arrivals`` is the distribution of the gap between one arrival and the next (exponential gaps
    make a Poisson process); without it all arrive at once. ``inputs`` makes the one argument of
    instance ``i``; without it a design is called without arguments. ``script`` makes more arguments of
    instance ``i``, for a state machine the events that it gets; what it draws comes from the stream.
    """

    instances: int = 1
    arrivals: Distribution | None = None
    inputs: Callable[[int], Any] | None = None
    script: Callable[[int, Stream], Iterable[Any]] | None = None

    def __post_init__(self) -> None:
        """Refuse a workload of nothing: every expectation about it would be empty."""
        if self.instances < 1:
            raise DesignError(f"a workload needs at least one instance, got {self.instances}")

    def gaps_ns(self, stream: Stream) -> Iterator[int]:
        """Yield, for each instance, how long after the one before it arrives."""
        yield 0
        for _ in range(self.instances - 1):
            yield self.arrivals.sample_ns(stream) if self.arrivals else 0

    def arguments(self, instance: int, stream_named: Callable[[str], Stream]) -> tuple[Any, ...]:
        """Return the arguments of one instance; ``stream_named`` gives a stream of chance."""
        given = () if self.inputs is None else (self.inputs(instance),)
        if self.script is None:
            return given
        return (*(given or (None,)), *self.script(instance, stream_named(f"workload/events/{instance}")))
