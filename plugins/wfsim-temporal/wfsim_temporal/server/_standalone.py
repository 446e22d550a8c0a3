"""An activity that a client asked for, without a workflow: its outcome, its description, and who may stop it.

Source of the rules: what a real server does, and its ``chasm/lib/activity``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.activity.v1 import ActivityExecutionInfo, ActivityExecutionOutcome
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import ActivityExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_commands import ScheduleActivity

from wfsim_temporal.activities import AnyActivity, Ending
from wfsim_temporal.execution import Journal
from wfsim_temporal.nexus import Completion
from wfsim_temporal.wire import (
    HEARTBEAT,
    SCHEDULE_TO_CLOSE,
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    completed_policy,
    duration,
    link_to_activity,
    ns_of,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim_temporal.server._server import Server

STATUS: Final[dict[str, int]] = {
    name.removeprefix("ACTIVITY_EXECUTION_STATUS_").lower(): number
    for name, number in ActivityExecutionStatus.items()
}
"""The numbers of an activity's status, by their names in lower case."""

# PendingActivityState
_SCHEDULED: Final = 1
_STARTED: Final = 2
_CANCEL_REQUESTED: Final = 3
_DELAY: Final = 0  # the timer of the start's delay, beside those of the timeouts
_TIMEOUTS: Final = (
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "start_to_close_timeout",
    "heartbeat_timeout",
)
_INFO_FIELDS: Final = ActivityExecutionInfo.DESCRIPTOR.fields_by_name
_OUTCOME_FIELDS: Final = ActivityExecutionOutcome.DESCRIPTOR.fields_by_name


