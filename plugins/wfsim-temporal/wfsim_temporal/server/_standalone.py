"""An activity that a client asked for, without a workflow: its outcome, its description, and who may stop it.

Source of the rules: what a real server does, and its ``chasm/lib/activity``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.activity.v1 import ActivityExecutionInfo, ActivityExecutionOutcome, ActivityOptions
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import ActivityExecutionStatus
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_commands import ScheduleActivity

from wfsim_temporal.activities import TIMEOUTS, AnyActivity, Ending, Wishes
from wfsim_temporal.execution import Journal
from wfsim_temporal.nexus import Completion
from wfsim_temporal.wire import (
    FOREVER,
    HEARTBEAT,
    IN_PROGRESS,
    START_TO_CLOSE,
    TIMEOUT,
    Next,
    backoff_ns,
    completed_policy,
    duration,
    has_own_delay,
    link_to_activity,
    ns_of,
    priority_of,
    timestamp,
    to_ns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim_temporal.activities import Pause
    from wfsim_temporal.server._server import Server

STATUS: Final[dict[str, int]] = {
    name.removeprefix("ACTIVITY_EXECUTION_STATUS_").lower(): number
    for name, number in ActivityExecutionStatus.items()
}
"""The numbers of an activity's status, by their names in lower case."""

_RUN_STATES: Final = {
    "Scheduled": 1,
    "Started": 2,
    "ResetRequested": 2,
    "CancelRequested": 3,
    "Paused": 4,
    "PauseRequested": 5,
}
"""Numbers in PendingActivityState, by the server's names of an activity's state while it is open."""
_OPEN: Final = ("running", "paused")
_OPTIONS: Final = ActivityOptions.DESCRIPTOR.fields_by_name
_INFO_FIELDS: Final = ActivityExecutionInfo.DESCRIPTOR.fields_by_name
_OUTCOME_FIELDS: Final = ActivityExecutionOutcome.DESCRIPTOR.fields_by_name


