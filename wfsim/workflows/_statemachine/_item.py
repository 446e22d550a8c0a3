"""What goes through a session: events on their way, and what one step leaves behind."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from wfsim.errors import DesignError

if TYPE_CHECKING:
    import asyncio

    from wfsim.workflows._statemachine._session import Session
    from wfsim.workflows._statemachine._timers import Timer

Origin: TypeAlias = Literal["start", "outside", "script", "sent", "timer", "internal", "always"]
"""Where an event comes from."""


class Item:
    """An event on its way through a machine."""

    __slots__ = ("cause", "error", "event", "origin", "payload", "timer", "turn")

    def __init__(
        self, event: str, payload: Any = None, cause: int | None = None, origin: Origin = "outside"
    ) -> None:
        self.event = event
        self.payload = payload
        self.cause = cause
        self.origin: Origin = origin
        self.timer: Timer | None = None
        self.turn: asyncio.Future[None] | None = None  # of the one who waits to carry it out
        self.error: Exception | None = None


class Plan:
    """What a step does to the timers and to what was sent, once it is made."""

    __slots__ = ("cancelled", "sent", "set", "timers")

    def __init__(self, cancelled: list[str]) -> None:
        self.cancelled = cancelled
        self.set: list[Timer] = []
        self.sent: list[Timer] = []
        self.timers: list[Timer] = []
        """All that are set afterwards."""

    def take_back(self, name: str) -> None:
        """Cancel a timer, also one that this very step wanted to set."""
        self.cancelled.append(name)
        self.set = [timer for timer in self.set if timer.name != name]


class Before:
    """How a session stood before a step, to go back to if the step fails."""

    __slots__ = ("active", "data", "internal", "past")

    def __init__(self, session: Session) -> None:
        self.active = session.active
        session.active = list(session.active)
        self.past = session.past
        session.past = dict(session.past)
        self.internal = len(session.internal)
        self.data = _copy(session.data, session.chart.title) if session.data else {}

    def restore(self, session: Session) -> None:
        session.active = self.active
        session.past = self.past
        session.done = False
        del session.internal[self.internal :]
        session.outbox.clear()
        session.data.clear()
        session.data.update(self.data)


def _copy(data: dict[str, Any], title: str) -> dict[str, Any]:
    try:
        return deepcopy(data)
    except TypeError as error:
        raise DesignError(
            f"the data of {title} cannot be copied ({error}), so a failed step could not be undone; keep plain "
            "values there, and connections and locks elsewhere"
        ) from error


def came_with(payload: Any) -> dict[str, Any] | None:
    """What came with an event, as data for the history."""
    return None if payload is None else {"payload": payload}
