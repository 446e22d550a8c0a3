"""One run of a workflow, as the server knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import SearchAttributes
from temporalio.bridge.proto import workflow_activation

from wfsim_temporal.commands import after_failure
from wfsim_temporal.core import WorkflowTask
from wfsim_temporal.execution._children import Children
from wfsim_temporal.execution._event_log import EventLog
from wfsim_temporal.execution._journal import Journal
from wfsim_temporal.execution._limits import LimitCheck
from wfsim_temporal.execution._seed import seed_of
from wfsim_temporal.execution._updates import Updates
from wfsim_temporal.nexus import Completion, outcome_of_run
from wfsim_temporal.versions import Versioning, kept_payload
from wfsim_temporal.wire import FOREVER, START_TO_CLOSE, TIMEOUT, Job, job_of, link_to_event, timeout_failure

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from temporalio.client import WorkflowHistory

    from wfsim_temporal.activities import Pause
    from wfsim_temporal.commands import Activity, NexusOperation, Start, Timer
    from wfsim_temporal.server import Server

_SIGNALS_NAME_THEIR_EVENT: Final = (
    "originating_event_id" in workflow_activation.SignalWorkflow.DESCRIPTOR.fields_by_name
)
PAUSE_INFO: Final = "TemporalPauseInfo"
"""The search attribute that tells which types of activities an operator has paused."""


class Execution:
    """A run: its events, what it waits for, and how it ended.

    Attributes:
        status: "running", "completed", "failed", "canceled", "terminated", "continued_as_new" or "timed_out".
        closed: a future that is done when the run has ended; its error is one that a server would try for ever.
        result: the payload of a completed run.
        failure: the failure of a failed one.
        pause: that of the whole run, by an operator; None without one.
        paused_types: types of activities that an operator has paused.
        next_run: the run that follows this one (continue-as-new, retry).
        was_reset: whether another run goes on with its history: then nobody is told that this one has ended.
        externals: what it has asked of other workflows, by the events that say so.
    """

    def __init__(self, server: Server, start: Start, run_id: str) -> None:
        self.server = server
        self.start = start
        self.run_id = run_id
        self.seed = seed_of(run_id)
        self.first_run_id = start.first_run_id or run_id
        self.original_run_id = run_id
        self.began_ns = server.now_ns
        is_first = not start.continued_run_id
        self.deadline_ns = server.deadline_ns(start.execution_timeout_ns) if is_first else start.deadline_ns
        self.closed_ns = self.first_task_ns = 0
        self.log = EventLog()
        self.journal = Journal.of_workflow(self)
        self.limits = LimitCheck(self, server.limits)
        self.versioning = Versioning(self)
        self.task = WorkflowTask(self)
        self.timers: dict[int, Timer] = {}
        self.activities: dict[int, Activity] = {}
        self.nexus_operations: dict[int, NexusOperation] = {}
        self.callbacks = list(start.callbacks)
        self._attached: list[str] = []
        self._heard: dict[str, None] = {}
        self.children = Children(self)
        self.updates = Updates(self)
        self.memo = dict(start.memo)
        self.search_attributes = dict(start.search_attributes)
        self.patches: list[str] = []
        self.paused_types: list[str] = []
        self.pause: Pause | None = None
        self.cancel_requested = self.is_deleted = False
        self.status = "running"
        self.is_closed = False
        self.result: Any = None
        self.failure: Any = None
        self.retry_state = 0
        self.next_run: Execution | None = None
        self.waited_at: list[str] = []
        self.was_reset = False
        self.externals: dict[int, Any] = {}
        self.closed = server.future()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def told_status(self) -> str:
        """Its status as a client is told it: "paused" is one too."""
        return self.status if self.pause is None or self.is_closed else "paused"

    @property
    def root(self) -> Execution:
        """The run at the top of the tree of children."""
        return self if self.start.parent is None else self.start.parent.owner.root

    def waiting_at(self) -> list[str]:
        """Give where its code waits, or did when a worker last had it in its cache."""
        return self.waited_at if self.task.sticky is None else self.task.sticky.places_of(self)

    def indexed(self) -> SearchAttributes:
        """Give the search attributes as a message."""
        return SearchAttributes(indexed_fields=self.search_attributes)

    def kept_attributes(self) -> dict[str, Any]:
        """Give the search attributes that the server itself keeps of it."""
        told = self.versioning.search_attributes()
        paused = [f"property:activityType={one}" for one in self.paused_types]
        if self.pause is not None:
            paused = [f"Workflow:{self.start.workflow_id}", f"Reason:{self.pause.reason}", *paused]
        if paused:
            told[PAUSE_INFO] = kept_payload(paused)
        return told

    def set_pause(self, pause: Pause) -> None:
        """Let no workflow task begin until it goes on, nor any attempt of an activity; what runs goes on."""
        self.journal.fact("pause", self.start.workflow_type)
        self.task.take_back()
        self.pause = pause
        self.receive("WORKFLOW_EXECUTION_PAUSED", _told_of(pause), None, wakes=False)

    def end_pause(self, end: Pause) -> None:
        """Let it go on."""
        self.journal.fact("unpause", self.start.workflow_type)
        self.pause = None
        self.receive("WORKFLOW_EXECUTION_UNPAUSED", _told_of(end), None)
        for activity in self.activities.values():
            activity.offer_again()

    def note_pauses(self) -> None:
        """Note which types of activities are paused: an operator has paused one, or let one go on."""
        paused = (one.name for one in self.activities.values() if one.pause is not None and not one.is_over)
        self.paused_types = list(dict.fromkeys(paused))

    def first_event_link(self) -> Any:
        """Give a link to the event that began the run."""
        named = (self.server.namespace, self.start.workflow_id, self.run_id)
        return link_to_event(*named, 1, "WORKFLOW_EXECUTION_STARTED")

    def workflow_history(self) -> WorkflowHistory:
        """Give the event history, for Temporal's own tools."""
        return self.log.workflow_history(self.start.workflow_id)

    # -- beginning

    def begin(self, before_task: Callable[[], object]) -> None:
        """Write the first event, do ``before_task``, and schedule the first workflow task."""
        start = self.start
        self.add("WORKFLOW_EXECUTION_STARTED", **start.attributes(self.run_id, self.first_run_id))
        self.task.pending.append(job_of(initialize_workflow=self._initialize()))
        self._arm()
        self.task.begin(start.delay_ns, before_task)

    def resume(self) -> None:
        """Go on with a history that another run began: schedule the next workflow task."""
        self._arm()
        self.task.schedule()

    def _arm(self) -> None:
        start = self.start
        run_timeout_ns = start.run_timeout_ns and start.run_timeout_ns + start.delay_ns
        deadline_ns = min(self.deadline_ns, self.server.deadline_ns(run_timeout_ns))
        if deadline_ns < FOREVER:
            self._deadline = self.server.after(deadline_ns - self.began_ns, self._time_out)

    def _initialize(self) -> dict[str, Any]:
        start = self.start
        return {
            "workflow_type": start.workflow_type,
            "workflow_id": start.workflow_id,
            "arguments": start.payloads,
            "randomness_seed": self.seed,
            "headers": start.headers,
            "identity": start.identity,
            "attempt": start.attempt,
            "first_execution_run_id": self.first_run_id,
            "continued_from_execution_run_id": start.continued_run_id,
            "cron_schedule": start.cron_schedule,
            "memo": {"fields": self.memo},
            "last_completion_result": start.last_result,
            "continued_failure": start.last_failure,
            "priority": start.priority,
        }

    def _time_out(self) -> None:
        if self.is_closed:
            return
        self.task.abandon()
        told: dict[str, Any] = {"retry_state": TIMEOUT}
        if self.server.now_ns < self.deadline_ns:  # the run's own timeout, not that of the whole chain
            told["retry_state"], again = after_failure(
                self, timeout_failure(START_TO_CLOSE, "workflow timeout")
            )
            told["new_execution_run_id"] = again and again.run_id
        self.retry_state = told["retry_state"]
        self.close("timed_out", "WORKFLOW_EXECUTION_TIMED_OUT", told)

    # -- events

    def add(self, kind: str, **attributes: Any) -> int:
        """Append an event now and give its id."""
        return self.log.add(kind, self.server.now_ns, attributes)

    def receive(
        self,
        kind: str,
        attributes: dict[str, Any] | Callable[[], dict[str, Any]],
        job: Job | Callable[[], Job | None] | None,
        before: Callable[[], object] | None = None,
        *,
        wakes: bool = True,
    ) -> None:
        """Take an event from outside, and what the workflow is to learn of it.

        While a workflow task is under way it waits. ``before`` appends an event that belongs in front of it;
        attributes and job may be functions, asked when it is written. One that does not wake the workflow is there
        for its next task.
        """
        if self.is_closed:
            return
        if self.task.is_started:
            self.task.buffered.append((kind, attributes, job, before, wakes))
            return
        if self.limits.refuses(1 + (before is not None) + self.task.is_idle):
            return
        if before is not None:
            before()
        event_id = self.add(kind, **(attributes() if callable(attributes) else attributes))
        made = job() if callable(job) else job
        if made is not None:
            if _SIGNALS_NAME_THEIR_EVENT and made.HasField("signal_workflow"):
                made.signal_workflow.originating_event_id = event_id
            self.task.pending.append(made)
        if wakes:
            self.task.schedule()

    def attach(self, request_id: str, callbacks: Sequence[Any], links: list[Any]) -> None:
        """Let one more request count on this run: it is told of the end. The same request once more is no news."""
        if request_id in self._attached:
            return
        self._attached.append(request_id)
        self.callbacks += callbacks
        told = {
            "attached_request_id": request_id,
            "attached_completion_callbacks": list(callbacks) or None,
            "links": links,
        }
        self.receive("WORKFLOW_EXECUTION_OPTIONS_UPDATED", told, None, wakes=False)

    def hears(self, request_id: str) -> bool:
        """Note a client's request to signal; tell whether it is a new one, and not one whose answer was lost."""
        if not request_id:
            return True
        is_new = request_id not in self._heard
        self._heard[request_id] = None
        return is_new

    def has_attached(self, request_id: str) -> bool:
        """Whether a request counts on this run without having started it."""
        return request_id in self._attached

    # -- what a workflow changes of itself

    def modify_memo(self, upserted: Any) -> None:
        """Change the memo; what is null is taken out."""
        for name, payload in sorted(upserted.fields.items()):
            if payload.metadata.get("encoding") == b"binary/null" or not payload.ByteSize():
                self.memo.pop(name, None)
            else:
                self.memo[name] = payload

    def note_patch(self, patch_id: str) -> None:
        """Note that the workflow has passed a patch."""
        if patch_id not in self.patches:
            self.patches.append(patch_id)

    def fire_timer_after(self, ns: int, seq: int) -> asyncio.TimerHandle:
        """Let a timer ring after some time."""
        return self.server.after(ns, self._fire_timer, seq)

    def _fire_timer(self, seq: int) -> None:
        timer = self.timers.get(seq)
        if timer is not None and not self.is_closed:
            attributes = {"timer_id": str(seq), "started_event_id": timer.event_id}
            self.receive("TIMER_FIRED", attributes, job_of(fire_timer={"seq": seq}))

    # -- the end

    def close(self, status: str, kind: str, attributes: dict[str, Any]) -> None:
        """End the run: write the last event, stop what it waits for, tell who waits for it."""
        if self.is_closed:
            return
        self.add(kind, **attributes)
        self.status, self.is_closed, self.closed_ns = status, True, self.server.now_ns
        self.journal.close(status, self.failure)
        self._stop()
        self.updates.close()
        if not self.closed.done():
            self.closed.set_result(None)
        if self.next_run is not None:
            self.next_run.callbacks = self.callbacks
            self.next_run.children.adopt(self.children)
        elif not self.was_reset:
            self._tell_end(status)

    def _tell_end(self, status: str) -> None:
        if self.start.parent is not None:
            self.server.soon(self.start.parent.on_closed, self)
        if self.callbacks:
            failure = None if status == "completed" else outcome_of_run(self)
            told = Completion(self.first_event_link(), self.result, failure)
            self.server.call_back_soon(self.callbacks, told)
        self.children.on_parent_closed()

    def _stop(self) -> None:
        for timer in self.timers.values():
            timer.handle.cancel()
        self.timers.clear()
        for activity in self.activities.values():
            activity.abandon()
        for operation in self.nexus_operations.values():
            operation.abandon()
        if self._deadline is not None:
            self._deadline.cancel()
        self.task.drop()

    def give_up(self, error: Exception) -> None:
        """Let nobody wait for a run that a server would try for ever."""
        if not self.closed.done():
            self.closed.set_exception(error)
            self.closed.exception()  # asyncio need not complain if nobody waits
        self.updates.give_up(error)


def _told_of(pause: Pause) -> dict[str, Any]:
    return {"identity": pause.identity, "reason": pause.reason, "request_id": pause.request_id}
