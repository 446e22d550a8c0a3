"""The operation: one line of a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OP_TYPES", "WIDTH", "Op", "OpType", "Record", "Span", "make_op", "make_records"]

OpType: TypeAlias = Literal["invoke", "ok", "fail", "info"]

OP_TYPES: Final = ("invoke", "ok", "fail", "info")

# The fields of an Op in their order, with None for empty data.
Record: TypeAlias = tuple[
    int,
    int,
    OpType,
    str,
    str,
    str,
    str,
    int,
    "int | None",
    "int | None",
    "int | None",
    "dict[str, Any] | None",
]

WIDTH: Final = 8
"""How many places a recorder's entry takes.

An entry is written far more often than read, so it is eight values in one flat list: "invoke" or "event", the
time, a tuple of kind, design and name, then process, attempt, parent, cause and data; or, for an end, its type,
its time, None, None, the index of the beginning, None, cause and data. An object for each entry would cost twice
as much to make, and the garbage collector would look at all of them.
"""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation, or one half of it: the call (``invoke``) or its end (``ok``, ``fail``, ``info``).

    The words are Jepsen's. ``info`` means that the outcome is unknown; an ``info`` that completes no invoke
    is a bare fact, such as an effect in the world, a fault or a crash.
    """

    index: int
    """The place in the history, from 0."""
    time_ns: int
    """Virtual time since the start of the run."""
    type: OpType
    kind: str
    """What sort of thing happened: ``saga``, ``forward``, ``compensate``, ``dag``, ``task``, ``retry``,
    ``effect``, ``fault``, ``process``, or a word of the user's own."""
    design: str
    """The name of the design, such as ``checkout``; empty if there is none."""
    name: str
    """The step, task, effect or kind of fault."""
    process: str
    """The simulated process it happened in."""
    attempt: int
    """Which try it is, from 1; 0 where trying has no meaning."""
    parent: int | None
    """The index of the invoke that encloses it, as a span's parent does."""
    cause: int | None
    """The index of the operation that led to this one."""
    invoke: int | None
    """For a completion, the index of the invoke that it completes."""
    data: Mapping[str, Any]
    """What else is known, as plain JSON values."""


@dataclass(frozen=True, slots=True)
class Span:
    """An invoke and its completion seen as one stretch of time."""

    index: int
    """The index of the invoke."""
    kind: str
    design: str
    name: str
    process: str
    attempt: int
    parent: int | None
    cause: int | None
    start_ns: int
    end_ns: int | None
    """None if it never ended, as when its process crashed."""
    outcome: Literal["ok", "fail", "info"] | None
    """The type of the completion, None if there is none."""
    completion: int | None
    """The index of the completion."""
    data: Mapping[str, Any]
    """The data of the invoke."""
    result: Mapping[str, Any]
    """The data of the completion, empty if there is none."""

    @property
    def duration_ns(self) -> int | None:
        """How long it took, None if it never ended."""
        return None if self.end_ns is None else self.end_ns - self.start_ns


def make_op(record: Record) -> Op:
    """Give a record its names."""
    index, time_ns, op_type, kind, design, name, process, attempt, parent, cause, invoke, data = record
    return Op(
        index, time_ns, op_type, kind, design, name, process, attempt, parent, cause, invoke, data or {}
    )


def make_records(entries: Sequence[Any]) -> list[Record]:
    """Spell out what a recorder wrote."""
    records: list[Record] = []
    columns = [entries[place::WIDTH] for place in range(WIDTH)]
    for index, (word, now, who, process, attempt, parent, cause, data) in enumerate(
        zip(*columns, strict=True)
    ):
        if who is None:
            records.append((index, now, word, *records[attempt][3:9], cause, attempt, data))
        else:
            begins: OpType = "info" if word == "event" else "invoke"
            records.append((index, now, begins, *who, process, attempt, parent, cause, None, data))
    return records
