"""Which process writes to a disk, and whether it has crashed since."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import ProcessCrashed
from wfsim.kernel import Process, current

if TYPE_CHECKING:
    from wfsim.kernel import Simulation

_found: list[ContextVar[Any]] = []
"""The kernel's own variable for the running process, once it has been seen in a context."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One life of a simulated process: from its start, or restart, to its end."""

    simulation: Simulation
    process: Process
    incarnation: int

    def is_life_of(self, process: Process) -> bool:
        """Tell whether this is the life that the process lives now."""
        return self.process is process and self.incarnation == process.incarnation

    @property
    def has_crashed(self) -> bool:
        """Whether this life ended by a crash. One that ended in order leaves its writes to the machine."""
        process = self.process
        if process.incarnation != self.incarnation:
            return True
        if process.alive:
            return False
        ended = process.__await__()  # asked only once, never waited for
        try:
            next(ended)
        except ProcessCrashed:
            return True
        except BaseException:  # noqa: BLE001 - it returned or raised: no crash
            return False
        with suppress(BaseException):
            ended.close()
        return True  # neither alive nor ended: it will be restarted


def owner(last: Owner | None) -> Owner | None:
    """Give the life of the process that runs this code, None outside a simulation.

    ``last`` is given back if it is the same still.
    """
    simulation = current()
    process = None if simulation is None else _process()
    if simulation is None or process is None:
        return None
    if last is not None and last.is_life_of(process):
        return last
    return Owner(simulation, process, process.incarnation)


def _process() -> Process | None:
    if not _found:
        _found.extend(variable for variable, value in copy_context().items() if isinstance(value, Process))
    return _found[0].get(None) if _found else None
