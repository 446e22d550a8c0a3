"""The history and the questions one can ask it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast, overload

from wfsim.errors import HistoryError
from wfsim.history._codec import decode, encode
from wfsim.history._op import Op, OpType, Record, Span, make_op, make_records

if TYPE_CHECKING:
    from types import EllipsisType

__all__ = ["History"]

# Where each field stands in a record.
_TYPE: Final = 2
_KIND: Final = 3
_DESIGN: Final = 4
_NAME: Final = 5
_PROCESS: Final = 6
_ATTEMPT: Final = 7
_PARENT: Final = 8
_CAUSE: Final = 9
_INVOKE: Final = 10


class History(Sequence[Op]):
    """All that happened in a run, in order, for ever: the only thing that checkers, reports and metrics read.

    A sequence of :class:`Op`. It answers from records and makes an ``Op`` when one is asked for.
    """

    _entries: Sequence[Any] = ()
    _end = 0

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = tuple(records)

    @classmethod
    def of_entries(cls, entries: Sequence[Any], end: int) -> History:
        """Make a history of what a recorder wrote before ``end``; it is spelt out when somebody first reads.

        Until then the entries are not copied: a recorder only ever adds to them.
        """
        history = cls.__new__(cls)
        history._entries, history._end = entries, end  # noqa: SLF001
        return history

    @cached_property
    def _records(self) -> tuple[Record, ...]:
        records = tuple(make_records(self._entries[: self._end]))
        self._entries = ()
        return records

    @cached_property
    def _ops(self) -> list[Op | None]:
        return [None] * len(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Op: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Op, ...]: ...
    def __getitem__(self, index: int | slice) -> Op | tuple[Op, ...]:
        if isinstance(index, slice):
            return tuple(self._at(i) for i in range(*index.indices(len(self._records))))
        op = self._ops[index]
        return op if op is not None else self._at(index % len(self._records))

    def _at(self, index: int) -> Op:
        op = self._ops[index]
        if op is None:
            op = self._ops[index] = make_op(self._records[index])
        return op

    def __iter__(self) -> Iterator[Op]:
        return map(self._at, range(len(self._records)))

    def __eq__(self, other: object) -> bool:
        return self.fingerprint() == other.fingerprint() if isinstance(other, History) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __repr__(self) -> str:
        return f"<History of {len(self)} ops>"

    def __reduce__(self) -> tuple[type[History], tuple[tuple[Record, ...]]]:
        return History, (self._records,)

    # -- questions --

    def where(
        self,
        *,
        type: OpType | None = None,
        kind: str | None = None,
        design: str | None = None,
        name: str | None = None,
        process: str | None = None,
        attempt: int | None = None,
        parent: int | EllipsisType | None = ...,
    ) -> tuple[Op, ...]:
        """Give the operations that have all these values, in order.

        A filter that is None is not applied, save ``parent=None``, which asks for what has no parent.
        """
        wanted = ((_TYPE, type), (_KIND, kind), (_DESIGN, design), (_NAME, name), (_PROCESS, process))
        found: Iterable[Record] = self._records
        for position, value in (*wanted, (_ATTEMPT, attempt)):
            if value is not None:
                found = [record for record in found if record[position] == value]
        if parent is not ...:
            found = [record for record in found if record[_PARENT] == parent]
        return tuple(self._at(record[0]) for record in found)

    def completion(self, invoke: int) -> Op | None:
        """Find how the operation begun at this index ended; None if it never did."""
        index = self._completions.get(self._checked(invoke))
        return None if index is None else self._at(index)

    def children(self, index: int) -> tuple[Op, ...]:
        """Give the operations directly inside this invoke, their completions and bare facts among them."""
        return tuple(map(self._at, self._children.get(self._checked(index), ())))

    def within(self, index: int) -> tuple[Op, ...]:
        """Give all operations inside this invoke, at any depth; neither itself nor its completion."""
        inside = list(self._children.get(self._checked(index), ()))
        for nested in inside:  # grows while it is walked
            inside.extend(self._children.get(nested, ()))
        return tuple(map(self._at, sorted(inside)))

    def lineage(self, index: int) -> tuple[Op, ...]:
        """Follow the causes back: this operation first, then what led to it, down to the root."""
        chain = [self._checked(index)]
        while (cause := self._records[chain[-1]][_CAUSE]) is not None:
            chain.append(cause)
        return tuple(map(self._at, chain))

    def spans(self) -> tuple[Span, ...]:
        """Give each invoke together with its completion, in order of the invokes."""
        return tuple(self._span(record) for record in self._records if record[_TYPE] == "invoke")

    def _span(self, record: Record) -> Span:
        index, start_ns, _, kind, design, name, process, attempt, parent, cause, _, data = record
        end_index = self._completions.get(index)
        end = None if end_index is None else self._records[end_index]
        return Span(
            index=index,
            kind=kind,
            design=design,
            name=name,
            process=process,
            attempt=attempt,
            parent=parent,
            cause=cause,
            start_ns=start_ns,
            end_ns=end[1] if end else None,
            outcome=cast("Literal['ok', 'fail', 'info']", end[_TYPE]) if end else None,
            completion=end_index,
            data=data or {},
            result=(end[-1] or {}) if end else {},
        )

    def _checked(self, index: int) -> int:
        if 0 <= index < len(self._records):
            return index
        raise HistoryError(
            f"the history holds no operation {index}; it has {len(self._records)}, counted from 0"
        )

    @cached_property
    def _completions(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for record in self._records:
            invoke = record[_INVOKE]
            if invoke is not None:
                found.setdefault(invoke, record[0])
        return found

    @cached_property
    def _children(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for record in self._records:
            parent = record[_PARENT]
            if parent is not None:
                found.setdefault(parent, []).append(record[0])
        return found

    # -- the file form --

    def to_jsonl(self) -> str:
        """Write one JSON object a line, one line an operation; the same text on every machine and Python."""
        return encode(self._records)

    @classmethod
    def from_jsonl(cls, text: str) -> History:
        """Read what :meth:`to_jsonl` wrote. Raise HistoryError, with the line, if the text is no history."""
        return cls(decode(text))

    def fingerprint(self) -> str:
        """Give the SHA-256 of the JSON Lines, in hex: the same run, the same fingerprint, and only then."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(self.to_jsonl().encode("ascii")).hexdigest()
