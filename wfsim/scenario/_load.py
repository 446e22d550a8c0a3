"""A scenario file to an Experiment of the harness."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from wfsim.errors import ScenarioError
from wfsim.harness import Description, Experiment, Workload
from wfsim.kernel import Bounds
from wfsim.scenario._design import describe, read_design
from wfsim.scenario._events_part import EventsField, machine_of, read_script
from wfsim.scenario._expect import read_expectations
from wfsim.scenario._faults import read_faults
from wfsim.scenario._inline import InlineTarget
from wfsim.scenario._inline_machine import MachineSpec
from wfsim.scenario._problems import Problems, ScenarioErrors, Wrong, field_of, nearest, unknown
from wfsim.scenario._saga_part import in_yaml
from wfsim.scenario._template import Template
from wfsim.scenario._validate import DistributionField, DurationNs, Part, shown, validate
from wfsim.scenario._values import read_duration_ns
from wfsim.scenario._yaml import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.harness import Target
    from wfsim.scenario._yaml import Path
    from wfsim.workflows import Problem

_SEEDS_MAX = 1_000_000
_SECTIONS = (
    "name",
    "description",
    "design",
    "workload",
    "faults",
    "expect",
    "seeds",
    "bounds",
    "start",
    "heal_after",
    "settle",
)


class WorkloadPart(Part):
    """The ``workload`` section."""

    instances: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    arrivals: DistributionField | None = None
    input: Any = None
    events: EventsField = None


class BoundsPart(Part):
    """The ``bounds`` section."""

    time: DurationNs | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    stalled_steps: Annotated[int, Field(ge=1)] | None = None
    operations: Annotated[int, Field(ge=1)] | None = None


def load(path: str | FilePath) -> Experiment:
    """Read a scenario file. Raises ScenarioErrors, which lists everything that is wrong with it."""
    return load_text(_text_of(path), file=str(path), folder=FilePath(path).parent)


def look_over(path: str | FilePath) -> tuple[Experiment, tuple[ScenarioError, ...]]:
    """Read a scenario file as ``load`` does, and look for what is legal and most likely a mistake all the same.

    Return the experiment and the mistakes, each with its place: states of a machine that cannot be reached,
    transitions that hide each other. Nothing is run.
    """
    reader, experiment = _read(_text_of(path), str(path), FilePath(path).parent)
    return experiment, reader.remarks()


def _text_of(path: str | FilePath) -> str:
    file = FilePath(path)
    shown_as = str(path)
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise _alone(
            f"this is no UTF-8 text: {error.reason}; save the file as UTF-8", shown_as, line
        ) from error
    except FileNotFoundError as error:
        raise _alone("there is no such file", shown_as) from error
    except IsADirectoryError as error:
        raise _alone("this is a folder; name a scenario file in it", shown_as) from error
    except OSError as error:
        raise _alone(f"cannot be read: {error.strerror}", shown_as) from error


def load_text(text: str, *, file: str = "scenario.yaml", folder: str | FilePath = ".") -> Experiment:
    """Read the text of a scenario file. ``folder`` is where its Python references start from."""
    return _read(text, file, FilePath(folder))[1]


def _read(text: str, file: str, folder: FilePath) -> tuple[_Reader, Experiment]:
    document = parse(text.replace("\t", " ") if file.endswith(".json") else text)
    problems = Problems(file, document)
    data = document.data
    if not document.broken and not isinstance(data, dict):
        what = "is empty" if data is None else f"must be a mapping, got {shown(data)}"
        problems.add((), Wrong(f"the file {what}; a scenario has at least a design", allowed=_SECTIONS))
    if not isinstance(data, dict):
        raise problems.all()
    reader = _Reader(data, problems, file, folder)
    experiment = reader.read()
    if problems.errors:
        raise problems.all()
    return reader, experiment


def _alone(problem: str, file: str, line: int = 0) -> ScenarioErrors:
    return ScenarioErrors([ScenarioError(problem, file, line)])


class _Reader:
    """Reads section after section; what is wrong with one does not hide what is wrong with another."""

    def __init__(self, data: dict[str, Any], problems: Problems, file: str, folder: FilePath) -> None:
        self.data = data
        self.problems = problems
        self.file = file
        self.folder = folder

    def read(self) -> Experiment:
        """Return the experiment; it is of use only if there are no problems."""
        for key in self.data:
            if key not in _SECTIONS:
                self.problems.add((), unknown("key", key, _SECTIONS, at=(key,), key=True))
        return self._experiment()

    def _experiment(self) -> Experiment:
        target = None
        if "design" in self.data:
            target = read_design(self.data["design"], ("design",), self.problems, self.folder)
        elif "design" not in [nearest(key, _SECTIONS) for key in self.data if key not in _SECTIONS]:
            self.problems.add((), Wrong("'design' is missing: what is to be run"))
        described = describe(target, ("design",), self.problems) if target else None
        known = described if isinstance(target, InlineTarget) else None
        name = self._text("name", FilePath(self.file).stem.replace("_", " ").replace("-", " "))
        return Experiment(
            name=name,
            design=target,
            workload=self._workload(known, target if described else None),
            faults=read_faults(self.data.get("faults"), ("faults",), self.problems, self.folder, known),
            expectations=read_expectations(self.data.get("expect"), ("expect",), self.problems),
            seeds=self._value("seeds", read_seeds, (0,)),
            bounds=self._value("bounds", read_bounds, Bounds()),
            description=self._text("description", ""),
            source=self.file,
            **self._times(),
        )

    def _times(self) -> dict[str, Any]:
        """Read the sections that have a default of the harness."""
        readers: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
            ("start", "start", read_start),
            ("heal_after", "heal_after_ns", read_duration_ns),
            ("settle", "settle_ns", read_duration_ns),
        )
        values = {name: self._value(section, read, None) for section, name, read in readers}
        return {name: value for name, value in values.items() if value is not None}

    def _value(self, section: str, read: Callable[[Any], Any], default: Any) -> Any:
        """Read one section, or return its default if it is missing or wrong."""
        if self.data.get(section) is not None:
            with self.problems.at((section,)):
                return read(self.data[section])
        return default

    def _text(self, section: str, default: str) -> str:
        value = self.data.get(section)
        if value is not None and not isinstance(value, str):
            self.problems.add((section,), Wrong(f"expected text, got {shown(value)}"))
            return default
        return value or default

    def _workload(self, inline: Description | None, target: Target | None) -> Workload:
        """Return the workload; the instances of a design of the file have a key even if none is written."""
        part, script = WorkloadPart(), None
        with self.problems.at(("workload",)):
            part = validate(WorkloadPart, {} if self.data.get("workload") is None else self.data["workload"])
        with self.problems.at(("workload", "events")):
            script = None if part.events is None else read_script(part.events, target)
        value = f"{inline.name}-{{i}}" if inline and part.input is None else part.input
        inputs = None if value is None else Template(value)
        return Workload(part.instances, part.arrivals, inputs, script)

    def remarks(self) -> tuple[ScenarioError, ...]:
        """Return what is most likely a mistake in a design that fits together."""
        target = read_design(self.data["design"], ("design",), self.problems, self.folder)
        found: list[tuple[Path, Problem]] = []
        if isinstance(target, InlineTarget):
            found += target.spec.remarks() if isinstance(target.spec, MachineSpec) else ()
        elif target is not None and (machine := machine_of(target)) is not None:
            found += [((), problem) for problem in machine.check()]
        told = [self._remark(("design", *path), problem) for path, problem in found]
        return tuple(sorted(told, key=lambda error: (error.line, error.column)))

    def _remark(self, path: Path, problem: Problem) -> ScenarioError:
        place = self.problems.document.place(path)
        return ScenarioError(f"warning: {in_yaml(problem)}", self.file, *place, field_of(path))


def read_seeds(value: Any) -> tuple[int, ...]:
    """Return the seeds: a list of whole numbers, or how many (counted from 0). Raises Wrong."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= _SEEDS_MAX:
            raise Wrong(f"expected from 1 to {_SEEDS_MAX} seeds, got {value}")
        return tuple(range(value))
    if not isinstance(value, list):
        raise Wrong(f"expected a list of whole numbers, or how many seeds, got {shown(value)}")
    if not value:
        raise Wrong("the list of seeds is empty")
    for number, seed in enumerate(value):
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise Wrong(f"expected a whole number, got {shown(seed)}", at=(number,))
        if seed in value[:number]:
            raise Wrong(f"seed {seed} is there twice", at=(number,))
    return tuple(value)


def read_bounds(value: Any) -> Bounds:
    """Return the bounds of each run. Raises Wrong or Wrongs."""
    part = validate(BoundsPart, value)
    given = {
        "time_ns": part.time,
        "steps": part.steps,
        "stalled_steps": part.stalled_steps,
        "operations": part.operations,
    }
    return Bounds(**{name: bound for name, bound in given.items() if bound is not None})


def read_start(value: Any) -> str:
    """Return the date of the start, as ISO 8601 text. Raises Wrong."""
    try:
        if not isinstance(value, str):
            raise ValueError  # noqa: TRY301, TRY004 - same cure
        datetime.fromisoformat(value)
    except ValueError as error:
        raise Wrong(
            f"expected a date such as 2030-01-01 or 2030-01-01T09:00:00+00:00, got {shown(value)}"
        ) from error
    return value
