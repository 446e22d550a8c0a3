"""A Nexus operation that a workflow calls: what becomes of it in the workflow and in its history.

Source of the rules: the server's ``components/nexusoperations`` and Core's state machine of Nexus operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure

from wfsim_temporal.nexus import AnyNexusOperation, End, operation_failure
from wfsim_temporal.wire import SCHEDULE_TO_START, START_TO_CLOSE, Job, job_of, link_to_event

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution, Journal

# NexusOperationCancellationType
WAIT_COMPLETED: Final = 0
ABANDON: Final = 1
TRY_CANCEL: Final = 2
WAIT_REQUESTED: Final = 3

MOST_OPEN: Final = 30
"""How many operations of one run may be open at once."""

_OUTCOMES: Final = {"canceled": "cancelled"}  # Core's word


class NexusOperation(AnyNexusOperation):
    """One operation.

    Attributes:
        is_resolved: whether the workflow knows the outcome.
    """

    def __init__(self, execution: Execution, asked: Any) -> None:
        super().__init__(execution.server, asked, execution.start.run_timeout_ns)
        self.execution = execution
        self.event_id = 0
        self.is_resolved = False
        self._cancel_id = 0

    # -- who calls

    @property
    def journal(self) -> Journal:
        """That of the execution."""
        return self.execution.journal

    @property
    def is_gone(self) -> bool:
        """Whether the run has ended."""
        return self.execution.is_closed

    @property
    def facts(self) -> dict[str, Any]:
        """The id of the workflow."""
        return {"workflow_id": self.execution.start.workflow_id}

    @property
    def links(self) -> list[Any]:
        """A link to the event that schedules it."""
        execution = self.execution
        caller = (self.server.namespace, execution.start.workflow_id, execution.run_id)
        return [link_to_event(*caller, self.event_id, "NEXUS_OPERATION_SCHEDULED")]

    def scheduled_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that schedules it."""
        asked = self.asked
        endpoint = self._endpoint()
        return {
            "endpoint": asked.endpoint,
            "endpoint_id": "" if endpoint is None else endpoint.id,
            "service": asked.service,
            "operation": asked.operation,
            "input": asked.input,
            "nexus_header": self.header,
            "request_id": self.request_id,
            **self.timeouts,
        }

    def pending_info(self) -> dict[str, Any]:
        """Describe it while it is open."""
        return {
            "endpoint": self.asked.endpoint,
            "service": self.asked.service,
            "operation": self.asked.operation,
            "operation_token": self.token,
            "state": self.state,
            "attempt": self.attempt,
            "scheduled_event_id": self.event_id,
        }

    # -- a run that was reset

    def for_reset(self, execution: Execution) -> NexusOperation:
        """Give the same operation as a run has it that its caller is reset to: the handler knows it by the same id."""
        made = NexusOperation(execution, self.asked)
        made.event_id, made.request_id = self.event_id, self.request_id
        return made

    def begin_again(self, attributes: dict[str, Any]) -> None:
        """Take over from the run before that the handler has begun it."""
        self._drop_request()
        self._disarm(SCHEDULE_TO_START, "retry")
        self.token, self._is_started = attributes["operation_token"], True
        self._arm(START_TO_CLOSE)
        self.execution.receive("NEXUS_OPERATION_STARTED", attributes, self._started_job, wakes=False)

    def end_again(self, kind: str, attributes: dict[str, Any]) -> None:
        """Take over from the run before how it has ended: "COMPLETED", "FAILED", "CANCELED" or "TIMED_OUT"."""
        self.abandon()
        word = kind.lower()
        outcome = {_OUTCOMES.get(word, word): attributes.get("failure") or attributes["result"]}
        self.execution.receive(
            f"NEXUS_OPERATION_{kind}", attributes, lambda: self._resolve(outcome), wakes=False
        )

    # -- the beginning and the end

    def _has_begun(self, links: list[Any]) -> None:
        attributes = {
            "scheduled_event_id": self.event_id,
            "operation_token": self.token,
            "operation_id": self.token,
            "request_id": self.request_id,
            "links": links,
        }
        self.execution.receive("NEXUS_OPERATION_STARTED", attributes, self._started_job)

    def _started_job(self) -> Job | None:
        return None if self.is_resolved else self._start_job(operation_token=self.token)

    def _start_job(self, **outcome: Any) -> Job:
        return job_of(resolve_nexus_operation_start={"seq": self.asked.seq, **outcome})

    def _settle(self, end: End) -> None:
        if end.cause is None:
            told, outcome = {"result": end.result, "links": end.links}, {"completed": end.result}
        else:
            failure = operation_failure(self, end.cause)
            told, outcome = {"failure": failure}, {_OUTCOMES.get(end.kind, end.kind): failure}
        told = {**told, "scheduled_event_id": self.event_id, "request_id": self.request_id}
        self.execution.receive(f"NEXUS_OPERATION_{end.kind.upper()}", told, lambda: self._resolve(outcome))

    def _resolve(self, outcome: dict[str, Any]) -> Job | None:
        if self.is_resolved:
            return None
        self.is_resolved = True
        if self.is_started:
            return self._result_job(**outcome)
        if "completed" not in outcome:
            [failure] = outcome.values()
            return self._start_job(failed=failure)
        self.execution.task.pending.append(self._start_job(started_sync=True))
        return self._result_job(**outcome)

    def _result_job(self, **outcome: Any) -> Job:
        return job_of(resolve_nexus_operation={"seq": self.asked.seq, "result": outcome})

    # -- cancellation

    def canceled_job(self, message: str) -> Job:
        """Tell the workflow that it is cancelled, whatever the handler does."""
        cause = Failure()
        cause.canceled_failure_info.SetInParent()
        failure = operation_failure(self, cause, message)
        return self._result_job(cancelled=failure) if self.is_started else self._start_job(failed=failure)

    def request_cancel(self, event_id: int) -> None:
        """Take the workflow's wish, noted as event ``event_id``."""
        self._cancel_id = event_id
        self.unwant()

    def _cancel_requested(self) -> None:
        told = {"requested_event_id": self._cancel_id, "scheduled_event_id": self.event_id}
        self.execution.receive("NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED", told, self._requested_job)

    def _cancel_refused(self, failure: Failure) -> None:
        told = {
            "requested_event_id": self._cancel_id,
            "scheduled_event_id": self.event_id,
            "failure": failure,
        }
        self.execution.receive(
            "NEXUS_OPERATION_CANCEL_REQUEST_FAILED", told, lambda: self._refused_job(failure)
        )

    def _requested_job(self) -> Job | None:
        if self.is_resolved or self.asked.cancellation_type != WAIT_REQUESTED:
            return None
        self.is_resolved = True
        return self.canceled_job("Nexus operation cancellation request completed")

    def _refused_job(self, failure: Failure) -> Job | None:
        if self.is_resolved or self.asked.cancellation_type != WAIT_REQUESTED:
            return None
        self.is_resolved = True
        told = operation_failure(self, failure, "Nexus operation cancellation request failed")
        return self._result_job(failed=told)
