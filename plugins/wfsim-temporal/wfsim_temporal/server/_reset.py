"""A workflow that is reset: a new run that shares the history of another one up to one of its workflow tasks.

Source of the rules: the server's ``workflow_resetter.go``, and what a real server did in the cases of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure
from temporalio.service import RPCStatusCode

from wfsim_temporal.execution import seed_of
from wfsim_temporal.server._rebuilt import ENDS_OF_ACTIVITIES, Rebuilt
from wfsim_temporal.wire import job_of, rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server._server import Server

# ResetReapplyType
_SIGNALS: Final = 1
_NOTHING: Final = 2
# ResetReapplyExcludeType
_NO_SIGNALS: Final = 1
_NO_UPDATES: Final = 2
_NO_NEXUS: Final = 3
_BY_REAPPLY: Final = 1  # UpdateAdmittedEventOrigin
_RESET_WORKFLOW: Final = 20  # WorkflowTaskFailedCause

_CHILD: Final = "CHILD_WORKFLOW_EXECUTION_"
_NEXUS: Final = "NEXUS_OPERATION_"
_ENDS_OF_OPERATIONS: Final = {"COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}
_SIGNALED: Final = "WORKFLOW_EXECUTION_SIGNALED"
_AT_TASK: Final = {"WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"}
_UPDATED: Final = {"WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED"}
_FOLLOW: Final = {"WORKFLOW_TASK_SCHEDULED", *_UPDATED, *ENDS_OF_ACTIVITIES}


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

    @property
    def nexus(self) -> bool:
        """Whether Nexus operations learn of what has come back since; children do in any case."""
        return _NO_NEXUS not in self.excluded


def task_id_of(execution: Execution, *, first: bool) -> int:
    """Give the event id of the first or the last completed workflow task. Raises RPCError INVALID_ARGUMENT."""
    log = execution.log
    done = [one for one in range(1, len(log) + 1) if log.kind(one) == "WORKFLOW_TASK_COMPLETED"]
    if not done:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, "unable to find any completed workflow task")
    return done[0 if first else -1]


def reset(server: Server, source: Execution, asked: Reset) -> Execution:
    """Reset a run. The latest run of the workflow, if it is open, is terminated.

    Raises RPCError INVALID_ARGUMENT if there is no workflow task at the event.
    """
    _check(source, asked.finish_id)
    jobs = _jobs(source, asked.finish_id)
    rebuilt = Rebuilt(source, asked.finish_id)
    again, later = rebuilt.run, _later(source, asked.finish_id)
    latest = server.open_execution(source.start.workflow_id)
    if latest is not None:
        latest.was_reset = True
        server.terminate(latest, asked.reason, identity="history-resetter")
    server.add(again)
    if again.start.parent is not None:
        again.start.parent.run = again
    _fail_task(again, source, asked.reason)
    again.task.pending = [job_of(update_random_seed={"randomness_seed": seed_of(again.run_id)}), *jobs]
    rebuilt.begin()
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
    log = source.log
    scheduled_id = log.attributes(finish_id - 1).get("scheduled_event_id", finish_id - 1)
    done = sum(log.kind(one) == "WORKFLOW_TASK_COMPLETED" for one in range(1, finish_id))
    others = ("do_update", "update_random_seed")
    jobs = source.task.jobs_at(scheduled_id, done)
    return [job for job in jobs if job.WhichOneof("variant") not in others]


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

    What waits for a workflow task that is under way counts too, and of later runs what came from outside alone.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    first, run = finish_id, source
    while True:
        log = run.log
        events = [(log.kind(one), log.attributes(one)) for one in range(first, len(log) + 1)]
        found += [one for one in events if run is source or not one[0].startswith((_CHILD, _NEXUS))]
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
        if kind.startswith(_CHILD):
            _tell_of_child(again, kind.removeprefix(_CHILD), attributes)
        if kind.startswith(_NEXUS) and asked.nexus:
            _tell_of_operation(again, kind.removeprefix(_NEXUS), attributes)


def _tell_of_child(again: Execution, what: str, attributes: dict[str, Any]) -> None:
    """Let it learn that a child that was open at the task has begun since, or ended."""
    child = again.children.by_event(attributes.get("initiated_event_id", 0))
    run = again.server.executions.get(attributes.get("workflow_execution", {}).get("run_id", ""))
    if child is None or run is None:
        return
    if what == "STARTED":
        child.begin_again(run)
    else:
        child.on_closed(run, wakes=False)


def _tell_of_operation(again: Execution, what: str, attributes: dict[str, Any]) -> None:
    """Let it learn what has come back since of a Nexus operation that was open at the task."""
    number = attributes.get("scheduled_event_id")
    known = again.nexus_operations.values()
    operation = next((one for one in known if one.event_id == number and not one.is_over), None)
    if operation is None:
        return
    if what == "STARTED":
        operation.begin_again(attributes)
    elif what in _ENDS_OF_OPERATIONS:
        operation.end_again(what, attributes)


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
