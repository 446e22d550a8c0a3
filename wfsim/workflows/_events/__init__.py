"""Events: a bus between services, and a store that remembers what they told each other."""

from __future__ import annotations

from wfsim.workflows._events._bus import EventBus
from wfsim.workflows._events._catchup import CatchUp
from wfsim.workflows._events._choreography import Choreography, Service
from wfsim.workflows._events._consumer import Delivery
from wfsim.workflows._events._deadletters import DeadLetter
from wfsim.workflows._events._event import Event
from wfsim.workflows._events._outbox import Outbox
from wfsim.workflows._events._projection import Projection
from wfsim.workflows._events._store import EventStore
from wfsim.workflows._events._stored import Snapshot, StoredEvent
from wfsim.workflows._events._subscription import Subscription
from wfsim.workflows._events._topics import matches as topic_matches
from wfsim.workflows._events._waiting import Receipt

__all__ = [
    "CatchUp",
    "Choreography",
    "DeadLetter",
    "Delivery",
    "Event",
    "EventBus",
    "EventStore",
    "Outbox",
    "Projection",
    "Receipt",
    "Service",
    "Snapshot",
    "StoredEvent",
    "Subscription",
    "topic_matches",
]
