"""A Temporal workflow as the target of an experiment or a scenario file."""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Sequence  # noqa: TC003 - a scenario file is read by the annotations
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import temporalio.activity

from wfsim.errors import DesignError
from wfsim.harness import Description, Reference
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim_temporal.execution import HistoryLimits
from wfsim_temporal.rpc import CALLS
from wfsim_temporal.server import Settings, hosts_here
from wfsim_temporal.simulation._connect import make_client
from wfsim_temporal.simulation._file_modules import make_importable
from wfsim_temporal.simulation._given import check_arguments, check_workers, definition_of
from wfsim_temporal.simulation._simulate import TASK_QUEUE, Program

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHandle


@dataclass
class System:
    """The world of one run: its client, and how many workflows were started."""

    client: Client
    started: int = 0


@dataclass(frozen=True)
class Signal:
    """A signal that each execution gets, ``at_s`` seconds after it was started."""

    name: str
    at_s: float
    args: tuple[Any, ...]

    async def send(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Wait until it is due, then send it."""
        await asyncio.sleep(self.at_s)
        await handle.signal(self.name, args=self.args)


@dataclass(frozen=True)
class TemporalTarget:
    """Runs a workflow on simulated workers, or a function that is given a client; each instance does so anew."""

    program: Program
    signals: tuple[Signal, ...] = ()

    def describe(self) -> Description:
        """Name the workflow and what faults may strike: activities, their heartbeats, workflows, the server's calls."""
        program = self.program
        activities = [
            name
            for one in program.activities
            if (name := temporalio.activity._Definition.must_from_callable(one).name)
        ]
        definitions = [found for one in (program.main, *program.workflows) if (found := definition_of(one))]
        workflows = [one.name for one in definitions]
        beats = [f"{name}.heartbeat" for name in activities]
        signals = [name for one in definitions for name in one.signals if name]
        known = (*activities, *filter(None, workflows), *beats, *signals, program.task_queue, *CALLS)
        return Description(program.name, "temporal", tuple(dict.fromkeys(known)))

    async def start(self) -> System:
        """Start the server and the workers."""
        program = self.program
        client = make_client(hosts_here().home(program.settings), **program.client_options)
        for _ in range(program.workers):
            await program.worker(client).__aenter__()
        return System(client)

    async def drive(self, system: System, *args: Any) -> Any:
        """Run one execution and give its result. Signals that are due after its end are not sent."""
        program, args = self.program, args or self.program.args
        if definition_of(program.main) is None:
            return await program.main(system.client, *args)
        system.started += 1
        handle = await program.begin(system.client, f"{program.name}-{system.started}", *args)
        sending = [asyncio.create_task(one.send(handle)) for one in self.signals]
        try:
            return await handle.result()
        finally:
            for one in sending:
                one.cancel()


def temporal(
    *,
    workflow: Reference = None,
    main: Reference = None,
    activities: Sequence[Reference] = (),
    workflows: Sequence[Reference] = (),
    args: list[Any] | None = None,
    signals: list[dict[str, Any]] | None = None,
    task_queue: str = TASK_QUEUE,
    workers: int = 1,
    latency: Duration = "1ms",
    replay_every_task: bool = False,
    sandbox: bool = False,
    history: dict[str, int] | None = None,
) -> TemporalTarget:
    """Make the target of a scenario file. What it names in Python is ``module:name``, or ``file.py:name`` beside it.

    ``workflow`` is run with ``args`` by workers that also have ``workflows`` (children) and ``activities``, and gets
    ``signals``: each ``{name: add, at: 2s, args: [apple]}``. In its place, ``main`` is a coroutine function that is
    given a client and ``args``. ``history`` has limits by the names of HistoryLimits, such as ``{max_events: 500}``.

    Raises DesignError for a ``workflow`` that is none, and for a limit that there is not.
    """
    if (workflow is None) == (main is None):
        raise DesignError(
            "give workflow, a class with @workflow.defn, or main, a function that is given a client"
        )
    _check_named(workflow, workflows, activities)
    if main is not None and (signals or not inspect.iscoroutinefunction(main)):
        raise DesignError("main must be a coroutine function, which sends its signals itself")
    if main is not None and not (workflows or activities):
        raise DesignError("main needs workflows or activities, for which workers run")
    if sandbox:
        for one in filter(None, (workflow, *workflows)):
            make_importable(one)
    check_workers(task_queue, workers)
    settings = Settings(
        latency_ns=parse_duration(latency),
        replay_every_task=replay_every_task,
        sandbox=sandbox,
        history=_limits(history or {}),
    )
    program = Program(
        main or workflow,
        tuple(args or ()),
        tuple(workflows),
        tuple(activities),
        task_queue,
        workers,
        settings=settings,
    )
    given = tuple(_signal(number, one) for number, one in enumerate(signals or ()))
    _check_signals(workflow, given)
    check_arguments(workflow, program.args)
    return TemporalTarget(program, given)


def _check_named(workflow: Any, workflows: Sequence[Any], activities: Sequence[Any]) -> None:
    """Raise DesignError for what is named in a place where it cannot run."""
    of_workflows = [("workflow", workflow)] if workflow is not None else []
    of_workflows += [(f"workflows[{number}]", one) for number, one in enumerate(workflows)]
    for place, one in of_workflows:
        if definition_of(one) is None:
            raise DesignError(f"{place} names {_named(one)}; it must be a class with @workflow.defn")
    for number, one in enumerate(activities):
        if not callable(one) or temporalio.activity._Definition.from_callable(one) is None:
            raise DesignError(
                f"activities[{number}] names {_named(one)}; it must be a function with @activity.defn"
            )


def _named(one: Any) -> str:
    return str(getattr(one, "__qualname__", repr(one)))


def _check_signals(workflow: Any, signals: Sequence[Signal]) -> None:
    """Raise DesignError for a signal that is most likely misspelt; handlers may be added in the run, too."""
    known = [name for name in definition_of(workflow).signals if name] if workflow is not None else []
    for number, one in enumerate(signals):
        close = difflib.get_close_matches(one.name, known, n=1)
        if one.name not in known and close:
            raise DesignError(
                f"signals[{number}] is {one.name!r}, which {_named(workflow)} does not take; did you mean {close[0]!r}?"
            )


def _signal(number: int, given: dict[str, Any]) -> Signal:
    """Read a signal of a scenario file."""
    part = f"signals[{number}]"
    unknown = [key for key in given if key not in {"name", "at", "args"}]
    if unknown or not isinstance(given.get("name"), str) or not isinstance(given.get("args", []), list):
        raise DesignError(f"{part} must be {{name: add, at: 2s, args: [...]}}, not {given!r}")
    at_ns = parse_duration(given.get("at", 0), f"at of {part}")
    return Signal(given["name"], at_ns / NS_PER_SECOND, tuple(given.get("args", ())))


def _limits(told: dict[str, int]) -> HistoryLimits:
    known = [one.name for one in fields(HistoryLimits)]
    for name in told:
        if name not in known:
            raise DesignError(f"history has no limit {name!r}; it has {', '.join(known)}")
    return HistoryLimits(**told)
