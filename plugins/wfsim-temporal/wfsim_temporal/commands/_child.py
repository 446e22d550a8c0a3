"""A child workflow as its parent's run knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure

from wfsim_temporal.commands._id_policy import refusal
from wfsim_temporal.commands._start import start_of_child
from wfsim_temporal.wire import NON_RETRYABLE_FAILURE, START_TO_CLOSE, Job, job_of, keeps_build_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal.execution import Execution

# ChildWorkflowCancellationType
_ABANDON: Final = 0
_TRY_CANCEL: Final = 1
# ParentClosePolicy
_TERMINATE: Final = 1
_REQUEST_CANCEL: Final = 3
_WORKFLOW_ALREADY_EXISTS: Final = 1


class Child:
    """One child, from the command that asks for it to its end.

    Attributes:
        run: its latest run; None before it started.
        is_resolved: whether the workflow knows the outcome.
        is_over: whether the parent's history has it.
        passed_to: the same child as a run knows it that its parent was reset to.
        user_metadata: its summary and details, if the workflow gave any.
    """

    def __init__(self, owner: Execution, asked: Any, origin: Child | None = None) -> None:
        self.owner = owner
        self.asked = asked
        self.initiated_id = 0
        self.is_resolved = self.is_over = False
        self.passed_to: Child | None = None
        self._origin = origin
        self._run: Execution | None = None
        self.user_metadata: Any = None
        self._started_id = 0

    @property
    def is_own(self) -> bool:
        """Whether it belongs to this parent, and not to a run that this one was reset from."""
        return self._origin is None

    @property
    def run(self) -> Execution | None:
        """See above."""
        return self._run if self._origin is None else self._origin.run

    @run.setter
    def run(self, run: Execution) -> None:
        if self._origin is None:
            self._run = run
        else:
            self._origin.run = run

    # -- beginning

    def for_reset(self, owner: Execution, started_id: int) -> Child:
        """Give it as a run knows it that its parent is reset to; ``started_id`` is 0 if it had not begun at that time.

        What has begun belongs to the old parent, as on a real server: the new one learns of its end, and no more.
        """
        made = Child(owner, self.asked, None if self.run is None else self)
        made.initiated_id, made._started_id = self.initiated_id, started_id
        made.user_metadata = self.user_metadata
        return made

    def initiated_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that initiates it."""
        asked = self.asked
        timeouts = ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout")
        return {
            **self._who(),
            "task_queue": {"name": asked.task_queue or self.owner.start.task_queue},
            "input": {"payloads": asked.input},
            "parent_close_policy": asked.parent_close_policy or _TERMINATE,
            "workflow_id_reuse_policy": asked.workflow_id_reuse_policy,
            "header": {"fields": asked.headers},
            "cron_schedule": asked.cron_schedule,
            "inherit_build_id": keeps_build_id(asked, self.owner.start.task_queue),
            "memo": {"fields": asked.memo} if asked.memo else None,
            "retry_policy": asked.retry_policy if asked.HasField("retry_policy") else None,
            "priority": asked.priority if asked.HasField("priority") else None,
            **{name: getattr(asked, name) for name in timeouts if asked.HasField(name)},
        }

    def _who(self) -> dict[str, Any]:
        return {
            "namespace": self.owner.server.namespace,
            "workflow_id": self.asked.workflow_id,
            "workflow_type": {"name": self.asked.workflow_type},
        }

    def start_attributes(self) -> dict[str, Any]:
        """Give what the child's own first event says of its parent."""
        owner, root = self.owner, self.owner.root
        return {
            "parent_workflow_namespace": owner.server.namespace,
            "parent_workflow_execution": {"workflow_id": owner.start.workflow_id, "run_id": owner.run_id},
            "parent_initiated_event_id": self.initiated_id,
            "root_workflow_execution": {"workflow_id": root.start.workflow_id, "run_id": root.run_id},
        }

    def begin(self) -> None:
        """Start it, unless its id is taken."""
        if self.owner.is_closed or self._started_id:
            return
        if not self.is_own:  # the server knows the request
            self._tell_start()
            return
        server = self.owner.server
        before = server.find(self.asked.workflow_id)
        if before is not None and refusal(before, self.asked.workflow_id_reuse_policy):
            self._begin_failed()
            return
        if before is not None:
            server.terminate(before, "TerminateIfRunning WorkflowIdReusePolicy Policy")
        self.run = server.begin(start_of_child(self.asked, self))
        self._tell_start()

    def begin_again(self, run: Execution) -> None:
        """Tell a parent that was reset that it has begun since, as ``run``."""
        if not self._started_id:
            self._tell_start(run, wakes=False)

    def _tell_start(self, run: Execution | None = None, *, wakes: bool = True) -> None:
        kind, told = "CHILD_WORKFLOW_EXECUTION_STARTED", self._base(run)
        self.owner.receive(kind, told, self._started, self._note_start, wakes=wakes)

    def _note_start(self) -> None:
        self._started_id = len(self.owner.log) + 1

    def _started(self) -> Job | None:
        if self.is_resolved:
            return None
        run_id = "" if self.run is None else self.run.run_id
        return self._start_job(succeeded={"run_id": run_id})

    def _begin_failed(self) -> None:
        self.is_resolved = True
        attributes = {
            **self._who(),
            "cause": _WORKFLOW_ALREADY_EXISTS,
            "initiated_event_id": self.initiated_id,
        }
        job = self._start_job(
            failed={
                "workflow_id": self.asked.workflow_id,
                "workflow_type": self.asked.workflow_type,
                "cause": _WORKFLOW_ALREADY_EXISTS,
            }
        )
        self.owner.receive("START_CHILD_WORKFLOW_EXECUTION_FAILED", attributes, job)

    def _start_job(self, **outcome: Any) -> Job:
        return job_of(resolve_child_workflow_execution_start={"seq": self.asked.seq, **outcome})

    def reference(self, run: Execution | None = None) -> dict[str, str]:
        """Name the child's execution, by its latest run if no other is given."""
        named = run or self.run
        return {"workflow_id": self.asked.workflow_id, "run_id": "" if named is None else named.run_id}

    def _base(self, run: Execution | None = None) -> dict[str, Any]:
        who = self._who()
        del who["workflow_id"]
        return {**who, "workflow_execution": self.reference(run), "initiated_event_id": self.initiated_id}

    # -- cancellation

    @property
    def tells_cancel_to_child(self) -> bool:
        """Whether the child hears of the cancellation."""
        return bool(self.asked.cancellation_type != _ABANDON)

    @property
    def resolves_at_once(self) -> bool:
        """Whether the workflow waits for nothing."""
        return self.asked.cancellation_type in {_ABANDON, _TRY_CANCEL}

    def canceled_before_start(self, reason: str) -> Job:
        """Tell the workflow that the child never began."""
        failure = self._failure("Child Workflow execution failed")
        failure.cause.message = f"Child Workflow Execution cancelled before scheduled: {reason}"
        failure.cause.canceled_failure_info.SetInParent()
        return self._start_job(cancelled={"failure": failure})

    def canceled_at_once(self) -> Job:
        """Tell the workflow that the child is cancelled, whatever it does."""
        if self._started_id:
            return self._canceled_job()
        failure = self._failure("Child Workflow execution failed")
        failure.cause.canceled_failure_info.SetInParent()
        return self._start_job(cancelled={"failure": failure})

    def request_cancel(self, initiated_id: int, reason: str) -> None:
        """Ask the child to cancel itself."""
        server = self.owner.server
        run = server.find(self.asked.workflow_id)  # that it has ended is no objection
        attributes = {
            "initiated_event_id": initiated_id,
            "namespace": server.namespace,
            "workflow_execution": self.reference(),
        }
        if run is None or not self.is_own:
            kind = "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"
            self.owner.receive(kind, {**attributes, "cause": 1}, None)
            return
        server.request_cancel(run, reason)
        self.owner.receive("EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED", attributes, None)

    def _canceled_job(self) -> Job:
        failure = self._failure("Child Workflow execution cancelled", NON_RETRYABLE_FAILURE)
        failure.cause.canceled_failure_info.SetInParent()
        return self._result_job(cancelled={"failure": failure})

    # -- the end

    def on_closed(self, run: Execution, *, wakes: bool = True) -> None:
        """Tell the parent how the child's last run ended."""
        if self.passed_to is not None:
            self.passed_to.on_closed(run, wakes=wakes)
            return
        if self.owner.is_closed or self.is_over:
            return
        self.is_over = True
        kind, attributes, job = _ENDINGS[run.status](self, run)

        def resolve() -> Job | None:
            if self.is_resolved:
                return None
            self.is_resolved = True
            return job

        def all_attributes() -> dict[str, Any]:
            return {**self._base(run), "started_event_id": self._started_id, **attributes}

        self.owner.receive(f"CHILD_WORKFLOW_EXECUTION_{kind}", all_attributes, resolve, wakes=wakes)

    def _completed(self, run: Execution) -> tuple[str, dict[str, Any], Job]:
        job = self._result_job(completed={"result": run.result})
        return "COMPLETED", {"result": {"payloads": [run.result]}}, job

    def _canceled(self, _run: Execution) -> tuple[str, dict[str, Any], Job]:
        return "CANCELED", {}, self._canceled_job()

    def _failed(self, run: Execution) -> tuple[str, dict[str, Any], Job]:
        failure = self._failure("Child Workflow execution failed", run.retry_state)
        failure.cause.CopyFrom(run.failure)
        told = {"failure": run.failure, "retry_state": run.retry_state}
        return "FAILED", told, self._result_job(failed={"failure": failure})

    def _timed_out(self, run: Execution) -> tuple[str, dict[str, Any], Job]:
        failure = self._failure("Child Workflow execution timed out", run.retry_state)
        failure.cause.message = "Timed out"
        failure.cause.timeout_failure_info.timeout_type = START_TO_CLOSE  # type: ignore[assignment]
        return "TIMED_OUT", {"retry_state": run.retry_state}, self._result_job(failed={"failure": failure})

    def _terminated(self, _run: Execution) -> tuple[str, dict[str, Any], Job]:
        failure = self._failure("Child Workflow execution terminated")
        failure.cause.message = "Terminated"
        failure.cause.terminated_failure_info.SetInParent()
        return "TERMINATED", {}, self._result_job(failed={"failure": failure})

    def _result_job(self, **outcome: Any) -> Job:
        return job_of(resolve_child_workflow_execution={"seq": self.asked.seq, "result": outcome})

    def _failure(self, message: str, retry_state: int = 0) -> Failure:
        failure = Failure(message=message)
        told = failure.child_workflow_execution_failure_info
        told.namespace = self.owner.server.namespace
        told.workflow_type.name = self.asked.workflow_type
        told.workflow_execution.workflow_id = self.asked.workflow_id
        told.workflow_execution.run_id = "" if self.run is None else self.run.run_id
        told.retry_state = retry_state  # type: ignore[assignment]
        return failure

    def on_parent_closed(self) -> None:
        """Do what the parent-close policy says, now that the parent has ended."""
        server, policy = self.owner.server, self.asked.parent_close_policy or _TERMINATE
        if self.run is None or self.run.is_closed or not self.is_own:
            return
        if policy == _TERMINATE:
            server.soon(server.terminate, self.run, "by parent close policy")
        elif policy == _REQUEST_CANCEL:
            server.soon(server.request_cancel, self.run, "by parent close policy")


_ENDINGS: Final[dict[str, Callable[[Child, Execution], tuple[str, dict[str, Any], Job]]]] = {
    "completed": Child._completed,
    "canceled": Child._canceled,
    "failed": Child._failed,
    "timed_out": Child._timed_out,
    "terminated": Child._terminated,
}
