"""What must be known of a whole history before its first line can be told: what stands inside what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wfsim.report._machine_words import told_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.history import History, Op

_INSTANCE: Final = "instance"
_FLOWS: Final = frozenset({"saga", "dag", "machine"})


def is_crash(op: Op) -> bool:
    """Tell whether this is the crash of a process."""
    return op.kind == "process" and op.name == "crash"


class Tree:
    """The shape of a history.

    ``opened`` are the calls that have a line where they start and one where they end, since others stand
    inside them; the rest are one line. ``faults`` and ``effects`` are told with the call that they belong to,
    ``crashes`` are the faults behind crashes; ``folded`` is all of these. ``silent`` are the markers of a
    workload whose process tells its story itself.
    """

    def __init__(self, history: History, marked: Mapping[int, object]) -> None:
        self.history = history
        self.invokes = {op.index: op for op in history if op.type == "invoke"}
        enclosing = {op.parent for op in self.invokes.values()}
        self.opened = {index for index, op in self.invokes.items() if index in enclosing or op.kind in _FLOWS}
        self.ended = {op.invoke: op for op in history if op.invoke is not None}
        self.faults = self._told_with_calls("fault")
        self.effects = self._told_with_calls("effect", marked)
        told = (*self.faults.values(), *self.effects.values())
        self.crashes = self._injected_crashes()
        self.folded = {op.index for ops in told for op in ops} | {op.index for op in self.crashes.values()}
        self.folded |= told_elsewhere(history)
        self.instances = {op.process: op for op in self.invokes.values() if op.kind == _INSTANCE}
        talkative = {op.process for op in history if op.kind != _INSTANCE}
        self.silent = {op.index for op in self.instances.values() if op.process in talkative}
        self._places: dict[int, tuple[int, int]] = {}

    def _told_with_calls(self, kind: str, marked: Mapping[int, object] | None = None) -> dict[int, list[Op]]:
        found: dict[int, list[Op]] = {}
        for op in self.history:
            call = op.parent
            if op.kind != kind or call not in self.invokes or call in self.opened:
                continue
            if marked is None or (op.index not in marked and self._at_the_end_of(call, op)):
                found.setdefault(call, []).append(op)
        return found

    def _at_the_end_of(self, call: int, effect: Op) -> bool:
        """Tell whether an effect happened as its call ended well: only then are the two one moment."""
        end = self.ended.get(call)
        return end is not None and end.type == "ok" and end.time_ns == effect.time_ns

    def _injected_crashes(self) -> dict[int, Op]:
        """Give the fault behind each crash that has one: the kernel records both in a row."""
        pairs = zip(self.history, self.history[1:], strict=False)
        return {crash.index: fault for fault, crash in pairs if fault.kind == "fault" and is_crash(crash)}

    def place(self, index: int) -> tuple[int, int]:
        """Give the indentation of an operation, and its story (see :class:`Line`)."""
        known = self._places.get(index)
        if known is None:
            parent = self.history[index].parent
            if parent is None:
                known = (0, self._story(index))
            else:
                depth, story = self.place(parent)
                known = (depth + 1 if parent in self.opened else depth, story)
            self._places[index] = known
        return known

    def _story(self, index: int) -> int:
        """Give the story of an outermost operation: its instance, else itself; a lone fact has none."""
        instance = self.instances.get(self.history[index].process)
        if instance is not None:
            return instance.index
        return index if index in self.invokes else -1
