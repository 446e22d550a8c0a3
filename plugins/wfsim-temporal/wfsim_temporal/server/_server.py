"""The simulated Temporal server: executions, task queues and time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import spawn
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.commands import merged, typed
from wfsim_temporal.execution import Execution, HistoryLimits
from wfsim_temporal.nexus import CALLBACK_TOKEN
from wfsim_temporal.server._passage import Passage
from wfsim_temporal.server._runs import Runs
from wfsim_temporal.server._standalone import StandaloneActivity
from wfsim_temporal.server._standalone_nexus import StandaloneNexusOperation
from wfsim_temporal.server._task_queue import TaskQueue
from wfsim_temporal.versions import Deployments
from wfsim_temporal.wire import FOREVER, job_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from wfsim_temporal.activities import AnyActivity
    from wfsim_temporal.commands import Start
    from wfsim_temporal.nexus import Completion
    from wfsim_temporal.rpc import Batch
    from wfsim_temporal.server._hosts import Host
    from wfsim_temporal.server._schedule import Schedule
    from wfsim_temporal.server._skipping import Skipping
    from wfsim_temporal.worker import Worker

NS_PER_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How the simulated server and the way to it behave.

    ``latency_ns`` is how long each message between client, server and worker takes. It is not zero, since then
    things would coincide that never do with a real server. A workflow task that fails ``task_attempts`` times
    ends the wait for its workflow with an error, where a real server would try it for ever, and so does an activity
    that fails ``activity_attempts`` times and may be tried again. With
    ``replay_every_task`` all that a workflow has done is done again after each task, from the beginning, and
    what is not deterministic comes to light, in arguments and durations too, which a server does not compare. With
    ``sandbox`` workflows run in the SDK's sandbox, which catches
    forbidden calls and takes a hundred times as long. ``suggest_continue_as_new_at`` is the number of events from which
    the server suggests to continue as new; it is short for ``history=HistoryLimits(suggest_events=...)``, which
    has all limits of histories.
    """

    latency_ns: int = NS_PER_MILLISECOND
    task_attempts: int = 5
    activity_attempts: int = 10_000
    replay_every_task: bool = False
    sandbox: bool = False
    suggest_continue_as_new_at: int | None = None
    history: HistoryLimits = field(default_factory=HistoryLimits)
    namespace: str = "default"

    def __post_init__(self) -> None:
        for name, least in (("latency_ns", 0), ("task_attempts", 1), ("activity_attempts", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise DesignError(f"{name}={value!r} of Settings must be a whole number of {least} or more")

    @property
    def limits(self) -> HistoryLimits:
        """The limits of histories, with what is said in short."""
        events = self.suggest_continue_as_new_at
        return self.history if events is None else replace(self.history, suggest_events=events)


class Server:
    """One namespace of a server, which is most of what there is of it to clients and workers.

    ``executions`` are all runs by run id, in the order of their start. ``host`` has what its namespaces share.
    """

    def __init__(self, host: Host, namespace: str) -> None:
        simulation = host.hosts.simulation
        self.host = host
        self.simulation = simulation
        self.settings = host.settings
        self.namespace = namespace
        self.executions: dict[str, Execution] = {}
        self.activities: dict[bytes, AnyActivity] = {}
        self.workers: list[Worker] = []
        self.standalone: Runs[StandaloneActivity] = Runs()
        self.operations: Runs[StandaloneNexusOperation] = Runs()
        self.schedules: dict[str, Schedule] = {}
        self.batches: dict[str, Batch] = {}
        self.skipping: dict[str, Skipping] = {}
        self.nexus_operations = host.nexus_operations
        self.search_attribute_types: dict[str, str] = {}
        self.deployments = Deployments(self)
        self.heartbeats = host.hosts.heartbeats
        self._latest: dict[str, Execution] = {}
        self._queues: dict[str, TaskQueue] = {}
        self._nexus_queues: dict[str, TaskQueue] = {}
        self._jitter = simulation.stream("temporal/jitter")
        self._epoch_ns = host.hosts.epoch_ns
        self._context = host.hosts.context
        self._loop = simulation.loop
        self.passage = Passage(self)
        self.limits = host.limits
        self._latency_s = host.settings.latency_ns / NS_PER_SECOND

    # -- time and chance

    @property
    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._epoch_ns + self.simulation.now_ns

    def after(self, ns: int, act: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call ``act(*args)`` after some time; the handle can be cancelled."""
        return self._loop.call_later(max(ns, 0) / NS_PER_SECOND, act, *args, context=self._context)

    def soon(self, act: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call ``act(*args)`` when a message has had the time to arrive."""
        return self._loop.call_later(self._latency_s, act, *args, context=self._context)

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine of the server's own."""
        self._context.copy().run(spawn, work)

    def future(self) -> asyncio.Future[Any]:
        """Make a future of the simulation's loop."""
        return self._loop.create_future()

    async def here(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the simulation's main loop, whichever loop it is awaited in."""
        return await self.host.hosts.here(work)

    def new_id(self) -> str:
        """Draw an identifier, such as a run id."""
        return self.host.hosts.new_id()

    def jittered_ns(self, most_ns: int) -> int:
        """Draw a time below ``most_ns`` nanoseconds, 0 for none."""
        return int(self._jitter.random() * most_ns) if most_ns > 0 else 0

    # -- task queues

    def queue(self, name: str) -> TaskQueue:
        """Give the task queue of a name."""
        found = self._queues.get(name)
        if found is None:
            found = self._queues[name] = TaskQueue(name, self)
        return found

    def serve(self) -> None:
        """Look once more who can take what waits: it may go to workers of another version now."""
        for queue in (*self._queues.values(), *self._nexus_queues.values()):
            queue.serve()

    # -- Nexus

    def nexus_queue(self, name: str) -> TaskQueue:
        """Give the task queue of a name for Nexus requests; it has no other tasks."""
        found = self._nexus_queues.get(name)
        if found is None:
            found = self._nexus_queues[name] = TaskQueue(name, self, is_nexus=True)
        return found

    def nexus_endpoint(self, name: str) -> Any:
        """Give the Nexus endpoint of a name; None if there is none."""
        return self.host.nexus_endpoint(name)

    def call_back_soon(self, callbacks: Iterable[Any], told: Completion) -> None:
        """Tell Nexus operations what came of that which backs them; that goes by way of the caller's endpoint."""
        for callback in callbacks:
            self.after(2 * self.settings.latency_ns, self._call_back, callback, told)

    def _call_back(self, callback: Any, told: Completion) -> None:
        header = callback.nexus.header
        operation = self.nexus_operations.get(header.get(CALLBACK_TOKEN, ""))
        if operation is not None:
            operation.complete_from(told, header.get("nexus-operation-token", ""))

    # -- executions

    @property
    def is_busy(self) -> bool:
        """Whether any workflow is open, or any attempt of an activity under way, be it one that was given up."""
        at_work = (one.session for one in self.workers if one.session is not None)
        return any(session.attempts for session in at_work) or any(
            not one.closed.done() for one in self.executions.values()
        )

    def find(self, workflow_id: str, run_id: str = "") -> Execution | None:
        """Give a run by its id, or the latest run of a workflow id."""
        found = self.executions.get(run_id) if run_id else self._latest.get(workflow_id)
        return None if found is None or found.is_deleted else found

    def open_execution(self, workflow_id: str, run_id: str = "") -> Execution | None:
        """Give a run that has not ended; None if it has, or never was."""
        found = self.find(workflow_id, run_id)
        return None if found is None or found.is_closed else found

    def add(self, execution: Execution) -> None:
        """Add the latest run of a workflow id."""
        self._latest[execution.start.workflow_id] = self.executions[execution.run_id] = execution

    def delete(self, execution: Execution, identity: str = "") -> None:
        """Delete a run: nobody finds it any more. One that is open is terminated first."""
        self.terminate(execution, identity=identity)
        execution.is_deleted = True

    def begin(self, start: Start, signal: tuple[Any, ...] = ()) -> Execution:
        """Start a run; a signal, as for ``signal``, may be there from the start."""
        if start.search_attributes:
            known = merged({}, typed(start.search_attributes, self.search_attribute_types))
            start = replace(start, search_attributes=known)
        execution = Execution(self, start, self.new_id())
        self.add(execution)
        execution.begin(lambda: self.signal(execution, *signal) if signal else None)
        return execution

    # -- what needs no workflow

    def begin_standalone(self, request: Any) -> StandaloneActivity:
        """Start an activity that no workflow asked for."""
        activity = StandaloneActivity(self, request)
        self.standalone.add(request.activity_id, activity.run_id, activity)
        activity.begin()
        return activity

    def begin_operation(self, request: Any) -> StandaloneNexusOperation:
        """Start a Nexus operation that no workflow calls."""
        operation = StandaloneNexusOperation(self, request)
        self.operations.add(request.operation_id, operation.run_id, operation)
        operation.schedule()
        return operation

    # -- signals and the end

    def signal(
        self,
        execution: Execution,
        name: str,
        payloads: Iterable[Any],
        headers: Any,
        identity: str = "",
        links: Sequence[Any] = (),
    ) -> None:
        """Deliver a signal to a run."""
        payloads = list(payloads)
        job = job_of(
            signal_workflow={
                "signal_name": name,
                "input": payloads,
                "identity": identity,
                "headers": headers,
            }
        )
        execution.journal.fact("signal", name)
        execution.receive(
            "WORKFLOW_EXECUTION_SIGNALED",
            {
                "signal_name": name,
                "input": {"payloads": payloads},
                "identity": identity,
                "header": {"fields": headers},
                "links": links,
            },
            job,
        )

    def request_cancel(self, execution: Execution, reason: str = "") -> None:
        """Ask a run to cancel itself; a second request changes nothing."""
        if execution.is_closed or execution.cancel_requested:
            return
        execution.cancel_requested = True
        execution.journal.fact("cancel", execution.start.workflow_type)
        execution.receive(
            "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
            {"cause": reason},
            job_of(cancel_workflow={"reason": reason}),
        )

    def terminate(
        self, execution: Execution, reason: str = "", details: Any = None, identity: str = ""
    ) -> None:
        """End a run at once; its code is not asked."""
        if not execution.is_closed:
            execution.task.fail_by_server()
            execution.task.abandon()
            attributes = {
                "reason": reason or "terminated by user via frontend",
                "details": details,
                "identity": identity,
            }
            execution.close("terminated", "WORKFLOW_EXECUTION_TERMINATED", attributes)

    def when_closed(self, execution: Execution, act: Callable[..., object], *args: Any) -> None:
        """Call ``act(*args)`` when a run has ended; never for one that a server would try for ever."""

        def closed(future: asyncio.Future[None]) -> None:
            if future.exception() is None:
                act(*args)

        execution.closed.add_done_callback(closed, context=self._context)

    def deadline_ns(self, ns: int | None) -> int:
        """Give the instant after some time; FOREVER for None."""
        return FOREVER if ns is None else self.now_ns + ns
