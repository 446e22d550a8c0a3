"""The result of an experiment on paper: its timeline, its runs, what was expected of it, how to replay it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, Literal

from wfsim.report._timeline import print_timeline
from wfsim.report._words import about, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from wfsim.harness import ExpectationResult, ExperimentResult, ExperimentRun
    from wfsim.report._paper import Paper

_ROWS: Final = 12
_SIGNS: Final = {True: ("✓", "green"), False: ("✗", "bold red"), "unknown": ("?", "yellow")}

_VERDICT_COLUMNS: Final = (("", "left"), ("expected", "fill"))

State = Literal["passed", "failed"]


def state(result: ExperimentResult) -> State:
    """Say in one word whether every expectation was met."""
    return "passed" if result.passed else "failed"


def replay_command(result: ExperimentResult) -> str:
    """Give the command that plays the telling run of this result again."""
    experiment = result.experiment
    return f"wfsim run {shlex.quote(experiment.source or experiment.name)} --seed {result.telling.seed}"


def print_heading(paper: Paper, result: ExperimentResult) -> None:
    """Print the experiment's name, its file and what it is about."""
    experiment = result.experiment
    title = paper.words(experiment.name, "bold")
    if experiment.source and experiment.source != experiment.name:
        title.append_text(paper.words(f"  {experiment.source}", "dim"))
    paper.print(title)
    if experiment.description:
        paper.print(paper.words(experiment.description.strip()))


def print_telling(paper: Paper, result: ExperimentResult, *, lines: int | None) -> None:
    """Print the timeline of the run that tells most."""
    told = result.telling
    paper.print()
    paper.print(paper.words(f"{_why_told(result)}, seed {told.seed}", "bold"))
    print_timeline(paper, told.run.history, told.verdicts, lines=lines)
    for waiting in told.run.waiting[:_ROWS]:
        where = f" ({waiting.where})" if waiting.where else ""
        paper.print(paper.words(f"{waiting.task} still waits for {waiting.waits_for}{where}", "yellow"), indent=4)


def _why_told(result: ExperimentResult) -> str:
    if len(result.runs) == 1:
        return "the run"
    told = result.telling
    if any(verdict.valid is False for verdict in told.verdicts):
        return f"the most telling of {len(result.runs)} runs"
    struck = any(op.kind == "fault" for op in told.run.history)
    return f"the first of {len(result.runs)} runs" + (" that a fault struck" if struck else "")


def print_runs(paper: Paper, result: ExperimentResult, *, whole: bool) -> None:
    """Print a table with a row for each run; the less telling ones of many are only counted."""
    shown = list(result.runs) if whole else _worth_a_row(result.runs)
    paper.print()
    columns = [("seed", "right"), ("outcome", "left"), ("virtual time", "right"), ("faults", "right")]
    paper.table([_row(paper, one) for one in shown], [*columns, ("broken", "fill")])
    if len(shown) < len(result.runs):
        paper.print(paper.words(f"and {len(result.runs) - len(shown)} more runs, of which {_count(result, shown)}", "dim"))


def _worth_a_row(runs: Sequence[ExperimentRun]) -> list[ExperimentRun]:
    """Take the runs that break something first, but in their own order."""
    by_interest = sorted(range(len(runs)), key=lambda at: (not _broken(runs[at]), at))
    return [runs[at] for at in sorted(by_interest[:_ROWS])]


def _count(result: ExperimentResult, shown: Sequence[ExperimentRun]) -> str:
    rest = len([one for one in result.runs if _broken(one)]) - len([one for one in shown if _broken(one)])
    return f"{rest} break something" if rest else "none breaks anything"


def _broken(one: ExperimentRun) -> list[str]:
    """Name the expectations whose checker found a violation in this run."""
    return [
        f"{judgement.expectation}{' (as expected)' if judgement.expectation.breaks else ''}"
        for judgement in one.judgements
        if judgement.verdict.valid is False
    ]


def _row(paper: Paper, one: ExperimentRun) -> list[RenderableType]:
    run = one.run
    error = f": {type(run.error).__name__}" if run.error is not None and run.outcome == "error" else ""
    faults = len(run.history.where(kind="fault"))
    return [
        paper.words(str(one.seed)),
        paper.words(run.outcome + error),
        paper.words(about(run.duration_ns)),
        paper.words(str(faults) if faults else "-"),
        paper.words("; ".join(_broken(one)) or "-"),
    ]


def print_expectations(paper: Paper, result: ExperimentResult) -> None:
    """Print the verdict of every expectation, with the checker's own words."""
    paper.print()
    paper.table([_expectation(paper, one, len(result.runs)) for one in result.expectations], _VERDICT_COLUMNS)


def _expectation(paper: Paper, result: ExpectationResult, runs: int) -> list[RenderableType]:
    sign, style = _SIGNS[result.met]
    seed = f"seed {result.deciding.seed}: " if runs > 1 and result.deciding and result.verdict.valid is False else ""
    text = paper.words(str(result.expectation), "bold")
    if result.expectation.breaks:
        text.append_text(paper.words(" breaks, as expected" if result.met is True else " was expected to break"))
    text.append_text(paper.words(f": {seed}{result.verdict.message}", "" if result.met is True else style))
    return [paper.words(sign, style), text]


def print_verdict(paper: Paper, result: ExperimentResult) -> None:
    """Print the last word: passed or failed, and the command that replays what was told."""
    met = sum(one.met is True for one in result.expectations)
    runs = plural(len(result.runs), "run")
    text = f"{met} of {plural(len(result.expectations), 'expectation')} met in {runs}"
    paper.print()
    paper.print(_verdict_word(paper, result).append_text(paper.words(f"  {text}")))
    if not result.passed:
        paper.print(paper.words(f"replay: {replay_command(result)}"))


def _verdict_word(paper: Paper, result: ExperimentResult) -> Text:
    return paper.words("PASSED", "bold green") if result.passed else paper.words("FAILED", "bold red")


def print_line(paper: Paper, result: ExperimentResult) -> None:
    """Print a result on one line, for a list of many."""
    sign, style = _SIGNS[result.passed]
    met = sum(one.met is True for one in result.expectations)
    source = result.experiment.source or result.experiment.name
    text = f" {source}  {met} of {len(result.expectations)} met in {plural(len(result.runs), 'run')}"
    paper.print(paper.words(sign, style).append_text(paper.words(text)))


def print_totals(paper: Paper, results: Sequence[ExperimentResult], bad_files: int) -> None:
    """Print how many of several files passed, and the commands that replay what failed."""
    failed = [result for result in results if not result.passed]
    counts = [(len(results) - len(failed), "passed", "green"), (len(failed), "failed", "bold red")]
    counts.append((bad_files, "could not be read", "bold red"))
    text = paper.words(f"{plural(len(results) + bad_files, 'file')}: ")
    shown = [paper.words(f"{count} {word}", style) for count, word, style in counts if count]
    for number, part in enumerate(shown):
        text.append_text(paper.words(", " if number else "")).append_text(part)
    paper.print()
    paper.print(text)
    for result in failed:
        paper.print(paper.words(f"replay: {replay_command(result)}"))
