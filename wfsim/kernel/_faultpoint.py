"""Fault points: where the nemesis is asked, and how its answer strikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from wfsim.history import WIDTH, plain_data
from wfsim.kernel._ambient import current, process_name
from wfsim.kernel._cause import current_parent, mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from wfsim.kernel._simulation import Simulation


class FaultPoint(NamedTuple):
    """A place where a fault may strike: "call" or "reply" of an operation, or one that the user named."""

    point: str
    kind: str
    design: str
    name: str
    attempt: int
    process: str
    time_ns: int


class Fault(Protocol):
    """A kind of fault. The kernel records it, then lets it strike.

    One that does nothing but raise may have a method `error_at` too, from the name of the operation to the
    error: then that is all that is asked of it.
    """

    @property
    def kind(self) -> str:
        """The fault's word in scenario files and in the history: "fail", "delay", ..."""

    def describe(self) -> Mapping[str, Any]:
        """The fault as data, for the history."""

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:
        """Do it: raise, wait, crash; return to let the operation go on."""


class Decide(Protocol):
    """Who decides at one place, each time it is passed."""

    def __call__(self, attempt: int, process: str, time_ns: int, /) -> Fault | None:
        """The fault that strikes now, None to let it pass."""


class Nemesis(Protocol):
    """Who decides which fault strikes where.

    One that can tell in advance where faults could strike may have a method `decider` too, from point, kind,
    design and name to who decides there (`Decide`), or to None where no fault ever strikes: the kernel calls it
    once a place, and `ask` no more.
    """

    def ask(self, at: FaultPoint) -> Fault | None:
        """The fault that strikes at this point now, None to let it pass."""

    def heal(self) -> None:
        """Stop: no fault strikes from now on, whoever decides."""


_MANY = 10_000


class Watch:
    """Who decides at which place of one run: each place is looked up once."""

    __slots__ = ("_deciders", "_nemesis", "_told")

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._deciders: dict[tuple[str, ...], Decide | None] = {}
        self._told: dict[tuple[int, str, tuple[str, str, str]], tuple[Fault, dict[str, Any]]] = {}

    def at(self, point: str, kind: str, design: str, name: str) -> Decide | None:
        """Who decides at this place."""
        place = (point, kind, design, name)
        if place not in self._deciders:
            if len(self._deciders) > _MANY:  # names made for one call each are not worth remembering
                self._deciders.clear()
            self._deciders[place] = self._find(*place)
        return self._deciders[place]

    def _find(self, point: str, kind: str, design: str, name: str) -> Decide | None:
        nemesis = self._nemesis
        find = getattr(nemesis, "decider", None)
        if find is not None:
            found: Decide | None = find(point, kind, design, name)
            return found

        def ask(attempt: int, process: str, time_ns: int, /) -> Fault | None:
            return nemesis.ask(FaultPoint(point, kind, design, name, attempt, process, time_ns))

        return ask

    def describe(self, fault: Fault, point: str, who: tuple[str, str, str]) -> dict[str, Any]:
        """What the history is told of a fault that strikes here."""
        known = self._told.get((id(fault), point, who))
        if known is None:
            if len(self._told) > _MANY:
                self._told.clear()
            data = plain_data({"point": point, "on": who[0], "step": who[2], **fault.describe()})
            known = self._told[id(fault), point, who] = (fault, data)
        return known[1]


def strike(
    simulation: Simulation,
    fault: Fault,
    point: str,
    who: tuple[str, str, str],
    attempt: int,
    process: str,
) -> Awaitable[None]:
    """Record a fault that strikes an operation (kind, design, name); awaiting the result lets it strike.

    One that only raises does so at once.
    """
    _, design, name = who
    now_ns, parent, entries = simulation.environment._now, current_parent(), simulation.recorder.entries
    data = simulation.watch.describe(fault, point, who)  # type: ignore[union-attr]
    entries += ("event", now_ns, ("fault", design, fault.kind), process, attempt, parent, parent, data)
    index = len(entries) // WIDTH - 1
    error_at = getattr(fault, "error_at", None)
    if error_at is None:
        return _strike(simulation, fault, FaultPoint(point, *who, attempt, process, now_ns), index)
    error = error_at(name)
    mark(error, index)
    try:
        raise error
    finally:
        del error  # its traceback holds this frame: a cycle for each failure would be left to the collector


async def _strike(simulation: Simulation, fault: Fault, at: FaultPoint, index: int) -> None:
    try:
        await fault.strike(simulation, at)
    except BaseException as error:
        mark(error, index)
        raise


async def fault_point(
    point: str, *, kind: str = "", design: str = "", name: str = "", attempt: int = 1
) -> Fault | None:
    """Declare a place where a fault may strike, in a primitive or in your own code.

    Give the fault that struck, None if none did. Most faults have done all they do by then (raised, waited,
    crashed); some, such as one that duplicates a message, only the code at the fault point can carry out.

    The idea is FoundationDB's BUGGIFY. Outside a simulation, and in one without faults, it does nothing.
    """
    simulation = current()
    if simulation is None or simulation.watch is None:
        return None
    decide = simulation.watch.at(point, kind, design, name)
    if decide is None:
        return None
    process = process_name()
    fault = decide(attempt, process, simulation.now_ns)
    if fault is not None:
        await strike(simulation, fault, point, (kind, design, name), attempt, process)
    return fault
