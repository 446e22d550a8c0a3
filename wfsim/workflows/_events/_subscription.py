"""A subscription: who wants to hear of which topic, and on what terms."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.workflows._events._event import checked_pattern
from wfsim.workflows._naming import checked_name, name_of
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wfsim.workflows._events._terms import Terms


class Subscription:
    """What ``EventBus.subscribe`` gives: ``unsubscribe`` ends it, as does leaving it as a context manager.

    ``name`` is what faults, checkers and reports call it.
    """

    __slots__ = ("_cancel", "group", "handler", "is_async", "name", "terms", "topic", "wants_delivery")

    def __init__(self, topic: str, handler: Any, name: str | None, group: str | None, terms: Terms) -> None:
        part = f"the handler of topic {topic!r}"
        self.topic = topic
        checked_pattern(topic)
        self.group = None if group is None else checked_name(group, "a group of subscribers")
        self.handler = handler_of(handler)
        self.wants_delivery = wants_two(self.handler, part)
        if terms.ack == "manual" and not self.wants_delivery:
            raise DesignError(f"{part} has to acknowledge by hand, so it takes (event, delivery)")
        self.is_async = iscoroutinefunction(self.handler)
        self.name = checked_name(name or group or _name_of(handler) or "subscriber", "a subscriber")
        self.terms = terms
        self._cancel: Callable[[Subscription], object] | None = None

    def unsubscribe(self) -> None:
        """Hear no more. What a group still holds stays with the group."""
        if self._cancel is not None:
            self._cancel(self)
            self._cancel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        of = f" of group {self.group!r}" if self.group else ""
        return f"<Subscription {self.name!r}{of} to {self.topic!r}>"


def handler_of(handler: Any) -> Callable[..., Any]:
    """Give the function to call: a function itself, or the ``handle`` method of an object that has one."""
    if not callable(handler) and callable(getattr(handler, "handle", None)):
        method: Callable[..., Any] = handler.handle
        return method
    return handler  # type: ignore[no-any-return]  # `takes` refuses what cannot be called


def _name_of(handler: Any) -> str | None:
    return name_of(handler) if callable(handler) else type(handler).__name__


def wants_two(handler: Callable[..., Any], part: str) -> bool:
    """Tell whether a handler takes a second argument beside the event. Raise DesignError if none fits."""
    wanted = takes(handler, part)
    if wanted.least > 2 or not wanted.fits(1) and not wanted.fits(2):  # noqa: PLR2004, RUF021
        raise DesignError(f"{part} takes {wanted}; a handler takes the event, or the event and its delivery")
    return wanted.least == 2  # noqa: PLR2004
