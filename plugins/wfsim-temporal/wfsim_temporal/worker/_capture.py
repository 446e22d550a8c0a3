"""What the SDK makes of a worker's workflows, got from the SDK itself.

To run a workflow the SDK wants ``WorkflowInstanceDetails``, with parts that only it can make (interceptor
classes, external functions, the definition). Its public Replayer makes them for whatever runner it is given:
here one that keeps them. This replays a history of three events on Core, once for each set of workflows, in a
real thread, since Core knows no virtual time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto import workflow_completion
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from wfsim.kernel import in_real_thread
from wfsim_temporal.wire import ATTRIBUTES, EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from temporalio.workflow import Info


@dataclass(frozen=True)
class Captured:
    """The details of some workflow of a worker, and the definitions of all by name (None: the dynamic one)."""

    details: Any
    definitions: dict[str | None, Any]


class _Instance(WorkflowInstance):
    """Does nothing: what is replayed is no more than a pretext."""

    def __init__(self, info: Info) -> None:
        self._info = info

    def activate(self, act: Any) -> Any:  # noqa: ARG002
        completion = workflow_completion.WorkflowActivationCompletion()
        completion.successful.SetInParent()
        return completion

    def get_serialization_context(self, command_info: Any) -> Any:
        """See the SDK; there are no commands."""

    def get_external_store_context(self, command_info: Any) -> Any:
        """See the SDK; there are no commands."""

    def get_info(self) -> Info:
        return self._info


class _Runner(WorkflowRunner):
    """Keeps what the SDK hands to a runner."""

    def __init__(self) -> None:
        self.definitions: dict[str | None, Any] = {}
        self.details: WorkflowInstanceDetails | None = None

    def prepare_workflow(self, defn: Any) -> None:
        self.definitions[defn.name] = defn

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        self.details = det
        return _Instance(det.info)


_captured: dict[tuple[Any, ...], tuple[Captured, tuple[Any, ...]]] = {}


def capture(workflows: Sequence[type], **options: Any) -> Captured:
    """Give what the SDK makes of these workflows; ``options`` are those of Replayer. Remembers its answers.

    Raises what the Replayer raises, such as ValueError for a class that is no workflow.
    """
    kept = (*workflows, *(part for value in options.values() for part in _parts(value)))
    key = (len(workflows), tuple(options), *map(id, kept))
    if key not in _captured:
        # What is kept keeps the ids from being given to others.
        _captured[key] = (in_real_world(lambda: _capture(workflows, options)), kept)
    return _captured[key][0]


def _parts(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


async def _capture(workflows: Sequence[type], options: dict[str, Any]) -> Captured:
    runner = _Runner()
    replayer = Replayer(
        workflows=list(workflows), workflow_runner=runner, unsandboxed_workflow_runner=runner, **options
    )
    name = next((one for one in runner.definitions if one is not None), None) or _name_of(workflows[0])
    await replayer.replay_workflow(WorkflowHistory("captured", _pretext(name)), raise_on_replay_failure=False)
    if runner.details is None:
        raise RuntimeError(f"the SDK's Replayer made no details of {[one.__name__ for one in workflows]}")
    return Captured(runner.details, runner.definitions)


def _name_of(workflow: type) -> str:
    definition: Any = getattr(workflow, "__temporal_workflow_definition", None)
    return getattr(definition, "name", None) or "dynamic"


def _pretext(name: str) -> list[HistoryEvent]:
    attributes: list[tuple[str, dict[str, Any]]] = [
        (
            "WORKFLOW_EXECUTION_STARTED",
            {
                "workflow_type": {"name": name},
                "task_queue": {"name": "captured"},
                "attempt": 1,
                "original_execution_run_id": "captured",
                "first_execution_run_id": "captured",
                "workflow_id": "captured",
                "workflow_task_timeout": {"seconds": 10},
            },
        ),
        ("WORKFLOW_TASK_SCHEDULED", {"task_queue": {"name": "captured"}}),
        ("WORKFLOW_TASK_STARTED", {"scheduled_event_id": 2}),
    ]
    return [_event(number, EVENT[kind], values) for number, (kind, values) in enumerate(attributes, 1)]


def _event(number: int, kind: int, values: dict[str, Any]) -> HistoryEvent:
    made: dict[str, Any] = {"event_id": number, "event_type": kind, ATTRIBUTES[kind]: values}
    event = HistoryEvent(**made)
    event.event_time.seconds = 1
    return event


def in_real_world(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine on a real event loop in a real thread, also from inside a simulation, and wait for it."""

    def play() -> Any:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(make())

    return in_real_thread(play)
