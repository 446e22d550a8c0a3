"""What the simulation's history is told of executions. Checkers and reports read it like any design's.

A run of a workflow is an operation of kind "workflow", an activity without one of kind "standalone_activity"; each
attempt of an activity is one of kind "activity", performed by the worker's process. Signals, timers, timeouts and the
like are facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfsim.kernel import Simulation
    from wfsim_temporal.execution._execution import Execution

_ENDINGS = {"completed": "ok", "continued_as_new": "ok"}


class Journal:
    """Writes of one execution. ``index`` is that of the operation that stands for it."""

    __slots__ = ("_design", "_process", "_recorder", "index")

    def __init__(
        self,
        simulation: Simulation,
        kind: str,
        design: str,
        process: str,
        data: dict[str, Any],
        attempt: int = 1,
        parent: int | None = None,
    ) -> None:
        self._recorder = simulation.recorder
        self._design = design
        self._process = process
        self.index: int = self._recorder.invoke(kind, design, design, process, attempt, None, parent, data)

    @classmethod
    def of_workflow(cls, execution: Execution) -> Journal:
        """Begin that of a run."""
        start = execution.start
        data = {"workflow_id": start.workflow_id, "run_id": execution.run_id}
        parent = None if start.parent is None else start.parent.owner.journal.index
        simulation = execution.server.simulation
        return cls(
            simulation, "workflow", start.workflow_type, start.workflow_id, data, start.attempt, parent
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
        index = self.index
        return self._recorder.event(
            kind, self._design, name, self._process, attempt, index, index, data or None
        )
