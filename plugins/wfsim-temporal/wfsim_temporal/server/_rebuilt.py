"""What a run was when one of its workflow tasks was under way, read off its events: from there a new run goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from wfsim_temporal.commands import Activity, Cancel, Signal, Timer
from wfsim_temporal.execution import Execution
from wfsim_temporal.wire import to_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal.commands import Child, NexusOperation

ENDS_OF_ACTIVITIES: Final = {
    f"ACTIVITY_TASK_{how}" for how in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")
}
_CANCEL_REQUEST_HEARD: Final = ("_CANCEL_REQUEST_COMPLETED", "_CANCEL_REQUEST_FAILED")
_OPENED_BY: Final = ("initiated_event_id", "scheduled_event_id")
_RESOLVED: Final = {
    "resolve_activity": "activity",
    "resolve_child_workflow_execution": "child",
    "resolve_nexus_operation": "operation",
}


class Rebuilt:
    """A new run, ``run``, that shares the history of another one before event ``finish_id``.

    ``begin`` begins what was open then: timers at their old times, activities from the start, requests to others once
    more; what others had begun goes on, and tells the new run of its end.
    """

    def __init__(self, source: Execution, finish_id: int) -> None:
        self._source = source
        self._log = source.log.prefix(finish_id - 1)
        self._open: dict[int, str] = {}
        self._begun: dict[int, int] = {}
        self._canceled: dict[int, int] = {}
        self._admitted: dict[str, int] = {}
        self.run = self._new_run()
        for number in range(1, len(self._log) + 1):
            self._take(number, self._log.kind(number), self._log.attributes(number))
        self.run.task.done = source.task.done[: self._log.count("WORKFLOW_TASK_COMPLETED")]
        self._resolved = self._resolutions()
        self._commands = {
            command.schedule_activity.activity_id: command.schedule_activity
            for task in source.task.done
            for done in task
            for command in done.commands
            if command.HasField("schedule_activity")
        }

    def _new_run(self) -> Execution:
        source = self._source
        again = Execution(source.server, source.start, source.server.new_id())
        again.log = self._log
        again.first_run_id, again.original_run_id = source.first_run_id, source.original_run_id
        again.seed, again.deadline_ns = source.seed, source.deadline_ns
        again.callbacks = [] if source.is_closed else source.callbacks
        last = len(self._log)
        again.externals = {number: one for number, one in source.externals.items() if number <= last}
        again.task.undone = {number: one for number, one in source.task.undone.items() if number < last}
        return again

    # -- reading

    def _take(self, number: int, kind: str, told: dict[str, Any]) -> None:
        again = self.run
        if kind == "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES":
            again.search_attributes.update(told["search_attributes"]["indexed_fields"])
        elif kind == "WORKFLOW_PROPERTIES_MODIFIED":
            again.modify_memo(told["upserted_memo"])
        elif kind == "WORKFLOW_EXECUTION_CANCEL_REQUESTED":
            again.cancel_requested = True
        elif kind == "MARKER_RECORDED" and told["marker_name"] == "core_patch":
            again.note_patch(json.loads(told["details"]["patch-data"].payloads[0].data)["id"])
        elif kind == "WORKFLOW_TASK_COMPLETED":
            again.versioning.restore(told)
        elif kind.startswith("WORKFLOW_EXECUTION_UPDATE_"):
            self._take_update(number, kind, told)
        elif kind in _BEGINNINGS:
            self._open[number] = kind
        else:
            self._close(number, kind, told)

    def _take_update(self, number: int, kind: str, told: dict[str, Any]) -> None:
        updates = self.run.updates
        if kind.endswith("ADMITTED"):
            request = told["request"]
            self._admitted[request.meta.update_id] = number
            updates.restore(request, admitted_id=number)
        elif kind.endswith("ACCEPTED"):
            update_id = told["protocol_instance_id"]
            admitted_id = self._admitted.pop(update_id, 0)
            known = updates.find(update_id)
            request = told["accepted_request"] if known is None else known.request
            updates.restore(request, accepted_id=number, admitted_id=admitted_id)
        else:
            updates.complete_restored(told["meta"]["update_id"], told["outcome"])

    def _close(self, number: int, kind: str, told: dict[str, Any]) -> None:
        """Note what is open no more, or has begun, or is to be cancelled."""
        opened = next((told[name] for name in _OPENED_BY if told.get(name) in self._open), 0)
        if kind in {"TIMER_FIRED", "TIMER_CANCELED"}:
            self._open.pop(told["started_event_id"], None)
        elif kind.endswith("_STARTED"):
            self._begun[opened] = number
        elif kind.endswith("_CANCEL_REQUESTED") and not kind.startswith("EXTERNAL"):
            self._canceled[opened] = number
        elif kind.endswith(_CANCEL_REQUEST_HEARD):
            self._canceled.pop(opened, None)
        else:
            self._open.pop(opened, None)

    def _resolutions(self) -> set[tuple[str, int]]:
        """Give what the workflow knew the outcome of, whatever the server knew: by its kind and number."""
        jobs = [job for task in self.run.task.done for done in task for job in done.jobs]
        known = ((job, job.WhichOneof("variant")) for job in jobs)
        return {(_RESOLVED[name], getattr(job, name).seq) for job, name in known if name in _RESOLVED}

    # -- beginning

    def begin(self) -> None:
        """Begin what was open."""
        for number, kind in self._open.items():
            _BEGINNINGS[kind](self, number)
        for update_id in self._admitted:
            update = self.run.updates.find(update_id)
            if update is not None:
                self.run.task.pending.append(update.job())
        self._source.children.pass_on(self.run.children)

    def _begin_timer(self, number: int) -> None:
        again, told = self.run, self._log.attributes(number)
        seq = int(told["timer_id"])
        left_ns = self._log.time_ns(number) + to_ns(told["start_to_fire_timeout"]) - again.server.now_ns
        again.timers[seq] = Timer(number, again.fire_timer_after(left_ns, seq))

    def _begin_activity(self, number: int) -> None:
        asked = self._commands[self._log.attributes(number)["activity_id"]]
        activity = self.run.activities[asked.seq] = Activity(self.run, asked)
        activity.event_id = number
        activity.is_resolved = ("activity", asked.seq) in self._resolved
        activity.cancel_event_id = self._canceled.get(number, 0)
        activity.is_cancel_requested = number in self._canceled
        activity.schedule()

    def _begin_child(self, number: int) -> None:
        known: Child | None = self._source.children.by_event(number)
        if known is None:
            return
        child = known.for_reset(self.run, self._begun.get(number, 0))
        child.is_resolved = ("child", child.asked.seq) in self._resolved
        self.run.children.restore(child)
        if number not in self._begun:
            self.run.server.soon(child.begin)

    def _begin_operation(self, number: int) -> None:
        operations = self._source.nexus_operations.values()
        known: NexusOperation | None = next((one for one in operations if one.event_id == number), None)
        if known is None:
            return
        operation = self.run.nexus_operations[known.asked.seq] = known.for_reset(self.run)
        operation.is_resolved = ("operation", known.asked.seq) in self._resolved
        begun = self._begun.get(number, 0)
        token = self._log.attributes(begun)["operation_token"] if begun else ""
        times_ns = (self._log.time_ns(number), self._log.time_ns(begun) if begun else 0)
        operation.resume(*times_ns, token)
        if number in self._canceled:
            operation.request_cancel(self._canceled[number])

    def _begin_signal(self, number: int) -> None:
        call = Signal(self.run, self.run.externals[number])
        self.run.server.soon(call.arrive, number)

    def _begin_cancellation(self, number: int) -> None:
        asked = self.run.externals[number]
        if isinstance(asked, tuple):
            child, reason = asked
            self.run.server.soon(child.for_reset(self.run, 0).request_cancel, number, reason)
        else:
            self.run.server.soon(Cancel(self.run, asked).arrive, number)


_BEGINNINGS: Final[dict[str, Callable[[Rebuilt, int], None]]] = {
    "TIMER_STARTED": Rebuilt._begin_timer,
    "ACTIVITY_TASK_SCHEDULED": Rebuilt._begin_activity,
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED": Rebuilt._begin_child,
    "NEXUS_OPERATION_SCHEDULED": Rebuilt._begin_operation,
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": Rebuilt._begin_signal,
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": Rebuilt._begin_cancellation,
}
"""What can be open, by the events that open it."""
