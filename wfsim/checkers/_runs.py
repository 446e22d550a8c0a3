"""The runs of designs that a history holds, each with the operations that belong to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.history import History, Span

DESIGN_KINDS = ("saga", "dag", "machine")


@dataclass(frozen=True, slots=True)
class DesignRun:
    """One run of a saga or a DAG. Operations of a design nested in it belong to the nested one."""

    whole: Span
    parts: list[Span] = field(default_factory=list)
    lives: tuple[Span, ...] = ()
    """All spans of the instance, if it was carried on after a crash; ``whole`` is the last of them."""

    @property
    def title(self) -> str:
        """What to call it in a message: ``saga checkout``."""
        return f"{self.whole.kind} {self.whole.design or self.whole.name}"

    @property
    def key(self) -> str | None:
        """The name of the instance, if the design gives its instances names."""
        key = self.whole.data.get("key")
        return None if key is None else str(key)

    @property
    def turned_back(self) -> bool:
        """Whether it ended in another way than by success, or was undone as a whole after it."""
        if self.stuck_ahead:
            return False
        back = bool(self.whole.data.get("back"))
        return self.whole.outcome in {"fail", "info"} or (back and self.whole.outcome == "ok")

    @property
    def is_over(self) -> bool:
        """Whether it has nothing left to do: it succeeded, or undid all that it had done."""
        undone = self.turned_back and not self.whole.result.get("undone")
        return self.succeeded or undone

    @property
    def succeeded(self) -> bool:
        """Whether it did all it was to do."""
        return self.whole.outcome == "ok" and not self.whole.data.get("back")

    @property
    def stuck_ahead(self) -> bool:
        """Whether it is past its pivot and says that it could not finish."""
        return self.whole.outcome != "ok" and bool(self.whole.result.get("unfinished"))

    @property
    def has_branches(self) -> bool:
        """Whether steps of it may run side by side."""
        return any("depends_on" in step for step in self.declared().values())

    def befores(self) -> dict[str, list[str]]:
        """Give for each declared step those that must have succeeded before it begins, near and far."""
        found: dict[str, list[str]] = {}
        for name, step in self.declared().items():
            direct = [str(one) for one in step["depends_on"]] if "depends_on" in step else list(found)
            far = [other for one in direct for other in found.get(one, ())]
            found[name] = list(dict.fromkeys([*direct, *far]))
        return found

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
    runs, rest = split(history.spans(), (kind,))
    return [run for run in joined(runs, rest) if design is None or run.whole.design == design]


# Of these an instance may be carried on after a crash, and so have several lives.
WITH_LIVES: Final = ("saga", "machine")


def joined(
    runs: Sequence[DesignRun], rest: Sequence[Span] = (), kinds: Sequence[str] = WITH_LIVES
) -> list[DesignRun]:
    """Make one run of all lives of an instance; give it, too, what was done for it outside of any run.

    A saga that is carried on after a crash has a span for each life; in one without an orchestrator the
    participants work wherever an event finds them. What belongs together bears the same key. ``kinds`` are those
    of which it is so; of a DAG each life is a run that keeps results of the one before.
    """
    found: list[DesignRun] = []
    known: dict[tuple[str, str], int] = {}
    for run in runs:
        if run.key is None or run.whole.kind not in kinds:
            found.append(run)
            continue
        name = (run.whole.design, run.key)
        if name in known:
            before = found[known[name]]
            lives = (*(before.lives or (before.whole,)), run.whole)
            found[known[name]] = DesignRun(run.whole, [*before.parts, *run.parts], lives)
        else:
            known[name] = len(found)
            found.append(run)
    return _with_scattered(found, known, rest)


def _with_scattered(
    runs: list[DesignRun], known: Mapping[tuple[str, str], int], rest: Sequence[Span]
) -> list[DesignRun]:
    scattered: dict[int, list[Span]] = {}
    for span in rest:
        place = known.get((span.design, str(span.data.get("key"))))
        if place is not None:
            scattered.setdefault(place, []).append(span)
    for place, spans in scattered.items():
        parts = sorted([*runs[place].parts, *spans], key=lambda part: part.index)
        runs[place] = replace(runs[place], parts=parts)
    return runs


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