class StandaloneActivity(AnyActivity):
    """One run of an activity id.

    Attributes:
        run_id: what tells it from other runs of the id.
        request: what the client asked for.
        status: "running", "paused", "completed", "failed", "canceled", "terminated" or "timed_out".
        closed: a future that is done when it has ended.
        outcome: what came of it; None while it runs.
        asked_by: the ids of the latest requests to "cancel", "terminate", "pause", "unpause", "reset" and "change" it.
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
        self.asked_by: dict[str, str] = {}
        self.callbacks = list(getattr(request, "completion_callbacks", ()))
        self.delay_ns = _delay_ns(request)
        self.closed_ns = self.retry_ns = self.beats = 0
        self.began_ns = server.now_ns
        self._reason = ""
        self._has_own_delay = self._restores_options = self._tells_empty_details = False
        data = {"activity_id": request.activity_id, "run_id": self.run_id}
        self._journal = Journal(
            server.simulation, "standalone_activity", self.name, request.activity_id, data
        )

    # -- who asked for it

    @property
    def start_request_id(self) -> str:
        """The id of the request that started it."""
        return str(self.request.request_id)

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
        return self.status not in _OPEN

    @property
    def search_attributes(self) -> Any:
        """Those that the client gave."""
        return self.request.search_attributes

    @property
    def _first_queue(self) -> str:
        """The queue that the client named."""
        return str(self.asked.task_queue)

    @property
    def _first_priority(self) -> Any:
        """What the client gave."""
        return self.request.priority

    @property
    def owner(self) -> dict[str, Any]:
        """There is no workflow, though a namespace of one is told; it has a run of its own."""
        none = dict.fromkeys(("workflow_id", "workflow_run_id", "workflow_type"))
        own = {"activity_run_id": self.run_id, "priority": priority_of(self.priority)}
        return {**none, "workflow_namespace": self.server.namespace, **own}

    @property
    def facts(self) -> dict[str, Any]:
        """Its own id."""
        return {"activity_id": self.asked.activity_id}

    def _new_token(self) -> bytes:
        return f"{self.run_id}//{self.attempt}".encode()

    # -- its life

    def begin(self) -> None:
        """Put it into its queue, when the delay that the client wants is over."""
        self._reckon()
        self._arm_again()
        self._dispatch_at(self.scheduled_ns)

    def _reckon(self) -> None:
        """Reckon when its first attempt may begin, and until when it may try."""
        self.scheduled_ns = self.began_ns + self.delay_ns
        whole_ns = self.limits.schedule_to_close_ns
        self.deadline_ns = FOREVER if whole_ns is None else self.scheduled_ns + whole_ns

    def heartbeat(self, token: bytes, details: Any) -> Wishes:
        """Take a heartbeat; tell what is wanted of the attempt: the latest wish alone."""
        told = super().heartbeat(token, details)
        self.beats += told.is_known
        is_paused = told.pause and not told.cancel and not told.reset
        return told._replace(reset=told.reset and not told.cancel, pause=is_paused)

    def cancel_for(self, request_id: str, reason: str) -> None:
        """Take a client's wish; what has not begun ends at once. What an operator wished is forgotten."""
        self.asked_by["cancel"], self._reason = request_id, reason
        self.pause = None
        self.is_reset = self._forgets_heartbeat = self._restores_options = False
        self.journal.fact("cancel", self.name)
        data = json.dumps(reason).encode()
        payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
        self.request_cancel(Payloads(payloads=[payload]))

    def terminate(self, request_id: str, reason: str) -> None:
        """End it at once; its code is not asked."""
        self.asked_by["terminate"] = request_id
        failure = Failure(message=reason or "Terminated")
        failure.terminated_failure_info.SetInParent()
        self._end("terminated", failure=failure)

    def _queue(self) -> None:
        self.retry_ns = 0
        super()._queue()

    def _next(self, failure: Failure) -> Next:
        if not self.is_reset:
            return super()._next(failure)
        return Next(TIMEOUT if self.server.now_ns > self.deadline_ns else IN_PROGRESS)

    def _retry(self, delay_ns: int, failure: Failure) -> None:
        self.attempt_ended_ns, is_reset = self.server.now_ns, self.is_reset
        self.retry_ns, self._has_own_delay = delay_ns, has_own_delay(failure)
        super()._retry(delay_ns, failure)
        if is_reset:
            self.attempt = 1
            if self._restores_options:
                self._restore_options()
            self._dispatch_at(max(self.server.now_ns, self.scheduled_ns))
        if self.pause is not None:
            self._hold()

    # -- what an operator does

    def set_pause(self, pause: Pause) -> None:
        """Begin no attempt until it is unpaused; one that runs goes on, and learns of it by its next heartbeat."""
        self.journal.fact("pause", self.name, self.attempt)
        self.pause = pause
        if not self.is_started:
            self._hold()

    def unpause(self, jitter_ns: int) -> None:
        """Go on, after a time drawn from the jitter, but not before the next attempt is due."""
        self._end_pause()
        if not self.is_started:
            due_ns = self.due_ns if self.retry_ns else 0
            self._dispatch_at(max(self.server.now_ns + jitter_ns, self.scheduled_ns, due_ns))

    def reset(self, *, without_heartbeat: bool, keeps_pause: bool, restores: bool, jitter_ns: int) -> None:
        """Begin again with the first attempt; one that runs goes on, and learns of it by its next heartbeat."""
        self.journal.fact("reset_activity", self.name, self.attempt)
        if self.pause is not None and not keeps_pause:
            self._end_pause()
        if self.is_started:
            self.is_reset, self._forgets_heartbeat, self._restores_options = True, without_heartbeat, restores
            return
        if restores:
            self._restore_options()
        if without_heartbeat:
            self._forget_heartbeat()
        self.attempt, self.retry_ns = 1, 0
        if self.pause is None:
            self._dispatch_at(max(self.server.now_ns + jitter_ns, self.scheduled_ns))

    def change(self, options: ActivityOptions, *, is_policy: bool) -> None:
        """Take other options, now: timeouts and the wait for the next attempt count by them."""
        self._take(options)
        if self.retry_ns and is_policy and not self._has_own_delay:
            self.retry_ns = backoff_ns(self.policy, self.attempt - 1)
            self.due_ns = self.attempt_ended_ns + self.retry_ns
        if self.is_queued or self.is_in_backoff:
            due_ns = self.due_ns if self.retry_ns else 0
            self._dispatch_at(max(self.server.now_ns, self.scheduled_ns, due_ns))

    def options(self) -> ActivityOptions:
        """Give its options as they are now."""
        options = super().options()
        if "start_delay" in _OPTIONS and self.delay_ns:
            options.start_delay.CopyFrom(duration(self.delay_ns))
        return options

    def _take(self, options: ActivityOptions) -> None:
        self._change(options)
        if "start_delay" in _OPTIONS and not self.started_ns:
            self.delay_ns = to_ns(options.start_delay)
        self._reckon()
        self._arm_again()

    def _restore_options(self) -> None:
        self._restores_options = False
        self._take(self.original_options())

    def _end_pause(self) -> None:
        self.journal.fact("unpause", self.name, self.attempt)
        self.pause, self.status = None, "running"

    def _hold(self) -> None:
        super()._hold()
        self.status = "paused"

    # -- the end

    def fail(self, token: bytes, failure: Failure) -> bool:
        """Take an attempt's failure: another attempt follows, or the activity has failed."""
        if self.is_started and self.beat_ns >= self.started_ns:
            self.beats += 1  # it comes with the last heartbeat
            self._tells_empty_details = True
        return super().fail(token, failure)

    def _settle(self, ending: Ending) -> None:
        self.status, self.closed_ns = ending.kind, self.server.now_ns
        self.retry_ns = 0
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
        waits = self.is_in_backoff and not self.is_gone
        told = {
            **self.listed(),
            **self.limits.options(),
            "run_state": self._run_state(),
            "attempt": self.attempt,
            "retry_policy": completed_policy(self.policy),
            "heartbeat_details": (self.heartbeat_details if has_details and self._has_details else None),
            "last_failure": self.last_failure if has_failure else None,
            "last_heartbeat_time": timestamp(self.beat_ns),
            "last_started_time": timestamp(self.started_ns),
            "last_attempt_complete_time": timestamp(self.attempt_ended_ns),
            "next_attempt_schedule_time": timestamp(self.due_ns) if waits else None,
            "expiration_time": None if self.deadline_ns == FOREVER else timestamp(self.deadline_ns),
            "current_retry_interval": duration(self.retry_ns) if waits and self.retry_ns else None,
            "start_delay": duration(self.delay_ns) if self.delay_ns else None,
            "last_worker_identity": self.identity,
            "canceled_reason": self._reason,
            "total_heartbeat_count": self.beats,
            "header": self.request.header,
            "user_metadata": self.request.user_metadata,
            "priority": self.priority,
        }
        known = {name: one for name, one in told.items() if one is not None and name in _INFO_FIELDS}
        return ActivityExecutionInfo(**known)

    @property
    def _has_details(self) -> bool:
        details = self.heartbeat_details
        return details is not None and (bool(details.payloads) or self._tells_empty_details)

    def state(self) -> str:
        """Give its state by the name that the server's messages have for it."""
        if self.is_gone or self.status == "paused":
            return self.status.title().replace("_", "")
        if not self.is_started:
            return "Scheduled"
        if self.is_cancel_requested:
            return "CancelRequested"
        if self.is_reset:
            return "ResetRequested"
        return "Started" if self.pause is None else "PauseRequested"

    def _run_state(self) -> int:
        known_as = "PauseRequested" if self.is_started and self.pause is not None else self.state()
        return _RUN_STATES.get(known_as, 0)


def _delay_ns(request: Any) -> int:
    """Give how long a client wants it to wait; older releases of the SDK have no such wish."""
    return ns_of(request, "start_delay") or 0 if "start_delay" in request.DESCRIPTOR.fields_by_name else 0


def _asked(request: Any) -> ScheduleActivity:
    """Give a client's request as a workflow's command would say it."""
    timeouts = {name: getattr(request, name) for name in TIMEOUTS if request.HasField(name)}
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
