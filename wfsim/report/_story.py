"""A history told as lines, in the order in which things became known.

A call that only does its work is one line, at the moment it ended; one that encloses other calls has a line where it
starts and one where it ends. A fault is told with the call that it struck.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wfsim.report._line import Line, Tone
from wfsim.report._words import ending, error_of, fact, subject, with_attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wfsim.history import History, Op

_FLOWS = frozenset({"saga", "dag"})
_TONES: dict[str, Tone] = {"ok": "good", "fail": "bad", "info": "doubt"}
_NUMBER = re.compile(r"\d+(\.\d+)?")


def tell(history: History, breaks: Mapping[int, tuple[str, ...]] | None = None) -> tuple[Line, ...]:
    """Tell the whole history, a line a moment. ``breaks`` maps an operation to the checkers that object to it."""
    return tuple(_Teller(history, breaks or {}).lines())


class _Teller:
    """What must be known of the whole history before its first line is told."""

    def __init__(self, history: History, breaks: Mapping[int, tuple[str, ...]]) -> None:
        self.history = history
        self.breaks = breaks
        self.invokes = {op.index: op for op in history if op.type == "invoke"}
        self.ended = {op.invoke for op in history if op.invoke is not None}
        enclosing = {op.parent for op in self.invokes.values()}
        self.open_up = {index for index, op in self.invokes.items() if index in enclosing or op.kind in _FLOWS}
        self.told_with = self._faults_of_calls()
        self.depths: dict[int, tuple[int, int]] = {}

    def _faults_of_calls(self) -> dict[int, list[Op]]:
        """Give each call that is one line the faults that struck it."""
        found: dict[int, list[Op]] = {}
        for op in self.history:
            call = op.parent
            if op.kind == "fault" and call in self.invokes and call not in self.open_up:
                found.setdefault(call, []).append(op)
        return found

    def lines(self) -> Iterator[Line]:
        folded = {fault.index for faults in self.told_with.values() for fault in faults}
        for op in self.history:
            if op.type == "invoke":
                if op.index in self.open_up or op.index not in self.ended:
                    yield self._start(op)
            elif op.invoke is not None:
                yield self._end(op, self.invokes[op.invoke])
            elif op.index not in folded:
                yield self._fact(op)

    def _start(self, op: Op) -> Line:
        faults = self.told_with.get(op.index, [])
        text = f"{with_attempt(op)} starts"
        if op.index not in self.ended and op.index not in self.open_up:
            kinds = [fault.name for fault in faults]
            ends = {"hang": " and hangs (injected)", "crash": ""}
            text += next((ends[kind] for kind in kinds if kind in ends), " and never ends")
        tone: Tone = "plain" if op.index in self.open_up else "doubt"
        return self._line(op, text, f"{op.kind} {op.name} starts", tone=tone, fault=bool(faults))

    def _end(self, op: Op, invoke: Op) -> Line:
        faults = self.told_with.get(invoke.index, [])
        text = f"{with_attempt(op)} {ending(op, faults)}"
        kinds = ",".join(fault.name for fault in faults)
        pattern = f"{op.kind} {op.name} {op.type} {_NUMBER.sub('#', error_of(op.data))} {kinds}"
        took_ns = op.time_ns - invoke.time_ns
        return self._line(op, text, pattern, took_ns=took_ns, tone=_TONES[op.type], fault=bool(faults))

    def _fact(self, op: Op) -> Line:
        is_crash = op.kind == "process" and op.name == "crash"
        injected = is_crash and self.history[max(op.index - 1, 0)].kind == "fault"
        text = f"{fact(op)} (injected)" if injected else fact(op)
        is_bad = is_crash or op.kind == "fault" or "gave_up" in op.data
        is_fault = op.kind == "fault" or injected
        return self._line(op, text, f"{op.kind} {op.name} {is_bad}", tone="bad" if is_bad else "aside", fault=is_fault)

    def _line(  # noqa: PLR0913 - a line has that many parts
        self,
        op: Op,
        text: str,
        pattern: str,
        *,
        took_ns: int | None = None,
        tone: Tone = "plain",
        fault: bool = False,
    ) -> Line:
        depth, story = self._place(op.invoke if op.invoke is not None else op.index)
        objections = self.breaks.get(op.index, ()) + (self.breaks.get(op.invoke, ()) if op.invoke is not None else ())
        unique = tuple(dict.fromkeys(objections))
        return Line(
            op.index, op.time_ns, op.process, depth, text, pattern, took_ns, tone, fault, unique, story
        )

    def _place(self, index: int) -> tuple[int, int]:
        """Give the indentation of an operation and the outermost operation around it."""
        known = self.depths.get(index)
        if known is None:
            parent = self.history[index].parent
            if parent is None:
                known = (0, index if index in self.invokes else -1)
            else:
                above, story = self._place(parent)
                known = (above + 1 if parent in self.open_up else above, story)
            self.depths[index] = known
        return known
