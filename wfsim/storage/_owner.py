"""Which process writes to a disk, and whether it has crashed since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wfsim.kernel import current, current_process

if TYPE_CHECKING:
    from wfsim.kernel import Process, Simulation


@dataclass(frozen=True, slots=True)
class Owner:
    """One life of a simulated process: from its start, or restart, to its end."""

    simulation: Simulation
    process: Process
    incarnation: int

    @property
    def has_crashed(self) -> bool:
        """Whether this life ended by a crash. One that ended in order leaves its writes to the machine."""
        return self.process.has_crashed(self.incarnation)


def owner(last: Owner | None) -> Owner | None:
    """Give the life of the process that runs this code, None outside a simulation.

    ``last`` is given back if it is the same still.
    """
    simulation, process = current(), current_process()
    if simulation is None or process is None:
        return None
    if last is not None and last.process is process and last.incarnation == process.incarnation:
        return last
    return Owner(simulation, process, process.incarnation)
