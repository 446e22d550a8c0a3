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

    def restore(self, child: Child) -> None:
        """Have a child that another run has begun, whose history this one shares."""
        self._own[child.asked.seq] = child

    def pass_on(self, successors: Children) -> None:
        """Let the children of this run tell another one of their end, as far as it knows them."""
        for seq, child in self._own.items():
            child.passed_to = successors.get(seq)

    def by_event(self, initiated_id: int) -> Child | None:
        """Give the child that an event has initiated."""
        return next((one for one in self._own.values() if one.initiated_id == initiated_id), None)

    def reaches(self, workflow_id: str) -> bool:
        """Whether a workflow, if it is the latest child of that id, takes this run for its parent."""
        known = [one for one in self._own.values() if one.asked.workflow_id == workflow_id]
        return not known or known[-1].is_own

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
