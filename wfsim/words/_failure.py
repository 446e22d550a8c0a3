"""When an expectation fails: what was expected, what happened, the timeline, and how to see it again."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from wfsim.checkers import Verdict
from wfsim.report import Paper, print_run
from wfsim.words._paste import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.harness import Run
    from wfsim.words._play import Scene

_MARGIN: Final = 6
_LISTED: Final = 12


class ExpectationFailed(AssertionError):
    """What a sentence expects is not what happened. The message tells the whole story of the run.

    ``run`` is the run that shows it, ``summary`` the message in one line.
    """

    def __init__(self, message: str, run: Run | None = None, summary: str = "") -> None:
        super().__init__(message)
        self.run = run
        self.summary = summary


ExpectationFailed.__module__ = "wfsim"  # reports name the exception with its module: say what the user knows


class Notes(Protocol):
    """Who is told of the runs of a sentence, and knows how a test is run again."""

    def played(self, run: Run) -> object:
        """Take note of a run."""

    def replay(self, run: Run) -> str:
        """Give the command that plays it again."""


class NoNotes:
    """Where no test framework listens; the command is known all the same if pytest runs the test."""

    def played(self, run: Run) -> None:
        """Take no note."""

    def replay(self, run: Run) -> str:
        """Give the command, as far as it is known."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        return f"pytest '{test}'" if test else f"the same sentence with given(..., seed={run.seed})"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one run."""

    short: str
    """In one line."""
    expected: tuple[str, ...] = ()
    how: str = ""
    """How the list of what was expected is meant: "in this order and none other"."""
    happened: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    ops: tuple[int, ...] = ()
    """The operations to be marked in the timeline."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How an expectation fared at every failure point."""

    tried: int
    broken: tuple[Scene, ...] = field(default=())


def failed(word: str, scene: Scene, finding: Finding, notes: Notes, sweep: Sweep | None) -> ExpectationFailed:
    """Make the error."""
    summary = f"{word}: {finding.short}{_where(scene, sweep)}"
    paper = Paper.sheet(shutil.get_terminal_size((100, 24)).columns - _MARGIN)
    print_run(paper, scene.run, [Verdict(word, False, finding.short, finding.ops)])
    end = f"seed {scene.run.seed}; replay: {notes.replay(scene.run)}"
    parts = [summary, *_lists(finding), *_points(scene, sweep), "", f"{paper.text()}\n{end}"]
    return ExpectationFailed("\n".join(parts), scene.run, summary)


def _where(scene: Scene, sweep: Sweep | None) -> str:
    if sweep is None:
        return ""
    return f" (with {in_words(scene.fault)}; {len(sweep.broken)} of {sweep.tried} runs break it)"


def _lists(finding: Finding) -> list[str]:
    lines: list[str] = []
    if finding.expected or finding.happened is not None:
        lines += [f"  expected{finding.how and f', {finding.how}'}:", *_listed(finding.expected)]
    if finding.happened is not None:
        lines += ["  what happened, in order:", *_listed(finding.happened)]
    return lines + [f"  {note}" for note in finding.notes]


def _listed(items: Sequence[str]) -> list[str]:
    shown = [f"    {item}" for item in items[:_LISTED]] or ["    nothing"]
    return shown + ([f"    and {len(items) - _LISTED} more"] if len(items) > _LISTED else [])


def _points(scene: Scene, sweep: Sweep | None) -> list[str]:
    if sweep is None:
        return []
    lines = [f"  it breaks with {len(sweep.broken)} of {sweep.tried} runs:"]
    lines += _listed([in_words(one.fault) for one in sweep.broken])
    if scene.fault is not None:
        lines.append(f"  to see this one alone: .under({in_words(scene.fault)})")
    return lines
