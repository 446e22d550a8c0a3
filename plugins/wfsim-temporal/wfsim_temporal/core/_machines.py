"""Core's part: what a workflow asks for, made into commands for the server.

One method for each command of the SDK, named after it. A cancellation may take back a command that was not
sent yet, or resolve at once what the workflow waits for: then the workflow is activated again within the same
task. Source of the behaviour: ``temporalio/sdk-core``, its state machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.workflow_commands import FailWorkflowExecution
from temporalio.service import RPCError

from wfsim_temporal.commands import ABANDON, MOST_OPEN, TRY_CANCEL, Activity, NexusOperation
from wfsim_temporal.core._instance import ActivationFailed, CommandRefused
from wfsim_temporal.core._local_activity import LocalActivity
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.timetable import first_backoff_ns
from wfsim_temporal.wire import Job, job_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wfsim_temporal.commands import Child
    from wfsim_temporal.core._activation import Activation
    from wfsim_temporal.execution import Execution

# ActivityCancellationType; to try and not to wait is 0
_WAIT_CANCELLATION_COMPLETED: Final = 1
_ABANDON: Final = 2
_LOCAL: Final = "schedule_local_activity"

# WorkflowTaskFailedCause
_BAD_SCHEDULE_NEXUS_OPERATION: Final = 32
_TOO_MANY_NEXUS_OPERATIONS: Final = 33

_METADATA: Final[dict[str, Any]] = {"sdk_name": "temporal-python", "sdk_version": "wfsim"}
_FIRST_METADATA: Final = {**_METADATA, "core_used_flags": [1, 2, 3]}


@dataclass(slots=True)
class Command:
    """What the server is to do when the workflow task completes; one that was taken back is not live."""

    kind: str
    seq: int
    body: Any
    is_live: bool = True
    user_metadata: Any = None


class Machines:
    """The commands of the workflow task under way."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.commands: list[Command] = []
        self.local_activities: dict[int, LocalActivity] = {}
        self._resolved: list[Job] = []
        self._undo: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Forget the commands of the task before."""
        self.commands = []
        self._undo = []

    def undo(self) -> None:
        """Know again what was known before this task, which came to nothing."""
        while self._undo:
            self._undo.pop()()

    def take(self, commands: Iterable[Any]) -> list[Job]:
        """Take what an activation gave; give the jobs that want another activation at once."""
        self._resolved = []
        for command in commands:
            kind = command.WhichOneof("variant")
            handle = getattr(self, f"_{kind}", None)
            if handle is None:
                raise NotSimulated(f"a workflow asked for {kind.replace('_', ' ')}, which is not simulated")
            before = len(self.commands)
            handle(getattr(command, kind))
            if command.HasField("user_metadata") and len(self.commands) > before:
                self.commands[-1].user_metadata = command.user_metadata
        return self._resolved

    def push(self, kind: str, seq: int, body: Any) -> None:
        """Add a command."""
        self.commands.append(Command(kind, seq, body))

    def give_up(self, failure: Failure) -> None:
        """Fail the workflow, in place of all that it asked for."""
        self.commands = [Command("fail", 0, FailWorkflowExecution(failure=failure))]

    def has_ended(self) -> bool:
        """Whether the workflow function has come to its end."""
        return any(one.kind in {"complete", "fail", "cancel", "continue_as_new"} for one in self.commands)

    def sdk_metadata(self, *, is_first: bool, lang_flags: list[int]) -> dict[str, Any]:
        """Give what Core notes on a completed task: its own flags on the first, the SDK's where they are new."""
        told = _FIRST_METADATA if is_first else _METADATA
        return {**told, "lang_used_flags": lang_flags} if lang_flags else told

    def drop_local_activities(self) -> None:
        """Stop them: the workflow is gone from the worker."""
        for activity in self.local_activities.values():
            activity.is_dropped = True
        self.local_activities.clear()

    def _resolve(self, waited_for: Activity | NexusOperation | Child, job: Job) -> None:
        """Let the workflow know the outcome at once. If the task comes to nothing, it does not know it any more."""
        waited_for.is_resolved = True
        self._undo.append(partial(setattr, waited_for, "is_resolved", False))
        self._resolved.append(job)

    def resume_local_activities(self, done: Iterable[Iterable[Activation]]) -> None:
        """Begin those again that earlier tasks began and that have left no marker: the worker that had them is gone."""
        activations = [one for task in done for one in task]
        commands = [command for one in activations for command in one.commands]
        ended = [job.resolve_activity.seq for one in activations for job in one.jobs if _ends_local(job)]
        canceled = [one.request_cancel_local_activity.seq for one in commands]
        for asked in [one.schedule_local_activity for one in commands if one.HasField(_LOCAL)]:
            if asked.seq not in ended:
                self._schedule_local_activity(asked)
                if asked.seq in canceled:
                    self.local_activities[asked.seq].request_cancel()

    def _take_back(self, kind: str, seq: int) -> bool:
        for one in self.commands:
            if one.kind == kind and one.seq == seq and one.is_live:
                one.is_live = False
                return True
        return False

    # -- timers

    def _start_timer(self, asked: Any) -> None:
        self.push("start_timer", asked.seq, asked)

    def _cancel_timer(self, asked: Any) -> None:
        jobs = self._execution.task.jobs
        if any(job.HasField("fire_timer") and job.fire_timer.seq == asked.seq for job in jobs):
            return  # it has fired in this very task
        if not self._take_back("start_timer", asked.seq):
            self.push("cancel_timer", asked.seq, asked)

    # -- activities

    def _schedule_activity(self, asked: Any) -> None:
        activity = self._execution.activities[asked.seq] = Activity(self._execution, asked)
        self._undo.append(partial(self._execution.activities.pop, asked.seq, None))
        self.push("schedule_activity", asked.seq, activity)

    def _request_cancel_activity(self, asked: Any) -> None:
        activity = self._execution.activities.get(asked.seq)
        if activity is None or activity.is_resolved:
            return
        if self._take_back("schedule_activity", asked.seq):
            del self._execution.activities[asked.seq]
            self._resolved.append(activity.canceled_job())
            return
        wanted = activity.asked.cancellation_type
        if wanted != _WAIT_CANCELLATION_COMPLETED:
            self._resolve(activity, activity.canceled_job())
        if wanted != _ABANDON:
            self.push("request_cancel_activity", asked.seq, activity)

    def _schedule_local_activity(self, asked: Any) -> None:
        activity = self.local_activities[asked.seq] = LocalActivity(self._execution, asked)
        activity.begin()

    def _request_cancel_local_activity(self, asked: Any) -> None:
        activity = self.local_activities.get(asked.seq)
        if activity is None:
            return
        if activity.asked.cancellation_type != _WAIT_CANCELLATION_COMPLETED:
            self._resolved.append(activity.cancel_at_once())
        if activity.asked.cancellation_type != _ABANDON:
            activity.request_cancel()

    # -- Nexus operations

    def _schedule_nexus_operation(self, asked: Any) -> None:
        execution = self._execution
        if execution.server.nexus_endpoint(asked.endpoint) is None:
            message = f'BadScheduleNexusOperationAttributes: endpoint "{asked.endpoint}" not found'
            raise CommandRefused(_BAD_SCHEDULE_NEXUS_OPERATION, message)
        open_ones = [one for one in execution.nexus_operations.values() if one.event_id and not one.is_over]
        new_ones = [one for one in self.commands if one.kind == "schedule_nexus" and one.is_live]
        if len(open_ones) + len(new_ones) >= MOST_OPEN:
            message = (
                "PendingNexusOperationsLimitExceeded: workflow has reached the pending nexus operation limit of "
                f"{MOST_OPEN} for this namespace"
            )
            raise CommandRefused(_TOO_MANY_NEXUS_OPERATIONS, message)
        operation = execution.nexus_operations[asked.seq] = NexusOperation(execution, asked)
        self.push("schedule_nexus", asked.seq, operation)

    def _request_cancel_nexus_operation(self, asked: Any) -> None:
        operation = self._execution.nexus_operations.get(asked.seq)
        if operation is None or operation.is_resolved:
            return
        if self._take_back("schedule_nexus", asked.seq):
            self._resolve(operation, operation.canceled_job("Nexus Operation cancelled before scheduled"))
            return
        wanted = operation.asked.cancellation_type
        if wanted != ABANDON:
            self.push("cancel_nexus", asked.seq, operation)
        if wanted in {ABANDON, TRY_CANCEL}:
            self._resolve(operation, operation.canceled_job("Nexus operation cancelled after starting"))

    # -- other workflows

    def _start_child_workflow_execution(self, asked: Any) -> None:
        if asked.cron_schedule:
            self._check_cron(asked)
        self.push("start_child", asked.seq, self._execution.children.add(asked))

    def _check_cron(self, asked: Any) -> None:
        """Fail the workflow task, as the server does, for a cron schedule that is none."""
        try:
            first_backoff_ns(asked.cron_schedule, self._execution.server.now_ns)
        except RPCError as error:
            message = f"BadStartChildExecutionAttributes: {error.message} CronSchedule: {asked.cron_schedule}"
            raise ActivationFailed(Failure(message=message)) from None

    def _cancel_child_workflow_execution(self, asked: Any) -> None:
        child = self._execution.children.get(asked.child_workflow_seq)
        if child is None or child.is_resolved:
            return
        if self._take_back("start_child", asked.child_workflow_seq):
            self._resolve(child, child.canceled_before_start(asked.reason))
            return
        if child.tells_cancel_to_child:
            self.push("cancel_child", asked.child_workflow_seq, (child, asked.reason))
        if child.resolves_at_once:
            self._resolve(child, child.canceled_at_once())

    def _signal_external_workflow_execution(self, asked: Any) -> None:
        self.push("signal_external", asked.seq, asked)

    def _cancel_signal_workflow(self, asked: Any) -> None:
        if self._take_back("signal_external", asked.seq):
            failure = Failure(message="Signal was cancelled before being sent")
            failure.canceled_failure_info.SetInParent()
            told = {"seq": asked.seq, "failure": failure}
            self._resolved.append(job_of(resolve_signal_external_workflow=told))

    def _request_cancel_external_workflow_execution(self, asked: Any) -> None:
        self.push("cancel_external", asked.seq, asked)

    # -- the workflow itself

    def _set_patch_marker(self, asked: Any) -> None:
        self.push("patch", 0, asked)

    def _upsert_workflow_search_attributes(self, asked: Any) -> None:
        self.push("upsert_search_attributes", 0, asked)

    def _modify_workflow_properties(self, asked: Any) -> None:
        self.push("modify_properties", 0, asked)

    def _update_response(self, asked: Any) -> None:
        update = self._execution.updates.find(asked.protocol_instance_id)
        response = asked.WhichOneof("response")
        if update is None:
            return
        if response == "accepted":
            update.is_accepted = True
            self._undo.append(partial(setattr, update, "is_accepted", False))
            self.push("update_accepted", 0, update)
        elif response == "completed":
            self.push("update_completed", 0, (update, asked.completed, None))
        elif update.is_accepted:
            self.push("update_completed", 0, (update, None, asked.rejected))
        else:
            self.push("update_rejected", 0, (update, asked.rejected))

    def _respond_to_query(self, asked: Any) -> None:
        """Whoever asked has read the answer off the activation."""

    def _complete_workflow_execution(self, asked: Any) -> None:
        self.push("complete", 0, asked)

    def _fail_workflow_execution(self, asked: Any) -> None:
        self.push("fail", 0, asked)

    def _cancel_workflow_execution(self, asked: Any) -> None:
        self.push("cancel", 0, asked)

    def _continue_as_new_workflow_execution(self, asked: Any) -> None:
        self.push("continue_as_new", 0, asked)


def _ends_local(job: Job) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local
