"""What a guard, an action or a hook may ask for, and what it may set off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfsim.units import Duration
    from wfsim.workflows._statemachine._session import Session


class MachineContext:
    """The moment in which a machine calls a function: the one argument that such a function may take."""

    __slots__ = ("_session", "error", "event", "id", "payload")

    def __init__(self, session: Session, event: str, payload: Any, error: BaseException | None) -> None:
        self._session = session
        self.event = event
        """The name of the event at hand; "" while the machine starts, and in an eventless transition."""
        self.payload = payload
        """What came with the event."""
        self.error = error
        """The exception behind an ``error.execution`` event, if it was raised since the machine started."""
        self.id = ""
        """Names this very call of this function: the same when a crash makes the machine repeat it."""

    @property
    def data(self) -> dict[str, Any]:
        """The machine's own data. What a function changes here is kept, and durable with the transition."""
        return self._session.data

    @property
    def input(self) -> Any:
        """What the machine was started with."""
        return self._session.input

    @property
    def states(self) -> tuple[str, ...]:
        """The names of all active states, in document order."""
        return self._session.states

    def in_state(self, name: str) -> bool:
        """Tell whether a state is active."""
        return self._session.in_state(name)

    def as_arguments(self) -> dict[str, Any]:
        """What a function is given, for a history that records arguments."""
        return {"event": self.event, "payload": self.payload, "input": self.input, "data": self.data}

    def raise_event(self, event: str, payload: Any = None) -> None:
        """Put an event on the internal queue: it comes before all that waits outside (SCXML's raise)."""
        self._session.raise_internal(event, payload)

    def send(self, event: str, payload: Any = None, *, after: Duration = 0, name: str | None = None) -> str:
        """Send the machine an event from outside, now or after a while; give the name to cancel it by."""
        return self._session.send_later(event, payload, after, name)

    def cancel(self, name: str) -> None:
        """Take back an event that was sent and has not arrived yet."""
        self._session.cancel_sent(name)
