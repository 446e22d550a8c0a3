"""What all Nexus operations have in common, whoever calls: requests to the handler, retries, timeouts, cancellation.

Source of the rules: the server's ``components/nexusoperations`` and ``chasm/lib/nexusoperation``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.nexus._failure import (
    cancel_refusal,
    canceled_by_handler,
    is_retryable,
    no_endpoint,
    no_time_left,
    refusal,
    timeout_cause,
)
from wfsim_temporal.nexus._task import CALLBACK_TOKEN, CALLBACK_URL, NexusTask
from wfsim_temporal.wire import (
    SCHEDULE_TO_CLOSE,
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    TIMEOUT_NAMES,
    as_nexus,
    duration,
    from_nexus,
    ns_of,
)

if TYPE_CHECKING:
    import asyncio

    from temporalio.api.failure.v1 import Failure

    from wfsim_temporal.execution import Journal
    from wfsim_temporal.nexus._failure import Completion
    from wfsim_temporal.server import Server

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
SCHEDULED: Final = 1
BACKING_OFF: Final = 2
STARTED: Final = 3


def _limits_ns(asked: Any, run_timeout_ns: int | None) -> dict[int, int]:
    """Give the timeouts that there are, by their kinds, as the server completes them: none is beyond the whole."""
    known = {kind: ns_of(asked, name) for kind, name in _TIMEOUTS.items()}
    whole = min(filter(None, (known[SCHEDULE_TO_CLOSE], run_timeout_ns)), default=None)
    told = {**known, SCHEDULE_TO_CLOSE: whole}
    return {kind: min(ns, whole or ns) for kind, ns in told.items() if ns is not None}


@dataclass(frozen=True, slots=True)
class End:
    """How an operation has ended: "completed", "failed", "canceled", "timed_out" or "terminated"."""

    kind: str
    result: Any = None
    cause: Failure | None = None
    links: list[Any] = field(default_factory=list)


class AnyNexusOperation(ABC):
    """One operation.

    Attributes:
        asked: what the caller wants.
        token: what the handler calls an operation that it has begun; "" before.
        request_id: the same in all requests to begin it.
        attempt: how many requests to begin it were made.
        cancel_attempt: how many requests to cancel it were made.
    """

    def __init__(self, server: Server, asked: Any, run_timeout_ns: int | None) -> None:
        self.server = server
        self.asked = asked
        self.token = ""
        self.attempt = self.cancel_attempt = 0
        self.request_id = server.new_id()
        self._is_started = self._is_over = self._is_unwanted = False
        self._limits_ns = _limits_ns(asked, run_timeout_ns)
        self._deadlines_ns: dict[int, int] = {}
        self._task: NexusTask | None = None
        self._timers: dict[str | int, asyncio.TimerHandle] = {}

    # -- who calls

    @property
    @abstractmethod
    def journal(self) -> Journal:
        """Where what happens to it is told."""

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the history says of the caller at each request."""

    @property
    @abstractmethod
    def links(self) -> list[Any]:
        """Links to what brought it about."""

    @abstractmethod
    def _has_begun(self, links: list[Any]) -> None:
        """Tell the caller that the handler has begun it."""

    @abstractmethod
    def _settle(self, end: End) -> None:
        """Tell the caller how it has ended."""

    @abstractmethod
    def _cancel_requested(self) -> None:
        """Tell the caller that the handler knows of the cancellation."""

    @abstractmethod
    def _cancel_refused(self, failure: Failure) -> None:
        """Tell the caller that the handler does not take the cancellation."""

    def _attempt_failed(self, failure: Failure) -> None:  # noqa: B027 - most callers are not told
        """Take why a request to begin it has failed."""

    # -- how it stands

    @property
    def is_over(self) -> bool:
        """Whether the server has the outcome."""
        return self._is_over

    @property
    def is_started(self) -> bool:
        """Whether the handler has begun it."""
        return self._is_started

    @property
    def state(self) -> int:
        """Its PendingNexusOperationState."""
        return STARTED if self._is_started else BACKING_OFF if "retry" in self._timers else SCHEDULED

    @property
    def timeouts(self) -> dict[str, Any]:
        """Its timeouts, as messages name them."""
        return {_TIMEOUTS[kind]: duration(ns) for kind, ns in self._limits_ns.items()}

    @property
    def header(self) -> dict[str, str]:
        """The header that the workflow wants the handler to have, with names as the server writes them."""
        return {name.lower(): value for name, value in sorted(self.asked.nexus_header.items())}

    def schedule(self) -> None:
        """Send the first request to the handler."""
        self.server.nexus_operations[self.request_id] = self
        self._arm(SCHEDULE_TO_CLOSE)
        self._arm(SCHEDULE_TO_START)
        self._request_start()

    def resume(self, scheduled_ns: int, started_ns: int, token: str) -> None:
        """Go on with what was scheduled, and perhaps begun (else ``started_ns`` is 0), for a run that was reset."""
        self.server.nexus_operations[self.request_id] = self
        self._arm(SCHEDULE_TO_CLOSE, scheduled_ns)
        if started_ns:
            self.token, self._is_started = token, True
            self._arm(START_TO_CLOSE, started_ns)
        else:
            self._arm(SCHEDULE_TO_START, scheduled_ns)
            self._request_start()

    def _arm(self, kind: int, from_ns: int | None = None) -> None:
        ns = self._limits_ns.get(kind)
        if ns is not None:
            server = self.server
            self._deadlines_ns[kind] = (server.now_ns if from_ns is None else from_ns) + ns
            left_ns = self._deadlines_ns[kind] - server.now_ns
            self._timers[kind] = server.after(left_ns, self._time_out, kind)

    def _disarm(self, *names: str | int) -> None:
        for name in names or tuple(self._timers):
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    def _endpoint(self) -> Any:
        return self.server.nexus_endpoint(self.asked.endpoint)

    # -- requests

    def _request_start(self) -> None:
        self.attempt += 1
        self._disarm("retry")
        kind = SCHEDULE_TO_START if SCHEDULE_TO_START in self._deadlines_ns else SCHEDULE_TO_CLOSE
        left_ns = self._left_ns(kind)
        if left_ns < _LEAST_REQUEST_NS:  # the handler would have no time for it
            self._time_out(kind)
        elif self._endpoint() is None:
            self._end(End("failed", cause=no_endpoint()))
        else:
            request = {"start_operation": self._start_request()}
            task = NexusTask(self, request, self.attempt, self._on_start_answered)
            self._send(task, left_ns, self._again)

    def _start_request(self) -> dict[str, Any]:
        asked = self.asked
        return {
            "service": asked.service,
            "operation": asked.operation,
            "request_id": self.request_id,
            "payload": asked.input,
            "callback": CALLBACK_URL,
            "callback_header": {CALLBACK_TOKEN: self.request_id},
            "links": [as_nexus(link) for link in self.links],
        }

    def time_for_run_ns(self) -> int | None:
        """Give how long the operation may take from now on; None if nothing bounds it."""
        bounds = [self._limits_ns.get(START_TO_CLOSE)]
        if SCHEDULE_TO_CLOSE in self._deadlines_ns:
            bounds.append(self._deadlines_ns[SCHEDULE_TO_CLOSE] - self.server.now_ns)
        return min((ns for ns in bounds if ns is not None), default=None)

    def _left_ns(self, *kinds: int) -> int:
        """Give the time for a request before these timeouts."""
        now_ns = self.server.now_ns
        ends_ns = [self._deadlines_ns[kind] - now_ns for kind in kinds if kind in self._deadlines_ns]
        return min([_REQUEST_TIMEOUT_NS, *ends_ns])

    def _send(self, task: NexusTask, left_ns: int, give_up: Any) -> None:
        server = self.server
        limit_ns = left_ns - _WAY_BACK_NS
        self._task = task
        task.deadline_ns = server.now_ns + limit_ns
        self._timers["request"] = server.after(limit_ns, self._request_timed_out, task, give_up)
        target = self._endpoint().spec.target.worker
        server.host.server(target.namespace).nexus_queue(target.task_queue).offer(task)

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
        pause_ns = self._retry_in_ns(self.attempt)
        self.journal.fact("retry", self.asked.operation, self.attempt, delay_ns=pause_ns)
        self._timers["retry"] = self.server.after(pause_ns, self._request_start)

    def _on_start_answered(self, completion: Any) -> None:
        if not self._takes_answer(completion):
            return
        if not completion.HasField("completed"):
            failure = refusal(completion)
            self._attempt_failed(failure)
            if is_retryable(failure):
                self._again()
            else:
                self._end(End("failed", cause=failure))
            return
        response = completion.completed.start_operation
        kind = response.WhichOneof("variant")
        if kind == "sync_success":
            told = response.sync_success
            self._end(End("completed", told.payload, links=from_nexus(told.links)))
        elif kind == "async_success":
            told = response.async_success
            self._begin(told.operation_token, from_nexus(told.links))
        else:
            failure = canceled_by_handler(response)
            self._attempt_failed(failure)
            self._end_unsuccessful(failure)

    # -- the beginning and the end

    def _begin(self, token: str, links: list[Any]) -> None:
        self.token, self._is_started = token, True
        self._disarm(SCHEDULE_TO_START, "retry")
        self._arm(START_TO_CLOSE)
        self._has_begun(links)
        if self._is_unwanted:
            self._request_cancel()

    def complete_from(self, told: Completion, token: str) -> None:
        """Take the outcome of what backs it; it may come before the handler has answered."""
        if self._is_over or self.is_gone:
            return
        if not self._is_started:
            self._drop_request()
            self._begin(token, [] if told.link is None else [told.link])
        if told.failure is None:
            self._end(End("completed", told.result))
        else:
            self._end_unsuccessful(told.failure)

    def _end_unsuccessful(self, cause: Failure) -> None:
        is_canceled = cause.HasField("canceled_failure_info")
        self._end(End("canceled" if is_canceled else "failed", cause=cause))

    def _time_out(self, kind: int) -> None:
        if not (self._is_over or self.is_gone):
            self.journal.fact("timeout", self.asked.operation, self.attempt, type=TIMEOUT_NAMES[kind])
            self._end(End("timed_out", cause=timeout_cause(kind)))

    def _end(self, end: End) -> None:
        self.abandon()
        self._settle(end)

    def abandon(self) -> None:
        """It has ended, or nobody waits for it: whatever still comes is of no interest."""
        self._is_over = True
        self._drop_request()
        self._disarm()
        known = self.server.nexus_operations
        if known.get(self.request_id) is self:
            del known[self.request_id]

    def _drop_request(self) -> None:
        self._disarm("request")
        if self._task is not None:
            self._task.is_wanted = False
        self._task = None

    # -- cancellation

    def unwant(self) -> None:
        """Take the caller's wish; the handler hears of it once it has begun."""
        self._is_unwanted = True
        if self._is_started:
            self._request_cancel()

    def _request_cancel(self) -> None:
        asked = self.asked
        self.cancel_attempt += 1
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
        task = NexusTask(self, {"cancel_operation": cancel}, self.cancel_attempt, self._on_cancel_answered)
        self._send(task, left_ns, self._cancel_again)

    def _cancel_again(self) -> None:
        pause_ns = self._retry_in_ns(self.cancel_attempt)
        self._timers["retry"] = self.server.after(pause_ns, self._request_cancel)

    def _on_cancel_answered(self, completion: Any) -> None:
        if not self._takes_answer(completion):
            return
        if completion.HasField("completed"):
            self._cancel_requested()
            return
        failure = refusal(completion)
        if is_retryable(failure):
            self._cancel_again()
        else:
            self._cancel_refused(cancel_refusal(failure))
