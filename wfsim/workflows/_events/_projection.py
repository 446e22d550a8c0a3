"""A projection: a view of the events of a store, brought up to date by them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wfsim.workflows._events._topics import matches
from wfsim.workflows._naming import checked_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.workflows._events._catchup import CatchUp
    from wfsim.workflows._events._event import Event
    from wfsim.workflows._events._store import EventStore
    from wfsim.workflows._events._stored import StoredEvent

_S = TypeVar("_S")


class Projection(Generic[_S]):
    """A state that events add up to.

    ::

        balances = Projection(store, apply, initial=dict, name="balances")
        balances.catch_up()  # what there is, now
        follower = balances.follow()  # and whatever comes, as it comes

    ``apply(state, event)`` gives the next state (or None, if it changed the state in place), ``initial()``
    the first one. ``position`` is that of the next event to apply; state and position move together, so
    nothing is applied twice. ``rebuild`` begins anew, as after a change of ``apply``.
    """

    def __init__(
        self,
        store: EventStore,
        apply: Callable[[_S, Event], _S | None],
        *,
        initial: Callable[[], _S],
        name: str = "projection",
        topic: str = "#",
    ) -> None:
        self.name = checked_name(name, "a projection")
        self.state = initial()
        self.position = 0
        self._store = store
        self._apply = apply
        self._initial = initial
        self._topic = topic

    def catch_up(self) -> _S:
        """Apply what is in the store and not yet applied, and give the state."""
        for stored in self._store.read_all(from_position=self.position):
            self._take(stored)
        return self.state

    def rebuild(self) -> _S:
        """Begin anew from the first event, and give the state."""
        self.state, self.position = self._initial(), 0
        return self.catch_up()

    def follow(self) -> CatchUp:
        """Catch up, then apply each event as it comes, until the subscription is stopped."""
        start = self.position
        return self._store.subscribe(self._follow, topic=self._topic, from_position=start, name=self.name)

    async def _follow(self, _event: Event, stored: StoredEvent) -> None:
        self._take(stored)

    def _take(self, stored: StoredEvent) -> None:
        if stored.position < self.position:
            return  # a catch_up in between had it already
        if matches(self._topic, stored.event.topic):
            following: Any = self._apply(self.state, stored.event)
            if following is not None:
                self.state = following
        self.position = stored.position + 1

    def __repr__(self) -> str:
        return f"<Projection {self.name!r} at {self.position}>"
