"""A history told as lines, in the order in which things became known.

A call that only does its work is one line, at the moment it ended; one that encloses other calls has a line
where it starts and one where it ends. Faults, and effects that happened as a call ended, are told with the
call.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wfsim.report._line import Line, Tone
from wfsim.report._saga_words import saga_starts
from wfsim.report._tree import Tree, is_crash
from wfsim.report._words import effects_of, ending, error_of, fact, with_attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wfsim.history import History, Op

    Marks = Mapping[int, tuple[str, ...]]

_TONES: dict[str, Tone] = {"ok": "good", "fail": "bad", "info": "doubt"}
_NUMBER = re.compile(r"\d+(\.\d+)?")


def tell(history: History, marks: Marks | None = None) -> list[Line]:
    """Tell the whole history, a line a moment. ``marks`` names, by operation, the checkers that object."""
    marks = marks or {}
    tree = Tree(history, marks)
    return _mark_instances([_marked(line, marks, tree) for line in _lines(tree)], marks, tree)


def _lines(tree: Tree) -> Iterator[Line]:
    for op in tree.history:
        if op.index in tree.silent or op.invoke in tree.silent or op.index in tree.folded:
            continue
        if op.invoke is not None:
            yield _end(tree, op, tree.invokes[op.invoke])
        elif op.type != "invoke":
            yield _fact(tree, op)
        elif op.index in tree.opened:
            yield _line(tree, op, f"{_title(tree, op)} {saga_starts(op)}", "starts")
        elif op.index not in tree.ended:
            yield _unended(tree, op)


def _title(tree: Tree, invoke: Op) -> str:
    return with_attempt(invoke, None if invoke.cause is None else tree.history[invoke.cause])


def _unended(tree: Tree, op: Op) -> Line:
    """Tell a call that never came back, at the moment it began."""
    kinds = [fault.name for fault in tree.faults.get(op.index, ())]
    reasons = {"hang": "starts and hangs (injected)", "crash": "starts"}
    how = next((reasons[kind] for kind in kinds if kind in reasons), "starts and never ends")
    return _line(tree, op, f"{_title(tree, op)} {how}", how, tone="doubt", fault=bool(kinds))


def _end(tree: Tree, op: Op, invoke: Op) -> Line:
    faults = tree.faults.get(invoke.index, [])
    is_flow = invoke.index in tree.opened
    kinds = ",".join(fault.name for fault in faults)
    pattern = f"{op.type} {_NUMBER.sub('#', error_of(op.data))} {kinds}"
    line = _line(tree, op, f"{_title(tree, invoke)} {ending(op, faults, is_flow=is_flow)}", pattern)
    return replace(
        line,
        aside=effects_of(op, tree.effects.get(invoke.index, ())),
        took_ns=op.time_ns - invoke.time_ns,
        tone="bad" if is_flow and op.type == "info" else _TONES[op.type],
        fault=bool(faults),
    )


def _fact(tree: Tree, op: Op) -> Line:
    fault = tree.crashes.get(op.index)
    is_fault = op.kind == "fault" or fault is not None
    is_bad = is_fault or is_crash(op) or "gave_up" in op.data
    tone: Tone = "bad" if is_bad else "good" if op.kind == "done" else "aside"
    source = tree.history[op.cause] if op.kind == "retry" and op.cause is not None else fault
    return _line(tree, op, fact(op, source), f"{is_bad}", tone=tone, fault=is_fault)


def _line(tree: Tree, op: Op, text: str, pattern: str, *, tone: Tone = "plain", fault: bool = False) -> Line:
    depth, story = tree.place(op.index if op.invoke is None else op.invoke)
    return Line(
        index=op.index,
        time_ns=op.time_ns,
        process=op.process,
        depth=depth,
        text=text,
        pattern=f"{op.kind} {op.name} {pattern}",
        tone=tone,
        fault=fault,
        story=story,
    )


def _marked(line: Line, marks: Marks, tree: Tree) -> Line:
    """Name the checkers that object to an operation or, if this line is the end of a call, to the call."""
    invoke = tree.history[line.index].invoke
    found = marks.get(line.index, ()) + (marks.get(invoke, ()) if invoke is not None else ())
    return replace(line, breaks=tuple(dict.fromkeys(found))) if found else line


def _mark_instances(lines: list[Line], marks: Marks, tree: Tree) -> list[Line]:
    """Where a checker objects to an instance of the workload as a whole, mark the last line of its story."""
    ends = {line.story: at for at, line in enumerate(lines) if not line.depth}
    for story in tree.silent:
        if story in marks and story in ends:
            line = lines[ends[story]]
            lines[ends[story]] = replace(line, breaks=tuple(dict.fromkeys((*line.breaks, *marks[story]))))
    return lines
