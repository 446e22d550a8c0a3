"""What a test written as a sentence says, in words: what is given, what comes, and how things rest then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.units import format_duration

if TYPE_CHECKING:
    from wfsim.history import Op


def sentence_fact(op: Op) -> str:
    """Tell a part of the sentence; nothing if this is none."""
    if op.kind in {"given", "when"} and ("happening" in op.data or "done" in op.data):
        return f"{op.kind} {op.name}"
    if op.kind == "rests" and "state" in op.data:
        data = ", ".join(f"{name}={value!r}" for name, value in op.data.get("data", {}).items())
        return f"{op.name} rests in {' and '.join(op.data['state'])}{f' with {data}' if data else ''}"
    if op.kind == "scheduled" and "in_ns" in op.data:
        return f"{op.name} is due in {format_duration(op.data['in_ns'])}"
    return ""
