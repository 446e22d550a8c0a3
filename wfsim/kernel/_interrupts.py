"""Ctrl-C waits while the world is put in place and put back, so that it never finds it half done."""

from __future__ import annotations

import threading
from _signal import SIGINT, getsignal, signal  # type: ignore[import-not-found]  # 20 times as fast as `signal`
from _thread import get_ident
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Uninterrupted:
    """A context manager: a SIGINT that comes meanwhile is heard when it is left, or inside `heard`.

    Python runs handlers of signals in the main thread between any two instructions; other threads need none
    of this. A handler written in C, or none, is left alone.
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, Any], Any] | None = None
        self._came = False

    def __enter__(self) -> Self:
        if get_ident() == threading.main_thread().ident:
            handler = getsignal(SIGINT)
            if callable(handler):
                self._handler = handler
                signal(SIGINT, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        self._hear()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear it again: the code inside may be interrupted anywhere."""
        try:
            self._hear()
            yield
        finally:
            # A handler that the run has set stays until the run is put back.
            if self._handler is not None and getsignal(SIGINT) is self._handler:
                signal(SIGINT, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self._came = True

    def _hear(self) -> None:
        if self._handler is None or getsignal(SIGINT) != self._note:
            return
        signal(SIGINT, self._handler)
        if self._came:
            self._came = False
            self._handler(SIGINT, None)
