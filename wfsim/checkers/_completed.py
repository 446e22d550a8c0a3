"""Whether every run of a design came to an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wfsim.checkers._runs import DESIGN_KINDS, error_of, split
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from wfsim.history import History


def completed(
    history: History, *, design: str | None = None, outcome: Literal["any", "ok"] = "any"
) -> Verdict:
    """Every saga and DAG that began came to an end; with ``outcome="ok"``, to success.

    ``design`` names the design to judge, all if None. A run ended if it returned or raised.
    """
    findings = Findings("completed")
    runs, _ = split(history.spans(), DESIGN_KINDS)
    for run in runs:
        whole = run.whole
        if design is not None and whole.design != design:
            continue
        findings.judged += 1
        if whole.outcome is None:
            open_parts = [part for part in run.parts if part.outcome is None]
            at = f"; it hangs in {open_parts[-1].name!r}" if open_parts else ""
            findings.breach(f"{run.title} never ended{at}", whole.index, *(part.index for part in open_parts))
        elif outcome == "ok" and whole.outcome != "ok":
            findings.breach(f"{run.title} failed with {error_of(whole)}", whole.index, whole.completion)
    kept = "{} runs succeeded" if outcome == "ok" else "{} runs came to an end"
    return findings.verdict(kept, "no saga or DAG ran")
