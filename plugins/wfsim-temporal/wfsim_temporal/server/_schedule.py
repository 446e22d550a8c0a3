"""A schedule: what is due, what runs, and what happens when both overlap.

Source of the rules: ``workflow.go`` and ``buffer.go`` of the server's scheduler. Since the simulated server is
never down, there is nothing to catch up with, whatever the catchup window.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import temporalio.api.schedule.v1 as api
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.commands import start_of, typed
from wfsim_temporal.timetable import SKIP, Jitter, Spec, Wanted, decide
from wfsim_temporal.wire import STATUS, date, duration

if TYPE_CHECKING:
    import asyncio

    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server._server import Server

_CATCHUP_WINDOW_NS: Final = 365 * 86_400 * NS_PER_SECOND
_BUFFER_MAX: Final = 1000
_TIMES_TOLD: Final = 10
_TIMES_LISTED: Final = 5
_MS_NS: Final = 1_000_000
_StartRequest: Any = StartWorkflowExecutionRequest


@dataclass(slots=True, eq=False)
class Action:
    """An action that was taken. ``run`` is the latest run of the workflow that it started, ``run_id`` the first."""

    at_ns: int
    taken_ns: int
    run: Execution
    run_id: str

    @property
    def is_running(self) -> bool:
        """Whether its workflow, with all that continues it, has not ended."""
        return not self.run.is_closed or self.run.next_run is not None

    def reference(self) -> dict[str, str]:
        """Name the workflow."""
        return {"workflow_id": self.run.start.workflow_id, "run_id": self.run_id}

    def result(self) -> Any:
        """Give it as a message."""
        status = STATUS["running" if self.is_running else self.run.status]
        made = api.ScheduleActionResult(
            start_workflow_result=self.reference(),  # type: ignore[arg-type]  # protobuf takes a dict
            start_workflow_status=status,  # type: ignore[arg-type]
        )
        made.schedule_time.FromNanoseconds(self.at_ns)
        made.actual_time.FromNanoseconds(self.taken_ns)
        return made


class Schedule:
    """One schedule. Raises NotASpec if its specification is none."""

    def __init__(self, server: Server, schedule_id: str, request: Any) -> None:
        self.server = server
        self.schedule_id = schedule_id
        self.request_id = request.request_id
        self.is_deleted = False
        self.memo = request.memo
        self.search_attributes = request.search_attributes
        self.token = 1
        self._created_ns = self._after_ns = server.now_ns
        self._updated_ns = 0
        self._take(request.schedule)
        self._buffer: list[Wanted] = []
        self._running: list[Action] = []
        self._recent: list[Action] = []
        self._actions = self._skipped = self._dropped = 0
        self._last_result: Any = None
        self._last_failure: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def _take(self, asked: Any) -> None:
        jitter = Jitter(self.server.simulation.seed, self.schedule_id)
        self._spec = Spec(asked.spec, jitter)
        self.proto = api.Schedule()
        self.proto.CopyFrom(asked)
        self.proto.spec.CopyFrom(self._spec.proto)
        policies = self.proto.policies
        policies.overlap_policy = policies.overlap_policy or SKIP  # type: ignore[assignment]
        if not policies.HasField("catchup_window"):
            policies.catchup_window.CopyFrom(duration(_CATCHUP_WINDOW_NS))
        self.proto.state.SetInParent()
        fields = self.proto.action.start_workflow.search_attributes.indexed_fields
        for name, payload in typed(fields, self.server.search_attribute_types).items():
            fields[name].CopyFrom(payload)
        self.proto.action.start_workflow.task_queue.kind = 1  # type: ignore[assignment]

    @property
    def is_paused(self) -> bool:
        """Whether it does nothing by itself."""
        return self.proto.state.paused

    # -- what a client asks for

    def update(self, request: Any) -> None:
        """Put another schedule in place of this one; what was done stays."""
        self._take(request.schedule)
        if request.HasField("search_attributes"):
            self.search_attributes = request.search_attributes
        self._updated_ns = self.server.now_ns
        self.token += 1
        self.wake()

    def patch(self, patch: Any) -> None:
        """Trigger it, act for a time that has passed, pause it, or let it go on."""
        now_ns = self.server.now_ns
        if patch.HasField("trigger_immediately"):
            self._want(Wanted(now_ns, now_ns, patch.trigger_immediately.overlap_policy, is_manual=True))
        for asked in patch.backfill_request:
            end_ns = asked.end_time.ToNanoseconds()
            for due in self._spec.due_after(asked.start_time.ToNanoseconds() - _MS_NS):
                if due.at_ns > end_ns:
                    break
                self._want(Wanted(due.nominal_ns, due.at_ns, asked.overlap_policy, is_manual=True))
        for is_paused, notes in ((True, patch.pause), (False, patch.unpause)):
            if notes:
                self._pause(notes, is_paused=is_paused)
        self.wake()

    def delete(self) -> None:
        """End it; what it has started goes on."""
        self.is_deleted = True
        if self._timer is not None:
            self._timer.cancel()

    def _pause(self, notes: str, *, is_paused: bool) -> None:
        self.proto.state.paused, self.proto.state.notes = is_paused, notes
        self.token += 1
        self._note("paused" if is_paused else "unpaused")

    def _note(self, what: str) -> None:
        self.server.simulation.recorder.event("schedule", self.schedule_id, what, self.schedule_id)

    # -- time

    def wake(self) -> None:
        """Do what is due, and sleep until the next thing is."""
        if self.is_deleted:
            return
        due = self._want_what_is_due()
        while self._work_off():
            pass
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self.server.after(due.at_ns - self.server.now_ns, self.wake)

    def _want_what_is_due(self) -> Any:
        for due in self._spec.due_after(self._after_ns):
            if due.at_ns > self.server.now_ns:
                return due
            self._after_ns = due.at_ns
            if due.at_ns >= self._updated_ns and self._may_act(is_manual=False):
                self._want(Wanted(due.nominal_ns, due.at_ns, 0, is_manual=False))
        return None

    def _want(self, wanted: Wanted) -> None:
        if len(self._buffer) < _BUFFER_MAX:
            self._buffer.append(wanted)
        else:
            self._dropped += 1

    def _may_act(self, *, is_manual: bool) -> bool:
        state = self.proto.state
        return is_manual or not (state.paused or (state.limited_actions and state.remaining_actions <= 0))

    def _times(self, number: int) -> list[int]:
        state = self.proto.state
        if state.limited_actions:
            number = min(number, state.remaining_actions)
        times: list[int] = []
        for due in self._spec.due_after(self._after_ns):
            if len(times) >= number:
                break
            if due.at_ns >= self._updated_ns:
                times.append(due.at_ns)
        return times

    def matching_times(self, first_ns: int, last_ns: int) -> list[int]:
        """Give when it would act between two instants."""
        times: list[int] = []
        for due in self._spec.due_after(first_ns):
            if due.at_ns > last_ns or len(times) >= _BUFFER_MAX:
                break
            times.append(due.at_ns)
        return times

    # -- overlap

    def _work_off(self) -> bool:
        """Start, skip or keep back what is wanted. Tell whether there may be more to do at once."""
        made = decide(self._buffer, self.proto.policies.overlap_policy, is_running=bool(self._running))
        self._buffer = made.kept
        self._skipped += made.skipped
        for _ in range(made.skipped):
            self._note("skipped")
        is_refused = [self._start(one) is None for one in made.beside]
        if made.alone is not None:
            action = self._start(made.alone)
            is_refused.append(action is None)
            self._running += [action] if action else []
        if made.ends_running:
            self._end_running(is_termination=made.is_termination)
        return any(is_refused) and bool(self._buffer)

    def _end_running(self, *, is_termination: bool) -> None:
        for action in tuple(self._running):
            if is_termination:
                self.server.terminate(
                    action.run, "terminated by schedule overlap policy", None, self._identity
                )
            else:
                self.server.request_cancel(action.run, "cancelled by schedule overlap policy")

    @property
    def _identity(self) -> str:
        return f"temporal-scheduler-{self.server.namespace}-{self.schedule_id}"

    # -- actions

    def _start(self, wanted: Wanted) -> Action | None:
        """Start the workflow. None if it may not, or if one of its id runs already."""
        if not self._may_act(is_manual=wanted.is_manual):
            return None
        server, state = self.server, self.proto.state
        if state.limited_actions and not wanted.is_manual:
            state.remaining_actions -= 1
            self.token += 1
        start = self._start_of(wanted)
        if server.open_execution(start.workflow_id) is not None:
            return None
        run = server.begin(start)
        action = Action(wanted.at_ns, server.now_ns, run, run.run_id)
        self._actions += 1
        self._recent = [*self._recent, action][-_TIMES_TOLD:]
        self._note("started")
        self._watch(action)
        return action

    def _start_of(self, wanted: Wanted) -> Any:
        asked = self.proto.action.start_workflow
        request = _StartRequest()
        for field, value in asked.ListFields():
            if field.message_type is None:
                setattr(request, field.name, value)
            else:
                getattr(request, field.name).CopyFrom(value)
        nominal = date(wanted.nominal_ns // NS_PER_SECOND * NS_PER_SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")
        start = start_of(request, self.server.now_ns)
        is_stamped = not self.proto.policies.keep_original_workflow_id
        return replace(
            start,
            workflow_id=f"{asked.workflow_id}-{nominal}" if is_stamped else asked.workflow_id,
            identity=self._identity,
            search_attributes={
                **start.search_attributes,
                "TemporalScheduledStartTime": _attribute(b"Datetime", nominal),
                "TemporalScheduledById": _attribute(b"Keyword", self.schedule_id),
            },
            last_result=self._last_result,
            last_failure=self._last_failure,
        )

    def _watch(self, action: Action) -> None:
        self.server.when_closed(action.run, self._on_closed, action)

    def _on_closed(self, action: Action) -> None:
        run = action.run
        if run.next_run is not None:
            action.run = run.next_run
            self._watch(action)
            return
        if action not in self._running:
            return  # it was let overlap, and the schedule does not care how it ends
        self._running.remove(action)
        if run.status == "completed":
            self._last_result, self._last_failure = Payloads(payloads=[run.result]), None
        elif run.failure is not None:
            self._last_failure = run.failure
        if run.status in {"failed", "timed_out"} and self.proto.policies.pause_on_failure:
            self._pause_after(run)
        self.wake()

    def _pause_after(self, run: Execution) -> None:
        if self.is_paused or self.is_deleted:
            return
        told = f"paused due to workflow timeout: {run.start.workflow_id}"
        if run.status == "failed":
            told = f"paused due to workflow failure: {run.start.workflow_id}: {run.failure.message}"
        self._pause(told, is_paused=True)

    # -- descriptions

    def info(self) -> Any:
        """Give what it has done and is about to do, as a message."""
        made = api.ScheduleInfo(
            action_count=self._actions,
            overlap_skipped=self._skipped,
            buffer_dropped=self._dropped,
            buffer_size=len(self._buffer),
            running_workflows=[one.reference() for one in self._running],  # type: ignore[misc]
            recent_actions=[one.result() for one in self._recent],
        )
        for time_ns in self._times(_TIMES_TOLD):
            made.future_action_times.add().FromNanoseconds(time_ns)
        made.create_time.FromNanoseconds(self._created_ns)
        if self._updated_ns:
            made.update_time.FromNanoseconds(self._updated_ns)
        return made

    def list_info(self) -> Any:
        """Give what a list says of it, as a message."""
        made = api.ScheduleListInfo(
            spec=self.proto.spec,
            workflow_type=self.proto.action.start_workflow.workflow_type,
            notes=self.proto.state.notes,
            paused=self.is_paused,
            recent_actions=[one.result() for one in self._recent[-_TIMES_LISTED:]],
        )
        for name in ("exclude_structured_calendar", "jitter", "timezone_data"):
            made.spec.ClearField(name)
        for time_ns in self._times(_TIMES_LISTED):
            made.future_action_times.add().FromNanoseconds(time_ns)
        return made


def _attribute(kind: bytes, value: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain", "type": kind}, data=json.dumps(value).encode())
