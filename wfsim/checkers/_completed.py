"""Whether every run of a design came to an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wfsim.checkers._evidence import crash_after
from wfsim.checkers._runs import DESIGN_KINDS, WITH_LIVES, DesignRun, error_of, joined, split
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from wfsim.history import History


def _why_open(history: History, run: DesignRun) -> tuple[str, int, int | None]:
    """Say why a run never ended, and give the operations that show it."""
    crash = crash_after(history, run.whole)
    if crash is not None:
        cut_off = f"it was cut off when process {run.whole.process!r} crashed"
        return f"{run.title} never ended; {cut_off}", run.whole.index, crash
    hanging = next((part for part in reversed(run.parts) if part.outcome is None), None)
    if hanging is None:
        return f"{run.title} never ended", run.whole.index, None
    return f"{run.title} never ended; it hangs in {hanging.name!r}", run.whole.index, hanging.index


def completed(
    history: History, *, design: str | None = None, outcome: Literal["any", "ok"] = "any"
) -> Verdict:
    """Every saga, DAG and state machine that began came to an end; with ``outcome="ok"``, to success.

    ``design`` names the design to judge, all if None. A run ended if it returned or raised; one that a crash
    cut off is judged by the run that carried it on under the key of its journal, if there is one.
    """
    findings = Findings("completed")
    runs, _ = split(history.spans(), DESIGN_KINDS)
    for run in joined(runs, kinds=(*WITH_LIVES, "dag")):
        whole = run.whole
        if design is not None and whole.design != design:
            continue
        findings.judged += 1
        if whole.outcome is None:
            findings.breach(*_why_open(history, run))
        elif outcome == "ok" and whole.outcome != "ok":
            findings.breach(f"{run.title} failed with {error_of(whole)}", whole.index, whole.completion)
    return findings.verdict("run", "succeeded" if outcome == "ok" else "came to an end", "no design ran")
