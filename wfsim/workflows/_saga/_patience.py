"""The policy of a retriable step that names none: try until it succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from wfsim.errors import DesignError, RealIOError, SimulationError
from wfsim.kernel import cause_of, event, sleep
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from wfsim.workflows._policy import Attempt

T = TypeVar("T")

# These say that the code or the test is wrong, not that the world failed: trying again cannot help.
_NEVER: Final = (DesignError, RealIOError, SimulationError)


class Patience:
    """Tries without end, the waits doubling from a tenth of a second up to a minute.

    A retriable step comes after the point of no return, so there is nothing else it could do.
    """

    first_ns = NS_PER_SECOND // 10
    longest_ns = 60 * NS_PER_SECOND

    def describe(self) -> dict[str, Any]:
        return {
            "attempts": None,
            "backoff": "exponential",
            "delay_ns": self.first_ns,
            "factor": 2.0,
            "max_delay_ns": self.longest_ns,
        }

    async def run(self, attempt: Attempt[T], *, design: str, name: str) -> T:
        number, cause, delay_ns = 1, None, self.first_ns
        while True:
            try:
                return await attempt(number, cause)
            except _NEVER:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, going on is the only way
                cause = cause_of(error)
            data = {"policy": self.describe(), "delay_ns": delay_ns}
            event("retry", name, design=design, cause=cause, attempt=number, data=data)
            await sleep(delay_ns / NS_PER_SECOND)
            number, delay_ns = number + 1, min(2 * delay_ns, self.longest_ns)
