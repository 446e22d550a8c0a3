"""The result of an experiment on paper: its timeline, its runs, what was expected of it, how to replay it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final, Literal

from wfsim.report._paper import Column, Row
from wfsim.report._timeline import print_missed, print_run
from wfsim.report._words import about, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.harness import ExpectationResult, ExperimentResult, ExperimentRun
    from wfsim.report._paper import Paper

_ROWS: Final = 12
_TEN_SECONDS: Final = 10
_SIGNS: Final = {True: ("✓", "green"), False: ("✗", "bold red"), "unknown": ("?", "yellow")}

_VERDICT_COLUMNS: Final = (Column(), Column())

State = Literal["passed", "failed"]


def state(result: ExperimentResult) -> State:
    """Say in one word whether every expectation was met."""
    return "passed" if result.passed else "failed"


def replay_command(result: ExperimentResult) -> str:
    """Give the command that plays the telling run of this result again."""
    experiment = result.experiment
    return f"wfsim run {shlex.quote(experiment.source or experiment.name)} --seed {telling(result).seed}"


def print_heading(paper: Paper, result: ExperimentResult, *, described: bool = True) -> None:
    """Print the experiment's name, its file and what it is about."""
    experiment = result.experiment
    title = paper.words(experiment.name, "bold")
    if experiment.source and experiment.source != experiment.name:
        title.append_text(paper.words(f"  {experiment.source}", "dim"))
    paper.print(title)
    if described and experiment.description:
        paper.print(paper.words(experiment.description.strip()))


def print_telling(paper: Paper, result: ExperimentResult, *, lines: int | None) -> None:
    """Print the timeline of the run that tells most."""
    told = telling(result)
    paper.print()
    paper.print(paper.words(f"Timeline{_why_told(result, told)} (seed {told.seed})", "bold"))
    print_run(paper, told.run, told.verdicts, lines=lines)
    print_missed(paper, [rule for rule in result.unmatched if rule not in told.run.unmatched])


def telling(result: ExperimentResult) -> ExperimentRun:
    """Give the run that tells most: one that breaks something, else the one that most faults struck."""
    told = result.telling
    if _broken(told):
        return told
    return max(result.runs, key=faults_of)


def _why_told(result: ExperimentResult, told: ExperimentRun) -> str:
    if len(result.runs) == 1:
        return ""
    why = "that breaks something" if _broken(told) else "with the most faults"
    return f" of the run {why}, one of {len(result.runs)}"


def print_runs(paper: Paper, result: ExperimentResult, *, whole: bool) -> None:
    """Print a table with a row for each run; the less telling ones of many are only counted."""
    shown = list(result.runs) if whole else _worth_a_row(result.runs)
    paper.print()
    columns = [Column("seed", right=True), Column("outcome"), Column("virtual time", right=True)]
    columns.append(Column("faults", right=True))
    instances = result.experiment.workload.instances
    if instances > 1:
        columns.append(Column(f"ok of {instances}", right=True))
    rows = [_row(paper, one, instances=instances > 1) for one in shown]
    paper.table(rows, [*columns, Column("broken")])
    if len(shown) < len(result.runs):
        paper.print(
            paper.words(
                f"and {len(result.runs) - len(shown)} more runs, of which {_count(result, shown)}", "dim"
            )
        )


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
        f"{judgement.expectation.name}{' (as expected)' if judgement.expectation.breaks else ''}"
        for judgement in one.judgements
        if judgement.verdict.valid is False
    ]


def _row(paper: Paper, one: ExperimentRun, *, instances: bool) -> Row:
    run = one.run
    error = f": {type(run.error).__name__}" if run.error is not None and run.outcome == "error" else ""
    cells = [str(one.seed), run.outcome + error, about(run.duration_ns), str(faults_of(one) or "-")]
    if instances:
        cells.append(str(len(run.history.where(kind="instance", type="ok"))))
    cells.append(", ".join(dict.fromkeys(_broken(one))) or "-")
    return Row([paper.words(cell) for cell in cells])


