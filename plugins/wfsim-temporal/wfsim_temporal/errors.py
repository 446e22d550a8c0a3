"""What goes wrong with a Temporal system under simulation, beyond what Temporal itself raises."""

from __future__ import annotations

from wfsim.errors import WfsimError

__all__ = ["ActivityStuck", "NonDeterministicWorkflow", "NotSimulated", "ReplayFailed", "WorkflowTaskStuck"]


class NotSimulated(WfsimError, NotImplementedError):
    """Code asked for a part of Temporal that is not simulated. The README lists them."""


class WorkflowTaskStuck(WfsimError):
    """A workflow task failed again and again; a real server would try it for ever.

    ``attempts`` were made; ``message`` tells of the last failure, most often an exception that is no
    ``FailureError`` and so fails the task and not the workflow.
    """

    def __init__(self, workflow_id: str, workflow_type: str, attempts: int, message: str) -> None:
        super().__init__(workflow_id, workflow_type, attempts, message)
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.attempts = attempts
        self.message = message

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return (
            f"the workflow task of {self.workflow_type} {self.workflow_id!r} failed {times}, and a server would "
            f"try it for ever: {self.message}"
        )


class ActivityStuck(WfsimError):
    """An activity failed again and again, and its retry policy lets a server try it for ever.

    ``attempts`` were made; ``message`` tells of the last failure.
    """

    def __init__(self, activity: str, attempts: int, message: str) -> None:
        super().__init__(activity, attempts, message)
        self.activity = activity
        self.attempts = attempts
        self.message = message

    def __str__(self) -> str:
        return (
            f"activity {self.activity} failed {self.attempts} times, and a server would try it for ever (bound it by "
            f"maximum_attempts or schedule_to_close_timeout): {self.message}"
        )


class NonDeterministicWorkflow(WfsimError):
    """Replay of a workflow from its history gave other commands than the first time.

    ``task`` is the number of the workflow task, from 1; ``recorded`` and ``replayed`` are the first commands
    that differ ("nothing" where one has no more).
    """

    def __init__(self, workflow_id: str, workflow_type: str, task: int, recorded: str, replayed: str) -> None:
        super().__init__(workflow_id, workflow_type, task, recorded, replayed)
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.task = task
        self.recorded = recorded
        self.replayed = replayed

    def __str__(self) -> str:
        return (
            f"workflow {self.workflow_type} {self.workflow_id!r} is not deterministic: at workflow task "
            f"{self.task} it first did {self.recorded}, and on replay {self.replayed}"
        )


class ReplayFailed(WfsimError):
    """The real Replayer does not accept a history. ``failures`` maps workflow ids to what it says."""

    def __init__(self, failures: dict[str, str]) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        told = "; ".join(f"{workflow_id}: {what}" for workflow_id, what in self.failures.items())
        return f"the Replayer refuses {len(self.failures)} histories: {told}"
