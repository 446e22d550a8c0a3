"""The workflow task of an execution: scheduled, started on a worker, completed, failed or timed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.commands import TERMINAL, Commands, events_of
from wfsim_temporal.core._activation import Extent
from wfsim_temporal.core._machines import Machines
from wfsim_temporal.errors import NonDeterministicWorkflow, WorkflowTaskStuck
from wfsim_temporal.wire import (
    SCHEDULE_TO_START,
    START_TO_CLOSE,
    duration,
    placeless_words_of,
    timestamp,
    words_of,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from wfsim_temporal.core._activation import Activation
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.worker import Session

# temporal.api.enums.v1.WorkflowTaskFailedCause
_UNHANDLED_COMMAND: Final = 1
_FORCE_CLOSE: Final = 17
_PAUSED: Final = 39
_WORKER_UNHANDLED_FAILURE: Final = 14
_NON_DETERMINISM: Final = 24

_STICKY_TIMEOUT_NS: Final = 10 * NS_PER_SECOND
_BACKOFF_FROM_ATTEMPT: Final = 3
_BACKOFF_NS: Final = 5 * NS_PER_SECOND


class WorkflowTask:
    """At most one is open at a time; what comes in meanwhile waits in ``buffered``.

    Attributes:
        pending: jobs for the next task.
        done: the activations of each completed task, for replay.
        undone: the jobs of those that failed or timed out, by the events that scheduled them.
        late_jobs: jobs without an event (updates) that came while a task is under way.
        count: how many were started.
        sticky: the worker's session that has the workflow in its cache.
        behavior: the versioning behavior that the workflow's code has given.
        refusal: why the server refuses the answer of the worker; "" if it does not.
        target_changed: whether a pinned workflow could move to another version.
        history: the extent of the history when the last task began.
    """

    is_workflow_task = True

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.pending: list[Any] = []
        self.buffered: list[tuple[Any, ...]] = []
        self.late_jobs: list[Any] = []
        self.done: list[list[Activation]] = []
        self.undone: dict[int, list[Any]] = {}
        self.count = 0
        self.sticky: Session | None = None
        self.jobs: list[Any] = []
        self.activations: list[Activation] = []
        self.machines = Machines(execution)
        self.scheduled_ns = self.started_ns = self.time_ns = 0
        self.history = Extent(0, 0, is_long=False)
        self.token = 0
        self.behavior = 0
        self.refusal = ""
        self.target_changed = False
        self._is_moving = False
        self._state = "idle"
        self._attempt = self._tries = 1
        self._was_sticky = False
        self._mark = 0
        self._scheduled_id = self._started_id = 0
        self._timeout: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_started(self) -> bool:
        """Whether a worker has it."""
        return self._state == "started"

    @property
    def is_idle(self) -> bool:
        """Whether none is open or on its way."""
        return self._state == "idle"

    @property
    def name(self) -> str:
        """What it is for: the workflow's type."""
        return self.execution.start.workflow_type

    @property
    def is_wanted(self) -> bool:
        """Whether it waits for a worker."""
        return self._state == "scheduled" and not self.execution.is_closed

    # -- scheduling

    def begin(self, delay_ns: int, before: Callable[[], object]) -> None:
        """Schedule the first task of a run, after its delay; call ``before`` first."""
        self._state = "backoff"
        before()
        if delay_ns:
            self.execution.server.after(delay_ns, self._end_backoff)
        else:
            self._end_backoff()

    def _end_backoff(self) -> None:
        if self._state == "backoff":
            self._state = "idle"
            self.schedule()

    def schedule(self, *, at_once: bool = False) -> None:
        """Schedule a task, unless one is open already.

        ``at_once`` it is part of the answer to the worker that has completed the one before.
        """
        execution = self.execution
        if execution.is_closed or execution.pause is not None or self._state != "idle":
            return
        self._state = "scheduled"
        self.scheduled_ns = execution.server.now_ns
        self._mark = len(execution.log)
        sticky = self.sticky
        if sticky is not None and not self._keeps(sticky):
            self.drop()
            sticky = None
        self._was_sticky = sticky is not None
        name = execution.start.task_queue
        queue = (
            {"name": name, "kind": 1}
            if sticky is None
            else {"name": sticky.identity, "kind": 2, "normal_name": name}
        )
        timeout = duration(execution.start.task_timeout_ns)
        self._scheduled_id = execution.add(
            "WORKFLOW_TASK_SCHEDULED", task_queue=queue, start_to_close_timeout=timeout, attempt=self._attempt
        )
        if at_once and sticky is not None and self._can_answer(sticky):
            self.hand_to(sticky, is_answer=True)
        else:
            self._offer(sticky)

    def _can_answer(self, sticky: Session) -> bool:
        """Whether the worker takes the task with the answer, past the queue and what may hold it up there."""
        queue, passage = self.execution.start.task_queue, self.execution.server.passage
        is_free = sticky.is_alive and sticky.takes(is_workflow_task=True)
        return is_free and not passage.is_held_up(queue, self.name)

    def take_back(self) -> None:
        """Let go of a task that waits for a worker: the run is paused, and has none until it goes on."""
        if self._state == "scheduled":
            self._started_id = 0
            self._write_end("WORKFLOW_TASK_FAILED", self._failed(_PAUSED))
            self._state = "idle"

    def pending_info(self) -> dict[str, Any] | None:
        """Describe the open task; None if there is none."""
        if self._state not in {"scheduled", "started"}:
            return None
        return {
            "state": 1 + self.is_started,
            "attempt": self._attempt,
            "scheduled_time": timestamp(self.scheduled_ns),
            "original_scheduled_time": timestamp(self.scheduled_ns),
            "started_time": timestamp(self.started_ns) if self.is_started else None,
        }

    def _keeps(self, sticky: Session) -> bool:
        is_there = sticky.is_alive or sticky.was_seen_lately
        return is_there and self.execution.versioning.fits(sticky.version)

    def move(self) -> None:
        """See to it that a task brings the workflow to the version that its activities are to go to."""
        self._is_moving = True
        self.schedule()

    def _offer(self, sticky: Session | None) -> None:
        server = self.execution.server
        if sticky is None:
            queue = server.queue(self.execution.start.task_queue)
            eager = queue.eager_taker() if self.execution.start.is_eager and not self.count else None
            if eager is None:
                queue.offer(self)
            else:
                self.hand_to(eager)
        elif sticky.is_alive:
            server.passage.into_queue(self.execution.start.task_queue, self.name, self._arrive, sticky)
        else:
            self._await_sticky(sticky)

    def _arrive(self, sticky: Session) -> None:
        if not self.is_wanted:
            return
        if not self.execution.versioning.fits(sticky.version):
            self.drop()
            self._offer(None)
            return
        if sticky.is_alive and sticky.takes(is_workflow_task=True):
            self.hand_to(sticky)
            return
        sticky.hold_back(self, self._scheduled_id)
        self._await_sticky(sticky)

    def _await_sticky(self, sticky: Session) -> None:
        self.execution.server.after(_STICKY_TIMEOUT_NS, self._sticky_timeout, sticky, self._scheduled_id)

    def waits_for(self, sticky: Session, scheduled_id: int) -> bool:
        """Whether it still waits, scheduled by this event, for the worker that has the workflow."""
        return self.is_wanted and self.sticky is sticky and scheduled_id == self._scheduled_id

    def _sticky_timeout(self, sticky: Session, scheduled_id: int) -> None:
        """Nobody takes it from the queue of the worker that had the workflow: any worker may have it now."""
        if self.waits_for(sticky, scheduled_id):
            self._time_out(SCHEDULE_TO_START, 0)

    # -- on a worker

    def hand_to(self, session: Session, *, is_answer: bool = False) -> None:
        """Start it on a worker, which learns of it now, or (``is_answer``) a message's time later."""
        execution, server = self.execution, self.execution.server
        if execution.limits.refuses(1):
            return
        self._state = "started"
        self.count += 1
        self.token += 1
        self.jobs, self.pending = self.pending, []
        self._new_machines()
        self.started_ns = self.time_ns = server.now_ns
        execution.first_task_ns = execution.first_task_ns or server.now_ns
        events, size = len(execution.log) + 1, execution.log.size
        self.history = Extent(events, size, server.limits.suggests(events, size))
        self.target_changed = bool(server.deployments.by_name) and execution.versioning.begin()
        self._started_id = execution.add(
            "WORKFLOW_TASK_STARTED",
            scheduled_event_id=self._scheduled_id,
            identity=session.identity,
            history_size_bytes=size,
            suggest_continue_as_new=self.history.is_long,
            target_worker_deployment_version_changed=self.target_changed or None,
        )
        if self.sticky is not session:
            self.drop()
            self.sticky = session
        timeout_ns = execution.start.task_timeout_ns
        if not session.work_on(self, is_answer=is_answer) or server.settings.latency_ns >= timeout_ns:
            self._timeout = server.after(timeout_ns, self._worker_is_silent, self.token)

    def _new_machines(self) -> None:
        self.activations = []
        self.machines.begin()

    def is_current(self, token: int) -> bool:
        """Whether the task that was started with this token is still the open one."""
        return token == self.token and self._state == "started" and not self.execution.is_closed

    def _worker_is_silent(self, token: int) -> None:
        if self.is_current(token):
            self.drop()
            if self.refusal and self._tries >= self.execution.server.settings.task_attempts:
                self._give_up(self._stuck(self.refusal))
            else:
                self._time_out(START_TO_CLOSE, self._started_id)

    def _time_out(self, timeout_type: int, started_id: int) -> None:
        execution = self.execution
        self.sticky = None
        self._write_end(
            "WORKFLOW_TASK_TIMED_OUT",
            {
                "scheduled_event_id": self._scheduled_id,
                "started_event_id": started_id,
                "timeout_type": timeout_type,
            },
        )
        execution.journal.fact("workflow_task", "timed out", self.count)
        if timeout_type == START_TO_CLOSE:
            self._count_try()
        self._again()

    def _again(self, delay_ns: int = 0) -> None:
        """Schedule what was not done once more."""
        self.machines.undo()
        self.token += 1
        self._state = "idle"
        self.pending = [*self.jobs, *self.pending]
        self.jobs = []
        self._flush()
        self._wake()
        if delay_ns:
            self._state = "backoff"
            self.execution.server.after(delay_ns, self._end_backoff)
        else:
            self.schedule()

    def _flush(self) -> None:
        self.pending += self.late_jobs
        self.late_jobs = []
        buffered, self.buffered = self.buffered, []
        for kind, attributes, job, before, wakes in buffered:
            self.execution.receive(kind, attributes, job, before, wakes=wakes)

    def _write_end(self, kind: str, attributes: dict[str, Any]) -> None:
        """Write how the task ended badly. Of second and later attempts the server keeps no trace."""
        log = self.execution.log
        is_repeated = self._attempt > 1
        own = 1 + (self._state == "started")
        if is_repeated and len(log) == self._mark + own:
            log.cut(self._mark)
        else:
            self.undone[self._scheduled_id] = list(self.jobs or self.pending)
            self.execution.add(kind, **attributes)

    # -- completion

    def refuse(self, token: int, cause: int, message: str) -> None:
        """Refuse the commands of a task. ``cause`` is one of WorkflowTaskFailedCause."""
        failure = Failure(message=message)
        failure.server_failure_info.SetInParent()
        self.fail(token, failure, cause=cause)

    def fail(self, token: int, failure: Failure, error: Exception | None = None, cause: int = 0) -> None:
        """Take a worker's word that it could not do the task; ``error`` if there is no use in trying again."""
        if not self.is_current(token):
            return
        execution, settings = self.execution, self.execution.server.settings
        self._end_timeout()
        self.drop()
        execution.journal.fact("workflow_task", "failed", self.count, message=placeless_words_of(failure))
        is_nondeterministic = isinstance(error, NonDeterministicWorkflow)
        cause = cause or (_NON_DETERMINISM if is_nondeterministic else _WORKER_UNHANDLED_FAILURE)
        self._write_end("WORKFLOW_TASK_FAILED", self._failed(cause, failure))
        if error is None and self._tries >= settings.task_attempts:
            error = self._stuck(words_of(failure))
        if error is not None:
            self._give_up(error)
            return
        self._count_try()
        backoffs = self._attempt - _BACKOFF_FROM_ATTEMPT
        self._again(_BACKOFF_NS * 2**backoffs if backoffs >= 0 else 0)

    def _stuck(self, message: str) -> WorkflowTaskStuck:
        start = self.execution.start
        return WorkflowTaskStuck(start.workflow_id, start.workflow_type, self._tries, message)

    def _count_try(self) -> None:
        """Count; a first try by the worker that had the workflow in its cache is none to the server."""
        self._tries += 1
        if not self._was_sticky:
            self._attempt += 1

    def _give_up(self, error: Exception) -> None:
        self._state = "stuck"
        self.execution.give_up(error)
        self._wake()

    def _failed(self, cause: int, failure: Failure | None = None) -> dict[str, Any]:
        return {
            "scheduled_event_id": self._scheduled_id,
            "started_event_id": self._started_id,
            "cause": cause,
            "failure": failure,
        }

    def fail_by_server(self) -> None:
        """Note that the server ends the run while the task is under way."""
        if self._state == "started":
            self._write_end("WORKFLOW_TASK_FAILED", self._failed(_FORCE_CLOSE))

    def complete(self, token: int, *, wants_another: bool = False) -> None:
        """Take the commands that a worker gives. ``wants_another``: local activities are still under way."""
        if not self.is_current(token):
            return
        self._end_timeout()
        commands = [one for one in self.machines.commands if one.is_live]
        if self.buffered and any(one.kind in TERMINAL for one in commands):
            self._refuse_end()
        elif self._leaves_no_trace(commands) and not wants_another:
            self._forget(commands)
        else:
            self._write(commands, wants_another=wants_another)

    def _refuse_end(self) -> None:
        """The workflow ended without knowing what came in meanwhile: let it look again."""
        self.drop()
        self._write_end("WORKFLOW_TASK_FAILED", self._failed(_UNHANDLED_COMMAND))
        self._again()

    def _leaves_no_trace(self, commands: list[Any]) -> bool:
        """Whether the task did no more than refuse updates: such a one was only tried."""
        return (
            bool(self.jobs)
            and all(job.HasField("do_update") for job in self.jobs)
            and all(one.kind == "update_rejected" for one in commands)
            and not self.machines.local_activities
            and self._mark + 2 == len(self.execution.log)
        )

    def _forget(self, commands: list[Any]) -> None:
        self.execution.log.cut(self._mark)
        Commands(self.execution, 0).apply(commands)
        self._rest(is_wanted=False)

    def _write(self, commands: list[Any], *, wants_another: bool) -> None:
        execution = self.execution
        if execution.limits.refuses(1 + sum(events_of(one) for one in commands)):
            return
        completed_id = execution.add(
            "WORKFLOW_TASK_COMPLETED",
            scheduled_event_id=self._scheduled_id,
            started_event_id=self._started_id,
            identity="" if self.sticky is None else self.sticky.identity,
            sdk_metadata=self.machines.sdk_metadata(is_first=not self.done, lang_flags=self._new_flags()),
            **self._versioned(),
        )
        self.done.append(self.activations)
        self._new_machines()
        self._attempt = self._tries = 1
        Commands(execution, completed_id).apply(commands)
        if not execution.is_closed and not self.machines.local_activities and not self._is_cached():
            self.drop()
        self._rest(is_wanted=wants_another)

    def _new_flags(self) -> list[int]:
        used = {flag for one in self.activations for flag in one.flags}
        return (
            sorted(used - {flag for task in self.done for one in task for flag in one.flags}) if used else []
        )

    def _is_cached(self) -> bool:
        return self.sticky is not None and self.sticky.worker.caches

    def _versioned(self) -> dict[str, Any]:
        """Note which version of the workers has done it; give what its completion says of that."""
        if self.sticky is None:
            return {}
        worker = self.sticky.worker
        self.execution.versioning.complete(worker, self.behavior)
        return worker.completed_attributes(self.behavior)

    def _rest(self, *, is_wanted: bool) -> None:
        self._state = "idle"
        self.jobs, self.activations = [], []
        if self._is_moving:
            self._is_moving = False
            self.execution.server.soon(self.execution.server.queue(self.execution.start.task_queue).serve)
        if not self.execution.is_closed:
            is_woken = is_wanted or any(wakes for *_, wakes in self.buffered)
            self._state = "flushing"  # the next task comes after all that has waited for this one
            self._flush()
            self._state = "idle"
            if is_woken or self.pending:
                self.schedule(at_once=True)
        self._wake()

    def heartbeat(self, token: int) -> None:
        """Complete the task in time, though local activities are under way, and ask for another."""
        if self.machines.local_activities:
            self.complete(token, wants_another=True)

    def jobs_at(self, scheduled_id: int, number: int) -> list[Any]:
        """Give what the workflow learnt at the task that an event scheduled, with so many completed before it."""
        if scheduled_id in self.undone:
            return self.undone[scheduled_id]
        if number < len(self.done):
            return self.done[number][0].jobs if self.done[number] else []
        return self.jobs or self.pending

    # -- the end

    def abandon(self) -> None:
        """Drop an open task: the run ends without it."""
        self._end_timeout()
        self.token += 1
        self._state = "idle"
        self.buffered, self.late_jobs = [], []
        self._new_machines()

    def drop(self) -> None:
        """Take the workflow out of the worker's cache: the next task replays it."""
        self.machines.drop_local_activities()
        if self.sticky is not None:
            sticky, self.sticky = self.sticky, None
            sticky.evict(self.execution)
        if self.execution.is_closed:
            self._wake()

    def drop_if_idle(self) -> None:
        """Take the workflow out of the cache between two tasks: the worker had no room for it any more."""
        if not self.is_started:
            self.drop()

    def _end_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    # -- who waits for it

    async def over(self, token: int) -> None:
        """Wait until the task that was started with this token is no longer the open one."""
        while self.is_current(token):
            await self._change()

    async def at_rest(self) -> None:
        """Wait until no task is open: then a query sees what the workflow has done so far."""
        while not (self.execution.is_closed or self._state in {"idle", "stuck"}):
            await self._change()

    async def _change(self) -> None:
        rest = self.execution.server.future()
        self._waiting.append(rest)
        await rest

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for rest in waiting:
            if not rest.done():
                rest.set_result(None)
