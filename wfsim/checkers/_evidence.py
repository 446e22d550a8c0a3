"""What a history says of a call beyond its outcome, and so of what became of a saga's steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.checkers._runs import DesignRun
    from wfsim.history import History, Op, Span

_NEVER_BEGAN = ("crash", "hang")


class Evidence:
    """Tells of calls whether they did their work, which is more than their caller may know.

    A fault that strikes at a call's reply strikes after the work. One that ends a call before it begins has
    kept it from its work, even if the caller sees a timeout.
    """

    def __init__(self, history: History) -> None:
        faults = [op for op in history.where(kind="fault") if op.parent is not None]
        self._did_work = {op.parent for op in faults if op.data.get("point") == "reply"}
        self._felt = _around(history, history.where(kind="effect"))
        self._never_began = {
            op.parent for op in faults if op.data.get("point") == "call" and _kept_from_work(history, op)
        }

    def happened(self, call: Span) -> bool:
        """Tell whether the call certainly did its work."""
        told = call.outcome == "ok" or call.result.get("effect") == "happened"
        return told or call.index in self._did_work

    def felt(self, call: Span) -> bool:
        """Tell whether the world felt the call: an effect was recorded in it."""
        return call.index in self._felt

    def open(self, call: Span) -> bool:
        """Tell whether the history leaves open if the call did its work."""
        unknown = call.outcome in {"info", None} and call.index not in self._never_began
        return unknown and not self.happened(call)


def _around(history: History, ops: Sequence[Op]) -> set[int]:
    """Give all calls, near and far, that enclose these operations."""
    found: set[int] = set()  # only asked, never walked
    for op in ops:
        parent = op.parent
        while parent is not None and parent not in found:
            found.add(parent)
            parent = history[parent].parent
    return found


def _kept_from_work(history: History, fault: Op) -> bool:
    end = None if fault.parent is None else history.completion(fault.parent)
    return fault.name in _NEVER_BEGAN if end is None else end.cause == fault.index


def crash_after(history: History, call: Span) -> int | None:
    """Find the crash that cut an operation off: the first of its process after its beginning."""
    crashes = [op for op in history.where(kind="process", process=call.process) if op.name == "crash"]
    return next((op.index for op in crashes if op.index > call.index), None)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one step of a saga run."""

    run: DesignRun
    name: str
    tries: Sequence[Span]
    undoings: Sequence[Span]
    evidence: Evidence

    @property
    def who(self) -> str:
        """What to call the step in a message: ``saga checkout: 'charge'``."""
        return f"{self.run.title}: {self.name!r}"

    @property
    def calls(self) -> Sequence[int]:
        """The operations that the step consists of, by index."""
        return [one.index for one in (*self.tries, *self.undoings)]

    @property
    def compensatable(self) -> bool:
        """Whether it can be undone; so it is if the saga did not say anything else."""
        return bool(self.run.declared().get(self.name, {}).get("compensatable", True))

    @property
    def atomic(self) -> bool:
        """Whether it takes effect as a whole or not at all; so it does if the saga did not say otherwise."""
        return bool(self.run.declared().get(self.name, {}).get("atomic", True))

    @property
    def succeeded(self) -> bool:
        """Whether the saga saw it succeed."""
        return any(one.outcome == "ok" for one in self.tries)

    @property
    def took_effect(self) -> bool:
        """Whether it did its work, if or if not the saga learned of it."""
        return any(self.evidence.happened(one) for one in self.tries)

    @property
    def in_doubt(self) -> bool:
        """Whether the saga cannot know if it did its work: a try was cut off, or ended in a timeout.

        A crash may cut off a try that the history does not show, so a later life may be in doubt of any.
        """
        declared = self.run.declared().get(self.name, {})
        unsure = bool(self.run.lives) and bool(declared.get("compensate_unknown"))
        return unsure or any(one.outcome in {"info", None} for one in self.tries)

    @property
    def may_stand(self) -> bool:
        """Whether the history cannot tell either."""
        return any(self.evidence.open(one) for one in self.tries)

    @property
    def undone(self) -> Sequence[Span]:
        """The compensations that did their work.

        Where their effects are recorded, one that the world did not feel (the service had seen its key) is
        none beside one that it did.
        """
        happened = [one for one in self.undoings if self.evidence.happened(one)]
        return [one for one in happened if self.evidence.felt(one)] or happened

    @property
    def had_to_be_undone_once(self) -> bool:
        """Whether a second compensation is one too many.

        It is not where a crash cut off the first one and there was nothing to undo: the step did not do its
        work, nor did the world feel its compensation.
        """
        was_there = self.took_effect or any(self.evidence.felt(one) for one in self.undoings)
        return was_there or not self.run.lives

    @property
    def may_be_undone(self) -> bool:
        """Whether the history cannot tell if a compensation did its work."""
        return any(self.evidence.open(one) for one in self.undoings)


def fates(run: DesignRun, evidence: Evidence) -> list[Fate]:
    """Give the fate of each step that the saga declared, ran or compensated."""
    forwards, compensations = run.by_name("forward"), run.by_name("compensate")
    names = dict.fromkeys((*run.declared(), *forwards, *compensations))
    return [Fate(run, name, forwards.get(name, ()), compensations.get(name, ()), evidence) for name in names]
