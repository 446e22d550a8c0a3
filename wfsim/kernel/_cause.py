"""What led to what: the operation that the running code is part of, and the one that recorded an error."""

from __future__ import annotations

from asyncio import CancelledError
from contextvars import ContextVar

# The index of the operation that encloses what happens; inherited by tasks, timers and threads.
PARENT: ContextVar[int | None] = ContextVar("wfsim_parent", default=None)

# By these names because the method of an imported object is looked up anew at each call.
current_parent = PARENT.get
set_parent = PARENT.set


def cause_of(error: BaseException) -> int | None:
    """The index of the operation that recorded `error` last, None if none did.

    A time limit ends what it limits by a cancellation, and raises TimeoutError from that: what was cancelled is what
    led to it.
    """
    index = getattr(error, "__wfsim_op__", None)
    if index is None and isinstance(error, TimeoutError) and isinstance(error.__cause__, CancelledError):
        return getattr(error.__cause__, "__wfsim_op__", None)
    return index


def mark(error: BaseException, index: int) -> None:
    """Note on `error` that the operation at `index` recorded it."""
    try:  # noqa: SIM105  (suppress() takes four times as long)
        error.__wfsim_op__ = index  # type: ignore[attr-defined]
    except AttributeError:
        pass  # an exception with slots: its cause is then its own operation
