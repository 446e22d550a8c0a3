"""A workflow that is reset: a new run that shares the history of another one up to one of its workflow tasks.

Source of the rules: the server's ``workflow_resetter.go``, and what a real server did in the cases of the tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure
from temporalio.service import RPCStatusCode

from wfsim_temporal.commands import Activity, Timer
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.execution import Execution, seed_of
from wfsim_temporal.wire import job_of, rpc_error, to_ns

if TYPE_CHECKING:
    from wfsim_temporal.server._server import Server

# ResetReapplyType
_SIGNALS: Final = 1
_NOTHING: Final = 2
# ResetReapplyExcludeType
_NO_SIGNALS: Final = 1
_NO_UPDATES: Final = 2
_BY_REAPPLY: Final = 1  # UpdateAdmittedEventOrigin
_RESET_WORKFLOW: Final = 20  # WorkflowTaskFailedCause

_SIGNALED: Final = "WORKFLOW_EXECUTION_SIGNALED"
_AT_TASK: Final = {"WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"}
_UPDATED: Final = {"WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED"}
_ENDS_OF_ACTIVITIES: Final = {
    f"ACTIVITY_TASK_{how}" for how in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")
}
_FOLLOW: Final = {"WORKFLOW_TASK_SCHEDULED", *_UPDATED, *_ENDS_OF_ACTIVITIES}
_NOT_RESTORED: Final = {
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED": "a child workflow",
    "NEXUS_OPERATION_SCHEDULED": "a Nexus operation",
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": "a signal to another workflow",
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": "a cancellation of another workflow",
    "ACTIVITY_TASK_CANCEL_REQUESTED": "a cancelled activity",
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": "an update",
}
"""What may be open at the task to which a workflow is reset, and is not begun again here."""
_OPENS: Final = {"TIMER_STARTED", "ACTIVITY_TASK_SCHEDULED", *_NOT_RESTORED}


@dataclass(frozen=True, slots=True)
class Reset:
    """What a client asks for: to which event, and which later events are to be applied again."""

    finish_id: int
    reason: str = ""
    reapply: int = 0
    excluded: tuple[int, ...] = ()

    @property
    def signals(self) -> bool:
        """Whether signals are applied again."""
        return self.reapply != _NOTHING and _NO_SIGNALS not in self.excluded

    @property
    def updates(self) -> bool:
        """Whether updates are applied again."""
        return self.reapply not in {_SIGNALS, _NOTHING} and _NO_UPDATES not in self.excluded


def task_id_of(execution: Execution, *, first: bool) -> int:
    """Give the event id of the first or the last completed workflow task. Raises RPCError INVALID_ARGUMENT."""
    log = execution.log
    done = [one for one in range(1, len(log) + 1) if log.kind(one) == "WORKFLOW_TASK_COMPLETED"]
    if not done:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "unable to find any completed workflow task")
    return done[0 if first else -1]


def reset(server: Server, source: Execution, asked: Reset) -> Execution:
    """Reset a run. The latest run of the workflow, if it is open, is terminated.

    Raises RPCError INVALID_ARGUMENT if there is no workflow task at the event, NotSimulated for what cannot be
    begun again.
    """
    _check(source, asked.finish_id)
    jobs = _jobs(source, asked.finish_id)
    if source.start.parent is not None:
        raise NotSimulated("to reset a child workflow is not simulated; reset its parent")
    again = _Rebuilt(source, asked.finish_id).execution()
    later = _later(source, asked.finish_id)
    latest = server.open_execution(source.start.workflow_id)
    if latest is not None:
        server.terminate(latest, asked.reason, identity="history-resetter")
    server.add(again)
    _fail_task(again, source, asked.reason)
    again.task.pending = [job_of(update_random_seed={"randomness_seed": seed_of(again.run_id)}), *jobs]
    _apply_again(again, later, asked)
    again.resume()
    return again


def _check(source: Execution, finish_id: int) -> None:
    log = source.log
    if not 1 < finish_id <= len(log):
        message = "Workflow task finish ID must be > 1 && <= workflow last event ID."
    elif log.kind(finish_id - 1) in _AT_TASK:
        return
    elif log.kind(finish_id) in _FOLLOW or "workflow_task_completed_event_id" in log.attributes(finish_id):
        message = (
            f"StateRebuilder unable to Rebuild mutable state to event ID: {finish_id - 1}, version: 0, this event must "
            "be at the boundary"
        )
    else:
        message = (
            "Can only reset workflow to event ID in range [WorkflowTaskScheduled +1, WorkflowTaskStarted + 1]: "
            f"{finish_id}"
        )
    raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)


def _jobs(source: Execution, finish_id: int) -> list[Any]:
    """Give what the workflow is to learn at the task, which it had learnt there before; updates come otherwise."""
    done = sum(source.log.kind(one) == "WORKFLOW_TASK_COMPLETED" for one in range(1, finish_id))
    if done >= len(source.task.done):
        raise NotSimulated(
            "to reset a workflow to a task that was never completed is not simulated; take a completed one"
        )
    activations = source.task.done[done]
    return [job for job in activations[0].jobs if not job.HasField("do_update")] if activations else []


def _fail_task(again: Execution, source: Execution, reason: str) -> None:
    log = again.log
    if log.kind(len(log)) == "WORKFLOW_TASK_SCHEDULED":
        again.add("WORKFLOW_TASK_STARTED", scheduled_event_id=len(log), identity="history-service")
    failure = Failure(message=reason)
    failure.reset_workflow_failure_info.SetInParent()
    again.add(
        "WORKFLOW_TASK_FAILED",
        scheduled_event_id=log.attributes(len(log))["scheduled_event_id"],
        started_event_id=len(log),
        cause=_RESET_WORKFLOW,
        failure=failure,
        identity="history-service",
        base_run_id=source.run_id,
        new_run_id=again.run_id,
    )


def _later(source: Execution, finish_id: int) -> list[tuple[str, dict[str, Any]]]:
    """Give kind and attributes of what came after an event, in this run and those that it continued as.

    What waits for a workflow task that is under way counts too.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    first, run = finish_id, source
    while True:
        log = run.log
        found += [(log.kind(one), log.attributes(one)) for one in range(first, len(log) + 1)]
        found += [(kind, told) for kind, told, *_ in run.task.buffered if kind == _SIGNALED]
        if run.status != "continued_as_new" or run.next_run is None:
            return found
        first, run = 1, run.next_run