class StandaloneActivity(AnyActivity):
    """One run of an activity id.

    Attributes:
        run_id: what tells it from other runs of the id.
        request: what the client asked for.
        status: "running", "completed", "failed", "canceled", "terminated" or "timed_out".
        closed: a future that is done when it has ended.
        outcome: what came of it; None while it runs.
        stopped_by: the ids of the requests that cancelled and terminated it, by these words.
    """

    out_of_time_at = (START_TO_CLOSE, HEARTBEAT)
    source = ""

    def __init__(self, server: Server, request: Any) -> None:
        super().__init__(server, _asked(request), None)
        self.request = request
        self.run_id = server.new_id()
        self.status = "running"
        self.outcome: Any = None
        self.closed = server.future()
        self.stopped_by: dict[str, str] = {}
        self.callbacks = list(getattr(request, "completion_callbacks", ()))
        self.delay_ns = _delay_ns(request)
        self.closed_ns = self.attempt_ended_ns = self.retry_ns = self.next_ns = 0
        self.beats = 0
        self.began_ns = server.now_ns
        self._reason = ""
        self._beat_ns = 0
        data = {"activity_id": request.activity_id, "run_id": self.run_id}
        self._journal = Journal(
            server.simulation, "standalone_activity", self.name, request.activity_id, data
        )

    # -- who asked for it

    @property
    def journal(self) -> Journal:
        """Its own."""
        return self._journal

    @property
    def design(self) -> str:
        """Its own type."""
        return self.name

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.status != "running"

    @property
    def search_attributes(self) -> Any:
        """Those that the client gave."""
        return self.request.search_attributes

    @property
    def task_queue(self) -> str:
        """The queue that the client named."""
        return str(self.asked.task_queue)

    @property
    def owner(self) -> dict[str, Any]:
        """There is no workflow; it has a run of its own."""
        none = dict.fromkeys(("workflow_id", "workflow_namespace", "workflow_run_id", "workflow_type"))
        return {**none, "activity_run_id": self.run_id}

    @property
    def facts(self) -> dict[str, Any]:
        """Its own id."""
        return {"activity_id": self.asked.activity_id}

    def _new_token(self) -> bytes:
        return f"{self.run_id}//{self.attempt}".encode()

    # -- its life

    def begin(self) -> None:
        """Put it into its queue, when the delay that the client wants is over."""
        if self.delay_ns:
            self.next_ns = self.began_ns + self.delay_ns
            self._timers[_DELAY] = self.server.after(self.delay_ns, self.schedule)
        else:
            self.schedule()

    def schedule(self) -> None:
        """Put the first attempt into the queue."""
        self.next_ns = 0
        super().schedule()

    def heartbeat(self, token: bytes, details: Any) -> tuple[bool, bool]:
        """Take a heartbeat; tell whether the attempt is still known, and whether it is to be cancelled."""
        told = super().heartbeat(token, details)
        if told[0]:
            self.beats += 1
            self._beat_ns = self.server.now_ns
        return told

    def cancel_for(self, request_id: str, reason: str) -> None:
        """Take a client's wish; what has not begun ends at once."""
        self.stopped_by["cancel"], self._reason = request_id, reason
        self.journal.fact("cancel", self.name)
        data = json.dumps(reason).encode()
        payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
        self.request_cancel(Payloads(payloads=[payload]))

    def terminate(self, request_id: str, reason: str) -> None:
        """End it at once; its code is not asked."""
        self.stopped_by["terminate"] = request_id
        failure = Failure(message=reason or "Terminated")
        failure.terminated_failure_info.SetInParent()
        self._end("terminated", failure=failure)

    def _queue(self) -> None:
        self.retry_ns = self.next_ns = 0
        super()._queue()

    def _retry(self, delay_ns: int, failure: Failure) -> None:
        self.attempt_ended_ns = self.server.now_ns
        self.retry_ns, self.next_ns = delay_ns, self.server.now_ns + delay_ns
        super()._retry(delay_ns, failure)

    def _time_out(self, kind: int) -> None:
        # While the first attempt waits both timeouts may be over, and the server sees this one first.
        if kind == SCHEDULE_TO_CLOSE and self.is_wanted and SCHEDULE_TO_START in self._timers:
            limits = self.limits
            kind = SCHEDULE_TO_START if limits.schedule_to_start_ns == limits.schedule_to_close_ns else kind
        super()._time_out(kind)

    # -- the end

    def fail(self, token: bytes, failure: Failure) -> bool:
        """Take an attempt's failure: another attempt follows, or the activity has failed."""
        self.beats += self.is_started and self._beat_ns >= self.started_ns  # it comes with the last heartbeat
        return super().fail(token, failure)

    def _settle(self, ending: Ending) -> None:
        self.status, self.closed_ns = ending.kind, self.server.now_ns
        self.retry_ns = self.next_ns = 0
        if ending.of_attempt is not None:
            self.last_failure = ending.of_attempt
        if ending.of_attempt is not None or ending.kind == "completed":
            self.attempt_ended_ns = self.server.now_ns
        failure = _failure_of(ending)
        result = {} if ending.payload is None else {"payloads": [ending.payload]}
        told: dict[str, Any] = {"result": result} if ending.kind == "completed" else {"failure": failure}
        if "retry_state" in _OUTCOME_FIELDS:
            told["retry_state"] = ending.state
        self.outcome = ActivityExecutionOutcome(**told)
        self.journal.close(ending.kind, failure)
        if not self.closed.done():
            self.closed.set_result(None)
        told_of = Completion(self.link(), ending.payload, failure)
        self.server.call_back_soon(self.callbacks, told_of)

    def give_up(self, error: Exception) -> None:
        """See above."""
        if not self.closed.done():
            self.closed.set_exception(error)
            self.closed.exception()  # asyncio need not complain if nobody waits

    def attach(self, callbacks: Iterable[Any]) -> None:
        """Let somebody else hear of its end too; who is to hear of it already is no news."""
        self.callbacks += [one for one in callbacks if one not in self.callbacks]

    def link(self) -> Any:
        """Give a link to it; None if the SDK knows no such links."""
        return link_to_activity(self.server.namespace, self.asked.activity_id, self.run_id)

    # -- descriptions

    def listed(self) -> dict[str, Any]:
        """Describe it as lists do."""
        return {
            "activity_id": self.asked.activity_id,
            "run_id": self.run_id,
            "activity_type": {"name": self.name},
            "status": STATUS[self.status],
            "task_queue": self.task_queue,
            "search_attributes": self.search_attributes,
            "schedule_time": timestamp(self.began_ns),
            "execution_time": timestamp(self.began_ns + self.delay_ns),
            "close_time": timestamp(self.closed_ns) if self.is_gone else None,
            "execution_duration": duration(self.closed_ns - self.began_ns) if self.is_gone else None,
        }

    def described(self, *, has_details: bool, has_failure: bool) -> Any:
        """Describe it; what is long only on request."""
        whole_ns = self.limits.schedule_to_close_ns
        expires_ns = 0 if whole_ns is None else self.began_ns + self.delay_ns + whole_ns
        told = {
            **self.listed(),
            **dict.fromkeys(_TIMEOUTS, duration(0)),
            **self.limits.attributes(),
            "run_state": self._run_state(),
            "attempt": self.attempt,
            "retry_policy": completed_policy(self.policy),
            "heartbeat_details": (self.heartbeat_details if has_details and self._has_details else None),
            "last_failure": self.last_failure if has_failure else None,
            "last_heartbeat_time": timestamp(self._beat_ns),
            "last_started_time": timestamp(self.started_ns),
            "last_attempt_complete_time": timestamp(self.attempt_ended_ns),
            "next_attempt_schedule_time": timestamp(self.next_ns),
            "expiration_time": timestamp(expires_ns),
            "current_retry_interval": duration(self.retry_ns) if self.retry_ns else None,
            "start_delay": duration(self.delay_ns) if self.delay_ns else None,
            "last_worker_identity": self.identity,
            "canceled_reason": self._reason,
            "total_heartbeat_count": self.beats,
            "header": self.request.header,
            "user_metadata": self.request.user_metadata,
            "priority": self.request.priority,
        }
        known = {name: one for name, one in told.items() if one is not None and name in _INFO_FIELDS}
        return ActivityExecutionInfo(**known)

    @property
    def _has_details(self) -> bool:
        return self.heartbeat_details is not None and bool(self.heartbeat_details.payloads)

    def _run_state(self) -> int:
        if self.is_gone:
            return 0
        if not self.is_started:
            return _SCHEDULED
        return _CANCEL_REQUESTED if self.is_cancel_requested else _STARTED


def _delay_ns(request: Any) -> int:
    """Give how long a client wants it to wait; older releases of the SDK have no such wish."""
    return ns_of(request, "start_delay") or 0 if "start_delay" in request.DESCRIPTOR.fields_by_name else 0


def _asked(request: Any) -> ScheduleActivity:
    """Give a client's request as a workflow's command would say it."""
    timeouts = {name: getattr(request, name) for name in _TIMEOUTS if request.HasField(name)}
    return ScheduleActivity(
        activity_id=request.activity_id,
        activity_type=request.activity_type.name,
        task_queue=request.task_queue.name,
        arguments=request.input.payloads,
        headers=request.header.fields,
        retry_policy=request.retry_policy if request.HasField("retry_policy") else None,
        **timeouts,
    )


def _failure_of(ending: Ending) -> Failure | None:
    if ending.kind != "canceled":
        return ending.failure
    failure = Failure(message="Activity canceled")
    failure.canceled_failure_info.SetInParent()
    if ending.details is not None:
        failure.canceled_failure_info.details.CopyFrom(ending.details)
    return failure
