"""What all activities have in common, whoever asked for them: attempts, four timeouts, heartbeats, cancellation, retry.

Source of the rules: Temporal's documentation of activity timeouts and the server's ``retry.go`` and
``timer_queue_active_task_executor.go``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from temporalio.api.activity.v1 import ActivityOptions

from wfsim_temporal.activities._options import Limits
from wfsim_temporal.errors import ActivityStuck
from wfsim_temporal.wire import (
    CANCEL_REQUESTED,
    DEFAULT_POLICY,
    FOREVER,
    HEARTBEAT,
    IN_PROGRESS,
    SCHEDULE_TO_CLOSE,
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    TIMEOUT,
    TIMEOUT_NAMES,
    Next,
    completed_policy,
    next_try,
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
_DISPATCH: Final = (
    0  # the timer of what waits for its next attempt, or its first one, beside those of the timeouts
)


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


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused an activity, why, and when (nanoseconds since 1970)."""

    identity: str
    reason: str
    request_id: str
    at_ns: int


class Wishes(NamedTuple):
    """What an attempt is told by its heartbeat: whether it is known at all, and what is wanted of it."""

    is_known: bool = False
    cancel: bool = False
    pause: bool = False
    reset: bool = False


class AnyActivity(ABC):
    """One activity; it is a task in a queue while it waits for a worker.

    Attributes:
        asked: what is to be done, as a workflow's command.
        attempt: the number of the current attempt, from 1.
        pause: the operator's, None without one; an attempt that runs learns of it by its next heartbeat.
        is_reset: whether an operator lets it begin again, of which an attempt that runs learns likewise.
        heartbeat_details: the payloads of the last heartbeat.
        last_failure: why the attempt before failed.
        started_ns: when the last attempt began, 0 if none has.
        due_ns: when the current attempt went to its queue, or is to go there.
        beat_ns: when the last heartbeat came, 0 if none has.
        attempt_ended_ns: when an attempt last told its end, 0 if none has.
        deadline_ns: when it is too late for another attempt.
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
        self.is_cancel_requested = self.is_reset = self._forgets_heartbeat = False
        self.pause: Pause | None = None
        self.heartbeat_details: Any = None
        self.last_failure: Failure | None = None
        self.limits = Limits(asked, run_timeout_ns)
        self.policy = asked.retry_policy if asked.HasField("retry_policy") else DEFAULT_POLICY
        self.scheduled_ns = self.started_ns = self.due_ns = 0
        self.beat_ns = self.attempt_ended_ns = 0
        self.token = b""
        self.identity = ""
        self._state = "new"
        self.deadline_ns = FOREVER
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._place: _Place | None = None
        self._options: ActivityOptions | None = None
        self._original: ActivityOptions | None = None

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
    def task_queue(self) -> str:
        """The queue that it waits in."""
        return self._first_queue if self._options is None else self._options.task_queue.name

    @property
    @abstractmethod
    def _first_queue(self) -> str:
        """The queue that who asked for it named."""

    @property
    def priority(self) -> Any:
        """What is to be preferred; None or an empty message if nothing says so."""
        return self._first_priority if self._options is None else self._options.priority

    @property
    @abstractmethod
    def _first_priority(self) -> Any:
        """The priority that who asked for it gave."""

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

    @property
    def told_limits(self) -> Limits:
        """The timeouts that workers are told of."""
        return self.limits

    # -- how it stands

    @property
    def is_wanted(self) -> bool:
        """Whether this entry of a queue is to be taken; see ``_withdraw``."""
        return self._place is None and self.is_queued and self.may_begin

    @property
    def may_begin(self) -> bool:
        """Whether nobody holds back whatever there is for workers of what it belongs to."""
        return True

    @property
    def is_queued(self) -> bool:
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
        self.scheduled_ns = self.due_ns = self.server.now_ns
        self.deadline_ns = self.server.deadline_ns(self.limits.schedule_to_close_ns)
        self._arm(SCHEDULE_TO_CLOSE, self.limits.schedule_to_close_ns)
        self._queue()

    def _queue(self) -> None:
        if self._state != "over":
            self._state = "queued"
            self._arm_from(SCHEDULE_TO_START, self.due_ns, self.limits.schedule_to_start_ns)
            self.server.queue(self.task_queue).offer(self._place or self)

    def _withdraw(self) -> None:
        """Take back what waits for its time or for a worker: only the latest entry of a queue is wanted from now on."""
        self._disarm(_DISPATCH, SCHEDULE_TO_START)
        if self._state == "queued":
            self._place = _Place(self)

    def _hold(self) -> None:
        """Begin no attempt until an operator says so."""
        self._withdraw()
        self._state = "held"

    def _dispatch_at(self, due_ns: int) -> None:
        """Let the next attempt begin at some instant, whatever it waits for now."""
        self._withdraw()
        self.due_ns = due_ns
        if due_ns <= self.server.now_ns:
            self._queue()
            return
        self._state = "backoff"
        self._timers[_DISPATCH] = self.server.after(due_ns - self.server.now_ns, self._queue)

    def hand_to(self, session: Session) -> None:
        """Start an attempt on a worker."""
        self._start(session.identity)
        session.attempt(self)

    def _start(self, identity: str) -> None:
        self._disarm(SCHEDULE_TO_START)
        self._state = "started"
        self.identity = identity
        self.started_ns = self.server.now_ns
        self._renew_token()
        self._arm(START_TO_CLOSE, self.limits.start_to_close_ns)
        self._arm(HEARTBEAT, self.limits.heartbeat_ns)

    def _renew_token(self) -> None:
        """Know the attempt by its number as it is; who has the token of another number is not known any more."""
        self.server.activities.pop(self.token, None)
        self.token = self._new_token()
        self.server.activities[self.token] = self

    @abstractmethod
    def _new_token(self) -> bytes:
        """Give what tells this attempt from all others."""

    # -- timers

    def _arm(self, kind: int, ns: int | None) -> None:
        if ns is not None:
            self._timers[kind] = self.server.after(ns, self._time_out, kind)

    def _arm_from(self, kind: int, since_ns: int, limit_ns: int | None) -> None:
        self._arm(kind, None if limit_ns is None else since_ns + limit_ns - self.server.now_ns)

    def _arm_again(self) -> None:
        """Arm the timers for the state as it is, by the limits as they are."""
        self._disarm(SCHEDULE_TO_CLOSE, SCHEDULE_TO_START, START_TO_CLOSE, HEARTBEAT)
        self._arm_from(SCHEDULE_TO_CLOSE, self.scheduled_ns, self.limits.schedule_to_close_ns)
        if self.is_started:
            self._arm_from(START_TO_CLOSE, self.started_ns, self.limits.start_to_close_ns)
            self._arm_from(HEARTBEAT, max(self.started_ns, self.beat_ns), self.limits.heartbeat_ns)
        elif self.is_queued:
            self._arm_from(SCHEDULE_TO_START, self.due_ns, self.limits.schedule_to_start_ns)

    def _disarm(self, *kinds: int) -> None:
        for kind in kinds or tuple(self._timers):
            timer = self._timers.pop(kind, None)
            if timer is not None:
                timer.cancel()

    # -- what a worker says

    def heartbeat(self, token: bytes, details: Any) -> Wishes:
        """Take a heartbeat; tell what is wanted of the attempt."""
        if not self._is_of(token):
            return Wishes()
        self.heartbeat_details = details
        self.beat_ns = self.server.now_ns
        return Wishes(True, self.is_cancel_requested, self.pause is not None, self.is_reset)

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
        self.attempt_ended_ns = self.server.now_ns
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
        return next_try(self.policy, self.attempt, failure, self.server.now_ns, self.deadline_ns)

    def _retry(self, delay_ns: int, failure: Failure) -> None:
        self.journal.fact("retry", self.name, self.attempt, delay_ns=delay_ns)
        self._count_on(failure)
        self._forget_reset()
        self._state, self.due_ns = "backoff", self.server.now_ns + delay_ns
        if self.attempt > self.server.settings.activity_attempts:
            self.give_up(ActivityStuck(self.name, self.attempt - 1, words_of(failure)))
            return
        self._timers[_DISPATCH] = self.server.after(delay_ns, self._queue)

    def _count_on(self, failure: Failure) -> None:
        """End an attempt that another one follows."""
        self._disarm(START_TO_CLOSE, HEARTBEAT, SCHEDULE_TO_START)
        self.server.activities.pop(self.token, None)
        self.last_failure = failure
        self.attempt += 1

    def _forget_reset(self) -> None:
        """What an operator wanted of an attempt that ran is done when the next one comes."""
        if self._forgets_heartbeat:
            self._forget_heartbeat()
        self.is_reset = self._forgets_heartbeat = False

    def _forget_heartbeat(self) -> None:
        self.heartbeat_details, self.beat_ns = None, 0

    @abstractmethod
    def give_up(self, error: Exception) -> None:
        """Let nobody wait for an activity that a server would try for ever."""

    # -- timeouts

    def _time_out(self, kind: int) -> None:
        if self._state == "over" or self.is_gone:
            return
        if kind == HEARTBEAT and self._beat_meanwhile():
            return
        if kind == SCHEDULE_TO_CLOSE and self._waits_too_long():
            kind = SCHEDULE_TO_START
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

    def _waits_too_long(self) -> bool:
        """Whether its time in the queue is over too: of two timeouts at one instant the server sees this one first."""
        wait_ns = self.limits.schedule_to_start_ns
        return self.is_queued and wait_ns is not None and self.due_ns + wait_ns <= self.server.now_ns

    def _beat_meanwhile(self) -> bool:
        server, limit_ns = self.server, self.limits.heartbeat_ns or 0
        left_ns = max(self.started_ns, self.beat_ns) + limit_ns - server.now_ns
        if left_ns > 0:
            self._arm(HEARTBEAT, left_ns)
        return left_ns > 0

    def _explain(self, failure: Failure) -> None:
        if self.heartbeat_details is not None:
            failure.timeout_failure_info.last_heartbeat_details.CopyFrom(self.heartbeat_details)
        if self.last_failure is not None:
            failure.cause.CopyFrom(self.last_failure)

    # -- options

    def options(self) -> ActivityOptions:
        """Give its options as they are now."""
        if self._options is None:
            return ActivityOptions(
                task_queue={"name": self.task_queue},  # type: ignore[arg-type]
                retry_policy=completed_policy(self.policy),
                priority=self.priority,
                **self.limits.options(),
            )
        return self._options

    def _change(self, options: ActivityOptions) -> None:
        """Take other options; what waits in a queue or for its next attempt is to be dispatched again then."""
        if self._original is None:
            self._original = self.options()
        self.journal.fact("options", self.name, self.attempt)
        self._options = options
        self.policy, self.limits = options.retry_policy, Limits(options, None)

    def original_options(self) -> ActivityOptions:
        """Give the options that it was asked for with."""
        return self._original or self.options()

    # -- the end

    def request_cancel(self, details: Any) -> None:
        """Take a wish; an attempt that runs learns of it by its next heartbeat, and nothing else begins."""
        self.is_cancel_requested = True
        if self._state in {"new", "queued", "backoff", "held"}:
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


class _Place:
    """A place in a task queue of an activity that had one before: the older entry is not wanted any more."""

    __slots__ = ("_activity", "execution", "is_workflow_task", "name")

    def __init__(self, activity: AnyActivity) -> None:
        self._activity = activity
        self.execution = getattr(activity, "execution", None)
        self.is_workflow_task = False
        self.name = activity.name

    @property
    def is_wanted(self) -> bool:
        """Whether it is to be taken."""
        activity = self._activity
        return activity._place is self and activity.is_queued and activity.may_begin

    def hand_to(self, session: Session) -> None:
        """Start an attempt on a worker."""
        self._activity.hand_to(session)
