"""The ``design`` section: a Python reference, a factory, a plugin's target, or a design in the file."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pydantic import Field

from wfsim.errors import DesignError, WfsimError
from wfsim.harness import Description, Factory, Target, target_of
from wfsim.scenario._dag_part import DagPart, read_dag
from wfsim.scenario._machine_part import MachinePart, read_machine
from wfsim.scenario._plugins import plugins
from wfsim.scenario._problems import Problems, Wrong, Wrongs, nearest, unknown
from wfsim.scenario._reference import load_reference
from wfsim.scenario._saga_part import SagaPart, read_saga
from wfsim.scenario._validate import (
    Part,
    read_options,
    shown,
    validate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path as FilePath

    from wfsim.scenario._yaml import Path

_INLINE: dict[str, tuple[type[Part], Callable[[Any], Target]]] = {
    "saga": (SagaPart, read_saga),
    "dag": (DagPart, read_dag),
    "machine": (MachinePart, read_machine),
}
_FORMS = (*_INLINE, "factory", "target")


class FactoryPart(Part):
    """A Python function that makes a design anew for each run."""

    factory: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class TargetPart(Part):
    """A plugin's target: its name, or its name with its options."""

    target: str | dict[str, Any]


def read_design(value: Any, path: Path, problems: Problems, folder: FilePath) -> Target | None:
    """Return what runs the design; None if it is wrong, which ``problems`` then knows."""
    with problems.at(path):
        if isinstance(value, str):
            return _target_named(load_reference(value, folder))
        form = _form_of(value)
        _check_unique(value, path, problems)
        if form in _INLINE:
            part, read = _INLINE[form]
            return read(validate(part, value, folder))
        if form == "factory":
            return _read_factory(validate(FactoryPart, value, folder), folder)
        return _read_target(validate(TargetPart, value, folder), folder)
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
        try:
            return target_of(found)
        except DesignError as error:
            raise Wrong(str(error)) from error
    what = f"a value of type {type(found).__name__}"
    if isinstance(found, type):
        what = f"the class {found.__name__}"
    raise Wrong(f"names {what}, which is no design: neither a function nor an object with a run method")


def _check_unique(value: dict[str, Any], path: Path, problems: Problems) -> None:
    """Refuse names that are there twice, whatever else is wrong with the parts that bear them."""
    for what in ("steps", "tasks", "states"):
        parts = value.get(what)
        names = [_name_of(part) for part in parts] if isinstance(parts, list) else []
        for number, name in enumerate(names):
            if name is not None and names.index(name) < number:
                problem = f"the name {name!r} is taken by {what}[{names.index(name)}]"
                problems.add((*path, what, number, "name"), Wrong(problem))


def _name_of(part: Any) -> Any:
    """Return the name of a step, task or state; a plain state is no more than its name."""
    if isinstance(part, str):
        return part
    return part.get("name") if isinstance(part, dict) else None


def _read_factory(part: FactoryPart, folder: FilePath) -> Target:
    try:
        make = load_reference(part.factory, folder)
    except Wrong as wrong:
        wrong.at = ("factory",)
        raise
    if not callable(make):
        raise Wrong(f"names a value of type {type(make).__name__}, which cannot be called", at=("factory",))
    return Factory(make, _options_for(make, part.with_, folder, ("with",)))


def _read_target(part: TargetPart, folder: FilePath) -> Target:
    named = {part.target: {}} if isinstance(part.target, str) else part.target
    if len(named) != 1:
        raise Wrong(
            "expected the name of a target, with its options: {name: {option: value}}", at=("target",)
        )
    name, given = next(iter(named.items()))
    at: Path = ("target",) if isinstance(part.target, str) else ("target", name)
    targets = plugins().targets
    if name not in targets:
        if not targets:
            raise Wrong("no plugin that adds targets is installed", at=at, key=len(at) > 1)
        raise unknown("target", name, sorted(targets), at=at, key=len(at) > 1)
    options = _options_for(targets[name], {} if given is None else given, folder, at)
    try:
        return targets[name](**options)
    except WfsimError as error:
        raise Wrong(str(error), at=at) from error
    except Exception as error:  # a plugin's code may refuse its options in any way
        raise Wrong(f"making the target failed: {type(error).__name__}: {error}", at=at) from error


def _options_for(make: Any, given: Any, folder: FilePath, at: Path) -> dict[str, Any]:
    """Check the options of a factory against its signature; whatever takes any option takes these."""
    if not isinstance(given, dict):
        raise Wrong(f"expected a mapping of options, got {shown(given)}", at=at)
    try:
        parameters = inspect.signature(make).parameters.values()
    except ValueError:  # built-in code has none
        return given
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return given
    try:
        return read_options(make, given, folder)
    except (Wrong, Wrongs) as error:
        wrongs: Iterable[Wrong] = error.all if isinstance(error, Wrongs) else (error,)
        for wrong in wrongs:
            wrong.at = (*at, *wrong.at)
        raise