def faults_of(one: ExperimentRun) -> int:
    """Count the faults that struck in a run."""
    return len(one.run.history.where(kind="fault"))


def print_expectations(paper: Paper, result: ExperimentResult) -> None:
    """Print the verdict of every expectation, with the checker's own words."""
    paper.table([_expectation(paper, one, len(result.runs)) for one in result.expectations], _VERDICT_COLUMNS)


def _expectation(paper: Paper, result: ExpectationResult, runs: int) -> Row:
    sign, style = _SIGNS[result.met]
    seed = f"seed {result.deciding.seed}: " if runs > 1 and result.deciding else ""
    text = paper.words(str(result.expectation), "bold")
    if result.expectation.breaks:
        text.append_text(
            paper.words(" breaks, as expected" if result.met is True else " was expected to break")
        )
    text.append_text(paper.words(f": {seed}{result.verdict.message}", "" if result.met is True else style))
    return Row([paper.words(sign, style), text])


def print_verdict(paper: Paper, result: ExperimentResult, real_s: float | None = None) -> None:
    """Print the last word: passed or failed, and the command that replays what was told."""
    met = sum(one.met is True for one in result.expectations)
    runs = plural(len(result.runs), "run")
    count = len(result.expectations)
    text = (
        f"  {met} of {plural(count, 'expectation')} met in {runs}" if count else f"  {runs}, nothing expected"
    )
    if real_s is not None:
        virtual_ns = sum(one.run.duration_ns for one in result.runs)
        text += f": {about(virtual_ns)} of virtual time in {_real(real_s)}"
    passed = paper.words("PASSED" if count else "DONE", "bold green")
    word = passed if result.passed else paper.words("FAILED", "bold red")
    paper.print()
    paper.print(word.append_text(paper.words(text)))
    print_replays(paper, [result])


def _real(seconds: float) -> str:
    """Write a time of the real world, of which two digits are worth telling: "0.31s", "7m 3s"."""
    return about(round(seconds) * 10**9) if seconds >= _TEN_SECONDS else f"{seconds:.2g}s"


def print_replays(paper: Paper, results: Sequence[ExperimentResult]) -> None:
    """Print, for each result that failed, the command that plays it again."""
    for result in results:
        if not result.passed:
            paper.print(paper.words(f"replay: {replay_command(result)}"))


def print_totals(paper: Paper, results: Sequence[ExperimentResult], bad_files: int) -> None:
    """Print a table with a row for each of several files, and how many passed."""
    paper.print()
    columns = [
        Column(),
        *(Column(heading, right=True) for heading in ("runs", "faults", "met")),
        Column("file"),
    ]
    if results:
        paper.table([_total(paper, result) for result in results], columns)
    failed = [result for result in results if not result.passed]
    counts = [(len(results) - len(failed), "passed", "green"), (len(failed), "failed", "bold red")]
    counts.append((bad_files, "could not be read", "bold red"))
    text = paper.words(f"{plural(len(results) + bad_files, 'file')}: ")
    shown = [paper.words(f"{count} {word}", style) for count, word, style in counts if count]
    for number, part in enumerate(shown):
        text.append_text(paper.words(", " if number else "")).append_text(part)
    paper.print()
    paper.print(text)
    print_replays(paper, results)


def _total(paper: Paper, result: ExperimentResult) -> Row:
    sign, style = _SIGNS[result.passed]
    met = sum(one.met is True for one in result.expectations)
    faults = sum(faults_of(one) for one in result.runs)
    cells = [str(len(result.runs)), str(faults or "-"), f"{met} of {len(result.expectations)}"]
    file = result.experiment.source or result.experiment.name
    return Row([paper.words(sign, style), *(paper.words(cell) for cell in cells), paper.words(file)])
