"""What a saga says, in words: where a fault met its journal, its lives, its locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wfsim.history import Op


def saga_starts(op: Op) -> str:
    """Tell how a life of a saga begins: anew, after a crash, or to undo what had completed."""
    if op.kind == "saga" and op.data.get("resumed"):
        return "goes on"
    return "is to be undone" if op.kind == "saga" and op.data.get("back") else "starts"


def saga_place(fault: Op) -> str:
    """Say where a fault met a journal: before or after a record, or on the disk; else nothing."""
    point, what, step = (fault.data.get(name, "") for name in ("point", "on", "step"))
    record = f"{step!r} as {what}" if what not in {"started", "completed", "undone"} else what
    if point == "journal":
        return f" before it could note {record} in its journal"
    if point == "journalled":
        return f" after it had noted {record} in its journal"
    if point == "persist" and what in {"disk", "journal"}:
        return f" while {step} was not yet safe on its disk"
    return ""


def saga_fact(op: Op) -> str:
    """Tell that a record is free again; else nothing."""
    if op.kind == "unlock":
        return f"{op.data.get('holder', 'it')} gives back {op.name}"
    return ""
