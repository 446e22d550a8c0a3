"""What an execution is started with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from temporalio.service import RPCStatusCode

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.timetable import first_backoff_ns
from wfsim_temporal.versions import Heritage, override_of
from wfsim_temporal.wire import FOREVER, duration, merged_priority, ns_of, rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.commands._child import Child

BY_CONTINUE_AS_NEW = 1
BY_RETRY = 2
BY_CRON = 3
_TASK_TIMEOUT_NS = 10 * NS_PER_SECOND


@dataclass(frozen=True)
class Start:
    """All that a start request, a parent or the run before says about a run; durations in nanoseconds."""

    workflow_id: str
    workflow_type: str
    task_queue: str
    payloads: tuple[Any, ...] = ()
    headers: dict[str, Any] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)
    search_attributes: dict[str, Any] = field(default_factory=dict)
    retry_policy: Any = None
    execution_timeout_ns: int | None = None
    run_timeout_ns: int | None = None
    task_timeout_ns: int = _TASK_TIMEOUT_NS
    delay_ns: int = 0
    attempt: int = 1
    initiator: int = 0
    first_run_id: str = ""
    continued_run_id: str = ""
    last_result: Any = None
    last_failure: Any = None
    deadline_ns: int = FOREVER
    parent: Child | None = None
    request_id: str = ""
    cron_schedule: str = ""
    is_eager: bool = False
    user_metadata: Any = None
    priority: Any = None
    callbacks: tuple[Any, ...] = ()
    links: tuple[Any, ...] = ()
    heritage: Heritage = field(default_factory=Heritage)
    identity: str = ""

    def attributes(self, run_id: str, first_run_id: str) -> dict[str, Any]:
        """Give the attributes of the event that begins the run."""
        return {
            "workflow_type": {"name": self.workflow_type},
            "task_queue": {"name": self.task_queue, "kind": 1},
            "input": {"payloads": self.payloads},
            "original_execution_run_id": run_id,
            "first_execution_run_id": first_run_id,
            "continued_execution_run_id": self.continued_run_id,
            "attempt": self.attempt,
            "workflow_id": self.workflow_id,
            "workflow_task_timeout": duration(self.task_timeout_ns),
            "workflow_run_timeout": self.run_timeout_ns and duration(self.run_timeout_ns),
            "workflow_execution_timeout": self.execution_timeout_ns and duration(self.execution_timeout_ns),
            "first_workflow_task_backoff": duration(self.delay_ns) if self.delay_ns else None,
            "initiator": self.initiator,
            "eager_execution_accepted": self.is_eager or None,
            "cron_schedule": self.cron_schedule,
            "header": {"fields": self.headers},
            "memo": {"fields": self.memo} if self.memo else None,
            "search_attributes": {"indexed_fields": self.search_attributes}
            if self.search_attributes
            else None,
            "retry_policy": self.retry_policy,
            "last_completion_result": self.last_result,
            "continued_failure": self.last_failure,
            "identity": self.identity,
            "completion_callbacks": self.callbacks or None,
            "links": self.links,
            "user_metadata": self.user_metadata,
            "priority": self.priority,
            **({} if self.parent is None else self.parent.start_attributes()),
            **self.heritage.attributes(),
        }


def start_of(request: Any, now_ns: int) -> Start:
    """Read a client's start request (also one that is part of signal-with-start).

    Raises RPCError INVALID_ARGUMENT for a cron schedule that is none.
    """
    if request.cron_schedule and request.HasField("workflow_start_delay"):
        message = "CronSchedule and WorkflowStartDelay may not be used together."
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
    start = Start(
        workflow_id=request.workflow_id,
        workflow_type=request.workflow_type.name,
        task_queue=request.task_queue.name,
        payloads=tuple(request.input.payloads),
        headers=dict(request.header.fields),
        memo=dict(request.memo.fields),
        search_attributes=dict(request.search_attributes.indexed_fields),
        retry_policy=request.retry_policy if request.HasField("retry_policy") else None,
        execution_timeout_ns=ns_of(request, "workflow_execution_timeout"),
        run_timeout_ns=ns_of(request, "workflow_run_timeout"),
        task_timeout_ns=ns_of(request, "workflow_task_timeout") or _TASK_TIMEOUT_NS,
        delay_ns=ns_of(request, "workflow_start_delay") or 0,
        request_id=request.request_id,
        is_eager=getattr(request, "request_eager_execution", False)
        and not request.HasField("workflow_start_delay"),
        user_metadata=request.user_metadata if request.HasField("user_metadata") else None,
        callbacks=tuple(request.completion_callbacks) if hasattr(request, "completion_callbacks") else (),
        links=tuple(own_links(request)),
        heritage=Heritage(override_of(request.versioning_override)),
        priority=request.priority if request.HasField("priority") else None,
        identity=request.identity,
    )
    return on_schedule(start, request.cron_schedule, now_ns)


def own_links(request: Any) -> list[Any]:
    """Give the links of a request but for those that its callbacks have too."""
    callbacks = getattr(request, "completion_callbacks", ())
    known = [link for callback in callbacks for link in callback.links]
    return [link for link in request.links if link not in known]


def on_schedule(start: Start, cron_schedule: str, now_ns: int) -> Start:
    """Let a first run wait for its cron schedule, if it has one. Raises RPCError INVALID_ARGUMENT."""
    if not cron_schedule:
        return start
    delay_ns = first_backoff_ns(cron_schedule, now_ns)
    return replace(start, cron_schedule=cron_schedule, delay_ns=delay_ns, initiator=BY_CRON, is_eager=False)


def start_of_child(command: Any, child: Child) -> Start:
    """Read a workflow's command to start a child."""
    queue = command.task_queue or child.owner.start.task_queue
    start = Start(
        workflow_id=command.workflow_id,
        workflow_type=command.workflow_type,
        task_queue=queue,
        payloads=tuple(command.input),
        headers=dict(command.headers),
        memo=dict(command.memo),
        search_attributes=dict(
            getattr(command.search_attributes, "indexed_fields", command.search_attributes)
        ),
        retry_policy=command.retry_policy if command.HasField("retry_policy") else None,
        execution_timeout_ns=ns_of(command, "workflow_execution_timeout"),
        run_timeout_ns=ns_of(command, "workflow_run_timeout"),
        task_timeout_ns=ns_of(command, "workflow_task_timeout") or _TASK_TIMEOUT_NS,
        parent=child,
        heritage=child.owner.versioning.heritage_for(queue),
        user_metadata=child.user_metadata,
        priority=merged_priority(child.owner.start.priority, command.priority),
    )
    return on_schedule(start, command.cron_schedule, child.owner.server.now_ns)
