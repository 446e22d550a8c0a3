"""The slots of a run: how many of its tasks may be at work at a time, and the line of those that wait."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_LIMIT = 1 << 60


class Slots:
    """So many slots, given to the highest priority first, then to whoever has waited longest.

    In line stand numbers, of work that has yet to be started, and futures, of work that has begun and needs a
    slot (again).
    """

    __slots__ = ("_came", "_line", "free")

    def __init__(self, limit: int | None) -> None:
        self.free = _NO_LIMIT if limit is None else limit
        self._line: list[tuple[int, int, Any]] = []
        self._came = 0

    def line_up(self, priority: int, who: Any) -> None:
        """Stand in line."""
        self._came += 1
        heappush(self._line, (-priority, self._came, who))

    def serve(self, start: Callable[[int], bool]) -> bool:
        """Give a free slot to the first in line; ``start`` tells whether a number still wants it."""
        line = self._line
        while line and self.free:
            who = heappop(line)[2]
            if who.__class__ is int:
                if start(who):
                    self.free -= 1
                    return True
            elif not who.done():
                self.free -= 1
                who.set_result(None)
        return False

    async def take(self, priority: int) -> None:
        """Wait for a slot; whoever has one gives it back by raising ``free``."""
        if self.free:
            self.free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.line_up(priority, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.free += 1
            raise
