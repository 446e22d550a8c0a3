"""Local activities: they run in the worker, within a workflow task, and leave only a marker."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto import activity_result

from wfsim.kernel import perform
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.activities import (
    Environment,
    call_activity,
    converter_for,
    encode,
    failure_of,
    new_environment,
    not_registered,
    refusal_in,
)
from wfsim_temporal.wire import (
    CANCEL_REQUESTED,
    DEFAULT_POLICY,
    FOREVER,
    IN_PROGRESS,
    SCHEDULE_TO_CLOSE,
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    Job,
    date,
    duration,
    job_of,
    next_try,
    ns_of,
    resolution,
)

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.worker import Session

_RETRY_THRESHOLD: Final = 0.8  # of the workflow task's timeout: longer waits become timers
_RETRY_NS: Final = NS_PER_SECOND // 1000


class LocalActivity:
    """One local activity. ``is_dropped``: its workflow left the worker, and nobody waits for it any more."""

    def __init__(self, execution: Execution, asked: Any) -> None:
        self.execution = execution
        self.asked = asked
        self.is_dropped = False
        self._attempt = asked.attempt or 1
        self._is_canceled = False
        self._environment: Environment | None = None
        self.converter: Any = None
        self._began_ns = execution.server.now_ns
        self._attempt_ns = 0
        whole_ns = ns_of(asked, "schedule_to_close_timeout")
        self._deadline_ns = FOREVER if whole_ns is None else self._began_ns + whole_ns
        self._timeout_ns = ns_of(asked, "start_to_close_timeout") or whole_ns
        self._policy = asked.retry_policy if asked.HasField("retry_policy") else DEFAULT_POLICY

    @property
    def _session(self) -> Session:
        session = self.execution.task.sticky
        if session is None:
            raise RuntimeError("a local activity runs only while a worker has its workflow")
        return session

    def begin(self) -> None:
        """Start it."""
        session = self._session
        session.spawn(self._run(session))

    # -- attempts

    async def _run(self, session: Session) -> None:
        while True:
            asked_ns = self.execution.server.now_ns
            held = await session.slots.local_activity.acquire(self.asked.activity_type)
            began_ns = self.execution.server.now_ns
            try:
                outcome = self._ended_in_line(began_ns - asked_ns) or await self._try(session)
            finally:
                session.slots.local_activity.give_back(held)
            self._attempt_ns = self.execution.server.now_ns - began_ns
            if self.is_dropped or not session.is_alive or self.execution.is_closed:
                return
            kind, told = outcome
            if kind != "failed":
                self._end(session, told)
                return
            pause_ns = self._pause_ns(told)
            if pause_ns is None or pause_ns > self._longest_pause_ns():
                self._end(session, self._failed(told) if pause_ns is None else self._backoff(pause_ns))
                return
            self._attempt += 1
            await asyncio.sleep(pause_ns / NS_PER_SECOND)
            if self.is_dropped:
                return

    def _ended_in_line(self, waited_ns: int) -> tuple[str, Any] | None:
        """Tell how it ended while it waited for a slot, if it did."""
        limit_ns = ns_of(self.asked, "schedule_to_start_timeout")
        if self.is_dropped or self._is_canceled:
            return "canceled", self._canceled()
        if limit_ns is not None and waited_ns > limit_ns:
            return "timed out", self._failed(_timed_out(SCHEDULE_TO_START))
        return None

    async def _try(self, session: Session) -> tuple[str, Any]:
        worker, info = session.worker, self._info()
        self.converter = converter_for(worker, lambda: info)
        self._environment = new_environment(worker, self.converter, lambda: info)
        start = self.execution.start
        running = perform(
            "local_activity",
            start.workflow_type,
            self.asked.activity_type,
            _body,
            self,
            session,
            attempt=self._attempt,
            cause=self.execution.journal.index,
            data={"workflow_id": start.workflow_id},
        )
        try:
            # wait_for makes a task of its own in Python 3.11 and none in 3.12: that is another order of things.
            async with asyncio.timeout(self._timeout_ns and self._timeout_ns / NS_PER_SECOND):
                value = await running
            result = await encode(worker, self.converter, value)
            return "completed", resolution(completed={"result": result})
        except TimeoutError:
            failure = _timed_out(
                START_TO_CLOSE if self.asked.HasField("start_to_close_timeout") else SCHEDULE_TO_CLOSE
            )
        except BaseException as error:  # noqa: BLE001 - the SDK's worker reports every error
            failure, is_cancellation = await failure_of(
                worker, self.converter, error, is_canceled=self._is_canceled
            )
            if is_cancellation:
                return "canceled", self._canceled()
            if refusal := refusal_in(error):
                failure.application_failure_info.non_retryable = True
                self.execution.give_up(refusal)
        return "failed", failure

    def _pause_ns(self, failure: Failure) -> int | None:
        now_ns = self.execution.server.now_ns
        state, delay_ns = next_try(self._policy, self._attempt, failure, now_ns, self._deadline_ns)
        return delay_ns if state == IN_PROGRESS else None

    def _longest_pause_ns(self) -> int:
        told = ns_of(self.asked, "local_retry_threshold")
        return told or int(self.execution.start.task_timeout_ns * _RETRY_THRESHOLD)

    def _info(self) -> dict[str, Any]:
        execution, server = self.execution, self.execution.server
        now = date(server.now_ns)
        return {
            "activity_id": self.asked.activity_id,
            "activity_type": self.asked.activity_type,
            "attempt": self._attempt,
            "is_local": True,
            "scheduled_time": now,
            "started_time": now,
            "current_attempt_scheduled_time": now,
            "task_queue": execution.start.task_queue,
            "namespace": server.namespace,
            "workflow_id": execution.start.workflow_id,
            "workflow_run_id": execution.run_id,
            "workflow_type": execution.start.workflow_type,
            "workflow_namespace": server.namespace,
        }

    # -- cancellation

    def request_cancel(self) -> None:
        """Cancel the code that runs."""
        self._is_canceled = True
        if self._environment is not None:
            self.execution.server.after(0, self._environment.cancel)

    def cancel_at_once(self) -> Job:
        """Resolve it as cancelled, whatever the code does."""
        self.execution.task.machines.local_activities.pop(self.asked.seq, None)
        self.is_dropped = True
        outcome = self._canceled()
        self._mark(outcome)
        return job_of(resolve_activity={"seq": self.asked.seq, "is_local": True, "result": outcome})

    def _canceled(self) -> Any:
        failure = self._wrapped("Local Activity cancelled")
        failure.cause.canceled_failure_info.SetInParent()
        return resolution(cancelled={"failure": failure})

    def _wrapped(self, message: str) -> Failure:
        failure = Failure(message=message)
        told = failure.activity_failure_info
        told.activity_type.name, told.activity_id = self.asked.activity_type, self.asked.activity_id
        told.retry_state = CANCEL_REQUESTED  # type: ignore[assignment]  # Core says so of every such end
        return failure

    # -- the end

    def _failed(self, failure: Failure) -> Any:
        if failure.HasField("timeout_failure_info"):
            wrapped = self._wrapped("Local Activity timed out")
            wrapped.cause.CopyFrom(failure)
            failure = wrapped
        return resolution(failed={"failure": failure})

    def _backoff(self, pause_ns: int) -> Any:
        backoff = activity_result.DoBackoff(attempt=self._attempt + 1, backoff_duration=duration(pause_ns))
        backoff.original_schedule_time.FromNanoseconds(self._began_ns)
        return resolution(backoff=backoff)

    def _end(self, session: Session, outcome: Any) -> None:
        # From a clean stack: the code that has just ended is still on this one.
        self.execution.server.after(0, self._deliver, session, outcome)

    def _deliver(self, session: Session, outcome: Any) -> None:
        task = self.execution.task
        if self.is_dropped or self.execution.is_closed or task.sticky is not session:
            return
        if not task.is_started:  # between two tasks that a heartbeat joins
            self.execution.server.after(_RETRY_NS, self._deliver, session, outcome)
            return
        del task.machines.local_activities[self.asked.seq]
        self._mark(outcome)
        task.time_ns = max(task.time_ns, task.started_ns + self._attempt_ns)
        job = job_of(resolve_activity={"seq": self.asked.seq, "is_local": True, "result": outcome})
        session.resume(task, task.token, [job])

    def _mark(self, outcome: Any) -> None:
        """Note the outcome where replay finds it."""
        failure, result = None, None
        if outcome.HasField("completed"):
            result = outcome.completed.result
        elif not outcome.HasField("backoff"):
            failure = outcome.failed.failure if outcome.HasField("failed") else outcome.cancelled.failure
        data = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(self._notes(outcome)).encode())
        details = {"data": Payloads(payloads=[data])}
        if result is not None:
            details["result"] = Payloads(payloads=[result])
        attributes = {"marker_name": "core_local_activity", "details": details, "failure": failure}
        self.execution.task.machines.push("local_activity_marker", self.asked.seq, attributes)

    def _notes(self, outcome: Any) -> dict[str, Any]:
        now_ns = self.execution.server.now_ns
        backoff = outcome.backoff if outcome.HasField("backoff") else None
        return {
            "seq": self.asked.seq,
            "attempt": self._attempt,
            "activity_id": self.asked.activity_id,
            "activity_type": self.asked.activity_type,
            "complete_time": {"seconds": now_ns // NS_PER_SECOND, "nanos": now_ns % NS_PER_SECOND},
            "backoff": backoff and _parts(backoff.backoff_duration),
            "original_schedule_time": backoff and _parts(backoff.original_schedule_time),
        }


def _timed_out(kind: int) -> Failure:
    failure = Failure(message="Activity timed out")
    failure.timeout_failure_info.timeout_type = kind  # type: ignore[assignment]
    return failure


def _parts(message: Any) -> dict[str, int]:
    return {"seconds": message.seconds, "nanos": message.nanos}


async def _body(activity: LocalActivity, session: Session) -> Any:
    asked, worker = activity.asked, session.worker
    definition = worker.activity(asked.activity_type)
    if definition is None:
        raise not_registered(worker, asked.activity_type, activity.execution.start.workflow_id)
    environment = activity._environment
    assert environment is not None  # noqa: S101 - made just before this is called
    return await call_activity(worker, activity.converter, definition, asked, environment)
