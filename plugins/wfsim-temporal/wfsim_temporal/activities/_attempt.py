"""A worker's part of an activity: one attempt, with the user's code in the SDK's own environment."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import temporalio.activity
import temporalio.common
import temporalio.exceptions
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure

from wfsim.errors import RealIOError, ReplyLost
from wfsim.kernel import fault_point, perform
from wfsim_temporal.activities._body import call_activity
from wfsim_temporal.activities._environment import new_environment
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.wire import changed, date, delta

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from temporalio.converter import DataConverter

    from wfsim.errors import WfsimError
    from wfsim_temporal.activities._any_activity import AnyActivity
    from wfsim_temporal.worker import Session, Worker

    _Report = tuple[Callable[[bytes, Any], object] | None, Any]

_Details: Final = getattr(temporalio.activity, "ActivityCancellationDetails", None)
_HEARTBEAT_SHARE: Final = 0.8
_DONE: Final = {"pause": "paused", "reset": "reset"}


class Attempt:
    """One attempt. ``ended`` is a future that is done when its code has come to an end."""

    def __init__(self, session: Session, activity: AnyActivity) -> None:
        self.session = session
        self.activity = activity
        self.number = activity.attempt
        self.token = activity.token
        # What the info is made of; the server may count on while this attempt lives on, forgotten.
        self._dates_ns = (activity.scheduled_ns, activity.due_ns, activity.started_ns)
        self.converter = converter_for(session.worker, self._info)
        self.environment: Any = new_environment(session.worker, self.converter, self._info)
        self.environment.on_heartbeat = self.heartbeat
        self.ended: asyncio.Future[None] = session.server.future()
        self.is_canceled = False
        self.has_begun = False
        self.task: Any = None
        self._has_returned = self._is_cut_short = False
        self._details: Any = None
        self._next_beat_ns = 0
        self._beating: Any = None
        self._heartbeat_error: Exception | None = None
        self._held_back: Payloads | None = None
        self._unsent: list[Payloads] = []  # from code that blocks: no task can begin in it
        self._timer: asyncio.TimerHandle | None = None

    def _info(self) -> dict[str, Any]:
        """Give what ``activity.info()`` says."""
        activity, namespace = self.activity, self.session.server.namespace
        asked, limits = activity.asked, activity.told_limits
        scheduled, queued, started = map(date, self._dates_ns)
        return {
            "activity_id": asked.activity_id,
            "activity_type": activity.name,
            "attempt": self.number,
            "is_local": False,
            "current_attempt_scheduled_time": queued,
            "heartbeat_details": [],  # decoded when the code begins: that may fail
            "heartbeat_timeout": delta(limits.heartbeat_ns),
            "schedule_to_close_timeout": delta(limits.schedule_to_close_ns),
            "scheduled_time": scheduled,
            "start_to_close_timeout": delta(limits.start_to_close_ns),
            "started_time": started,
            "task_queue": activity.task_queue,
            "task_token": self.token,
            "namespace": namespace,
            **activity.owner,
            "retry_policy": temporalio.common.RetryPolicy.from_proto(activity.policy),
        }

    # -- running

    async def run(self) -> None:
        """Run the user's code and tell the server what came of it."""
        activity = self.activity
        try:
            value = await perform(
                "activity",
                activity.design,
                activity.name,
                _body,
                self,
                attempt=self.number,
                cause=activity.journal.index,
                data=activity.facts,
            )
        except ReplyLost:
            self._end()  # the worker's answer does not arrive: the server waits until a timeout
            return
        except BaseException as error:  # noqa: BLE001 - the SDK's worker reports every error, these too
            self._has_returned = True
            tell, told = await self._failed(error)
        else:
            self._has_returned = True
            tell, told = await self._completed(value)
        self._end()
        self._flush_held_back()
        await self._heartbeats_first()
        if tell is not None:
            self.session.server.soon(tell, self.token, told)

    async def _heartbeats_first(self) -> None:
        """Let the heartbeats leave before the outcome does, unless a fault holds them back."""
        self._send_unsent()
        if self._beating is not None:
            await self._beating
        elif self.session.server.simulation.watch is not None:
            await asyncio.sleep(0)  # their tasks begin

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)
        self.task = self.environment = None  # both refer back to it
        self.session.end_attempt(self)

    async def _completed(self, value: Any) -> _Report:
        try:
            return self.activity.complete, await encode(self.session.worker, self.converter, value)
        except Exception as error:  # noqa: BLE001 - what does not convert is the activity's failure
            return await self._failed(error)

    async def _failed(self, error: BaseException) -> _Report:
        if isinstance(error, temporalio.activity._CompleteAsyncError):
            return None, None
        if _is_cancellation(error):
            error = self._heartbeat_error or _of_operator(self._details) or error
        try:
            failure, is_cancellation = await failure_of(
                self.session.worker, self.converter, error, is_canceled=self.is_canceled
            )
        except Exception as wrong:  # noqa: BLE001 - the SDK's worker reports it in the error's place
            failure, is_cancellation = Failure(message=f"Failed building exception result: {wrong}"), False
            failure.application_failure_info.SetInParent()
        if refusal := refusal_in(error):
            failure.application_failure_info.non_retryable = True
            self.activity.give_up(refusal)
        if not is_cancellation:
            self.environment.run(_log_failure, error, self.number)
            return self.activity.fail, failure
        if self._is_cut_short:  # nobody asked the server to cancel it: another worker may try again
            return self.activity.fail, _cut_short()
        details = failure.canceled_failure_info
        return self.activity.cancel, details.details if details.HasField("details") else None

    async def decode_heartbeat(self, payloads: Any) -> None:
        """Let the code know the details of the last heartbeat. Raises ApplicationError if they do not decode."""
        if not payloads:
            return
        try:
            if self.session.worker.codec.is_active:
                copies = [Payload.FromString(one.SerializeToString()) for one in payloads]
                details = await self.converter.decode(copies)
            else:
                details = self.converter.payload_converter.from_payloads(payloads)
        except Exception as error:
            raise temporalio.exceptions.ApplicationError(
                "Failed decoding heartbeat details", non_retryable=True
            ) from error
        self.environment.info = changed(self.environment.info, {"heartbeat_details": details})

    def on_worker_shutdown(self) -> None:
        """Tell the code that its worker stops."""
        if not self.has_begun:  # a fault holds it back
            self.task.cancel()
        else:
            self.environment.worker_shutdown()

    def cancel_for_shutdown(self) -> None:
        """Cancel the code: its worker waits no longer."""
        self._is_cut_short = not self.is_canceled
        self._cancel(_Details and _Details(worker_shutdown=True))

    # -- heartbeats

    def heartbeat(self, *details: Any) -> None:
        """Take a heartbeat of the user's code; Core sends no more than its throttle lets through."""
        converter = self.converter.payload_converter
        payloads = Payloads(payloads=converter.to_payloads(details) if details else ())
        left_ns = self._next_beat_ns - self.session.server.now_ns
        if left_ns <= 0:
            self._send(payloads)
            return
        self._held_back = payloads
        if self._timer is None:
            self._timer = self.session.after(left_ns, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self.ended.done():
            self._flush_held_back()

    def _flush_held_back(self) -> None:
        held, self._held_back = self._held_back, None
        if held is not None:
            self._send(held)

    def _send(self, payloads: Payloads) -> None:
        server = self.session.server
        server.heartbeats.append((self.activity.name, self.number))
        self._next_beat_ns = server.now_ns + self._throttle_ns()
        if not self.session.worker.codec.is_active and server.simulation.watch is None:
            server.soon(self._reach_server, payloads)
        elif asyncio._get_running_loop() is None:
            self._unsent.append(payloads)
            self.session.after(0, self._send_unsent)
        else:
            self._send_later(payloads)

    def _send_unsent(self) -> None:
        unsent, self._unsent = self._unsent, []
        for payloads in unsent:
            self._send_later(payloads)

    def _send_later(self, payloads: Payloads) -> None:
        """Send what has to wait on its way, for a codec or a fault."""
        if self.session.worker.codec.is_active:
            self._beating = self.session.spawn(self._encode_and_send(payloads, self._beating))
        else:
            self.session.spawn(self._send_under_faults(payloads))

    async def _encode_and_send(self, payloads: Payloads, before: Any) -> None:
        """Send one heartbeat after the other, however long each takes to encode."""
        if before is not None:
            await before
        try:
            held = await outgoing(self.converter, payloads.payloads)
        except Exception as error:  # noqa: BLE001 - the SDK cancels the activity and reports this error
            self._heartbeat_error = error
            self._cancel(_Details and _Details())
            return
        if self.session.server.simulation.watch is None:
            self.session.server.soon(self._reach_server, Payloads(payloads=held))
        else:
            await self._send_under_faults(Payloads(payloads=held))

    def _throttle_ns(self) -> int:
        limit_ns, worker = self.activity.told_limits.heartbeat_ns, self.session.worker
        if limit_ns is None:
            return worker.default_throttle_ns
        return min(int(limit_ns * _HEARTBEAT_SHARE), worker.longest_throttle_ns)

    async def _send_under_faults(self, payloads: Payloads) -> None:
        design, name = self.activity.design, f"{self.activity.name}.heartbeat"
        try:
            await fault_point("call", kind="heartbeat", design=design, name=name, attempt=self.number)
        except Exception:  # noqa: BLE001 - a heartbeat that fails is lost, whatever the error
            return
        self.session.server.soon(self._reach_server, payloads)

    def _reach_server(self, payloads: Payloads) -> None:
        wishes = self.activity.heartbeat(self.token, payloads)
        if wishes.cancel or wishes.pause or wishes.reset or not wishes.is_known:
            latency_ns = self.session.server.settings.latency_ns
            told = _Details and _Details(
                cancel_requested=wishes.cancel,
                not_found=not wishes.is_known,
                paused=wishes.pause,
                reset=wishes.reset,
            )
            self.session.after(latency_ns, self._cancel, told)
        elif self._timer is None and not self.ended.done() and self.session.is_alive:
            # Core goes on asking whether the attempt is to be cancelled.
            self._timer = self.session.after(self._throttle_ns(), self._on_timer)

    def _cancel(self, details: Any) -> None:
        if self._has_returned or self.ended.done() or not self.session.worker.process_is_alive:
            return
        if not self.is_canceled:
            self.is_canceled, self._details = True, details
        if details is None:
            self.environment.cancel()
        else:
            self.environment.cancel(details)


async def _body(attempt: Attempt) -> Any:
    activity, worker = attempt.activity, attempt.session.worker
    attempt.has_begun = True
    definition = worker.activity(activity.name)
    if definition is None:
        raise not_registered(worker, activity.name, activity.owner["workflow_id"] or "")
    if activity.heartbeat_details is not None:
        await attempt.decode_heartbeat(activity.heartbeat_details.payloads)
    return await call_activity(worker, attempt.converter, definition, activity.asked, attempt.environment)


def not_registered(worker: Worker, name: str, workflow_id: str) -> temporalio.exceptions.ApplicationError:
    """Make the SDK's own error for an activity that a worker does not have."""
    known = ", ".join(worker.activity_names)
    return temporalio.exceptions.ApplicationError(
        f"Activity function {name} for workflow {workflow_id} is not registered on this worker, "
        f"available activities: {known}",
        type="NotFoundError",
    )


def converter_for(worker: Worker, tell: Callable[[], Mapping[str, Any]]) -> DataConverter:
    """Give the data converter for an activity, in its context if it wants one; ``tell`` gives the activity's info."""
    if not worker.codec.depends_on_activity:
        return worker.codec.converter
    info = tell()
    names = ("workflow_type", "activity_type", "activity_id", "workflow_id", "workflow_run_id", "is_local")
    return worker.codec.of_activity(
        namespace=info["namespace"],
        activity_task_queue=worker.task_queue,
        activity_run_id=info.get("activity_run_id"),
        **{name: "" if info[name] is None else info[name] for name in names},
    )


async def encode(worker: Worker, converter: DataConverter, value: Any) -> Any:
    """Turn an activity's value into a payload."""
    if worker.codec.is_active:
        [payload] = await converter.encode([value])
    else:
        [payload] = converter.payload_converter.to_payloads([value])
    return payload


async def outgoing(converter: DataConverter, payloads: Any) -> list[Payload]:
    """Give payloads as they leave the worker."""
    held = list(payloads)
    steps = (
        "_encode_payload_sequence",
        "_external_store_payload_sequence",
        "_encode_reference_payload_sequence",
    )
    for step in steps:
        act = getattr(converter, step, None)  # in older releases of the SDK the first does all
        held = held if act is None or not held else await act(held)
    return held


def refusal_in(error: BaseException) -> WfsimError | None:
    """Give what no simulation can do that the code asked for, such as a socket: trying again cannot help.

    Libraries tell it in words of their own, and so it is looked for in what their error came of.
    """
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        if isinstance(one, RealIOError | NotSimulated):
            return one
        seen.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return None


async def failure_of(
    worker: Worker, converter: DataConverter, error: BaseException, *, is_canceled: bool
) -> tuple[Failure, bool]:
    """Turn an activity's error into a failure, and tell whether the activity has cancelled itself."""
    failure, is_cancellation = Failure(), _is_cancellation(error)
    if is_cancellation and is_canceled:
        error = temporalio.exceptions.CancelledError("Cancelled")
    if worker.codec.is_active:
        await converter.encode_failure(error, failure)
    else:
        converter.failure_converter.to_failure(error, converter.payload_converter, failure)
    return failure, is_cancellation and is_canceled


def _cut_short() -> Failure:
    """Make the failure that Core reports in place of a cancellation by a worker that shuts down."""
    failure = Failure(message="Worker is shutting down and this activity did not complete in time")
    failure.application_failure_info.type = "WorkerShutdown"
    return failure


def _of_operator(details: Any) -> BaseException | None:
    """Give the SDK's own error for an attempt that did not catch a pause or a reset; None if there was none."""
    for name in ("pause", "reset"):
        if getattr(details, _DONE[name], False):
            told = f"Unhandled activity cancel error produced by activity {name}"
            return temporalio.exceptions.ApplicationError(told, type=f"Activity{name.title()}")
    return None


def _log_failure(error: BaseException, attempt: int) -> None:
    """Log what an attempt failed by, as the SDK's worker does; without anybody who listens there is no use.

    One that fails ten thousand times, which takes no time here, is no ten thousand warnings: after the first ten
    only each tenth, then each hundredth and so on is one, and the rest are there for who wants to see DEBUG.
    """
    log = temporalio.activity.logger
    category = getattr(error, "category", None)
    is_benign = category is not None and category.name == "BENIGN"
    level = logging.DEBUG if is_benign or not _is_round(attempt) else logging.WARNING
    if log.base_logger.hasHandlers() and log.isEnabledFor(level):
        extra = {"__temporal_error_identifier": "ActivityFailure"}
        log.log(level, "Completing activity as failed", exc_info=error, extra=extra)


def _is_round(attempt: int) -> bool:
    """Whether a number has one digit that is no zero, as 7, 20 and 9000 have."""
    return not str(attempt)[1:].strip("0")


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError | temporalio.exceptions.CancelledError)
