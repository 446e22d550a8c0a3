"""The ``design`` section: a Python reference, a factory, a plugin's target, or a saga or DAG in the file."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo

from wfsim.errors import CycleError, WfsimError
from wfsim.harness import Description, Factory, Target, target_of
from wfsim.resilience import Retry
from wfsim.scenario._inline import DagSpec, InlineTarget, SagaSpec, ServiceSpec, StepSpec, TaskSpec, Timeout
from wfsim.scenario._plugins import plugins
from wfsim.scenario._problems import Collected, Problems, Wrong, Wrongs, nearest, unknown
from wfsim.scenario._reference import load_error, load_reference
from wfsim.scenario._validate import (
    DistributionField,
    DurationNs,
    Name,
    Part,
    Probability,
    read_options,
    shown,
    validate,
)
from wfsim.scenario._values import read_distribution

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path as FilePath

    from wfsim.scenario._yaml import Path
    from wfsim.workflows import Policy

_FORMS = ("saga", "dag", "factory", "target")
_LATENCY = read_distribution("1ms")
"""Without any latency, orders of events appear that no real system shows."""


def _read_error(value: Any, info: ValidationInfo) -> type[Exception]:
    return load_error(value, (info.context or {})["folder"])


def _read_retry(value: Any, info: ValidationInfo) -> Retry | None:
    """Make a Retry from its own options; a bare number is the number of attempts."""
    if value is None:
        return None
    collected = Collected()
    options: dict[str, Any] = {}
    if isinstance(value, dict) and "retry_on" in value:
        with collected.at(("retry_on",)):
            options["retry_on"] = _read_errors(value["retry_on"], (info.context or {})["folder"])
        value = {key: option for key, option in value.items() if key != "retry_on"}
    with collected.at():
        options |= read_options(Retry, value)
    collected.raise_if_any()
    try:
        return Retry(**options)
    except (WfsimError, TypeError, ValueError) as error:
        raise Wrong(str(error)) from error


def _read_errors(value: Any, folder: FilePath) -> tuple[type[Exception], ...]:
    if not isinstance(value, list):
        return (load_error(value, folder),)
    collected = Collected()
    found = []
    for number, name in enumerate(value):
        with collected.at((number,)):
            found.append(load_error(name, folder))
    collected.raise_if_any()
    return tuple(found)


ErrorField = Annotated[Any, PlainValidator(_read_error)]
RetryField = Annotated[Any, PlainValidator(_read_retry)]


class CallPart(Part):
    """What any call of a simulated service may say."""

    latency: DistributionField = _LATENCY
    failure_probability: Probability = 0.0
    error: ErrorField = ConnectionError
    effect: Name | None = None
    idempotent: bool = False
    timeout: DurationNs | None = None
    retry: RetryField = None

    def service(self, name: str, default_effect: str) -> ServiceSpec:
        """Return the service; its effect has a default name unless the file gives one, or null for none."""
        effect = self.effect if "effect" in self.model_fields_set else default_effect
        return ServiceSpec(
            name=name,
            latency=self.latency,
            failure_probability=self.failure_probability,
            error=self.error,
            effect=effect,
            idempotent=self.idempotent,
            outlives_caller=self.timeout is not None,
        )

    def policy(self) -> Policy | None:
        """Return the policy that wraps the call: the retry, with the timeout around each attempt."""
        retry: Policy | None = self.retry
        return retry if self.timeout is None else Timeout(self.timeout, retry)


def _compensation(value: Any) -> Any:
    """Read ``compensate: release_stock`` as the name of the compensation's effect."""
    return {"effect": value} if isinstance(value, str) else value


class StepPart(CallPart):
    """One step of a saga."""

    name: Name
    compensate: Annotated[CallPart | None, BeforeValidator(_compensation)] = None
    compensate_unknown: bool = False

    def spec(self) -> StepSpec:
        """Return the step."""
        undo = self.compensate
        return StepSpec(
            forward=self.service(self.name, self.name),
            compensate=undo.service(self.name, f"undo {self.name}") if undo else None,
            retry=self.policy(),
            compensate_retry=undo.policy() if undo else None,
            compensate_unknown=self.compensate_unknown,
        )


class SagaPart(Part):
    """A saga in the file."""

    saga: Name
    steps: Annotated[list[StepPart], Field(min_length=1)]


class TaskPart(CallPart):
    """One task of a DAG."""

    name: Name
    depends_on: list[str] = Field(default_factory=list)


class DagPart(Part):
    """A DAG in the file."""

    dag: Name
    tasks: Annotated[list[TaskPart], Field(min_length=1)]


class FactoryPart(Part):
    """A Python function that makes a design anew for each run."""

    factory: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class TargetPart(Part):
    """A plugin's target."""

    target: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


