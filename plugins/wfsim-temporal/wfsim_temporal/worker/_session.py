"""One life of a worker: from its start, or restart, to its shutdown or crash."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.failure.v1 import Failure

from wfsim.errors import ReplyLost
from wfsim.kernel import fault_point, spawn
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.activities import Attempt
from wfsim_temporal.core import Activation, ActivationFailed, CachedWorkflow, CommandRefused, in_order
from wfsim_temporal.errors import NonDeterministicWorkflow, WorkflowTaskStuck
from wfsim_temporal.nexus import NexusPoller
from wfsim_temporal.worker._payloads import drive
from wfsim_temporal.worker._slots import SlotsOf

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wfsim_temporal.activities import AnyActivity
    from wfsim_temporal.core import WorkflowTask
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.worker._worker import Worker

_UNAVAILABLE_AFTER_NS: Final = 10 * NS_PER_SECOND
_HEARTBEAT_SHARE: Final = 0.8
_NO_VERSION: Final = (
    "versioning behavior cannot be specified without deployment options being set with versioned mode"
)
_DEFAULT_CACHE: Final = 1000


class Session:
    """What a worker has while it lives: workflows in its cache, attempts under way. A crash takes it all.

    Make it in the worker's own process: what it starts belongs to that process, and dies with it.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.server = worker.server
        self.identity = worker.identity
        self.version = worker.routed_as
        self.attempts: dict[Attempt, Any] = {}
        self._cache: dict[str, CachedWorkflow] = {}
        self._context = copy_context()
        self._is_stopped = False
        self._seen_ns = worker.server.now_ns
        self._loop = worker.server.simulation.loop
        self._held_back: deque[tuple[WorkflowTask, int]] = deque()
        self.slots = SlotsOf(worker.tuner, self)
        limit = worker.threads_max
        self.threads = None if limit is None else asyncio.Semaphore(limit)

        self._nexus: NexusPoller | None = None

    # -- life

    def poll(self) -> None:
        """Begin to take tasks."""
        if self.version is not None:
            self.server.deployments.poll(self.version, self.worker.task_queue, self.worker.kinds)
        self.server.queue(self.worker.task_queue).poll(self)
        if self.worker.runs_nexus:
            self._nexus = NexusPoller(self)
            self.server.nexus_queue(self.worker.task_queue).poll(self._nexus)

    @property
    def is_alive(self) -> bool:
        """Whether it takes tasks."""
        return not self._is_stopped and self.worker.session is self and self.worker.process_is_alive

    @property
    def was_seen_lately(self) -> bool:
        """Whether the server still believes that it polls its own (sticky) queue, even if it was shut down."""
        return self.server.now_ns - self._seen_ns < _UNAVAILABLE_AFTER_NS

    def has_polled_within(self, ns: int) -> bool:
        """Whether it takes tasks, or has until so long ago."""
        return self.is_alive or self.server.now_ns - self._seen_ns < ns

    def takes(self, *, is_workflow_task: bool) -> bool:
        """Whether it has room for a task of this kind."""
        if is_workflow_task:
            return self.worker.runs_workflows and self.slots.workflow.has_room
        return self.worker.runs_activities and self.slots.activity.has_room

    def hold_back(self, task: WorkflowTask, scheduled_id: int) -> None:
        """Keep a task of a workflow that is in the cache until there is room for it."""
        self._held_back.append((task, scheduled_id))

    def serve_soon(self) -> None:
        """Take tasks that wait, from a clean stack: the one that made room is still on this one."""
        self.server.after(0, self.serve)

    def serve(self) -> None:
        """Take tasks that wait, now that there is room."""
        while self._held_back and self.is_alive and self.slots.workflow.has_room:
            task, scheduled_id = self._held_back.popleft()
            if task.waits_for(self, scheduled_id):
                task.hand_to(self)
        self.server.queue(self.worker.task_queue).serve()
        if self._nexus is not None:
            self.server.nexus_queue(self.worker.task_queue).serve()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the worker's process; give its task."""
        return self._context.copy().run(spawn, coroutine)

    def after(self, ns: int, act: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call ``act(*args)`` in the worker's process after some time."""
        return self._loop.call_later(ns / NS_PER_SECOND, act, *args, context=self._context)

    def successor(self) -> Session:
        """Make the session that follows it in the same process, when the worker moves to another server."""
        return self._context.copy().run(Session, self.worker)

    def leave(self) -> None:
        """Take no more tasks."""
        if not self._is_stopped:
            self._is_stopped, self._seen_ns = True, self.server.now_ns
            self.server.queue(self.worker.task_queue).leave(self)
            if self._nexus is not None:
                self.server.nexus_queue(self.worker.task_queue).leave(self._nexus)

    async def stop(self) -> None:
        """Shut down: take no more tasks, give the attempts under way some time, cancel them and wait for them."""
        self.leave()
        if self._nexus is not None:
            await self._nexus.stop()
        await self._stop_attempts()
        self.slots.end()
        for cached in list(self._cache.values()):
            cached.evict()
        self._cache.clear()

    async def _stop_attempts(self) -> None:
        if not self.attempts:
            return
        for attempt in list(self.attempts):
            attempt.on_worker_shutdown()
        # Even without a time of grace the code hears of the shutdown before it hears of its cancellation.
        grace_ns = max(self.worker.grace_ns, self.server.settings.latency_ns)
        await asyncio.wait([attempt.ended for attempt in self.attempts], timeout=grace_ns / NS_PER_SECOND)
        for attempt in list(self.attempts):
            attempt.cancel_for_shutdown()
        for attempt in list(self.attempts):
            await attempt.ended

    # -- activities

    def attempt(self, activity: AnyActivity) -> None:
        """Begin an attempt of an activity."""
        self._seen_ns = self.server.now_ns
        attempt = Attempt(self, activity)
        self.attempts[attempt] = self.slots.activity.take(activity.name)
        attempt.task = self.spawn(attempt.run())

    def end_attempt(self, attempt: Attempt) -> None:
        """Make room for the next one."""
        self._seen_ns = self.server.now_ns
        if attempt in self.attempts:
            self.slots.activity.give_back(self.attempts.pop(attempt))

    # -- workflows

    def evict(self, execution: Execution) -> None:
        """Take a workflow out of the cache. After a crash too: the SDK's instance wants to be let go in order."""
        cached = self._cache.pop(execution.run_id, None)
        if cached is not None:
            if not execution.is_closed:
                execution.waited_at = cached.places()
            cached.evict()

    def work_on(self, task: WorkflowTask, *, is_answer: bool = False) -> bool:
        """Do a workflow task, now or (``is_answer``) when the message with it has arrived.

        Tells whether its answer is on the way to the server already.
        """
        self._seen_ns = self.server.now_ns
        is_sticky = task.execution.run_id in self._cache
        held = self.slots.workflow.take(task.execution.start.workflow_type, is_sticky)
        if not is_answer:
            return self._begin(task, task.token, held)
        self.after(self.server.settings.latency_ns, self._begin, task, task.token, held)
        return False

    def _begin(self, task: WorkflowTask, token: int, held: Any) -> bool:
        if self.server.simulation.watch is None:
            return self._now_or_later(self._in_slot(task, held, self._do(task, token)))
        self.spawn(self._in_slot(task, held, self._do_under_faults(task, token)))
        return False

    async def _in_slot(self, task: WorkflowTask, held: Any, work: Coroutine[Any, Any, Any]) -> bool:
        token, is_spawned = task.token, False
        try:
            is_sent = bool(await work)
            if task.machines.local_activities and task.is_current(token):
                is_spawned = True
                self.spawn(self._until_over(task, token, held))
            return is_sent
        finally:
            if not is_spawned:
                self.slots.workflow.give_back(held)

    async def _until_over(self, task: WorkflowTask, token: int, held: Any) -> None:
        """Keep the slot as long as local activities hold the task open."""
        await task.over(token)
        self.slots.workflow.give_back(held)

    def _now_or_later(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Do work on a workflow at once, unless the worker's codec may have to wait; give what it gives by now."""
        if self.worker.codec.is_active:
            self.spawn(work)
            return False
        return bool(drive(work))

    async def _do_under_faults(self, task: WorkflowTask, token: int) -> None:
        name = task.execution.start.workflow_type
        at: dict[str, Any] = {"kind": "workflow_task", "design": name, "name": name, "attempt": task.count}
        try:
            await fault_point("call", **at)
        except Exception as error:  # noqa: BLE001 - an injected error fails the task, as a worker's own would
            failure = Failure(message=f"{type(error).__name__}: {error}")
            self.server.soon(task.fail, token, failure)
            return
        if not await self._activate(task, token, task.jobs):
            return
        try:
            fault = await fault_point("reply", **at)
        except ReplyLost:
            return
        self.finish(task, token)
        if fault is not None and fault.kind == "evict" and not task.machines.local_activities:
            self.server.soon(task.drop_if_idle)

    async def _do(self, task: WorkflowTask, token: int) -> bool:
        return not await self._activate(task, token, task.jobs) or self.finish(task, token)

    def finish(self, task: WorkflowTask, token: int) -> bool:
        """Send the commands, unless local activities hold the task open: then it is kept alive in time.

        Tells whether they were sent.
        """
        if self._is_refused(task):
            return False
        if not task.machines.local_activities or task.machines.has_ended():
            self.server.soon(task.complete, token)
            return True
        limit_ns = int(task.execution.start.task_timeout_ns * _HEARTBEAT_SHARE)
        left_ns = task.started_ns + limit_ns - self.server.now_ns
        self.after(left_ns, task.heartbeat, token)  # a worker that has crashed keeps no task alive
        return False

    def _is_refused(self, task: WorkflowTask) -> bool:
        """Whether the server refuses the answer: then it hears nothing, and the task times out."""
        task.behavior = self._cache[task.execution.run_id].behavior
        task.refusal = _NO_VERSION if task.behavior and self.version is None else ""
        return bool(task.refusal)

    def resume(self, task: WorkflowTask, token: int, jobs: list[Any]) -> None:
        """Activate the workflow within an open task: a local activity has ended."""

        async def go_on() -> bool:
            return await self._activate(task, token, jobs) and self.finish(task, token)

        self._now_or_later(go_on())

    async def _activate(self, task: WorkflowTask, token: int, jobs: list[Any]) -> bool:
        """Activate the workflow, again as long as something resolves at once. False if the task has failed."""
        if not task.is_current(token):
            return False
        try:
            cached = self._for_task(task)
            if not self.worker.codec.is_active:
                return await self._take_steps(cached, task, token, jobs)
            async with cached.turn:
                return await self._take_steps(cached, task, token, jobs)
        except ActivationFailed as error:
            return self._fail(task, token, error)
        except CommandRefused as error:
            self.server.soon(task.refuse, token, *error.args)
        except WorkflowTaskStuck as error:
            self.server.soon(task.fail, token, Failure(message=error.message), error)
        except NonDeterministicWorkflow as error:
            message = f"[TMPRL1100] Nondeterminism error: {error}"
            if self.worker.fails_on_nondeterminism(task.execution.start.workflow_type):
                failure = Failure(message=message)
                failure.application_failure_info.SetInParent()
                task.machines.give_up(failure)
                return True
            self.server.soon(task.fail, token, Failure(message=message), error)
        return False

    def _fail(self, task: WorkflowTask, token: int, error: ActivationFailed) -> bool:
        """Fail the task, or its workflow; tell whether there is an answer to send."""
        if error.is_final:
            task.machines.give_up(error.args[0])
        else:
            self.server.soon(task.fail, token, error.args[0])
        return error.is_final

    async def _take_steps(
        self, cached: CachedWorkflow, task: WorkflowTask, token: int, jobs: list[Any]
    ) -> bool:
        """Activate; while a codec waits the task may end, and then this leads nowhere any more."""
        has_codec = self.worker.codec.is_active
        while jobs:
            jobs = in_order(await cached.decode(jobs) if has_codec else jobs)
            if not task.is_current(token):
                return False
            made = Activation(task.time_ns, task.history, jobs, self.worker.told_as, task.target_changed)
            commands, flags = cached.activate(made)
            task.activations.append(Activation(*made[:-2], commands, flags).told())
            if has_codec:
                commands = await cached.encode(commands)
                if not task.is_current(token):
                    return False
            jobs = task.machines.take(commands)
        if self.server.settings.replay_every_task:
            self._check_by_replay(task)
        return True

    def _check_by_replay(self, task: WorkflowTask) -> None:
        """Do again all that the workflow has done so far. Raises NonDeterministicWorkflow if it differs.

        The one in the cache goes on. It knows what only the first time can have brought about, such as what a query has
        changed or how much time has passed, and so the next comparison shows that.
        """
        again = CachedWorkflow(self, task.execution)
        try:
            again.replay([*task.done, task.activations])
        finally:
            again.evict()

    def _for_task(self, task: WorkflowTask) -> CachedWorkflow:
        """Give a workflow for its task; local activities that another worker did not end begin again."""
        is_known = task.execution.run_id in self._cache
        cached = self._cached(task.execution)
        if task.done and not is_known:
            task.machines.resume_local_activities(task.done)
        return cached

    def _cached(self, execution: Execution) -> CachedWorkflow:
        cached = self._cache.get(execution.run_id)
        if cached is None:
            cached = CachedWorkflow(self, execution)
            self._cache[execution.run_id] = cached
            self._make_room(execution)
            if execution.task.done:
                execution.journal.fact(
                    "replay", execution.start.workflow_type, tasks=len(execution.task.done)
                )
                cached.replay(execution.task.done)
        return cached

    def places_of(self, execution: Execution) -> list[str]:
        """Give where the code of a workflow waits, if it is in the cache."""
        cached = self._cache.get(execution.run_id)
        return [] if cached is None else cached.places()

    def _make_room(self, newest: Execution) -> None:
        """Let go of workflows that rest, those first that came first, if there are more than the cache may hold.

        A cache of the SDK's own size counts as large enough: its limit is a matter of memory, and there is none here.
        """
        surplus = len(self._cache) - self.worker.cached_max
        if surplus <= 0 or self.worker.cached_max in {0, _DEFAULT_CACHE}:
            return
        known = [self.server.executions[run_id] for run_id in self._cache]
        for execution in [one for one in known if one is not newest and one.task.is_idle][:surplus]:
            execution.task.drop_if_idle()

    async def query(self, execution: Execution, asked: Any) -> Any:
        """Answer a query; a workflow that is not in the cache is replayed for it."""
        known = execution.run_id in self._cache
        cached = self._cached(execution)
        try:
            async with cached.turn:
                return await cached.query(asked)
        finally:
            if not known:
                self.evict(execution)
