"""The children of one run, by the number that the workflow gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim_temporal.commands import Child

if TYPE_CHECKING:
    from wfsim_temporal.execution._execution import Execution


class Children:
    """The children that a run asked for, and those it took over from the run before it."""

    def __init__(self, owner: Execution) -> None:
        self._owner = owner
        self._own: dict[int, Child] = {}
        self._adopted: list[Child] = []

    def add(self, asked: Any) -> Child:
        """Make the child that a command asks for."""
        child = self._own[asked.seq] = Child(self._owner, asked)
        return child

    def get(self, seq: int) -> Child | None:
        """Give the child of a number."""
        return self._own.get(seq)

    def adopt(self, others: Children) -> None:
        """Take over the children of the run before, for the parent-close policy."""
        self._adopted = [*others._adopted, *others._own.values()]

    def on_parent_closed(self) -> None:
        """Tell all that the parent has ended for good."""
        for child in (*self._adopted, *self._own.values()):
            child.on_parent_closed()