def read_design(value: Any, path: Path, problems: Problems, folder: FilePath) -> Target | None:
    """Return what runs the design; None if it is wrong, which ``problems`` then knows."""
    with problems.at(path):
        if isinstance(value, str):
            return _target_named(load_reference(value, folder))
        form = _form_of(value)
        _check_unique(value, path, problems)
        if form == "saga":
            return _read_saga(validate(SagaPart, value, folder))
        if form == "dag":
            return _read_dag(validate(DagPart, value, folder))
        if form == "factory":
            return _read_factory(validate(FactoryPart, value, folder), folder)
        return _read_target(validate(TargetPart, value, folder))
    return None


def describe(target: Target, path: Path, problems: Problems) -> Description | None:
    """Return the target's description; making the design may fail, which is then a problem of the file."""
    try:
        return target.describe()
    except Exception as error:  # noqa: BLE001 - a factory is the user's code
        problems.add(path, Wrong(f"making the design failed: {type(error).__name__}: {error}"))
        return None


def _form_of(value: Any) -> str:
    how = 'name it in Python ("file.py:checkout"), or describe it'
    if not isinstance(value, dict):
        raise Wrong(f"expected a design, got {shown(value)}; {how}", allowed=_FORMS)
    found = [form for form in _FORMS if form in value]
    if len(found) == 1:
        return found[0]
    if found:
        raise Wrong(f"a design is one thing, not both {' and '.join(found)}", at=(found[1],), key=True)
    for key in value:
        if near := nearest(key, _FORMS):
            raise Wrong(f"unknown key {key!r}", allowed=_FORMS, suggestion=near, at=(key,), key=True)
    raise Wrong(f"this describes no design; {how} by one of these keys", allowed=_FORMS)


def _target_named(found: Any) -> Target:
    """Return the target of what a reference names; a class is made anew for each run."""
    runs = callable(getattr(found, "run", None))
    if isinstance(found, type) and runs:
        return Factory(found)
    if runs or isinstance(found, Target) or (callable(found) and not isinstance(found, type)):
        return target_of(found)
    what = f"a value of type {type(found).__name__}"
    if isinstance(found, type):
        what = f"the class {found.__name__}"
    raise Wrong(f"names {what}, which is no design: neither a function nor an object with a run method")


def _read_saga(part: SagaPart) -> Target:
    return InlineTarget(SagaSpec(part.saga, tuple(step.spec() for step in part.steps)))


def _read_dag(part: DagPart) -> Target:
    names = [task.name for task in part.tasks]
    wrongs = [
        unknown("task", needed, names, at=("tasks", number, "depends_on", place))
        for number, task in enumerate(part.tasks)
        for place, needed in enumerate(task.depends_on)
        if needed not in names
    ]
    if wrongs:
        raise Wrongs(wrongs)
    tasks = tuple(
        TaskSpec(task.service(task.name, task.name), tuple(task.depends_on), task.policy())
        for task in part.tasks
    )
    spec = DagSpec(part.dag, tasks)
    try:
        spec.make()
    except CycleError as error:
        at = ("tasks", names.index(error.cycle[0]), "depends_on")
        raise Wrong(str(error), at=at) from error
    return InlineTarget(spec)


def _check_unique(value: dict[str, Any], path: Path, problems: Problems) -> None:
    """Refuse names that are there twice, whatever else is wrong with the parts that bear them."""
    for what in ("steps", "tasks"):
        parts = value.get(what)
        names = (
            [part.get("name") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        )
        for number, name in enumerate(names):
            if name is not None and names.index(name) < number:
                problem = f"the name {name!r} is taken by {what}[{names.index(name)}]"
                problems.add((*path, what, number, "name"), Wrong(problem))


def _read_factory(part: FactoryPart, folder: FilePath) -> Target:
    try:
        make = load_reference(part.factory, folder)
    except Wrong as wrong:
        wrong.at = ("factory",)
        raise
    if not callable(make):
        raise Wrong(f"names a value of type {type(make).__name__}, which cannot be called", at=("factory",))
    return Factory(make, _options_for(make, part.with_))


def _read_target(part: TargetPart) -> Target:
    targets = plugins().targets
    if part.target not in targets:
        if not targets:
            raise Wrong("no plugin that adds targets is installed", at=("target",))
        raise unknown("target", part.target, sorted(targets), at=("target",))
    make = targets[part.target]
    options = _options_for(make, part.with_)
    try:
        return make(**options)
    except Exception as error:  # a plugin's code may refuse its options in any way
        raise Wrong(f"making the target failed: {type(error).__name__}: {error}") from error


def _options_for(make: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Check the options of a factory against its signature; whatever takes any option takes these."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # built-in code has none
        return given
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return given
    try:
        return read_options(make, given)
    except (Wrong, Wrongs) as error:
        wrongs: Iterable[Wrong] = error.all if isinstance(error, Wrongs) else (error,)
        for wrong in wrongs:
            wrong.at = ("with", *wrong.at)
        raise
