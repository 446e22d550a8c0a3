"""A history as JSON Lines.

Fields stand in a fixed order; what is None or empty is left out. The lines are put together by hand, because
the bytes are hashed for every run and this takes a third of the time of ``json.dumps``.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any, NoReturn, cast

from wfsim.errors import HistoryError
from wfsim.history._op import OP_TYPES, Record
from wfsim.history._plain import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode", "encode"]


def encode(records: Iterable[Record]) -> str:
    """Write one line a record."""
    return "".join(map(_line, records))


def _line(record: Record) -> str:
    index, time_ns, op_type, kind, design, name, process, attempt, parent, cause, invoke, data = record
    head = (
        f'{{"index":{index},"time_ns":{time_ns},"type":"{op_type}","kind":{quote(kind)}'
        f',"design":{quote(design)},"name":{quote(name)},"process":{quote(process)},"attempt":{attempt}'
    )
    parent_part = "" if parent is None else f',"parent":{parent}'
    cause_part = "" if cause is None else f',"cause":{cause}'
    invoke_part = "" if invoke is None else f',"invoke":{invoke}'
    data_part = f',"data":{to_json(data)}' if data else ""
    return f"{head}{parent_part}{cause_part}{invoke_part}{data_part}}}\n"


_REQUIRED: dict[str, type] = {
    "index": int,
    "time_ns": int,
    "type": str,
    "kind": str,
    "design": str,
    "name": str,
    "process": str,
    "attempt": int,
}
_OPTIONAL: dict[str, type] = {"parent": int, "cause": int, "invoke": int, "data": dict}
_REFERENCES = ("parent", "cause", "invoke")


def decode(text: str) -> list[Record]:
    """Read the lines back, each checked; blank lines are skipped."""
    records: list[Record] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(_record(line, len(records)))
        except ValueError as error:
            raise HistoryError(f"line {number} of the history: {error}") from None
    return records


def _record(line: str, index: int) -> Record:
    fields = json.loads(line, parse_constant=_no_constant)
    if not isinstance(fields, dict):
        raise ValueError("a JSON object is expected")  # noqa: TRY004 - one kind of error for a wrong line
    _check_fields(fields)
    _check_values(fields, index)
    return cast(
        "Record", (*(fields.get(name) for name in (*_REQUIRED, *_REFERENCES)), fields.get("data") or None)
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _check_fields(fields: dict[str, Any]) -> None:
    known = {**_REQUIRED, **_OPTIONAL}
    for name in [*_REQUIRED, *fields]:
        if name not in fields:
            msg = f"field {name!r} is missing"
        elif name not in known:
            msg = f"field {name!r} is unknown; known are {', '.join(known)}"
        elif type(fields[name]) is not known[name]:
            msg = f"field {name!r} must be of type {known[name].__name__}, not {fields[name]!r}"
        else:
            continue
        raise ValueError(msg)


def _check_values(fields: dict[str, Any], index: int) -> None:
    if fields["index"] != index:
        raise ValueError(
            f"index {fields['index']} where {index} is due; a line is missing, doubled or out of order"
        )
    if fields["type"] not in OP_TYPES:
        raise ValueError(f"type {fields['type']!r} is unknown; known are {', '.join(OP_TYPES)}")
    for name in _REFERENCES:
        if name in fields and not 0 <= fields[name] < index:
            raise ValueError(f"{name} {fields[name]} must be the index of an earlier operation")
