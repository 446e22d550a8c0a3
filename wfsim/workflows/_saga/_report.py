"""What a saga says of its way back, in the history and on the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.workflows._failure import note_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.kernel import span


def tell_way_back(
    whole: span, saga: str, failed: str, error: BaseException, undo: Sequence[str], undone: Sequence[str]
) -> None:
    """Say how the way back went: ``undo`` is what was to be compensated, ``undone`` what is left of it."""
    whole.data = {"failed": failed} | ({"undone": list(undone)} if undone else {})
    compensated = ", ".join(name for name in undo if name not in undone) or "nothing"
    left = f"; left undone: {', '.join(undone)}" if undone else ""
    note_once(error, f"saga {saga!r} failed at step {failed!r}; compensated: {compensated}{left}")
