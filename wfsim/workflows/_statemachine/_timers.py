"""The timers of a session: what is due, and when, on whichever loop the session is driven by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wfsim.kernel import current
from wfsim.units import NS_PER_SECOND
from wfsim.workflows._wallclock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wfsim.workflows._statemachine._chart import Arrow


class Timer:
    """One thing that is due later: a transition (``arrow``), or an event that was sent with a delay."""

    __slots__ = ("arrow", "due_ns", "event", "handle", "name", "payload")

    def __init__(self, name: str, due_ns: int, event: str, payload: Any, arrow: Arrow | None) -> None:
        self.name = name
        self.due_ns = due_ns  # on the wall clock, which goes on while a machine is down
        self.event = event
        self.payload = payload
        self.arrow = arrow
        self.handle: asyncio.TimerHandle | None = None


class Timers:
    """The timers that are set, by name. A timer is a plain entry until its loop calls it back."""

    __slots__ = ("_fire", "_left", "_loop", "_pending")

    def __init__(self, fire: Callable[[Timer], None]) -> None:
        self._fire = fire
        self._pending: dict[str, Timer] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __iter__(self) -> Iterator[Timer]:
        return iter(self._pending.values())

    def __contains__(self, timer: Timer) -> bool:
        return self._pending.get(timer.name) is timer

    def set(self, timer: Timer) -> None:
        """Set a timer; one of the same name is replaced."""
        self.cancel(timer.name)
        self._pending[timer.name] = timer
        self._loop = _loop()
        self._arm(timer, timer.due_ns - wall_ns())

    def cancel(self, name: str) -> None:
        """Forget a timer, if it is set."""
        timer = self._pending.pop(name, None)
        if timer is not None and timer.handle is not None:
            timer.handle.cancel()

    def clear(self) -> None:
        """Forget all timers."""
        for name in list(self._pending):
            self.cancel(name)

    def spend(self, timer: Timer) -> bool:
        """Take a timer out that has come due; False if it was cancelled in the meantime."""
        if timer not in self:
            return False
        del self._pending[timer.name]
        return True

    def pause(self) -> None:
        """Note how much time is left of each timer: the loop that drives the session is about to end."""
        now = wall_ns()
        self._loop = None
        for timer in self:
            self._left[timer.name] = timer.due_ns - now
            if timer.handle is not None:
                timer.handle.cancel()

    def resume(self) -> None:
        """Set all timers on the running loop, each for the time that was left."""
        loop = _loop()
        if not self._pending or loop is self._loop:
            return
        now, self._loop = wall_ns(), loop
        for timer in self:
            if timer.handle is not None:
                timer.handle.cancel()
            left = self._left.pop(timer.name, timer.due_ns - now)
            timer.due_ns = now + left
            self._arm(timer, left)
        self._left.clear()

    def _arm(self, timer: Timer, left_ns: int) -> None:
        assert self._loop is not None  # noqa: S101 - both callers set it
        timer.handle = self._loop.call_later(max(0, left_ns) / NS_PER_SECOND, self._fire, timer)


def _loop() -> asyncio.AbstractEventLoop:
    """Give the loop that calls back: in a simulation its main one, since loops of blocking code come and go."""
    simulation = current()
    return asyncio.get_running_loop() if simulation is None else simulation.loop
