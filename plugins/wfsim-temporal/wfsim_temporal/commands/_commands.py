"""The server's part: the commands of a completed workflow task become events and things to wait for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import Payload, Payloads

from wfsim_temporal.commands import _external as external
from wfsim_temporal.commands._continuation import after_failure, after_success, following
from wfsim_temporal.commands._search_attributes import merged, typed
from wfsim_temporal.commands._start import BY_CONTINUE_AS_NEW
from wfsim_temporal.wire import Job, duration, indexed_fields, keeps_build_id, ns_of, to_ns

if TYPE_CHECKING:
    import asyncio

    from wfsim_temporal.commands._activity import Activity
    from wfsim_temporal.commands._child import Child
    from wfsim_temporal.commands._nexus_operation import NexusOperation
    from wfsim_temporal.core import Command
    from wfsim_temporal.execution import Execution

TERMINAL: Final = ("complete", "fail", "cancel", "continue_as_new")
_CHANGE_VERSION: Final = "TemporalChangeVersion"


def events_of(command: Command) -> int:
    """Give how many events a command becomes."""
    return {"patch": 2, "update_rejected": 0}.get(command.kind, 1)


@dataclass(slots=True)
class Timer:
    """A timer that runs, and the event that started it."""

    event_id: int
    handle: asyncio.TimerHandle


class Commands:
    """Applies the commands of one task, whose completion is event ``completed_id``."""

    def __init__(self, execution: Execution, completed_id: int) -> None:
        self._execution = execution
        self._server = execution.server
        self._completed_id = completed_id

    def apply(self, commands: list[Command]) -> None:
        """Apply all; the first that ends the run goes last."""
        for command in commands:
            if command.kind not in TERMINAL:
                getattr(self, f"_{command.kind}")(command.body)
                if command.user_metadata is not None:
                    self._annotate(command)
        for command in [one for one in commands if one.kind in TERMINAL][:1]:
            getattr(self, f"_{command.kind}")(command.body)

    def _annotate(self, command: Command) -> None:
        self._execution.log.annotate(command.user_metadata)
        if command.kind == "start_child":
            command.body.user_metadata = command.user_metadata

    def _add(self, kind: str, **attributes: Any) -> int:
        return self._execution.add(kind, workflow_task_completed_event_id=self._completed_id, **attributes)

    # -- timers

    def _start_timer(self, asked: Any) -> None:
        ns = to_ns(asked.start_to_fire_timeout)
        event_id = self._add("TIMER_STARTED", timer_id=str(asked.seq), start_to_fire_timeout=duration(ns))
        handle = self._execution.fire_timer_after(ns, asked.seq)
        self._execution.timers[asked.seq] = Timer(event_id, handle)

    def _cancel_timer(self, asked: Any) -> None:
        timer = self._execution.timers.pop(asked.seq)
        timer.handle.cancel()
        task = self._execution.task
        # It may have fired while this task was under way: then the server takes the event back.
        task.buffered = [one for one in task.buffered if not _fires(one[2], asked.seq)]
        self._add("TIMER_CANCELED", timer_id=str(asked.seq), started_event_id=timer.event_id)

    # -- activities

    def _schedule_activity(self, activity: Activity) -> None:
        activity.event_id = self._add("ACTIVITY_TASK_SCHEDULED", **activity.scheduled_attributes())
        activity.schedule()

    def _request_cancel_activity(self, activity: Activity) -> None:
        if activity.is_over:
            return  # it ended while this task was under way
        event_id = self._add("ACTIVITY_TASK_CANCEL_REQUESTED", scheduled_event_id=activity.event_id)
        activity.cancel_if_not_started(event_id)

    def _local_activity_marker(self, attributes: dict[str, Any]) -> None:
        self._add("MARKER_RECORDED", **attributes)

    # -- Nexus operations

    def _schedule_nexus(self, operation: NexusOperation) -> None:
        operation.event_id = self._add("NEXUS_OPERATION_SCHEDULED", **operation.scheduled_attributes())
        operation.schedule()

    def _cancel_nexus(self, operation: NexusOperation) -> None:
        if operation.is_over:
            return  # it ended while this task was under way
        event_id = self._add("NEXUS_OPERATION_CANCEL_REQUESTED", scheduled_event_id=operation.event_id)
        operation.request_cancel(event_id)

    # -- other workflows

    def _start_child(self, child: Child) -> None:
        child.initiated_id = self._add(
            "START_CHILD_WORKFLOW_EXECUTION_INITIATED", **child.initiated_attributes()
        )
        self._server.soon(child.begin)

    def _cancel_child(self, asked: tuple[Child, str]) -> None:
        child, reason = asked
        initiated_id = self._add(
            "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED",
            namespace=self._server.namespace,
            workflow_execution=child.reference(),
            child_workflow_only=True,
            reason=reason,
        )
        self._execution.externals[initiated_id] = asked
        self._server.soon(child.request_cancel, initiated_id, reason)

    def _signal_external(self, asked: Any) -> None:
        call = external.Signal(self._execution, asked)
        initiated_id = self._add(
            "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", **call.initiated_attributes()
        )
        self._execution.externals[initiated_id] = asked
        self._server.soon(call.arrive, initiated_id)

    def _cancel_external(self, asked: Any) -> None:
        call = external.Cancel(self._execution, asked)
        initiated_id = self._add(
            "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED", **call.initiated_attributes()
        )
        self._execution.externals[initiated_id] = asked
        self._server.soon(call.arrive, initiated_id)

    # -- properties of the workflow

    def _patch(self, asked: Any) -> None:
        data = _json({"id": asked.patch_id, "deprecated": asked.deprecated})
        self._add(
            "MARKER_RECORDED", marker_name="core_patch", details={"patch-data": Payloads(payloads=[data])}
        )
        self._execution.note_patch(asked.patch_id)
        known = _json(sorted(self._execution.patches), type=b"KeywordList")
        self._upsert({_CHANGE_VERSION: known})

    def _upsert_search_attributes(self, asked: Any) -> None:
        self._upsert(indexed_fields(asked))

    def _upsert(self, fields: dict[str, Any]) -> None:
        fields = typed(fields, self._server.search_attribute_types)
        self._execution.search_attributes = merged(self._execution.search_attributes, fields)
        self._add("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", search_attributes={"indexed_fields": fields})

    def _modify_properties(self, asked: Any) -> None:
        self._execution.modify_memo(asked.upserted_memo)
        self._add("WORKFLOW_PROPERTIES_MODIFIED", upserted_memo=asked.upserted_memo)

    # -- updates

    def _update_accepted(self, update: Any) -> None:
        update.accept(self._execution, self._completed_id)

    def _update_completed(self, told: tuple[Any, Any, Any]) -> None:
        update, result, failure = told
        update.complete(self._execution, result, failure)

    def _update_rejected(self, told: tuple[Any, Any]) -> None:
        update, failure = told
        self._execution.updates.reject(update, failure)

    # -- the end of the run

    def _close(self, status: str, kind: str, **attributes: Any) -> None:
        told = {**attributes, "workflow_task_completed_event_id": self._completed_id}
        self._execution.close(status, kind, told)

    def _complete(self, asked: Any) -> None:
        self._execution.result = asked.result
        again = after_success(self._execution, asked.result)
        self._close(
            "completed",
            "WORKFLOW_EXECUTION_COMPLETED",
            result={"payloads": [asked.result]},
            new_execution_run_id=again and again.run_id,
        )

    def _cancel(self, _asked: Any) -> None:
        self._close("canceled", "WORKFLOW_EXECUTION_CANCELED")

    def _fail(self, asked: Any) -> None:
        execution, failure = self._execution, asked.failure
        state, again = after_failure(execution, failure)
        execution.failure, execution.retry_state = failure, state
        told = {"failure": failure, "retry_state": state, "new_execution_run_id": again and again.run_id}
        self._close("failed", "WORKFLOW_EXECUTION_FAILED", **told)

    def _continue_as_new(self, asked: Any) -> None:
        start, versioning = self._execution.start, self._execution.versioning
        queue = asked.task_queue or start.task_queue
        attributes = {
            name: one for name, one in self._execution.search_attributes.items() if name != _CHANGE_VERSION
        }
        again = following(
            self._execution,
            payloads=tuple(asked.arguments),
            initiator=BY_CONTINUE_AS_NEW,
            headers=dict(asked.headers),
            attempt=1,
            cron_schedule="",
            last_failure=None,
            workflow_type=asked.workflow_type or start.workflow_type,
            task_queue=queue,
            heritage=versioning.heritage_for(
                queue, initial=getattr(asked, "initial_versioning_behavior", 0), is_next=True
            ),
            run_timeout_ns=ns_of(asked, "workflow_run_timeout") or start.run_timeout_ns,
            retry_policy=asked.retry_policy if asked.HasField("retry_policy") else start.retry_policy,
            memo=dict(asked.memo) or start.memo,  # what was changed since does not go on
            search_attributes=indexed_fields(asked) or attributes,
        )
        self._close(
            "continued_as_new",
            "WORKFLOW_EXECUTION_CONTINUED_AS_NEW",
            new_execution_run_id=again.run_id,
            workflow_type={"name": again.start.workflow_type},
            task_queue={"name": again.start.task_queue},
            input={"payloads": again.start.payloads},
            initiator=BY_CONTINUE_AS_NEW,
            inherit_build_id=keeps_build_id(asked, start.task_queue),
        )


def _fires(job: Any, seq: int) -> bool:
    return isinstance(job, Job) and job.HasField("fire_timer") and job.fire_timer.seq == seq


def _json(value: Any, **metadata: bytes) -> Payload:
    data = json.dumps(value, separators=(",", ":")).encode()
    return Payload(metadata={"encoding": b"json/plain", **metadata}, data=data)
