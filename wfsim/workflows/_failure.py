"""What a flow reads off an error, and writes on it."""

from __future__ import annotations

from wfsim.kernel import cause_of


def origin_of(error: BaseException) -> int | None:
    """Give the index of the operation that failed with this error, also if a policy wrapped it; else None."""
    index = cause_of(error)
    return cause_of(error.__cause__) if index is None and error.__cause__ is not None else index


def note_once(error: BaseException, note: str) -> None:
    """Add a note to an error, unless it has it: one object may be raised again and again."""
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
