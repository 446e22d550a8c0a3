"""What came of a run of a DAG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.workflows._dag._rules import State


@dataclass(frozen=True, slots=True)
class Skipped:
    """What the work of a task gives when it has raised Skip; its one field is what the history shows."""

    skipped: str


@dataclass(frozen=True, slots=True)
class Instance:
    """How one of the calls of a mapped task ended."""

    state: State
    value: Any = None


class DAGResult(dict[str, Any]):
    """The results of a run by task: of those that succeeded, in the order in which they were added.

    ``states`` tells of every task how it ended, ``errors`` why those failed that did, in order of time.
    ``error`` is what the run raised, None if it succeeded; ``cost`` what its agents cost. Give it to
    ``run(resume=...)`` to repeat only what did not succeed.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        states: Mapping[str, State],
        errors: Mapping[str, BaseException],
        instances: Mapping[str, Sequence[Instance]],
        cost: float,
    ) -> None:
        super().__init__(values)
        self.states = dict(states)
        self.errors = dict(errors)
        self.instances = {name: tuple(each) for name, each in instances.items()}
        self.cost = cost
        self.error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.error is None
