"""A Nexus operation as its caller's run knows it: requests to the handler, retries, timeouts, cancellation.

Source of the rules: the server's ``components/nexusoperations`` and Core's state machine of Nexus operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure

from wfsim.units import NS_PER_SECOND
from wfsim_temporal._links import as_nexus, from_nexus, link_to_event
from wfsim_temporal._nexus_failure import (
    cancel_refusal,
    canceled_by_handler,
    is_retryable,
    no_endpoint,
    no_time_left,
    operation_failure,
    refusal,
    timeout_cause,
)
from wfsim_temporal._nexus_task import CALLBACK_TOKEN, CALLBACK_URL, NexusTask
from wfsim_temporal._proto import Job, duration, job_of, ns_of
from wfsim_temporal._retry import SCHEDULE_TO_CLOSE, SCHEDULE_TO_START, START_TO_CLOSE, TIMEOUT_NAMES

if TYPE_CHECKING:
    import asyncio

    from wfsim_temporal._execution import Execution
    from wfsim_temporal._nexus_failure import Completion

# NexusOperationCancellationType
WAIT_COMPLETED: Final = 0
ABANDON: Final = 1
TRY_CANCEL: Final = 2
WAIT_REQUESTED: Final = 3

MOST_OPEN: Final = 30
"""How many operations of one run may be open at once."""

_REQUEST_TIMEOUT_NS: Final = 10 * NS_PER_SECOND
_LEAST_REQUEST_NS: Final = 3 * NS_PER_SECOND // 2
_WAY_BACK_NS: Final = NS_PER_SECOND  # what a handler's answer has, of the time of a request
_RETRY_NS: Final = NS_PER_SECOND
_LONGEST_RETRY_NS: Final = 3600 * NS_PER_SECOND
_LONGEST_RETRY_AFTER: Final = 12  # attempts
_TIMEOUTS: Final = {
    SCHEDULE_TO_CLOSE: "schedule_to_close_timeout",
    SCHEDULE_TO_START: "schedule_to_start_timeout",
    START_TO_CLOSE: "start_to_close_timeout",
}
# PendingNexusOperationState
_SCHEDULED: Final = 1
_BACKING_OFF: Final = 2
_STARTED: Final = 3


def _limits_ns(asked: Any, run_timeout_ns: int | None) -> dict[int, int]:
    """Give the timeouts that there are, by their kinds, as the server completes them: none is beyond the whole."""
    known = {kind: ns_of(asked, name) for kind, name in _TIMEOUTS.items()}
    whole = min(filter(None, (known[SCHEDULE_TO_CLOSE], run_timeout_ns)), default=None)
    told = {**known, SCHEDULE_TO_CLOSE: whole}
    return {kind: min(ns, whole or ns) for kind, ns in told.items() if ns is not None}


class NexusOperation:
    """One operation.

    Attributes:
        asked: the workflow's command.
        token: what the handler calls an operation that it has begun; "" before.
        request_id: the same in all requests to begin it.
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
        self.request_id = execution.server.new_id()
        self._limits_ns = _limits_ns(asked, execution.start.run_timeout_ns)
        self._deadlines_ns: dict[int, int] = {}
        self._task: NexusTask | None = None
        self._timers: dict[str | int, asyncio.TimerHandle] = {}

    @property
    def is_over(self) -> bool:
        """Whether the server has the outcome."""
        return self._is_over

    # -- scheduling

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
            **{_TIMEOUTS[kind]: duration(ns) for kind, ns in self._limits_ns.items()},
        }

    @property
    def header(self) -> dict[str, str]:
        """The header that the workflow wants the handler to have, with names as the server writes them."""
        return {name.lower(): value for name, value in sorted(self.asked.nexus_header.items())}

    def schedule(self) -> None:
        """Send the first request to the handler."""
        server = self.execution.server
        server.nexus_operations[self.request_id] = self
        self._arm(SCHEDULE_TO_CLOSE)
        self._arm(SCHEDULE_TO_START)
        self._request_start()

    def pending_info(self) -> dict[str, Any]:
        """Describe it while it is open."""
        waits = _BACKING_OFF if "retry" in self._timers else _SCHEDULED
        return {
            "endpoint": self.asked.endpoint,
            "service": self.asked.service,
            "operation": self.asked.operation,
            "operation_token": self.token,
            "state": _STARTED if self._is_started else waits,
            "attempt": self._attempt,
            "scheduled_event_id": self.event_id,
        }

    def _arm(self, kind: int) -> None:
        ns = self._limits_ns.get(kind)
        if ns is not None:
            server = self.execution.server
            self._deadlines_ns[kind] = server.deadline_ns(ns)
            self._timers[kind] = server.after(ns, self._time_out, kind)

    def _disarm(self, *names: str | int) -> None:
        for name in names or tuple(self._timers):
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    def _endpoint(self) -> Any:
        return self.execution.server.nexus_endpoint(self.asked.endpoint)

    # -- requests

    def _request_start(self) -> None:
        self._attempt += 1
        self._disarm("retry")
        kind = SCHEDULE_TO_START if SCHEDULE_TO_START in self._deadlines_ns else SCHEDULE_TO_CLOSE
        left_ns = self._left_ns(kind)
        if left_ns < _LEAST_REQUEST_NS:  # the handler would have no time for it
            self._time_out(kind)
        elif self._endpoint() is None:
            self._end_failed(no_endpoint())
        else:
            request = {"start_operation": self._start_request()}
            task = NexusTask(self, request, self._attempt, self._on_start_answered)
            self._send(task, left_ns, self._again)

    def _start_request(self) -> dict[str, Any]:
        execution, asked = self.execution, self.asked
        caller = (execution.server.namespace, execution.start.workflow_id, execution.run_id)
        return {
            "service": asked.service,
            "operation": asked.operation,
            "request_id": self.request_id,
            "payload": asked.input,
            "callback": CALLBACK_URL,
            "callback_header": {CALLBACK_TOKEN: self.request_id},
            "links": [as_nexus(link_to_event(*caller, self.event_id, "NEXUS_OPERATION_SCHEDULED"))],
        }

    def time_for_run_ns(self) -> int | None:
        """Give how long the operation may take from now on; None if nothing bounds it."""
        bounds = [self._limits_ns.get(START_TO_CLOSE)]
        if SCHEDULE_TO_CLOSE in self._deadlines_ns:
            bounds.append(self._deadlines_ns[SCHEDULE_TO_CLOSE] - self.execution.server.now_ns)
        return min((ns for ns in bounds if ns is not None), default=None)

    def _left_ns(self, *kinds: int) -> int:
        """Give the time for a request before these timeouts."""
        now_ns = self.execution.server.now_ns
        ends_ns = [self._deadlines_ns[kind] - now_ns for kind in kinds if kind in self._deadlines_ns]
        return min([_REQUEST_TIMEOUT_NS, *ends_ns])

    def _send(self, task: NexusTask, left_ns: int, give_up: Any) -> None:
        server = self.execution.server
        limit_ns = left_ns - _WAY_BACK_NS
        self._task = task
        task.deadline_ns = server.now_ns + limit_ns
        self._timers["request"] = server.after(limit_ns, self._request_timed_out, task, give_up)
        server.nexus_queue(self._endpoint().spec.target.worker.task_queue).offer(task)

    def _request_timed_out(self, task: NexusTask, give_up: Any) -> None:
        task.expire()
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
        pause_ns: int = _RETRY_NS * 2 ** min(attempt - 1, _LONGEST_RETRY_AFTER)
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
            told = response.sync_success
            links = from_nexus(told.links)
            self._end("COMPLETED", {"result": told.payload, "links": links}, completed=told.payload)
        elif kind == "async_success":
            told = response.async_success
            self._begin(told.operation_token, from_nexus(told.links))
        else:
            self._end_unsuccessful(canceled_by_handler(response))

    # -- the beginning and the end

    def _begin(self, token: str, links: list[Any]) -> None:
        self.token, self._is_started = token, True
        self._disarm(SCHEDULE_TO_START, "retry")
        self._arm(START_TO_CLOSE)
        attributes = {
            "scheduled_event_id": self.event_id,
            "operation_token": token,
            "operation_id": token,
            "request_id": self.request_id,
            "links": links,
        }
        self.execution.receive("NEXUS_OPERATION_STARTED", attributes, self._started_job)
        if self._cancel_id:
            self._request_cancel()

    def _started_job(self) -> Job | None:
        return None if self.is_resolved else self._start_job(operation_token=self.token)

    def _start_job(self, **outcome: Any) -> Job:
        return job_of(resolve_nexus_operation_start={"seq": self.asked.seq, **outcome})

    def complete_from(self, told: Completion, token: str) -> None:
        """Take the outcome of what backs it; it may come before the handler has answered."""
        if self._is_over or self.execution.is_closed:
            return
        if not self._is_started:
            self._task = None
            self._disarm("request")
            self._begin(token, [] if told.link is None else [told.link])
        if told.failure is None:
            self._end("COMPLETED", {"result": told.result}, completed=told.result)
        else:
            self._end_unsuccessful(told.failure)

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
            told = self.execution.journal.fact
            told("timeout", self.asked.operation, self._attempt, type=TIMEOUT_NAMES[kind])
            failure = operation_failure(self, timeout_cause(kind))
            self._end("TIMED_OUT", {"failure": failure}, timed_out=failure)

    def _end(self, kind: str, attributes: dict[str, Any], **outcome: Any) -> None:
        was_started = self._is_started
        self.abandon()
        told = {**attributes, "scheduled_event_id": self.event_id, "request_id": self.request_id}

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
        self.execution.server.nexus_operations.pop(self.request_id, None)

    # -- cancellation

    def canceled_job(self, message: str) -> Job:
        """Tell the workflow that it is cancelled, whatever the handler does."""
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
        self._disarm("retry")
        kinds = [kind for kind in (START_TO_CLOSE, SCHEDULE_TO_CLOSE) if kind in self._deadlines_ns]
        left_ns = self._left_ns(*kinds)
        if left_ns < _LEAST_REQUEST_NS:
            self._cancel_refused(no_time_left(kinds[-1]))
            return
        if self._endpoint() is None:
            self._cancel_refused(no_endpoint())
            return
        cancel = {
            "service": asked.service,
            "operation": asked.operation,
            "operation_token": self.token,
            "operation_id": self.token,
        }
        task = NexusTask(self, {"cancel_operation": cancel}, self._cancel_attempt, self._on_cancel_answered)
        self._send(task, left_ns, self._cancel_again)

    def _cancel_again(self) -> None:
        pause_ns = self._retry_in_ns(self._cancel_attempt)
        self._timers["retry"] = self.execution.server.after(pause_ns, self._request_cancel)

    def _on_cancel_answered(self, completion: Any) -> None:
        if not self._takes_answer(completion):
            return
        if completion.HasField("completed"):
            told = {"requested_event_id": self._cancel_id, "scheduled_event_id": self.event_id}
            self.execution.receive("NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED", told, self._requested_job)
            return
        failure = refusal(completion)
        if is_retryable(failure):
            self._cancel_again()
        else:
            self._cancel_refused(cancel_refusal(failure))

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
