"""The timeline: a run's story on paper, with its times, its faults and its break marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from wfsim.errors import SimulationError
from wfsim.report._clock import clock
from wfsim.report._fold import focus
from wfsim.report._paper import Column, Paper, Row
from wfsim.report._raised import raised_at
from wfsim.report._story import tell
from wfsim.report._words import about

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wfsim.checkers import Verdict
    from wfsim.harness import Run
    from wfsim.history import History
    from wfsim.nemesis import Rule
    from wfsim.report._line import Line

LINES: Final = 40
"""How long a timeline may be before what matters least is left out."""

_STYLES: Final = {"plain": "bold", "good": "", "bad": "red", "doubt": "yellow", "aside": "dim"}
_MARGIN: Final = 3
_WAITING: Final = 12
_NARROW: Final = 70
_KERNELS_OWN: Final = "still waiting:"  # a note that run.waiting tells too


def timeline(
    history: History, verdicts: Iterable[Verdict] = (), *, width: int = 100, lines: int = LINES
) -> str:
    """Write a history as plain text: a line a moment, at most about ``lines`` of them.

    Each operation that a verdict objects to is marked with the checker's name.
    """
    paper = Paper.sheet(width)
    print_timeline(paper, history, verdicts, lines=lines)
    return paper.text()


def print_run(paper: Paper, run: Run, verdicts: Iterable[Verdict] = (), *, lines: int | None = LINES) -> None:
    """Print a run: its timeline, how it ended if the timeline does not say, and who was left waiting."""
    print_timeline(paper, run.history, verdicts, lines=lines)
    if run.error is not None and not _is_told(run):
        kind = type(run.error).__name__ if run.outcome == "error" else run.outcome
        text = f"ended after {about(run.duration_ns)}: {kind}: {run.error}"
        paper.print(paper.words(text, "red"), indent=_MARGIN)
    if run.outcome == "error" and (place := raised_at(run.error)):
        paper.print(paper.words(f"the error was raised at {place}", "dim"), indent=_MARGIN)
    left = [waiting for waiting in run.waiting if waiting.process != "main"]
    for waiting in (left or run.waiting)[:_WAITING]:
        where = f" ({waiting.where})" if waiting.where else ""
        text = f"{waiting.task} in {waiting.process} still waits for {waiting.waits_for}{where}"
        paper.print(paper.words(text, "yellow"), indent=_MARGIN)
    for line in _noted(run):
        paper.print(paper.words(line, "yellow"), indent=_MARGIN)
    print_missed(paper, run.unmatched)


def _noted(run: Run) -> list[str]:
    """Give the lines that others than the kernel have noted on what ended a run; its own tell who still waits."""
    notes = getattr(run.error, "__notes__", ()) if isinstance(run.error, SimulationError) else ()
    return [line for note in notes if not note.startswith(_KERNELS_OWN) for line in note.splitlines()]


def print_missed(paper: Paper, rules: Iterable[Rule]) -> None:
    """Warn of faults that found nothing to strike."""
    for rule in rules:
        paper.print(paper.words(missed(rule), "yellow"), indent=_MARGIN)


def missed(rule: Rule) -> str:
    """Say of a fault that it found nothing to strike."""
    named = [(field, getattr(rule, field)) for field in ("step", "design", "on", "point", "process")]
    where = " and ".join(f"{field} {name!r}" for field, name in named if name is not None) or "any call"
    return f"the fault {rule.fault.kind} at {where} found nothing to strike; is a name misspelt?"


def _is_told(run: Run) -> bool:
    """Tell whether the error that ended the run is on a line of its timeline."""
    message = str(run.error)
    return run.outcome == "error" and any(
        op.data.get("message") == message for op in run.history if op.type in {"fail", "info"}
    )


def print_timeline(
    paper: Paper, history: History, verdicts: Iterable[Verdict] = (), *, lines: int | None = LINES
) -> None:
    """Print a history on paper; ``lines=None`` prints all of it."""
    told = tell(history, _objections(verdicts))
    if not told:
        paper.print(
            paper.words("nothing was recorded: the run passed no design, effect or fault point", "dim")
        )
        return
    shown = focus(told, lines if lines is not None else len(told))
    _print_lines(paper, shown.lines)
    if shown.rest:
        paper.print(paper.words(shown.rest, "dim"), indent=_MARGIN)


def _objections(verdicts: Iterable[Verdict]) -> dict[int, tuple[str, ...]]:
    """Give each operation the names of the checkers that object to it."""
    found: dict[int, tuple[str, ...]] = {}
    for verdict in verdicts:
        if verdict.valid is False:
            for op in verdict.ops:
                found[op] = (*found.get(op, ()), verdict.checker)
    return found


def _print_lines(paper: Paper, lines: Sequence[Line]) -> None:
    write = clock(line.time_ns for line in lines)
    processes = dict.fromkeys(line.process for line in lines if line.process)
    show_took = paper.width >= _NARROW and any(line.took_ns for line in lines)
    columns = [Column(), Column("time", right=True)]
    columns += [Column("took", right=True)] * show_took
    columns += [Column("process")] * (len(processes) > 1)
    columns += [Column(next(iter(processes), "") if len(processes) == 1 else "what happened")]
    rows: list[Row] = []
    beginnings = _beginnings(lines)
    for at, line in enumerate(lines):
        if at in beginnings:
            rows.append(Row())
        cells = [_mark(paper, line), paper.words(write(line.time_ns), "dim")]
        if show_took:
            cells.append(paper.words(about(line.took_ns) if line.took_ns else "", "dim"))
        if len(processes) > 1:
            cells.append(paper.words(line.process, "cyan"))
        rows.append(Row([*cells, _sentence(paper, line)], indent=2 * line.depth))
    paper.table(rows, columns)


def _beginnings(lines: Sequence[Line]) -> set[int]:
    """Find the lines before which one story is over and another begins: an empty line parts them."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for at, line in enumerate(lines):
        first.setdefault(line.story, at)
        last[line.story] = at
    long = {story for story in first if story >= 0 and last[story] > first[story]}
    pairs = ((at, lines[at - 1].story, lines[at].story) for at in range(1, len(lines)))
    return {
        at for at, before, here in pairs if {before, here} <= long and last[before] < at and first[here] == at
    }


def _mark(paper: Paper, line: Line) -> Text:
    if line.breaks:
        return paper.words("✗", "bold red")
    return paper.words("↯", "yellow") if line.fault else Text("")


def _sentence(paper: Paper, line: Line) -> Text:
    text = paper.words(line.text, _STYLES[line.tone])
    text.append_text(paper.words(line.aside, "dim"))
    if line.breaks:
        text.append_text(paper.words(f"  ←{', '.join(line.breaks)}", "bold red"))
    return text
