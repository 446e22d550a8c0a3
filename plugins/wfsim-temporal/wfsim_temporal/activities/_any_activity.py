"""What all activities have in common, whoever asked for them: attempts, four timeouts, heartbeats, cancellation, retry.

Source of the rules: Temporal's documentation of activity timeouts and the server's ``retry.go`` and
``timer_queue_active_task_executor.go``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from wfsim_temporal.errors import ActivityStuck
from wfsim_temporal.wire import (
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
    duration,
    next_try,
    ns_of,
    timeout_failure,
    words_of,
)

if TYPE_CHECKING:
    import asyncio

    from temporalio.api.failure.v1 import Failure

    from wfsim_temporal.execution import Journal
    from wfsim_temporal.server import Server
    from wfsim_temporal.worker import Session

_OUT_OF_TIME = (
    "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"
)


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


@dataclass(frozen=True, slots=True)
class Ending:
    """How an activity has ended: "completed", "failed", "timed_out", "canceled" or "terminated".

    ``state`` is a RetryState; ``of_attempt`` is the failure of the last attempt if it ended the activity, which may
    be another than the activity's; ``was_started`` tells whether a worker had it.
    """

    kind: str
    state: int = 0
    payload: Any = None
    failure: Failure | None = None
    details: Any = None
    of_attempt: Failure | None = None
    was_started: bool = False


class AnyActivity(ABC):
    """One activity; it is a task in a queue while it waits for a worker.

    Attributes:
        asked: what is to be done, as a workflow's command.
        attempt: the number of the current attempt, from 1.
        heartbeat_details: the payloads of the last heartbeat.
        last_failure: why the attempt before failed.
        started_ns: when the last attempt began, 0 if none has.
    """

    is_workflow_task = False
    out_of_time_at: ClassVar[tuple[int, ...]]
    """The timeouts that are told as a want of time for another attempt, if there is none for one."""
    source: ClassVar[str]
    """Who failures for timeouts come from, as they say."""

    def __init__(self, server: Server, asked: Any, run_timeout_ns: int | None) -> None:
        self.server = server
        self.asked = asked
        self.name: str = asked.activity_type
        self.attempt = 1
        self.is_cancel_requested = False
        self.heartbeat_details: Any = None
        self.last_failure: Failure | None = None
        self.limits = Limits(asked, run_timeout_ns)
        self.policy = asked.retry_policy if asked.HasField("retry_policy") else DEFAULT_POLICY
        self.scheduled_ns = self.queued_ns = self.started_ns = self.heartbeat_ns = 0
        self.token = b""
        self.identity = ""
        self._state = "new"
        self._deadline_ns = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}

    # -- who asked for it

    @property
    @abstractmethod
    def journal(self) -> Journal:
        """Where what happens to it is told."""

    @property
    @abstractmethod
    def design(self) -> str:
        """What the history files its attempts under."""

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """Whether nobody wants it any more."""

    @property
    @abstractmethod
    def task_queue(self) -> str:
        """The queue that it waits in."""

    @property
    @abstractmethod
    def owner(self) -> dict[str, Any]:
        """What ``activity.info()`` says of who asked for it."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the history's attempts say of who asked for it."""

    @abstractmethod
    def _settle(self, ending: Ending) -> None:
        """Tell who asked for it how it has ended."""

    # -- how it stands

    @property
    def is_wanted(self) -> bool:
        """Whether an attempt waits for a worker."""
        return self._state == "queued" and not self.is_gone

    @property
    def is_over(self) -> bool:
        """Whether the server has the outcome."""
        return self._state == "over"

    @property
    def is_started(self) -> bool:
        """Whether a worker has it."""
        return self._state == "started"

    @property
    def is_in_backoff(self) -> bool:
        """Whether it waits for its next attempt."""
        return self._state == "backoff"

    # -- scheduling

    def schedule(self) -> None:
        """Put the first attempt into the queue."""
        self.scheduled_ns = self.server.now_ns
        self._deadline_ns = self.server.deadline_ns(self.limits.schedule_to_close_ns)
        self._arm(SCHEDULE_TO_CLOSE, self.limits.schedule_to_close_ns)
        self._queue()

    def _queue(self) -> None:
        if self._state != "over":
            self._state = "queued"
            self.queued_ns = self.server.now_ns
            self._arm(SCHEDULE_TO_START, self.limits.schedule_to_start_ns)
            self.server.queue(self.task_queue).offer(self)

    def hand_to(self, session: Session) -> None:
        """Start an attempt on a worker."""
        self._start(session.identity)
        session.attempt(self)

    def _start(self, identity: str) -> None:
        self._disarm(SCHEDULE_TO_START)
        self._state = "started"
        self.identity = identity
        self.started_ns = self.heartbeat_ns = self.server.now_ns
        self.token = self._new_token()
        self.server.activities[self.token] = self
        self._arm(START_TO_CLOSE, self.limits.start_to_close_ns)
        self._arm(HEARTBEAT, self.limits.heartbeat_ns)

    @abstractmethod
    def _new_token(self) -> bytes:
        """Give what tells this attempt from all others."""

    # -- timers

    def _arm(self, kind: int, ns: int | None) -> None:
        if ns is not None:
            self._timers[kind] = self.server.after(ns, self._time_out, kind)

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
        self.heartbeat_ns = self.server.now_ns
        return True, self.is_cancel_requested

    def complete(self, token: bytes, payload: Any) -> bool:
        """Take the result of an attempt; False if the attempt is over already. So too the next two."""
        if not self._is_of(token):
            return False
        self._end("completed", payload=payload)
        return True

    def complete_early(self, payload: Any, identity: str) -> None:
        """Take a result from somebody who knows its id, though no worker has it yet."""
        self._start(identity)
        self.complete(self.token, payload)

    def cancel(self, token: bytes, details: Any = None) -> bool:
        """Take an attempt's word that it has cancelled itself."""
        if not self._is_of(token):
            return False
        self._end("canceled", details=details)
        return True

    def fail(self, token: bytes, failure: Failure) -> bool:
        """Take an attempt's failure: another attempt follows, or the activity has failed."""
        if not self._is_of(token):
            return False
        state, delay_ns = self._next(failure)
        if state == IN_PROGRESS:
            self._retry(delay_ns, failure)
            return True
        self._end("failed", state=state, failure=failure, of_attempt=failure)
        return True

    def _is_of(self, token: bytes) -> bool:
        return self._state == "started" and token == self.token and not self.is_gone

    def _next(self, failure: Failure) -> Next:
        if self.is_cancel_requested:
            return Next(CANCEL_REQUESTED)
        return next_try(self.policy, self.attempt, failure, self.server.now_ns, self._deadline_ns)

    def _retry(self, delay_ns: int, failure: Failure) -> None:
        self._disarm(START_TO_CLOSE, HEARTBEAT, SCHEDULE_TO_START)
        self.server.activities.pop(self.token, None)
        self.journal.fact("retry", self.name, self.attempt, delay_ns=delay_ns)
        self.last_failure = failure
        self.attempt += 1
        self._state = "backoff"
        if self.attempt > self.server.settings.activity_attempts:
            self.give_up(ActivityStuck(self.name, self.attempt - 1, words_of(failure)))
            return
        self._timers[START_TO_CLOSE] = self.server.after(delay_ns, self._queue)

    @abstractmethod
    def give_up(self, error: Exception) -> None:
        """Let nobody wait for an activity that a server would try for ever."""

    # -- timeouts

    def _time_out(self, kind: int) -> None:
        if self._state == "over" or self.is_gone:
            return
        if kind == HEARTBEAT and self._beat_meanwhile():
            return
        self.journal.fact("timeout", self.name, self.attempt, type=TIMEOUT_NAMES[kind])
        failure = timeout_failure(kind, f"activity {TIMEOUT_NAMES[kind]} timeout", self.source)
        is_final = kind in {SCHEDULE_TO_START, SCHEDULE_TO_CLOSE} and not self.is_cancel_requested
        state, delay_ns = Next(TIMEOUT) if is_final else self._next(failure)
        if state == IN_PROGRESS:
            self._retry(delay_ns, failure)
            return
        of_attempt = failure if kind in {START_TO_CLOSE, HEARTBEAT} else None
        if state == TIMEOUT and kind in self.out_of_time_at:
            failure = timeout_failure(SCHEDULE_TO_CLOSE, _OUT_OF_TIME, self.source)
        self._explain(failure)
        self._end("timed_out", state=state, failure=failure, of_attempt=of_attempt)

    def _beat_meanwhile(self) -> bool:
        server, limit_ns = self.server, self.limits.heartbeat_ns or 0
        left_ns = self.heartbeat_ns + limit_ns - server.now_ns
        if left_ns > 0:
            self._arm(HEARTBEAT, left_ns)
        return left_ns > 0

    def _explain(self, failure: Failure) -> None:
        if self.heartbeat_details is not None:
            failure.timeout_failure_info.last_heartbeat_details.CopyFrom(self.heartbeat_details)
        if self.last_failure is not None:
            failure.cause.CopyFrom(self.last_failure)

    # -- the end

    def request_cancel(self, details: Any) -> None:
        """Take a wish; an attempt that runs learns of it by its next heartbeat, and nothing else begins."""
        self.is_cancel_requested = True
        if self._state in {"new", "queued", "backoff"}:
            self._end("canceled", details=details)

    def abandon(self) -> None:
        """Nobody wants it any more: whatever still runs is told so at its next heartbeat."""
        self._state = "over"
        self._disarm()
        self.server.activities.pop(self.token, None)

    def _end(self, kind: str, **told: Any) -> None:
        ending = Ending(kind, was_started=self.is_started, **told)
        self.abandon()
        self._settle(ending)
