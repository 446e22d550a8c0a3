"""Scenario files as pytest tests: one file, one test, with all its seeds."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Final

import pytest

from wfsim.errors import ScenarioError
from wfsim.pytest_plugin._replay import replay_command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wfsim.harness import Experiment, ExperimentResult

# A file with one of these keys at its left margin is meant as a scenario, even if the rest of it is wrong.
_OURS: Final = re.compile(r"^[\"']?(design|workload|faults|expect|seeds)[\"']?\s*:", re.MULTILINE)
_MARGIN: Final = 2


def is_scenario(path: Path, parent: pytest.Collector) -> bool:
    """Tell whether a YAML file is a scenario: named on the command line, or one by its place and looks."""
    if parent.session.isinitpath(path):
        return True
    patterns = parent.config.getini("wfsim_scenarios")
    return _lies_in(path, parent.config.rootpath, patterns) and bool(_OURS.search(_text(path)))


def _lies_in(path: Path, root: Path, patterns: Iterable[str]) -> bool:
    """Tell whether one of the directories around ``path``, below ``root``, is meant by a pattern."""
    folder = path.parent
    parts = folder.relative_to(root).parts if folder.is_relative_to(root) else folder.parts
    paths = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(
        fnmatch(candidate, pattern.rstrip("/"))
        for pattern in patterns
        for candidate in (paths if "/" in pattern.rstrip("/") else parts)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class ScenarioFile(pytest.File):
    """A scenario file; a wrong one is a collection error that says what is wrong."""

    def collect(self) -> Iterable[pytest.Item]:
        """Read the file and give its one test."""
        from wfsim.scenario import load

        here = os.path.relpath(self.path, self.config.invocation_params.dir)
        try:
            experiment = load(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error).replace(str(self.path), here)) from None
        experiment = replace(experiment, source=here)
        yield ScenarioItem.from_parent(self, name=experiment.name, experiment=experiment)


class ScenarioFailed(AssertionError):
    """An expectation of a scenario is not met."""

    def __init__(self, result: ExperimentResult) -> None:
        super().__init__(result)
        self.result = result


class ScenarioItem(pytest.Item):
    """One scenario with all its seeds, or the one of ``--wfsim-seed``."""

    def __init__(self, *, experiment: Experiment, **options: Any) -> None:
        super().__init__(**options)
        self.experiment = experiment

    def runtest(self) -> None:
        """Play the scenario."""
        from wfsim.harness import run_all

        seed = self.config.getoption("wfsim_seed", None)
        result = run_all(self.experiment, None if seed is None else (seed,))
        if not result.passed:
            raise ScenarioFailed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Tell a failed scenario as the command line does; anything else is a traceback."""
        if isinstance(excinfo.value, ScenarioFailed):
            return self._tell(excinfo.value.result)
        return super().repr_failure(excinfo, style)

    def _tell(self, result: ExperimentResult) -> str:
        from wfsim import report

        paper = report.Paper.sheet(shutil.get_terminal_size((100, 24)).columns - _MARGIN)
        for one in result.expectations:
            if one.met is not True:
                paper.print(paper.words(f"{one.expectation.name}: {one.verdict.message}"))
        paper.print()
        report.print_heading(paper, result)
        report.print_telling(paper, result, lines=report.LINES)
        paper.print()
        report.print_expectations(paper, result)
        report.print_verdict(paper, result)
        again = replay_command(self.config, self.nodeid, report.telling(result).seed)
        return f"{paper.text()}or:     {again}"

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Name the test in the report."""
        return self.path, None, f"scenario {self.name}"
