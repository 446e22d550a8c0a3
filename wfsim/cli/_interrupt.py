"""Ctrl-C, also where Python drops it: what is raised in a destructor or a weak reference's callback is only printed."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from typing import Any, Self


class Interrupt:
    """A context manager: Ctrl-C raises KeyboardInterrupt, and `heed` does so again if that was dropped."""

    def __init__(self) -> None:
        self._came = False
        self._handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def heed(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed before."""
        if self._came:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._came = True
        _hush()
        raise KeyboardInterrupt


def _hush() -> None:
    """Keep everything from complaining, on the way out, of all the work that the interrupt cut off."""
    logging.getLogger("asyncio").disabled = True
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
