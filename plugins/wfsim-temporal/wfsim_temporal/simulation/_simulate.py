"""``simulate``: one run of a workflow, or of a whole program, and the histories it has written."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import wfsim
from wfsim.errors import DesignError
from wfsim.harness import Run
from wfsim.kernel import Bounds
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim_temporal.errors import ReplayFailed
from wfsim_temporal.server import Hosts, Server, Settings, hosts_here
from wfsim_temporal.simulation._connect import make_client, simulated_temporal
from wfsim_temporal.simulation._given import (
    called,
    check_arguments,
    check_main,
    check_settings,
    check_workers,
    definition_of,
    listed,
)
from wfsim_temporal.wire import keep_own_frames
from wfsim_temporal.worker import Worker, check_replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from temporalio.client import Client, WorkflowHandle, WorkflowHistory

    from wfsim.nemesis import Rule
    from wfsim_temporal.execution import EventLog, Execution

TASK_QUEUE = "wfsim"
_THREADS = 10_000  # as many as anybody's activities want: they are simulated
_LOOK_NS = NS_PER_SECOND // 10
_COLLECT_AFTER = 100_000  # objects: those of some 800 small workflows


@dataclass(frozen=True, slots=True)
class TemporalRun(Run):
    """A Run that also has the event history of each execution, by the order in which they began."""

    logs: tuple[tuple[str, EventLog], ...] = field(default=(), repr=False, compare=False)
    workflows: tuple[type, ...] = field(default=(), repr=False, compare=False)
    classes: tuple[tuple[type, ...], ...] = field(default=(), repr=False, compare=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    heartbeats: tuple[tuple[str, int], ...] = field(default=(), repr=False, compare=False)

    @property
    def workflow_histories(self) -> list[WorkflowHistory]:
        """The event histories, for Temporal's own tools: ``to_json`` of each is what they read."""
        return [log.workflow_history(workflow_id) for workflow_id, log in self.logs]

    def events(self, workflow_id: str) -> list[str]:
        """Give the types of the events of a workflow's last run, such as "TIMER_FIRED"."""
        from temporalio.api.enums.v1 import EventType

        found = [log for known, log in self.logs if known == workflow_id]
        if not found:
            known = ", ".join(dict.fromkeys(known for known, _ in self.logs)) or "none"
            raise DesignError(f"there is no workflow {workflow_id!r} in this run; there are {known}")
        log = found[-1]
        return [EventType.Name(one.event_type).removeprefix("EVENT_TYPE_") for one in log.events()]

    def check_replay(self) -> int:
        """Let Temporal's own Replayer judge every history; give how many. Raises ReplayFailed.

        Each is replayed with the workflow classes of the version of the workers that it was on last.
        """
        __tracebackhide__ = True
        judged, failures = 0, {}
        for known in dict.fromkeys(self.classes):
            chosen = zip(self.workflow_histories, self.classes, strict=True)
            try:
                judged += check_replay([one for one, its in chosen if its == known], known, **self.options)
            except ReplayFailed as error:
                failures.update(error.failures)
        if failures:
            raise ReplayFailed(failures)
        return judged


