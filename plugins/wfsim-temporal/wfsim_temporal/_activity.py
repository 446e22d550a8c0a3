"""An activity as the server knows it: attempts, four timeouts, heartbeats, cancellation, retry.

Source of the rules: Temporal's documentation of activity timeouts and the server's ``retry.go`` and
``timer_queue_active_task_executor.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure

from wfsim_temporal._proto import Job, duration, job_of, ns_of, resolution
from wfsim_temporal._retry import (
    CANCEL_REQUESTED,
    DEFAULT_POLICY,
    HEARTBEAT,
    IN_PROGRESS,
    SCHEDULE_TO_CLOSE,
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    TIMEOUT,
    TIMEOUT_NAMES,
    Next,
    next_try,
    timeout_failure,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from wfsim_temporal._execution import Execution
    from wfsim_temporal._session import Session

_OUT_OF_TIME = (
    "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
)
_NOT_STARTED = Payloads(
    payloads=[Payload(metadata={"encoding": b"json/plain"}, data=b'"ACTIVITY_ID_NOT_STARTED"')]
)
"""What the server says of an activity that was cancelled before it, or its next attempt, began."""


class Limits:
    """The four timeouts in nanoseconds, None where there is none, as the server completes them."""

    __slots__ = ("heartbeat_ns", "schedule_to_close_ns", "schedule_to_start_ns", "start_to_close_ns")

    def __init__(self, asked: Any, run_timeout_ns: int | None) -> None:
        whole, start = ns_of(asked, "schedule_to_close_timeout"), ns_of(asked, "start_to_close_timeout")
        wait = ns_of(asked, "schedule_to_start_timeout")
        if whole is not None:
            wait = min(wait or whole, whole)
            start = min(start or whole, whole)
        elif start is not None:
            whole = run_timeout_ns
            wait = wait or run_timeout_ns
        beat = ns_of(asked, "heartbeat_timeout")
        self.schedule_to_close_ns, self.schedule_to_start_ns, self.start_to_close_ns = whole, wait, start
        self.heartbeat_ns = min(beat, start) if beat and start else beat

    def attributes(self) -> dict[str, Any]:
        """Give them as fields of the event that schedules the activity."""
        told = {}
        for name, ns in (
            ("schedule_to_close_timeout", self.schedule_to_close_ns),
            ("schedule_to_start_timeout", self.schedule_to_start_ns),
            ("start_to_close_timeout", self.start_to_close_ns),
            ("heartbeat_timeout", self.heartbeat_ns),
        ):
            if ns is not None:
                told[name] = duration(ns)
        return told


class Activity:
    """One activity of an execution; it is a task in a queue while it waits for a worker.

    Attributes:
        asked: the workflow's command.
        attempt: the number of the current attempt, from 1.
        is_resolved: whether the workflow knows the outcome.
        heartbeat_details: the payloads of the last heartbeat.
        last_failure: why the attempt before failed.
    """

    is_workflow_task = False

    def __init__(self, execution: Execution, asked: Any) -> None:
        self.execution = execution
        self.asked = asked
        self.name: str = asked.activity_type
        self.attempt = 1
        self.event_id = 0
        self.is_resolved = False
        self.is_cancel_requested = False
        self.heartbeat_details: Any = None
        self.last_failure: Failure | None = None
        self.limits = Limits(asked, execution.start.run_timeout_ns)
        self.policy = asked.retry_policy if asked.HasField("retry_policy") else DEFAULT_POLICY
        self.scheduled_ns = self.queued_ns = self.started_ns = self.heartbeat_ns = 0
        self.token = b""
        self._identity = ""
        self._state = "new"
        self._deadline_ns = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether an attempt waits for a worker."""
        return self._state == "queued" and not self.execution.is_closed

    @property
    def is_over(self) -> bool:
        """Whether the server has the outcome."""
        return self._state == "over"

    @property
    def is_started(self) -> bool:
        """Whether a worker has it."""
        return self._state == "started"

    # -- scheduling

    def scheduled_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that schedules it."""
        asked = self.asked
        return {
            "activity_id": asked.activity_id,
            "activity_type": {"name": self.name},
            "task_queue": {"name": self.task_queue},
            "input": {"payloads": asked.arguments},
            "header": {"fields": asked.headers},
            "retry_policy": asked.retry_policy if asked.HasField("retry_policy") else None,
            **self.limits.attributes(),
        }

    @property
    def task_queue(self) -> str:
        """The queue that it waits in: the workflow's own, unless it names another."""
        return self.asked.task_queue or self.execution.start.task_queue

    def schedule(self) -> None:
        """Put the first attempt into the queue."""
        server = self.execution.server
        self.scheduled_ns = server.now_ns
        self._deadline_ns = server.deadline_ns(self.limits.schedule_to_close_ns)
        self._arm(SCHEDULE_TO_CLOSE, self.limits.schedule_to_close_ns)
        self._queue()

    def _queue(self) -> None:
        if self._state != "over":
            self._state = "queued"
            self.queued_ns = self.execution.server.now_ns
            self._arm(SCHEDULE_TO_START, self.limits.schedule_to_start_ns)
            self.execution.server.queue(self.task_queue).offer(self)

    def hand_to(self, session: Session) -> None:
        """Start an attempt on a worker."""
        server = self.execution.server
        self._disarm(SCHEDULE_TO_START)
        self._state = "started"
        self._identity = session.identity
        self.started_ns = self.heartbeat_ns = server.now_ns
        self.token = f"{self.execution.run_id}/{self.event_id}/{self.attempt}".encode()
        server.activities[self.token] = self
        self._arm(START_TO_CLOSE, self.limits.start_to_close_ns)
        self._arm(HEARTBEAT, self.limits.heartbeat_ns)
        session.attempt(self)

    # -- timers

    def _arm(self, kind: int, ns: int | None) -> None:
        if ns is not None:
            self._timers[kind] = self.execution.server.after(ns, self._time_out, kind)

    def _disarm(self, *kinds: int) -> None:
        for kind in kinds or tuple(self._timers):
            timer = self._timers.pop(kind, None)
            if timer is not None:
                timer.cancel()

    # -- what a worker says

    def heartbeat(self, token: bytes, details: Any) -> tuple[bool, bool]:
        """Take a heartbeat; tell whether the attempt is still known, and whether it is to be cancelled."""
        if not self._is_of(token):
            return False, False
        self.heartbeat_details = details
        self.heartbeat_ns = self.execution.server.now_ns
        return True, self.is_cancel_requested

    def complete(self, token: bytes, payload: Any) -> bool:
        """Take the result of an attempt; False if the attempt is over already. So too the next two."""
        if not self._is_of(token):
            return False
        payloads = [] if payload is None else [payload]
        result = resolution(completed={"result": payload})
        self._end("ACTIVITY_TASK_COMPLETED", {"result": {"payloads": payloads}}, result)
        return True

    def cancel(self, token: bytes, details: Any = None) -> bool:
        """Take an attempt's word that it has cancelled itself."""
        if not self._is_of(token):
            return False
        self._end_canceled(details)
        return True

    def fail(self, token: bytes, failure: Failure) -> bool:
        """Take an attempt's failure: another attempt follows, or the activity has failed."""
        if not self._is_of(token):
            return False
        state, delay_ns = self._next(failure)
        if state == IN_PROGRESS:
            self._retry(delay_ns, failure)
            return True
        told = self._failure("Activity task failed", state, failure)
        attributes = {"failure": failure, "retry_state": state}
        self._end("ACTIVITY_TASK_FAILED", attributes, resolution(failed={"failure": told}))
        return True

    def _is_of(self, token: bytes) -> bool:
        return self._state == "started" and token == self.token and not self.execution.is_closed

    def _next(self, failure: Failure) -> Next:
        if self.is_cancel_requested:
            return Next(CANCEL_REQUESTED)
        return next_try(self.policy, self.attempt, failure, self.execution.server.now_ns, self._deadline_ns)

    def _retry(self, delay_ns: int, failure: Failure) -> None:
        self._disarm(START_TO_CLOSE, HEARTBEAT, SCHEDULE_TO_START)
        self.execution.server.activities.pop(self.token, None)
        self.execution.journal.fact("retry", self.name, self.attempt, delay_ns=delay_ns)
        self.last_failure = failure
        self.attempt += 1
        self._state = "backoff"
        self._timers[START_TO_CLOSE] = self.execution.server.after(delay_ns, self._queue)

    # -- timeouts

    def _time_out(self, kind: int) -> None:
        if self._state == "over" or self.execution.is_closed:
            return
        if kind == HEARTBEAT and self._beat_meanwhile():
            return
        self.execution.journal.fact("timeout", self.name, self.attempt, type=TIMEOUT_NAMES[kind])
        failure = timeout_failure(kind, f"activity {TIMEOUT_NAMES[kind]} timeout")
        is_final = kind in {SCHEDULE_TO_START, SCHEDULE_TO_CLOSE} and not self.is_cancel_requested
        state, delay_ns = Next(TIMEOUT) if is_final else self._next(failure)
        if state == IN_PROGRESS:
            self._retry(delay_ns, failure)
            return
        if state == TIMEOUT and kind != SCHEDULE_TO_START:
            failure = timeout_failure(SCHEDULE_TO_CLOSE, _OUT_OF_TIME)
        self._end_timed_out(failure, state)

    def _beat_meanwhile(self) -> bool:
        server, limit_ns = self.execution.server, self.limits.heartbeat_ns or 0
        left_ns = self.heartbeat_ns + limit_ns - server.now_ns
        if left_ns > 0:
            self._arm(HEARTBEAT, left_ns)
        return left_ns > 0

    def _end_timed_out(self, failure: Failure, state: int) -> None:
        if self.heartbeat_details is not None:
            failure.timeout_failure_info.last_heartbeat_details.CopyFrom(self.heartbeat_details)
        if self.last_failure is not None:
            failure.cause.CopyFrom(self.last_failure)
        told = self._failure("Activity task timed out", state, failure)
        attributes = {"failure": failure, "retry_state": state}
        self._end("ACTIVITY_TASK_TIMED_OUT", attributes, resolution(failed={"failure": told}))

    # -- cancellation

    def request_cancel(self) -> None:
        """Take the workflow's wish; an attempt that runs learns of it by its next heartbeat."""
        self.is_cancel_requested = True
        if self._state in {"new", "queued", "backoff"}:
            self._end_canceled(_NOT_STARTED)

    def canceled_job(self, details: Any = None) -> Job:
        """Tell the workflow that the activity is cancelled."""
        return job_of(resolve_activity={"seq": self.asked.seq, "result": self._canceled(details)})

    def _canceled(self, details: Any) -> Any:
        failure = self._failure("Activity cancelled", CANCEL_REQUESTED)
        failure.cause.canceled_failure_info.SetInParent()
        if details is not None:
            failure.cause.canceled_failure_info.details.CopyFrom(details)
        return resolution(cancelled={"failure": failure})

    def _end_canceled(self, details: Any) -> None:
        attributes: dict[str, Any] = {"details": details}
        self._end("ACTIVITY_TASK_CANCELED", attributes, self._canceled(details))

    # -- the end

    def abandon(self) -> None:
        """The run has ended: whatever still runs is told so at its next heartbeat."""
        self._state = "over"
        self._disarm()
        self.execution.server.activities.pop(self.token, None)

    def _failure(self, message: str, state: int, cause: Failure | None = None) -> Failure:
        failure = Failure(message=message, cause=cause)
        told = failure.activity_failure_info
        told.activity_type.name, told.activity_id = self.name, self.asked.activity_id
        told.retry_state, told.scheduled_event_id = state, self.event_id  # type: ignore[assignment]
        return failure

    def _end(self, kind: str, attributes: dict[str, Any], outcome: Any) -> None:
        was_started = self._state == "started"
        self.abandon()
        told = {**attributes, "scheduled_event_id": self.event_id}

        def write_start() -> None:
            told["started_event_id"] = self._write_start()

        def resolve() -> Job | None:
            self.execution.activities.pop(self.asked.seq, None)
            if self.is_resolved:
                return None
            self.is_resolved = True
            return job_of(resolve_activity={"seq": self.asked.seq, "result": outcome})

        before: Callable[[], None] | None = write_start if was_started else None
        self.execution.receive(kind, lambda: told, resolve, before)

    def _write_start(self) -> int:
        """Write the last attempt's start. The server does so only when it ends: retries leave no events."""
        return self.execution.log.add(
            "ACTIVITY_TASK_STARTED",
            self.started_ns,
            {
                "scheduled_event_id": self.event_id,
                "attempt": self.attempt,
                "identity": self._identity,
                "last_failure": self.last_failure,
            },
        )
