"""The ``dag`` form of a design: its tasks, agents and pools, read from a scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo

from wfsim.errors import CycleError, DesignError
from wfsim.scenario._calls import CallPart
from wfsim.scenario._inline import InlineTarget
from wfsim.scenario._inline_dag import DagSpec, TaskSpec
from wfsim.scenario._problems import Wrong, Wrongs, unknown
from wfsim.scenario._reference import load_error
from wfsim.scenario._saga_part import JournalPart, read_journal
from wfsim.scenario._validate import DistributionField, Name, Part, Probability

if TYPE_CHECKING:
    from wfsim.harness import Target

Rule = Literal[
    "all_success",
    "all_failed",
    "all_done",
    "all_skipped",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "all_done_min_one_success",
    "all_done_setup_success",
    "always",
]
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
_OF_A_SERVICE = ("latency", "failure_probability", "error", "effect", "idempotent", "items", "choose")


def _read_error(value: Any, info: ValidationInfo) -> type[Exception]:
    return load_error(value, (info.context or {})["folder"])


class AgentPart(Part):
    """An agent: what it can do, how many at a time, how long it takes, what it costs, how often it fails."""

    name: Name
    skills: list[Name] = Field(default_factory=list)
    capacity: Count | None = None
    latency: DistributionField = 0
    cost: Amount = 0.0
    cost_per_s: Amount = 0.0
    failure_probability: Probability = 0.0
    error: Annotated[Any, PlainValidator(_read_error)] = RuntimeError


class TaskPart(CallPart):
    """One task of a DAG."""

    name: Name
    depends_on: list[str] = Field(default_factory=list)
    agent: Name | None = None
    skill: Name | None = None
    trigger_rule: Rule | None = None
    priority: int = 0
    pool: Name | None = None
    over: Name | None = None
    items: Annotated[int, Field(ge=0)] | None = None
    choose: dict[str, Probability] | None = None
    setup: bool = False
    teardown_of: list[str] = Field(default_factory=list)
    fails_dag: bool = False

    def spec(self) -> TaskSpec:
        """Return the task."""
        options = {
            name: getattr(self, name)
            for name in (
                "depends_on",
                "agent",
                "skill",
                "trigger_rule",
                "priority",
                "over",
                "setup",
                "teardown_of",
            )
        }
        options |= {
            "fails_dag": self.fails_dag,
            "timeout": None if self.timeout is None else self.timeout / 1e9,
        }
        service = None if self.agent else self.service(self.name, self.name)
        return TaskSpec(self.name, service, self.retry, options, self.pool, self.choose, self.items)


class DagPart(Part):
    """A DAG in the file."""

    dag: Name
    tasks: Annotated[list[TaskPart], Field(min_length=1)]
    max_parallel: Count | None = None
    fail_fast: bool = False
    cancel_unneeded: bool = False
    pools: dict[str, Count] = Field(default_factory=dict)
    agents: list[AgentPart] = Field(default_factory=list)
    journal: Annotated[JournalPart | None, BeforeValidator(read_journal)] = None


def read_dag(part: DagPart) -> Target:
    """Return what runs the DAG. Raises Wrong or Wrongs if its parts do not fit together."""
    wrongs = [wrong for number, task in enumerate(part.tasks) for wrong in _wrongs(part, task, number)]
    if wrongs:
        raise Wrongs(wrongs)
    options = {name: getattr(part, name) for name in ("max_parallel", "fail_fast", "cancel_unneeded")}
    agents = tuple({name: getattr(agent, name) for name in AgentPart.model_fields} for agent in part.agents)
    journal = None if part.journal is None else part.journal.spec()
    spec = DagSpec(part.dag, tuple(task.spec() for task in part.tasks), options, part.pools, agents, journal)
    try:
        spec.make()
    except CycleError as error:
        names = [task.name for task in part.tasks]
        at = ("tasks", names.index(error.cycle[0]), "depends_on")
        raise Wrong(str(error), at=at) from error
    except DesignError as error:
        raise Wrong(str(error), at=("tasks",)) from error
    return InlineTarget(spec)


def _wrongs(part: DagPart, task: TaskPart, number: int) -> list[Wrong]:
    """Name what a task refers to and the file does not have, and what contradicts itself."""
    here, names = ("tasks", number), [one.name for one in part.tasks]
    wrongs = [
        unknown("task", name, names, at=(*here, key, place))
        for key in ("depends_on", "teardown_of")
        for place, name in enumerate(getattr(task, key))
        if name not in names
    ]
    for key, known in (
        ("over", names),
        ("pool", list(part.pools)),
        ("agent", [one.name for one in part.agents]),
    ):
        name = getattr(task, key)
        if name is not None and name not in known:
            wrongs.append(unknown("task" if key == "over" else key, name, known, at=(*here, key)))
    after = [one.name for one in part.tasks if task.name in one.depends_on]
    wrongs += [
        unknown("task after this one", name, after, at=(*here, "choose", name), key=True)
        for name in task.choose or ()
        if name not in after
    ]
    if task.agent:
        said = next((key for key in _OF_A_SERVICE if key in task.model_fields_set), None)
        if said:
            problem = f"an agent does this task, so {said!r} is said of the agent and not here"
            wrongs.append(Wrong(problem, at=(*here, said), key=True))
    return wrongs
