"""Expectations of events: published, handled, set aside."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Literal, Self

from wfsim.errors import DesignError
from wfsim.words._demand import Demands, compared
from wfsim.words._names import check_name
from wfsim.words._play import ANSWERS
from wfsim.words._told import checked_event, dead_in, event_words, fits_event, handled_in, published_in
from wfsim.workflows import Choreography

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.history import History
    from wfsim.words._failure import Finding
    from wfsim.words._play import Scene
    from wfsim.words._told import ExpectedEvent, Published
    from wfsim.workflows import Event

    Look = Callable[[Scene], tuple[Published, ...]]


class EventWords(Demands, ABC):
    """What was published, and who handled it."""

    def published(self, matching: ExpectedEvent = "#") -> tuple[Event, ...]:
        """Give the events that the (healthy) run published and that fit: for what no word says."""
        scene = self._scenes[0]
        found = published_in(scene.history, scene.since)
        return tuple(one.event for one in found if fits_event(checked_event(matching), one))

    def then_published(self, *events: ExpectedEvent, in_order: bool = True, none_other: bool = True) -> Self:
        """Expect that these events were published: in this order and none other, unless it is said otherwise.

        An event is given by its topic or a pattern (``"order.*"``), as an :class:`Event` whose topic and
        payload, and whatever else it has, must be equal, or as a function of the event. What the sentence itself
        publishes does not count.
        """
        __tracebackhide__ = True
        return self._compare(
            "then_published", events, _by_the_design, in_order=in_order, none_other=none_other
        )

    def then_not_published(self, *events: ExpectedEvent) -> Self:
        """Expect that none of these events was published."""
        __tracebackhide__ = True
        unwanted = self._checked_events("then_not_published", events, "then_nothing_published()")

        def look(scene: Scene) -> Finding | None:
            found = _by_the_design(scene)
            wrong = [one for one in found if any(fits_event(event, one) for event in unwanted)]
            return compared("event", (), wrong, fits_event, in_order=True, none_other=True)

        return self._demand("then_not_published", look)

    def then_nothing_published(self) -> Self:
        """Expect that nothing was published, beside what the sentence itself publishes."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            found = _by_the_design(scene)
            return compared("event", (), found, fits_event, in_order=True, none_other=True)

        return self._demand("then_nothing_published", look)

    def then_handled(
        self,
        *events: ExpectedEvent,
        by: str | None = None,
        ended: Literal["ok", "failed"] = "ok",
        in_order: bool = True,
        none_other: bool = True,
    ) -> Self:
        """Expect that these events were handled, each time they were: by this subscriber if it is named.

        With ``ended="failed"``, that their handlers failed, or never came to an end.
        """
        __tracebackhide__ = True
        if ended not in {"ok", "failed"}:
            raise DesignError(f"ended={ended!r} of then_handled() is unknown; allowed: ok, failed")

        def handled(scene: Scene) -> tuple[Published, ...]:
            found = handled_in(scene.history, scene.since, ended)
            return tuple(one for one in found if one.by == by or (by is None and not _is_of_the_bus(one)))

        if by is not None:
            seen = [op.name for scene in self._scenes for op in scene.history.where(kind="subscribe")]
            check_name("subscriber", by, seen, "the bus", is_all=bool(seen))
        return self._compare("then_handled", events, handled, in_order=in_order, none_other=none_other)

    def then_dead_letters(self, *events: ExpectedEvent) -> Self:
        """Expect that these events, in any order and none other, were set aside; none, if none is named."""
        __tracebackhide__ = True
        wanted = tuple(map(checked_event, events))

        def look(scene: Scene) -> Finding | None:
            found = dead_in(scene.history, scene.since)
            return compared("dead letter", wanted, found, fits_event, in_order=False, none_other=True,
                            write=event_words)  # fmt: skip

        return self._demand("then_dead_letters", look)

    def _compare(self, word: str, events: tuple[ExpectedEvent, ...], source: Look, **options: bool) -> Self:
        __tracebackhide__ = True
        wanted = self._checked_events(word, events, f"{word.replace('then_', 'then_nothing_')}()")

        def look(scene: Scene) -> Finding | None:
            found = source(scene)
            return compared("event", wanted, found, fits_event, write=event_words, **options)

        return self._demand(word, look)

    def _checked_events(
        self, word: str, events: tuple[ExpectedEvent, ...], instead: str
    ) -> tuple[ExpectedEvent, ...]:
        if not events:
            instead = instead if word != "then_handled" else "then_published(..., none_other=False)"
            raise DesignError(f"{word}() names no event; if there is to be none, write {instead}")
        known = [one.event.topic for scene in self._scenes for one in published_in(scene.history, -1)]
        for scene in self._scenes:
            known += [
                str(op.data["topic"]) for op in scene.history.where(kind="subscribe") if "topic" in op.data
            ]
        for event in map(checked_event, events):
            topic = event if isinstance(event, str) else getattr(event, "topic", "")
            if topic and not any(sign in topic for sign in "*#"):
                check_name("topic", topic, known, "the bus", is_all=False)
        return tuple(map(checked_event, events))


def _by_the_design(scene: Scene) -> tuple[Published, ...]:
    """Give what the design published, without what the sentence itself did, or had others answer."""
    is_choreography = isinstance(scene.sentence.subject.example, Choreography)
    found = published_in(scene.history, scene.since)
    return tuple(one for one in found if not _is_ours(scene.history, one, is_choreography=is_choreography))


def _is_ours(history: History, one: Published, *, is_choreography: bool) -> bool:
    op = history[one.op]
    if op.parent is None and op.cause is None:
        return op.process == "main" or is_choreography  # a choreography publishes what it is given
    parent = None if op.parent is None else history[op.parent]
    return parent is not None and parent.kind == "handle" and parent.name.startswith(ANSWERS)


def _is_of_the_bus(one: Published) -> bool:
    """Tell whether it was handled by whoever answers for others, or by the bus, which hears the answers."""
    return one.by.startswith(ANSWERS) or one.event.topic.endswith(".answers")
