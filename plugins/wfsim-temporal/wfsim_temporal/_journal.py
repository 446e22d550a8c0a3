"""What the simulation's history is told of executions. Checkers and reports read it like any design's.

A run of a workflow is an operation of kind "workflow"; each attempt of an activity one of kind "activity",
performed by the worker's process. Signals, timers, timeouts and the like are facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfsim.kernel import Simulation
    from wfsim_temporal._execution import Execution

_ENDINGS = {"completed": "ok", "continued_as_new": "ok"}


class Journal:
    """Writes of one execution. ``index`` is that of the operation that stands for the run."""

    __slots__ = ("_execution", "_recorder", "index")

    def __init__(self, simulation: Simulation, execution: Execution) -> None:
        self._recorder = simulation.recorder
        self._execution = execution
        start = execution.start
        data = {"workflow_id": start.workflow_id, "run_id": execution.run_id}
        parent = None if start.parent is None else start.parent.owner.journal.index
        self.index: int = self._recorder.invoke(
            "workflow",
            start.workflow_type,
            start.workflow_type,
            start.workflow_id,
            start.attempt,
            None,
            parent,
            data,
        )

    def close(self, status: str, failure: Any = None) -> None:
        """Record how the run ended."""
        if status in _ENDINGS:
            self._recorder.complete("ok", self.index, data=None if status == "completed" else {"as": status})
            return
        told = {"error": status, "message": ""}
        if failure is not None:
            cause = failure.cause if failure.HasField("cause") else failure
            told = {
                "error": cause.application_failure_info.type
                or failure.application_failure_info.type
                or status,
                "message": cause.message or failure.message,
            }
        self._recorder.complete("fail", self.index, data=told)

    def fact(self, kind: str, name: str, attempt: int = 0, **data: Any) -> int:
        """Record something that happened to the run."""
        start = self._execution.start
        return self._recorder.event(
            kind, start.workflow_type, name, start.workflow_id, attempt, self.index, self.index, data or None
        )
