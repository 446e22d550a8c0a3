"""Where faults strike events: at their publishing, their delivery, their handling and their acknowledgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wfsim.kernel import FaultPoint

if TYPE_CHECKING:
    from wfsim.kernel import Decide, Fault, span
    from wfsim.workflows._events._home import Home

LOSSES: Final = ("lose_event", "partition")
CARRIED_OUT_HERE: Final = (*LOSSES, "duplicate", "reorder", "corrupt")
"""The faults that only the bus can carry out; all others act by themselves."""

Ends: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
NO_ENDS: Final[Ends] = ((), ())


class Place:
    """All fault points of one kind for one topic and one subscriber; who decides there is looked up once.

    ``ends`` are the names by which each end of the line goes that the event passes on.
    """

    __slots__ = ("_simulation", "_where", "decide", "ends", "process", "subscriber", "topic")

    def __init__(
        self,
        home: Home,
        where: tuple[str, str, str, str],
        topic: str,
        subscriber: str,
        process: str,
        ends: Ends = NO_ENDS,
    ) -> None:
        self._simulation: Any = home.simulation
        self._where = where
        self.topic = topic
        self.subscriber = subscriber
        self.process = process
        self.ends = ends
        self.decide: Decide | None = self._decider()

    def _decider(self) -> Decide | None:
        nemesis = None if self._simulation is None else self._simulation.nemesis
        if nemesis is None:
            return None
        of_event = getattr(nemesis, "decider_of_event", None)  # a nemesis need not know of events
        found: Decide | None = (
            self._simulation.watch.at(*self._where) if of_event is None else of_event(*self._where, self)
        )
        return found

    def ask(self, attempt: int) -> Fault | None:
        """Give the fault that strikes now, if any."""
        if self.decide is None:
            return None
        return self.decide(attempt, self.process, self._simulation.now_ns)

    def record(self, fault: Fault, attempt: int, cause: int | None, parent: int | None = None) -> int:
        """Write down that a fault struck."""
        point, kind, design, name = self._where
        data: dict[str, Any] = {"point": point, "on": kind, "step": name}
        if self.topic != name:
            data["topic"] = self.topic
        described = {key: value for key, value in fault.describe().items() if key not in data}
        index: int = self._simulation.recorder.event(
            "fault", design, fault.kind, self.process, attempt, parent, cause, {**data, **described}
        )
        return index

    async def strike(self, fault: Fault, attempt: int) -> None:
        """Let a fault that acts by itself do what it does."""
        point, kind, design, name = self._where
        now_ns = self._simulation.now_ns
        at = FaultPoint(point, kind, design, name, attempt, self.process, now_ns)
        await fault.strike(self._simulation, at)

    async def suffer(self, fault: Fault, attempt: int, it: span) -> None:
        """Record a fault that strikes an operation, and let it act; if it raises, it is the cause."""
        index = self.record(fault, attempt, it.index, it.index)
        try:
            await self.strike(fault, attempt)
        except BaseException:
            it.cause = index
            raise