def _apply_again(again: Execution, later: list[tuple[str, dict[str, Any]]], asked: Reset) -> None:
    for kind, attributes in later:
        if kind == _SIGNALED and asked.signals:
            _signal(again, attributes)
        request = attributes.get("accepted_request") or attributes.get("request")
        if request is not None and kind.startswith("WORKFLOW_EXECUTION_UPDATE") and asked.updates:
            again.updates.admit_again(request, _BY_REAPPLY)


def _signal(again: Execution, attributes: dict[str, Any]) -> None:
    job = job_of(
        signal_workflow={
            "signal_name": attributes["signal_name"],
            "input": attributes["input"]["payloads"],
            "identity": attributes["identity"],
            "headers": attributes["header"]["fields"],
        }
    )
    again.receive(_SIGNALED, attributes, job, wakes=False)


class _Rebuilt:
    """What a run was when one of its workflow tasks was under way, read off its events."""

    def __init__(self, source: Execution, finish_id: int) -> None:
        self._source = source
        self._log = source.log.prefix(finish_id - 1)
        self._open: dict[tuple[str, int], int] = {}
        self._commands = {
            command.schedule_activity.activity_id: command.schedule_activity
            for task in source.task.done
            for done in task
            for command in done.commands
            if command.HasField("schedule_activity")
        }

    def execution(self) -> Execution:
        """Make the new run."""
        source = self._source
        again = Execution(source.server, source.start, source.server.new_id())
        again.log = self._log
        again.first_run_id, again.original_run_id = source.first_run_id, source.original_run_id
        again.seed, again.deadline_ns = source.seed, source.deadline_ns
        again.callbacks = [] if source.is_closed else source.callbacks
        for number in range(1, len(self._log) + 1):
            self._take(again, number, self._log.kind(number), self._log.attributes(number))
        done = self._log.count("WORKFLOW_TASK_COMPLETED")
        again.task.done = source.task.done[:done]
        for (kind, _), number in self._open.items():
            self._begin(again, kind, number)
        return again

    def _take(self, again: Execution, number: int, kind: str, told: dict[str, Any]) -> None:
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
        elif kind in _OPENS:
            self._open[kind, number] = number
        else:
            self._close(kind, told)

    def _close(self, kind: str, told: dict[str, Any]) -> None:
        """Forget what this event ends."""
        if kind in _ENDS_OF_ACTIVITIES:
            number = told["scheduled_event_id"]
            self._open.pop(("ACTIVITY_TASK_SCHEDULED", number), None)
            for key in [key for key in self._open if key[0] == "ACTIVITY_TASK_CANCEL_REQUESTED"]:
                if self._log.attributes(key[1])["scheduled_event_id"] == number:
                    del self._open[key]
        elif kind in {"TIMER_FIRED", "TIMER_CANCELED"}:
            self._open.pop(("TIMER_STARTED", told["started_event_id"]), None)
        elif not kind.endswith(("_STARTED", "_CANCEL_REQUESTED")):
            for name in ("initiated_event_id", "scheduled_event_id", "accepted_event_id"):
                for key in [key for key in self._open if key[1] == told.get(name)]:
                    del self._open[key]

    def _begin(self, again: Execution, kind: str, number: int) -> None:
        """Begin what was open then: timers at their old times, activities from the start."""
        told = self._log.attributes(number)
        if kind in _NOT_RESTORED:
            what = _NOT_RESTORED[kind]
            raise NotSimulated(
                f"to reset a workflow to a task at which {what} is open is not simulated; take another task"
            )
        if kind == "TIMER_STARTED":
            seq = int(told["timer_id"])
            left_ns = self._log.time_ns(number) + to_ns(told["start_to_fire_timeout"]) - again.server.now_ns
            again.timers[seq] = Timer(number, again.fire_timer_after(left_ns, seq))
        else:
            asked = self._commands[told["activity_id"]]
            activity = again.activities[asked.seq] = Activity(again, asked)
            activity.event_id = number
            activity.schedule()
