"""Publishing where no loop runs: every handler is called at once, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.errors import DeliveryFailed
from wfsim.workflows._events._home import run_now
from wfsim.workflows._events._topics import Topics
from wfsim.workflows._events._waiting import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.workflows._events._event import Event
    from wfsim.workflows._events._subscription import Subscription


def publish_at_once(subscriptions: Sequence[Subscription], event: Event) -> Receipt:
    """Call every subscriber to the event's topic. Of a group one is called.

    One that raises is called again, as often as its terms allow. When that is in vain the others are called
    all the same, then DeliveryFailed is raised: nobody else would hear of it.
    """
    topics: Topics[Subscription] = Topics()
    for subscription in subscriptions:
        topics.add(subscription.topic, subscription)
    failed: dict[str, Exception] = {}
    served: dict[tuple[str, str], None] = {}
    for subscription in topics.match(event.topic):
        if subscription.group is not None and (subscription.group, subscription.topic) in served:
            continue
        served[(subscription.group or "", subscription.topic)] = None
        error = _deliver(subscription, event)
        if error is not None:
            failed[subscription.name] = error
    if failed:
        first = next(iter(failed.values()))
        raise DeliveryFailed(event.topic, tuple(failed), first) from first
    return Receipt(event)


def _deliver(subscription: Subscription, event: Event) -> Exception | None:
    terms = subscription.terms
    tries = (terms.max_deliveries or 1) if terms.acknowledged else 1
    error: Exception | None = None
    for attempt in range(1, tries + 1):
        args: tuple[Any, ...] = (event, OneTry(event, attempt)) if subscription.wants_delivery else (event,)
        try:
            run_now(subscription.handler(*args))
        except Exception as raised:  # noqa: BLE001 - a handler may fail in any way
            error = raised
        else:
            return None
    return error


class OneTry:
    """The delivery that a handler is given where no loop runs: to acknowledge changes nothing there."""

    def __init__(self, event: Event, attempt: int) -> None:
        self.event = event
        self.attempt = attempt

    async def ack(self) -> None:
        """Say that the event is handled."""

    async def nack(self, *, delay: object = None) -> None:  # noqa: ARG002 - there is nothing to wait in
        """Give the event back: it is delivered again."""
        raise DeliveryFailed(self.event.topic, ("handler",), RuntimeError("it was given back"))
