"""An activity that a workflow asked for: what its end is to the workflow and to its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure

from wfsim_temporal.activities import AnyActivity, Ending
from wfsim_temporal.wire import (
    CANCEL_REQUESTED,
    HEARTBEAT,
    IN_PROGRESS,
    MAXIMUM_ATTEMPTS_REACHED,
    SCHEDULE_TO_CLOSE,
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    TIMEOUT,
    Job,
    Next,
    backoff_ns,
    job_of,
    keeps_build_id,
    merged_priority,
    priority_of,
    resolution,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from temporalio.api.activity.v1 import ActivityOptions

    from wfsim_temporal.activities import Limits, Pause
    from wfsim_temporal.execution import Execution, Journal
    from wfsim_temporal.worker import Session

_NOT_STARTED = Payloads(
    payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"ACTIVITY_ID_NOT_STARTED"')]
)
"""What the server says of an activity that was cancelled before it, or its next attempt, began."""


class Activity(AnyActivity):
    """One activity of an execution.

    Attributes:
        is_resolved: whether the workflow knows the outcome.
    """

    out_of_time_at = (START_TO_CLOSE, SCHEDULE_TO_CLOSE, HEARTBEAT)
    source = "Server"

    def __init__(self, execution: Execution, asked: Any) -> None:
        super().__init__(execution.server, asked, execution.start.run_timeout_ns)
        self.execution = execution
        self.event_id = 0
        self.is_resolved = False
        self.cancel_event_id = 0
        self._stamp: dict[str, Any] | None = None
        self._first_limits = self.limits

    # -- who asked for it

    @property
    def journal(self) -> Journal:
        """That of the execution."""
        return self.execution.journal

    @property
    def design(self) -> str:
        """The type of the workflow."""
        return self.execution.start.workflow_type

    @property
    def is_gone(self) -> bool:
        """Whether the run has ended."""
        return self.execution.is_closed

    @property
    def _first_queue(self) -> str:
        """The workflow's own, unless it names another."""
        return self.asked.task_queue or self.execution.start.task_queue

    @property
    def _first_priority(self) -> Any:
        """The workflow's own, unless the command has another."""
        return merged_priority(self.execution.start.priority, self.asked.priority)

    @property
    def told_limits(self) -> Limits:
        """The timeouts that workers are told of: those of the command, whatever an operator has changed since."""
        return self._first_limits

    @property
    def owner(self) -> dict[str, Any]:
        """What ``activity.info()`` says of the workflow."""
        start = self.execution.start
        return {
            "workflow_id": start.workflow_id,
            "workflow_namespace": self.server.namespace,
            "workflow_run_id": self.execution.run_id,
            "workflow_type": start.workflow_type,
            "priority": priority_of(self.priority),
        }

    @property
    def facts(self) -> dict[str, Any]:
        """The id of the workflow."""
        return {"workflow_id": self.execution.start.workflow_id}

    def _new_token(self) -> bytes:
        return f"{self.execution.run_id}/{self.event_id}/{self.attempt}".encode()

    def hand_to(self, session: Session) -> None:
        """Start an attempt on a worker."""
        self._stamp = session.worker.stamp
        super().hand_to(session)

    def scheduled_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that schedules it."""
        asked = self.asked
        return {
            "activity_id": asked.activity_id,
            "activity_type": {"name": self.name},
            "task_queue": {"name": self.task_queue},
            "input": {"payloads": asked.arguments},
            "header": {"fields": asked.headers},
            "use_workflow_build_id": keeps_build_id(asked, self.execution.start.task_queue),
            "retry_policy": asked.retry_policy if asked.HasField("retry_policy") else None,
            "priority": self.asked.priority if self.asked.HasField("priority") else None,
            **self.limits.attributes(),
        }

    def give_up(self, error: Exception) -> None:
        """See above."""
        self.execution.give_up(error)

    # -- what an operator does

    @property
    def may_begin(self) -> bool:
        """Whether the workflow is not paused as a whole."""
        return self.execution.pause is None

    def offer_again(self) -> None:
        """Go back to the queue, from which workers have not had it while the workflow was paused."""
        if self.is_queued:
            self._dispatch_at(self.due_ns)

    def set_pause(self, pause: Pause) -> None:
        """Begin no attempt, and let no timeout strike, until it is unpaused."""
        self.journal.fact("pause", self.name, self.attempt)
        self.pause = pause
        if not self.is_started:
            self._hold()
        self._arm_again()
        self.execution.note_pauses()

    def unpause(self, *, from_first: bool, without_heartbeat: bool, jitter_ns: int) -> None:
        """Go on: an attempt that does not run begins at once, or after a time drawn from the jitter."""
        if self.pause is None:
            return
        self._end_pause()
        if from_first:
            self._count_from_first()
        if without_heartbeat:
            self._forget_heartbeat()
        if self.is_started:
            self._arm_again()
        else:
            self._begin_again(self.server.now_ns + jitter_ns)

    def reset(self, *, without_heartbeat: bool, keeps_pause: bool, restores: bool, jitter_ns: int) -> None:
        """Begin again with the first attempt; one that runs goes on, and learns of it by its next heartbeat."""
        self.journal.fact("reset_activity", self.name, self.attempt)
        self._count_from_first()
        self.is_reset, self._forgets_heartbeat = True, self._forgets_heartbeat or without_heartbeat
        if restores:
            self._change(self.original_options())
        if self.pause is not None and not keeps_pause:
            self._end_pause()
        if self.is_started or self.pause is not None:
            self._arm_again()
        else:
            self._begin_again(self.server.now_ns + jitter_ns)

    def change(self, options: ActivityOptions) -> None:
        """Take other options, now: timeouts and the wait for the next attempt count by them."""
        options.retry_policy.non_retryable_error_types[:] = self.policy.non_retryable_error_types
        self._change(options)
        if self.is_started:
            self._arm_again()
            return
        if self.attempt > 1:  # by one step more than without a change, as on a real server
            self.due_ns = self.attempt_ended_ns + backoff_ns(self.policy, self.attempt)
        if self.pause is None:
            self._begin_again(self.due_ns)
        else:
            self._forget_reset()
            self.last_failure = None

    def _end_pause(self) -> None:
        self.journal.fact("unpause", self.name, self.attempt)
        self.pause = None
        self.execution.note_pauses()

    def _count_from_first(self) -> None:
        self.attempt = 1
        if self.is_started:
            self._renew_token()

    def _begin_again(self, due_ns: int) -> None:
        self._forget_reset()
        self.last_failure = None
        self._dispatch_at(due_ns)
        self._arm_again()

    def _arm_again(self) -> None:
        self._disarm(SCHEDULE_TO_CLOSE, SCHEDULE_TO_START, START_TO_CLOSE, HEARTBEAT)
        if self.pause is None:
            super()._arm_again()

    def _next(self, failure: Failure) -> Next:
        found = super()._next(failure)
        outlasts = self.pause is not None and found.state in {MAXIMUM_ATTEMPTS_REACHED, TIMEOUT}
        return Next(IN_PROGRESS) if outlasts else found

    def _retry(self, delay_ns: int, failure: Failure) -> None:
        if self.pause is None:
            super()._retry(delay_ns, failure)
        else:
            self._count_on(failure)
            self._hold()

    # -- cancellation

    def cancel_if_not_started(self, event_id: int) -> None:
        """Take the workflow's wish, noted as event ``event_id``."""
        self.cancel_event_id = event_id
        self.request_cancel(_NOT_STARTED)

    def canceled_job(self, details: Any = None) -> Job:
        """Tell the workflow that the activity is cancelled."""
        return job_of(resolve_activity={"seq": self.asked.seq, "result": self._canceled(details)})

    def _canceled(self, details: Any) -> Any:
        failure = self._failure("Activity cancelled", CANCEL_REQUESTED)
        failure.cause.canceled_failure_info.SetInParent()
        if details is not None:
            failure.cause.canceled_failure_info.details.CopyFrom(details)
        return resolution(cancelled={"failure": failure})

    # -- the end

    def _failure(self, message: str, state: int, cause: Failure | None = None) -> Failure:
        failure = Failure(message=message, cause=cause)
        told = failure.activity_failure_info
        told.activity_type.name, told.activity_id = self.name, self.asked.activity_id
        told.retry_state, told.scheduled_event_id = state, self.event_id  # type: ignore[assignment]
        return failure

    def _settle(self, ending: Ending) -> None:
        attributes, outcome = self._told(ending)
        told = {**attributes, "scheduled_event_id": self.event_id}

        def write_start() -> None:
            told["started_event_id"] = self._write_start()

        def resolve() -> Job | None:
            self.execution.activities.pop(self.asked.seq, None)
            if self.is_resolved:
                return None
            self.is_resolved = True
            return job_of(resolve_activity={"seq": self.asked.seq, "result": outcome})

        before: Callable[[], None] | None = write_start if ending.was_started else None
        self.execution.receive(f"ACTIVITY_TASK_{ending.kind.upper()}", lambda: told, resolve, before)

    def _told(self, ending: Ending) -> tuple[dict[str, Any], Any]:
        """Give what the event says, and what the workflow is told."""
        if ending.kind == "completed":
            payloads = [] if ending.payload is None else [ending.payload]
            return {"result": {"payloads": payloads}}, resolution(completed={"result": ending.payload})
        if ending.kind == "canceled":
            told = {"details": ending.details, "latest_cancel_requested_event_id": self.cancel_event_id}
            return told, self._canceled(ending.details)
        message = f"Activity task {ending.kind.replace('_', ' ')}"
        failure = self._failure(message, ending.state, ending.failure)
        attributes = {"failure": ending.failure, "retry_state": ending.state}
        return attributes, resolution(failed={"failure": failure})

    def _write_start(self) -> int:
        """Write the last attempt's start. The server does so only when it ends: retries leave no events."""
        return self.execution.log.add(
            "ACTIVITY_TASK_STARTED",
            self.started_ns,
            {
                "scheduled_event_id": self.event_id,
                "attempt": self.attempt,
                "identity": self.identity,
                "last_failure": self.last_failure,
                "worker_version": self._stamp,
            },
        )
