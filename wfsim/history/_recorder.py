"""The one writer of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wfsim.history._history import History
from wfsim.history._op import WIDTH
from wfsim.history._plain import plain_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Recorder"]


class Recorder:
    """Writes down what happens, in the order it happens, with the time read from ``now_ns``.

    Each method returns the index of what it wrote, to be used as ``parent``, ``cause`` or ``invoke`` later
    on. A record costs a hundred nanoseconds or two; names come when somebody reads.

    Attributes:
        entries: what was written, ``WIDTH`` places an entry. The kernel's ``perform`` adds to it itself,
            since every step of every design passes there.
    """

    __slots__ = ("_end", "_now_ns", "entries")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.entries: list[Any] = []
        self._end: int | None = None

    def __len__(self) -> int:
        return len(self.entries) // WIDTH

    def invoke(
        self,
        kind: str,
        design: str,
        name: str,
        process: str,
        attempt: int = 1,
        parent: int | None = None,
        cause: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Record that an operation begins."""
        entries = self.entries
        plain = plain_data(data) if data else None
        entries += ("invoke", self._now_ns(), (kind, design, name), process, attempt, parent, cause, plain)
        return len(entries) // WIDTH - 1

    def complete(
        self,
        type: Literal["ok", "fail", "info"],
        invoke: int,
        cause: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Record that the operation begun at ``invoke`` ended; the rest is as it was at its beginning."""
        entries = self.entries
        plain = plain_data(data) if data else None
        entries += (type, self._now_ns(), None, None, invoke, None, cause, plain)
        return len(entries) // WIDTH - 1

    def event(
        self,
        kind: str,
        design: str,
        name: str,
        process: str,
        attempt: int = 0,
        parent: int | None = None,
        cause: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Record a bare fact (type ``info``): something happened that is no call."""
        entries = self.entries
        plain = plain_data(data) if data else None
        entries += ("event", self._now_ns(), (kind, design, name), process, attempt, parent, cause, plain)
        return len(entries) // WIDTH - 1

    def mute(self) -> None:
        """Keep nothing that is recorded from now on: the run is over, and what still moves is cleaned away."""
        self._end = len(self.entries)

    def history(self) -> History:
        """Everything recorded so far. What is recorded later does not change it."""
        return History.of_entries(self.entries, len(self.entries) if self._end is None else self._end)
