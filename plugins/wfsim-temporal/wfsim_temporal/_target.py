"""A Temporal workflow as the target of an experiment or a scenario file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import temporalio.activity

from wfsim.errors import DesignError
from wfsim.harness import Description
from wfsim.units import Duration, parse_duration
from wfsim_temporal._connect import make_client
from wfsim_temporal._server import Settings, server_here
from wfsim_temporal._service import CALLS
from wfsim_temporal._simulate import TASK_QUEUE, Program, definition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from temporalio.client import Client


@dataclass
class System:
    """The world of one run: its client, and how many workflows were started."""

    client: Client
    started: int = 0


@dataclass(frozen=True)
class TemporalTarget:
    """Runs a workflow on simulated workers; each instance of the workload is an execution of it."""

    program: Program

    def describe(self) -> Description:
        """Name the workflow and what faults may strike: activities, their heartbeats, workflows, the server's calls."""
        program = self.program
        activities = [
            name
            for one in program.activities
            if (name := temporalio.activity._Definition.must_from_callable(one).name)
        ]
        workflows = [definition_of(one).name for one in (program.main, *program.workflows)]
        beats = [f"{name}.heartbeat" for name in activities]
        return Description(program.name, "temporal", (*activities, *filter(None, workflows), *beats, *CALLS))

    async def start(self) -> System:
        """Start the server and the workers."""
        program = self.program
        client = make_client(server_here(program.settings), **program.client_options)
        for _ in range(program.workers):
            await program.worker(client).__aenter__()
        return System(client)

    async def drive(self, system: System, *args: Any) -> Any:
        """Run one execution and give its result."""
        system.started += 1
        return await self.program.execute(
            system.client, f"{self.program.name}-{system.started}", *(args or self.program.args)
        )


def temporal(
    *,
    workflow: str,
    activities: Sequence[str] = (),
    workflows: Sequence[str] = (),
    args: Sequence[Any] = (),
    task_queue: str = TASK_QUEUE,
    workers: int = 1,
    latency: Duration = "1ms",
    replay_every_task: bool = False,
    sandbox: bool = False,
) -> TemporalTarget:
    """Make the target of a scenario file. References are ``module:name`` or ``file.py:name``.

    ``workflow`` is run with ``args`` by workers that also have ``workflows`` (children) and ``activities``.
    Raises DesignError for a reference that leads nowhere, or to no workflow.
    """
    main = load(workflow)
    if definition_of(main) is None:
        raise DesignError(f"{workflow!r} is no workflow; name a class with @workflow.defn")
    settings = Settings(
        latency_ns=parse_duration(latency), replay_every_task=replay_every_task, sandbox=sandbox
    )
    program = Program(
        main,
        tuple(args),
        tuple(load(one) for one in workflows),
        tuple(load(one) for one in activities),
        task_queue,
        workers,
        settings=settings,
    )
    return TemporalTarget(program)


def load(reference: str) -> Any:
    """Give what a reference names: ``module:name``, or ``file.py:name`` from the working directory."""
    place, _, name = reference.partition(":")
    if not name:
        raise DesignError(f"{reference!r} is no reference; write module:name or file.py:name")
    module = _load_file(Path(place)) if place.endswith(".py") else _import(place)
    if not hasattr(module, name):
        raise DesignError(f"{place} has no {name!r}")
    return getattr(module, name)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DesignError(f"module {name!r} cannot be imported: {error}") from error


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise DesignError(f"there is no file {str(path)!r} (from {Path.cwd()})")
    name = f"_wfsim_temporal_{path.resolve().as_posix().replace('/', '_').removesuffix('.py')}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise DesignError(f"{path} is no Python file")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
