"""The runs of designs that a history holds, each with the operations that belong to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.history import History, Span

DESIGN_KINDS = ("saga", "dag", "machine")


@dataclass(frozen=True, slots=True)
class DesignRun:
    """One run of a saga or a DAG. Operations of a design nested in it belong to the nested one."""

    whole: Span
    parts: list[Span] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What to call it in a message: ``saga checkout``."""
        return f"{self.whole.kind} {self.whole.design or self.whole.name}"

    @property
    def turned_back(self) -> bool:
        """Whether it ended in another way than by success."""
        return self.whole.outcome in {"fail", "info"}

    def by_name(self, kind: str) -> dict[str, list[Span]]:
        """Give its operations of one kind by step: the tries of each, in order."""
        found: dict[str, list[Span]] = {}
        for part in self.parts:
            if part.kind == kind:
                found.setdefault(part.name, []).append(part)
        return found

    def declared(self) -> dict[str, dict[str, Any]]:
        """Give what the saga said of its steps when it began, by step; empty if it said nothing."""
        steps = self.whole.data.get("steps")
        return {str(step["name"]): dict(step) for step in steps} if isinstance(steps, list) else {}


def design_runs(history: History, kind: str, design: str | None = None) -> list[DesignRun]:
    """Give the runs of this kind in the order in which they began, of one design if it is named."""
    runs, _ = split(history.spans(), (kind,))
    return [run for run in runs if design is None or run.whole.design == design]


def split(spans: Sequence[Span], kinds: Sequence[str] = DESIGN_KINDS) -> tuple[list[DesignRun], list[Span]]:
    """Sort operations into the design runs of these kinds that enclose them most closely, and the rest."""
    owner: dict[int, DesignRun] = {}
    runs: list[DesignRun] = []
    rest: list[Span] = []
    for span in spans:
        above = None if span.parent is None else owner.get(span.parent)
        if span.kind in kinds:
            owner[span.index] = run = DesignRun(span)
            runs.append(run)
        elif above is not None:
            owner[span.index] = above
            above.parts.append(span)
        else:
            rest.append(span)
    return runs, rest


def end_of(span: Span) -> int:
    """Give the index of an operation's last sign of life."""
    return span.index if span.completion is None else span.completion


def error_of(span: Span) -> str:
    """Name the error that an operation ended with, as ``ConnectionError: down``."""
    name = str(span.result.get("error", "an error")).rpartition(".")[2]
    message = span.result.get("message")
    return f"{name}: {message}" if message else name


def times(count: int) -> str:
    """Say how often: ``once``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
