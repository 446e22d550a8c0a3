"""The one writer of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wfsim.history._history import History
from wfsim.history._plain import plain_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.history._op import Record

__all__ = ["Recorder"]


class Recorder:
    """Writes down what happens, in the order it happens, with the time read from ``now_ns``.

    Each method returns the index of what it wrote, to be used as ``parent``, ``cause`` or ``invoke`` later
    on. A record costs a few hundred nanoseconds, since it only appends a tuple; names come when somebody
    reads.
    """

    __slots__ = ("_append", "_muted", "_now_ns", "_records")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._records: list[Record] = []
        self._append: Callable[[Record], object] = self._records.append
        self._muted = False

    def __len__(self) -> int:
        return len(self._records)

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
        index = len(self._records)
        plain = plain_data(data) if data else None
        now = self._now_ns()
        self._append(
            (index, now, "invoke", kind, design, name, process, attempt, parent, cause, None, plain),
        )
        return index

    def complete(
        self,
        type: Literal["ok", "fail", "info"],
        invoke: int,
        cause: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> int:
        """Record that the operation begun at ``invoke`` ended; the rest is as it was at its beginning."""
        records = self._records
        index = len(records)
        if self._muted:
            return index
        _, _, _, kind, design, name, process, attempt, parent, _, _, _ = records[invoke]
        plain = plain_data(data) if data else None
        now = self._now_ns()
        self._append((index, now, type, kind, design, name, process, attempt, parent, cause, invoke, plain))
        return index

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
        index = len(self._records)
        plain = plain_data(data) if data else None
        now = self._now_ns()
        self._append((index, now, "info", kind, design, name, process, attempt, parent, cause, None, plain))
        return index

    def mute(self) -> None:
        """Record nothing from now on: the run is over, and what still moves is being cleaned away."""
        self._muted = True
        self._append = _drop

    def history(self) -> History:
        """Everything recorded so far. What is recorded later does not change it."""
        return History(self._records)


def _drop(_record: Record) -> None:
    pass
