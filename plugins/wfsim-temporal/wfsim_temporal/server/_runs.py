"""Runs of what a client starts by an id of its own, and may start again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_Run = TypeVar("_Run")


class Runs(Generic[_Run]):
    """Runs by their ids and run ids, in the order in which they began."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Run] = {}
        self._latest: dict[str, _Run] = {}

    def __iter__(self) -> Iterator[_Run]:
        return iter(self._known.values())

    def add(self, name: str, run_id: str, run: _Run) -> None:
        """Add a run of an id."""
        self._known[name, run_id] = self._latest[name] = run

    def find(self, name: str, run_id: str = "") -> _Run | None:
        """Give a run of an id, the latest one if none is named; None if there is none."""
        return self._known.get((name, run_id)) if run_id else self._latest.get(name)
