"""``wfsim run``: play scenario files, print what happened, judge."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from wfsim import report
from wfsim.cli._files import scenario_files
from wfsim.cli._progress import Progress
from wfsim.errors import ScenarioError
from wfsim.harness import run_all
from wfsim.scenario import ScenarioErrors, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wfsim.harness import ExperimentResult, ExperimentRun

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks for; see ``wfsim run --help``."""

    paths: tuple[str, ...]
    seed: int | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    history: str | None = None


def run(options: RunOptions, heed: Callable[[], None]) -> int:
    """Play all files and return the exit code; one that is wrong keeps no other from being played.

    ``heed`` is called after each run; it may raise to end the work.
    """
    files, bad = _find(options.paths)
    if options.history is not None and (trouble := _cannot_save(options.history, len(files))):
        print(trouble, file=sys.stderr)
        return EXIT_BAD_INPUT
    teller = _Json() if options.json else _Pages(options, several=len(files) + len(bad) > 1)
    for path, error in bad.items():
        teller.bad(path, error)
    progress = Progress(silent=options.quiet)
    played = (_play(file, options, teller, progress, heed) for file in files)
    results = [result for result in played if result is not None]
    teller.end()
    if teller.bad_files:
        return EXIT_BAD_INPUT
    return EXIT_OK if all(result.passed for result in results) else EXIT_FAILED


def _cannot_save(path: str, files: int) -> str:
    """Say why a history cannot be saved there, before any time is spent on running; empty if it can."""
    if files != 1:
        return f"--history saves one run: give one scenario file with it, not {files}"
    folder = Path(path).parent
    if not folder.is_dir():
        return f"--history {path}: there is no directory {folder}"
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else folder, os.W_OK):
        return f"--history {path}: cannot be written"
    return ""


def _find(paths: tuple[str, ...]) -> tuple[list[str], dict[str, ScenarioError]]:
    files: list[str] = []
    bad: dict[str, ScenarioError] = {}
    for path in paths:
        try:
            files += scenario_files(path)
        except ScenarioError as error:
            bad[path] = error
    return list(dict.fromkeys(files)), bad


def _play(
    file: str, options: RunOptions, teller: _Json | _Pages, progress: Progress, heed: Callable[[], None]
) -> ExperimentResult | None:
    """Play one file; None if it is no good scenario. What users' code prints must not mix with JSON."""
    try:
        with redirect_stdout(sys.stderr if options.json else sys.stdout):
            experiment = load(file)
            seeds = experiment.seeds if options.seed is None else (options.seed,)
            done: list[ExperimentRun] = []
            progress.say(file, 0, len(seeds))

            def count(one: ExperimentRun) -> None:
                heed()
                done.append(one)
                progress.say(file, len(done), len(seeds))

            result = run_all(experiment, seeds, count)
    except ScenarioError as error:
        teller.bad(file, error)
        return None
    finally:
        progress.clear()
    if options.history is not None:
        Path(options.history).write_text(report.telling(result).run.history.to_jsonl(), encoding="ascii")
    teller.tell(file, result)
    return result


class _Json:
    """Gathers results and prints them as one object."""

    def __init__(self) -> None:
        self.files: dict[str, Any] = {}
        self.bad_files = 0

    def tell(self, file: str, result: ExperimentResult) -> None:
        """Keep a result."""
        self.files[file] = report.as_data(result)

    def bad(self, file: str, error: ScenarioError) -> None:
        """Keep what is wrong with a file, and say it to people too."""
        print(error, file=sys.stderr)
        self.bad_files += 1
        problems = [_problem(one) for one in _each(error)]
        self.files[file] = {"verdict": "error", "runs": [], "expectations": [], "problems": problems}

    def end(self) -> None:
        """Print the object."""
        print(json.dumps({"files": self.files}, indent=2))


def _each(error: ScenarioError) -> Iterator[ScenarioError]:
    yield from error.errors if isinstance(error, ScenarioErrors) else (error,)


def _problem(error: ScenarioError) -> dict[str, Any]:
    names = ("problem", "line", "column", "field", "allowed", "suggestion")
    return {"message": str(error), **{name: getattr(error, name) for name in names}}


@dataclass(slots=True)
class _Pages:
    """Prints results for people; of several files it tells the timelines of those that fail, else of one."""

    options: RunOptions
    several: bool
    paper: report.Paper = field(default_factory=lambda: report.Paper(sys.stdout))
    results: list[ExperimentResult] = field(default_factory=list)
    bad_files: int = 0
    started: float = field(default_factory=monotonic)

    def tell(self, _file: str, result: ExperimentResult) -> None:
        """Print one result."""
        self.results.append(result)
        if self.options.quiet:
            return
        if len(self.results) > 1:
            self.paper.print()
        in_full = self.options.verbose or not self.several or not result.passed
        report.print_heading(self.paper, result, described=in_full)
        if in_full:
            self._timeline(result)
            report.print_runs(self.paper, result, whole=self.options.verbose)
            self.paper.print()
        report.print_expectations(self.paper, result)
        if in_full:
            report.print_verdict(self.paper, result, monotonic() - self.started)
            self.started = monotonic()

    def _timeline(self, result: ExperimentResult) -> None:
        report.print_telling(self.paper, result, lines=None if self.options.verbose else report.LINES)

    def bad(self, _file: str, error: ScenarioError) -> None:
        """Say what is wrong with a file."""
        sys.stdout.flush()
        print(error, file=sys.stderr)
        self.bad_files += 1

    def end(self) -> None:
        """Print what concerns several files: the most telling run if none was told yet, and the totals."""
        if not self.several and not self.options.quiet:
            return
        told = self.options.quiet or self.options.verbose or not all(result.passed for result in self.results)
        if self.results and not told:
            result = max(self.results, key=lambda result: report.faults_of(report.telling(result)))
            self.paper.print()
            self.paper.print(
                self.paper.words(f"the most telling of all these: {result.experiment.name}", "bold")
            )
            self._timeline(result)
        report.print_totals(self.paper, self.results, self.bad_files)