@dataclass(frozen=True)
class Program:
    """What one simulation runs: workers for the workflows and activities given, and the main function."""

    main: Any
    args: tuple[Any, ...] = ()
    workflows: tuple[type, ...] = ()
    activities: tuple[Callable[..., Any], ...] = ()
    task_queue: str = TASK_QUEUE
    workers: int = 1
    workflow_id: str | None = None
    settings: Settings = field(default_factory=Settings)
    worker_options: dict[str, Any] = field(default_factory=dict)
    client_options: dict[str, Any] = field(default_factory=dict)
    settle_ns: int = 0
    bound_ns: int = Bounds().time_ns
    hosts: list[Hosts] = field(default_factory=list, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What messages call it: the workflow's type, or the function's name."""
        definition = definition_of(self.main)
        return getattr(self.main, "__name__", "program") if definition is None else str(definition.name)

    async def run(self) -> Any:
        """Run it, inside a simulation."""
        hosts = hosts_here()
        self.hosts.append(hosts)
        definition = definition_of(self.main)
        if definition is None and not (self.workflows or self.activities):
            return await called(self.main, *self.args)
        client = make_client(hosts.home(self.settings), **self.client_options)
        async with AsyncExitStack() as stack:
            for _ in range(self.workers):
                await stack.enter_async_context(self.worker(client))
            try:
                value = await self._drive(client)
            except Exception:
                await self._settle(hosts)
                raise
            await self._settle(hosts)
            return value

    async def _drive(self, client: Client) -> Any:
        if definition_of(self.main) is None:
            return await called(self.main, client, *self.args)
        return await (await self.begin(client, self.workflow_id or self.name, *self.args)).result()

    async def _settle(self, hosts: Hosts) -> None:
        """Let what is under way come to its end, if there is anything: workers outlive a workflow's result."""
        simulation = hosts.simulation
        began_ns = hosts.main_ended_ns = simulation.now_ns
        end_ns = min(began_ns + self.settle_ns, self.bound_ns - _LOOK_NS)  # workers take a moment to stop
        while simulation.now_ns < end_ns and any(one.is_busy for one in hosts.servers):
            await wfsim.sleep(min(_LOOK_NS, end_ns - simulation.now_ns) / NS_PER_SECOND)

    async def begin(self, client: Client, workflow_id: str, *args: Any) -> WorkflowHandle[Any, Any]:
        """Start the workflow."""
        definition = definition_of(self.main)
        if definition.name is None:
            raise DesignError(
                f"{definition.cls.__name__} is a dynamic workflow, which has no name of its own: hand it over in "
                "workflows, and start it from main(client) by any name: client.start_workflow('Refund', ...)"
            )
        return await client.start_workflow(
            definition.name,
            args=list(args),
            id=workflow_id,
            task_queue=self.task_queue,
            result_type=definition.ret_type,
        )

    def worker(self, client: Client) -> Worker:
        """Make one of its workers."""
        own = (self.main,) if isinstance(self.main, type) else ()
        options = {"activity_executor": ThreadPoolExecutor(_THREADS), **self.worker_options}
        return Worker(
            client,
            task_queue=self.task_queue,
            workflows=list(dict.fromkeys((*own, *self.workflows))),
            activities=list(self.activities),
            **options,
        )


def simulate(
    main: Any,
    *args: Any,
    workflows: Sequence[type] = (),
    activities: Sequence[Callable[..., Any]] = (),
    faults: Sequence[Rule] = (),
    seed: int = 0,
    task_queue: str = TASK_QUEUE,
    workers: int = 1,
    workflow_id: str | None = None,
    settings: Settings | None = None,
    worker_options: dict[str, Any] | None = None,
    client_options: dict[str, Any] | None = None,
    settle: Duration = "10s",
    **options: Any,
) -> TemporalRun:
    """Run Temporal code in virtual time under ``faults``, with no server, and return what happened.

    ``main`` is a workflow class (its result is the run's value), or a coroutine function. The function gets a
    ``Client`` and ``args`` if ``workflows`` or ``activities`` are given, for which ``workers`` run on
    ``task_queue``; else only ``args``: it connects and makes its workers itself. ``worker_options`` and
    ``client_options`` go to ``Worker`` and ``Client``; ``options`` (``max_time``, ...) to
    ``wfsim.simulate``.

    When ``main`` has ended, activities and workflows that are still under way get ``settle`` to end, as with workers
    that run on: an attempt that the server has given up may yet do its work. The run's duration leaves that out.

    An error of ``main`` is in ``TemporalRun.error``; ``result()`` raises it. Raises DesignError for what cannot be run.
    """
    own = listed("workflows", workflows), listed("activities", activities)
    check_workers(task_queue, workers)
    check_settings(settings)
    check_main(main, args, takes_client=any(own))
    if not (worker_options or client_options):  # interceptors may change arguments
        check_arguments(main, args)
    program = Program(
        main,
        args,
        *own,
        task_queue,
        workers,
        workflow_id,
        settings or Settings(),
        worker_options or {},
        client_options or {},
        parse_duration(settle, "settle"),
        Bounds().time_ns
        if options.get("max_time") is None
        else parse_duration(options["max_time"], "max_time"),
    )
    return play(program, lambda: wfsim.simulate(program, seed=seed, faults=faults, **options))


def play(program: Program, run: Callable[[], Run]) -> TemporalRun:
    """Run a program by ``run`` with Temporal simulated, and gather its histories."""
    with simulated_temporal(program.settings), _patient_collector():
        done = run()
    known = {one.name: getattr(done, one.name) for one in fields(Run)}
    keep_own_frames(done.error)
    known["again"] = lambda: play(program, run)
    hosts = program.hosts.pop()
    if hosts.main_ended_ns is not None:
        known["duration_ns"] = hosts.main_ended_ns
    executions = [one for server in hosts.servers for one in server.executions.values()]
    logs = tuple((one.start.workflow_id, one.log) for one in executions)
    workers = hosts.workers
    workflows = [one for worker in workers for one in worker.config()["workflows"]]
    return TemporalRun(
        **known,
        logs=logs,
        workflows=tuple(dict.fromkeys(workflows)),
        classes=tuple(classes_for(one.server, one) for one in executions),
        options=_replay_options(workers),
        heartbeats=tuple(hosts.heartbeats),
    )


def classes_for(server: Server, execution: Execution) -> tuple[type, ...]:
    """Give the workflow classes that a run's history is to be replayed with: those of its version's workers.

    Of two of the same name the later one counts.
    """
    version = execution.versioning.version
    of_version = [one for one in server.workers if one.routed_as == version]
    known = [one for worker in of_version or server.workers for one in worker.config()["workflows"]]
    return tuple({definition_of(one).name: one for one in known}.values())


@contextmanager
def _patient_collector() -> Iterator[None]:
    """Let Python look for garbage more rarely: histories are kept to the end, and what is not leaves no cycles."""
    first, *others = gc.get_threshold()
    gc.set_threshold(max(_COLLECT_AFTER, first), *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)


def _replay_options(workers: list[Any]) -> dict[str, Any]:
    """Give what the Replayer has to know to replay as the workers did."""
    for worker in workers:
        if worker.runs_workflows:
            return {
                "data_converter": worker.data_converter,
                "interceptors": worker.interceptors,
                "workflow_failure_exception_types": list(worker.config()["workflow_failure_exception_types"]),
                "configured_by": [one for one in worker.config()["plugins"] if hasattr(one, "run_replayer")],
            }
    return {}
