"""What a saga without an orchestrator needs of a bus, and how its participants speak on it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from wfsim.workflows._events import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


@runtime_checkable
class Bus(Protocol):
    """Anything on which events are published and subscribed to."""

    def subscribe(self, topic: str, handler: Callable[[Any], Any], /) -> Any:
        """Call ``handler(event)`` for each event on the topic."""

    def publish(self, event: Any, /) -> Any:
        """Tell an event to those who subscribed to its topic; what is returned is awaited if it can be."""


def keyed_event(topic: str, payload: dict[str, Any]) -> Event:
    """Make the event of this library's own bus; events of one instance have one key, so they can keep order."""
    return Event(topic, payload, key=str(payload["key"]))


class Wire:
    """Publishes and subscribes for one saga. Topics are ``saga.started`` and ``saga.step.done``, and so on."""

    def __init__(self, saga: str, bus: Bus, event: Callable[[str, dict[str, Any]], Any]) -> None:
        self._saga = saga
        self._bus = bus
        self._event = event
        self._knows_groups = _takes(bus.subscribe, "group")

    async def tell(self, what: str, step: str, payload: dict[str, Any]) -> None:
        """Publish that something happened to a step ("done", "failed", "undone"), or that the saga started."""
        told = self._bus.publish(self._event(self._topic(what, step), payload))
        if inspect.isawaitable(told):
            await told

    def hear(
        self, who: str, what: str, step: str, handler: Callable[[Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        """Call ``handler(payload)`` when that happens. On a bus with groups the listener is one.

        So its events wait for it while it is away.
        """

        async def handle(event: Any) -> None:
            await handler(payload_of(event))

        options = {"group": f"{self._saga}.{who}"} if self._knows_groups and who else {}
        self._bus.subscribe(self._topic(what, step), handle, **options)

    def _topic(self, what: str, step: str) -> str:
        return f"{self._saga}.{step}.{what}" if step else f"{self._saga}.{what}"


def payload_of(event: Any) -> Mapping[str, Any]:
    """Give what an event carries, by whatever name its kind has for it."""
    for name in ("payload", "data"):
        found = getattr(event, name, None)
        if found is not None:
            return dict(found)
    return dict(event)


def _takes(fn: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(fn).parameters
    except ValueError:  # built-in code that does not tell
        return False
