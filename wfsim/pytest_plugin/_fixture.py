"""What the ``wfsim`` fixture gives to a test."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any, Final

import wfsim
from wfsim.harness import simulate
from wfsim.pytest_plugin._replay import replay_command
from wfsim.report import Paper, missed, print_run
from wfsim.words import ExpectationFailed, Given
from wfsim.words import given as begin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from wfsim.checkers import Verdict
    from wfsim.harness import Run
    from wfsim.history import History
    from wfsim.nemesis import Rule

    Checker = Callable[[History], Verdict]

_SHOWN_RUNS: Final = 3
_MARGIN: Final = 6
_TITLE: Final = "wfsim"


class CheckFailed(AssertionError):
    """A checker found a violation, or nothing to judge. The message tells the whole story of the run."""

    def __init__(self, message: str, run: Run | None = None, summary: str = "") -> None:
        super().__init__(message)
        self.run = run
        self.summary = summary


CheckFailed.__module__ = "wfsim"  # reports name the exception with its module: say what the user knows


class Simulator:
    """Runs designs in virtual time and checks what happened; remembers the runs in case the test fails.

    Every public name of the module ``wfsim`` (``fail``, ``Saga``, ``checkers``, ...) can be reached through
    it, because the fixture takes the module's name in a test's arguments.
    """

    def __init__(self, config: pytest.Config, nodeid: str) -> None:
        self._seed: int | None = config.getoption("wfsim_seed", None)
        self._config = config
        self._nodeid = nodeid
        self._runs: list[tuple[Run, str]] = []

    @property
    def seed(self) -> int:
        """The seed of a run for which the test names none: that of ``--wfsim-seed``, else 0."""
        return 0 if self._seed is None else self._seed

    def run(
        self, main: Any, *args: Any, faults: Sequence[Rule] = (), seed: int | None = None, **options: Any
    ) -> Run:
        """Run ``main(*args)`` in virtual time under ``faults``; takes all that ``wfsim.simulate`` takes.

        A test that names no ``seed`` can be given another one from the command line. A fault that found
        nothing to strike is a warning: with a misspelt name every design would look sturdy.
        """
        run = simulate(main, *args, seed=self.seed if seed is None else seed, faults=faults, **options)
        self.note(run, is_fixed=seed is not None)
        return run

    def note(self, run: Run, *, is_fixed: bool) -> None:
        """Do for a run what ``run`` does for its own: tell of it if the test fails, warn of faults that missed.

        It is for fixtures that run something else than ``wfsim.simulate`` does, and called by what the test calls.
        ``is_fixed`` says that the test has named the seed.
        """
        self.played(run, self.replay_command(run, is_fixed=is_fixed))
        for rule in run.unmatched:
            warnings.warn(missed(rule), stacklevel=3)

    def given(self, design: Any, *, seed: int | None = None, **options: Any) -> Given:
        """Begin a sentence: ``wfsim.given(checkout).when("order-1").then_completed()``; see ``wfsim.given``.

        A sentence that names no ``seed`` can be given another one from the command line.
        """
        notes = _Notes(self, is_fixed=seed is not None)
        return begin(design, seed=self.seed if seed is None else seed, notes=notes, **options)

    def played(self, run: Run, replay: str) -> None:
        """Remember a run, to be shown if the test fails."""
        self._runs.append((run, replay))

    def replay_command(self, run: Run, *, is_fixed: bool) -> str:
        """Give the command that plays the test of a run again."""
        return replay_command(self._config, self._nodeid, None if is_fixed else run.seed)

    def check(self, run: Run, *checkers: Checker) -> list[Verdict]:
        """Fail the test unless every checker finds that all is well; give the verdicts.

        A checker that finds nothing to judge fails the test too: such a test tests nothing.
        """
        __tracebackhide__ = True
        if not checkers:
            raise TypeError("check needs a checker: wfsim.check(run, wfsim.checkers.compensated_in_reverse)")
        verdicts = run.check(*checkers)
        broken = [verdict for verdict in verdicts if verdict.valid is not True]
        if broken:
            raise CheckFailed(self._story(run, broken), run, "; ".join(map(_objection, broken)))
        return verdicts

    def sections(self, error: BaseException | None) -> list[tuple[str, str]]:
        """Give the runs of a failed test as sections of its report, save one that the error tells already."""
        told = error.run if isinstance(error, CheckFailed | ExpectationFailed) else None
        left = [run for run, _ in self._runs if run is not told]
        return [(f"{_TITLE}: {_ended(run)}", self._story(run, ())) for run in left[-_SHOWN_RUNS:]]

    def shorten(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Keep the story out of pytest's short summary, which shows whole messages on CI servers."""
        crash = getattr(report.longrepr, "reprcrash", None)
        if isinstance(error, CheckFailed | ExpectationFailed) and error.summary and crash is not None:
            crash.message = f"{type(error).__module__}.{type(error).__name__}: {error.summary}"

    def _story(self, run: Run, broken: Sequence[Verdict]) -> str:
        """Tell what checkers object to, the timeline, and how to see it again."""
        paper = Paper.sheet(shutil.get_terminal_size((100, 24)).columns - _MARGIN)
        print_run(paper, run, broken)
        known = (replay for told, replay in self._runs if told is run)
        replay = next(known, replay_command(self._config, self._nodeid))
        objections = [*(_objection(verdict) for verdict in broken), ""] if broken else []
        return "\n".join([*objections, f"{paper.text()}\nseed {run.seed}; replay: {replay}"])

    def __repr__(self) -> str:
        return f"<the wfsim fixture, seed {self.seed}>"

    def __getattr__(self, name: str) -> Any:
        """Give a public name of the module that the fixture hides."""
        if name in wfsim.__all__:
            return getattr(wfsim, name)
        raise AttributeError(
            f"the wfsim fixture has no {name!r}; it has run, check, given, seed and the names of wfsim"
        )


class _Notes:
    """What a sentence tells the fixture of its runs."""

    def __init__(self, simulator: Simulator, *, is_fixed: bool) -> None:
        self._simulator = simulator
        self._is_fixed = is_fixed

    def played(self, run: Run) -> None:
        self._simulator.played(run, self.replay(run))

    def replay(self, run: Run) -> str:
        return self._simulator.replay_command(run, is_fixed=self._is_fixed)


def _objection(verdict: Verdict) -> str:
    doubt = " (nothing to judge)" if verdict.valid == "unknown" else ""
    return f"{verdict.checker}{doubt}: {verdict.message}"


def _ended(run: Run) -> str:
    error = f", {type(run.error).__name__}" if run.error is not None and run.outcome == "error" else ""
    return f"{run.name}, seed {run.seed}, outcome {run.outcome}{error}"
