"""Dead letters: events that were delivered in vain, set aside for somebody to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wfsim.workflows._events._event import Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that one subscriber (or group) could not handle.

    ``deliveries`` counts how often it was tried, ``because`` says why the last try was in vain.
    """

    event: Event
    subscriber: str
    deliveries: int
    because: str
    cause: int | None = field(default=None, repr=False, compare=False)
    """The operation that published the event, in a recorded run."""
