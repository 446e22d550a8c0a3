"""A Nexus operation as its caller's run knows it: requests to the handler, retries, timeouts, cancellation.

Source of the rules: the server's ``components/nexusoperations`` and Core's state machine of Nexus operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure

from wfsim.units import NS_PER_SECOND
from wfsim_temporal._nexus_failure import (
    canceled_by_handler,
    is_retryable,
    operation_failure,
    outcome_of_run,
    refusal,
    timeout_cause,
)
from wfsim_temporal._nexus_task import CALLBACK_TOKEN, CALLBACK_URL, NexusTask
from wfsim_temporal._proto import Job, job_of, ns_of
from wfsim_temporal._retry import SCHEDULE_TO_CLOSE, SCHEDULE_TO_START, START_TO_CLOSE

if TYPE_CHECKING:
    import asyncio

    from wfsim_temporal._execution import Execution

# NexusOperationCancellationType
WAIT_COMPLETED: Final = 0
ABANDON: Final = 1
TRY_CANCEL: Final = 2
WAIT_REQUESTED: Final = 3

_REQUEST_TIMEOUT_NS: Final = 10 * NS_PER_SECOND
_LEAST_REQUEST_NS: Final = 3 * NS_PER_SECOND // 2
_RETRY_NS: Final = NS_PER_SECOND
_LONGEST_RETRY_NS: Final = 3600 * NS_PER_SECOND
_TIMEOUTS: Final = ("schedule_to_close_timeout", "schedule_to_start_timeout", "start_to_close_timeout")


class NexusOperation:
    """One operation.

    Attributes:
        asked: the workflow's command.
        token: what the handler calls an operation that it has begun; "" before.
        is_resolved: whether the workflow knows the outcome.
    """

    def __init__(self, execution: Execution, asked: Any) -> None:
        self.execution = execution
        self.asked = asked
        self.event_id = 0
        self.token = ""
        self.is_resolved = False
        self._is_started = self._is_over = False
        self._attempt = self._cancel_attempt = 0
        self._cancel_id = 0
        self._request_id = execution.server.new_id()
        self._deadline_ns = execution.server.deadline_ns(None)
        self._task: NexusTask | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def is_over(self) -> bool:
        """Whether the server has the outcome."""
        return self._is_over

    # -- scheduling

    def scheduled_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that schedules it."""
        asked = self.asked
        endpoint = self.execution.server.nexus_endpoint(asked.endpoint)
        timeouts = {name: getattr(asked, name) for name in _TIMEOUTS if asked.HasField(name)}
        return {
            "endpoint": asked.endpoint,
            "endpoint_id": "" if endpoint is None else endpoint.id,
            "service": asked.service,
            "operation": asked.operation,
            "input": asked.input,
            "nexus_header": asked.nexus_header,
            "request_id": self._request_id,
            **timeouts,
        }

    def schedule(self) -> None:
        """Send the first request to the handler."""
        server = self.execution.server
        server.nexus_operations[self._request_id] = self
        self._deadline_ns = server.deadline_ns(ns_of(self.asked, "schedule_to_close_timeout"))
        self._arm("schedule_to_close_timeout", SCHEDULE_TO_CLOSE)
        self._arm("schedule_to_start_timeout", SCHEDULE_TO_START)
        self._request_start()

    def _arm(self, name: str, kind: int) -> None:
        ns = ns_of(self.asked, name)
        if ns is not None:
            self._timers[name] = self.execution.server.after(ns, self._time_out, kind)

    def _disarm(self, *names: str) -> None:
        for name in names or tuple(self._timers):
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    # -- requests

    def _request_start(self) -> None:
        asked = self.asked
        self._attempt += 1
        start = {
            "service": asked.service,
            "operation": asked.operation,
            "request_id": self._request_id,
            "payload": asked.input,
            "callback": CALLBACK_URL,
            "callback_header": {CALLBACK_TOKEN: self._request_id},
        }
        self._send({"start_operation": start}, self._attempt, self._on_start_answered, self._again)

    def _send(self, request: dict[str, Any], attempt: int, then: Any, give_up: Any) -> None:
        server = self.execution.server
        endpoint = server.nexus_endpoint(self.asked.endpoint)
        limit_ns = min(self._deadline_ns - server.now_ns, _REQUEST_TIMEOUT_NS)
        if limit_ns < _LEAST_REQUEST_NS:  # the handler would have no time for it
            self._time_out(SCHEDULE_TO_CLOSE)
            return
        if endpoint is None:
            give_up()
            return
        task = self._task = NexusTask(self, request, attempt, server.now_ns + limit_ns, then)
        self._timers["request"] = server.after(limit_ns, self._request_timed_out, task, give_up)
        server.nexus_queue(endpoint.spec.target.worker.task_queue).offer(task)

    def _request_timed_out(self, task: NexusTask, give_up: Any) -> None:
        task.is_wanted = False
        if self._task is task:
            self._task = None
            give_up()

    def _takes_answer(self, completion: Any) -> bool:
        """Whether an answer is that of the request under way."""
        if self._is_over or self._task is None or self._task.token != completion.task_token:
            return False
        self._task = None
        self._disarm("request")
        return True

    def _retry_in_ns(self, attempt: int) -> int:
        pause_ns: int = _RETRY_NS * 2 ** (attempt - 1)
        return min(pause_ns, _LONGEST_RETRY_NS)

    def _again(self) -> None:
        pause_ns = self._retry_in_ns(self._attempt)
        self.execution.journal.fact("retry", self.asked.operation, self._attempt, delay_ns=pause_ns)
        self._timers["retry"] = self.execution.server.after(pause_ns, self._request_start)

    def _on_start_answered(self, completion: Any) -> None:
        if not self._takes_answer(completion):
            return
        if not completion.HasField("completed"):
            failure = refusal(completion)
            if is_retryable(failure):
                self._again()
            else:
                self._end_failed(failure)
            return
        response = completion.completed.start_operation
        kind = response.WhichOneof("variant")
        if kind == "sync_success":
            self._end(
                "COMPLETED",
                {"result": response.sync_success.payload},
                completed=response.sync_success.payload,
            )
        elif kind == "async_success":
            self._begin(response.async_success.operation_token)
        else:
            self._end_unsuccessful(canceled_by_handler(response))

    # -- the beginning and the end

    def _begin(self, token: str) -> None:
        self.token, self._is_started = token, True
        self._disarm("schedule_to_start_timeout", "retry")
        self._arm("start_to_close_timeout", START_TO_CLOSE)
        attributes = {
            "scheduled_event_id": self.event_id,
            "operation_token": token,
            "operation_id": token,
            "request_id": self._request_id,
        }
        self.execution.receive("NEXUS_OPERATION_STARTED", attributes, self._started_job)
        if self._cancel_id:
            self._request_cancel()

    def _started_job(self) -> Job | None:
        return None if self.is_resolved else self._start_job(operation_token=self.token)

    def _start_job(self, **outcome: Any) -> Job:
        return job_of(resolve_nexus_operation_start={"seq": self.asked.seq, **outcome})

    def complete_from(self, run: Execution, token: str) -> None:
        """Take the outcome of the run that backs it; it may come before the handler has answered."""
        if self._is_over or self.execution.is_closed:
            return
        if not self._is_started:
            self._task = None
            self._disarm("request")
            self._begin(token)
        if run.status == "completed":
            self._end("COMPLETED", {"result": run.result}, completed=run.result)
        else:
            self._end_unsuccessful(outcome_of_run(run))

    def _end_unsuccessful(self, cause: Failure) -> None:
        if cause.HasField("canceled_failure_info"):
            failure = operation_failure(self, cause)
            self._end("CANCELED", {"failure": failure}, cancelled=failure)
        else:
            self._end_failed(cause)

    def _end_failed(self, cause: Failure) -> None:
        failure = operation_failure(self, cause)
        self._end("FAILED", {"failure": failure}, failed=failure)

    def _time_out(self, kind: int) -> None:
        if not (self._is_over or self.execution.is_closed):
            failure = operation_failure(self, timeout_cause(kind))
            self._end("TIMED_OUT", {"failure": failure}, timed_out=failure)

    def _end(self, kind: str, attributes: dict[str, Any], **outcome: Any) -> None:
        was_started = self._is_started
        self.abandon()
        told = {**attributes, "scheduled_event_id": self.event_id, "request_id": self._request_id}

        def resolve() -> Job | None:
            if self.is_resolved:
                return None
            self.is_resolved = True
            if was_started:
                return self._result_job(**outcome)
            if "completed" not in outcome:
                [failure] = outcome.values()
                return self._start_job(failed=failure)
            self.execution.task.pending.append(self._start_job(started_sync=True))
            return self._result_job(**outcome)

        self.execution.receive(f"NEXUS_OPERATION_{kind}", told, resolve)

    def _result_job(self, **outcome: Any) -> Job:
        return job_of(resolve_nexus_operation={"seq": self.asked.seq, "result": outcome})

    def abandon(self) -> None:
        """It has ended, or the caller's run has: whatever still comes is of no interest."""
        self._is_over = True
        self._disarm()
        if self._task is not None:
            self._task.is_wanted = False
        self._task = None
        self.execution.server.nexus_operations.pop(self._request_id, None)

    # -- cancellation

    def canceled_job(self, message: str) -> Job:
        """Tell the workflow that it is cancelled, whatever the handler does."""
        self.is_resolved = True
        cause = Failure()
        cause.canceled_failure_info.SetInParent()
        failure = operation_failure(self, cause, message)
        return self._result_job(cancelled=failure) if self._is_started else self._start_job(failed=failure)

    def request_cancel(self, event_id: int) -> None:
        """Take the workflow's wish, noted as event ``event_id``; the handler hears of it once it has begun."""
        self._cancel_id = event_id
        if self._is_started:
            self._request_cancel()

    def _request_cancel(self) -> None:
        asked = self.asked
        self._cancel_attempt += 1
        cancel = {
            "service": asked.service,
            "operation": asked.operation,
            "operation_token": self.token,
            "operation_id": self.token,
        }
        self._send(
            {"cancel_operation": cancel}, self._cancel_attempt, self._on_cancel_answered, self._cancel_again
        )

    def _cancel_again(self) -> None:
        pause_ns = self._retry_in_ns(self._cancel_attempt)
        self._timers["retry"] = self.execution.server.after(pause_ns, self._request_cancel)

    def _on_cancel_answered(self, completion: Any) -> None:
        if not self._takes_answer(completion):
            return
        told: dict[str, Any] = {"requested_event_id": self._cancel_id, "scheduled_event_id": self.event_id}
        if completion.HasField("completed"):
            self.execution.receive("NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED", told, self._requested_job)
            return
        failure = refusal(completion)
        if is_retryable(failure):
            self._cancel_again()
            return
        told["failure"] = failure
        self.execution.receive(
            "NEXUS_OPERATION_CANCEL_REQUEST_FAILED", told, lambda: self._refused_job(failure)
        )

    def _requested_job(self) -> Job | None:
        if self.is_resolved or self.asked.cancellation_type != WAIT_REQUESTED:
            return None
        return self.canceled_job("Nexus operation cancellation request completed")

    def _refused_job(self, failure: Failure) -> Job | None:
        if self.is_resolved or self.asked.cancellation_type != WAIT_REQUESTED:
            return None
        self.is_resolved = True
        told = operation_failure(self, failure, "Nexus operation cancellation request failed")
        return self._result_job(failed=told)
