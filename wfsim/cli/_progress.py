"""Progress of long work, on stderr, so that stdout holds the result alone.

It prints between runs and uses no thread: inside a run the clock belongs to the simulation.
"""

from __future__ import annotations

import math
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

_ON_A_TERMINAL_S: Final = 0.1
_IN_A_LOG_S: Final = 10.0
_ERASE: Final = "\r\x1b[K"


class Progress:
    """Says how far the work is: a line that overwrites itself on a terminal, now and then a line in a log."""

    def __init__(self, stream: TextIO | None = None, *, silent: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._silent = silent
        self._terminal = self._stream.isatty()
        self._spoke = -math.inf if self._terminal else monotonic()  # one long run must not look like a hang
        self._shown = False

    def say(self, file: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` runs of ``file`` are done, unless it has just spoken."""
        pause = _ON_A_TERMINAL_S if self._terminal else _IN_A_LOG_S
        if self._silent or monotonic() - self._spoke < pause:
            return
        text = f"{file}: {done} of {total} runs"
        self._stream.write(f"{_ERASE}{text}" if self._terminal else f"{text}\n")
        self._stream.flush()
        self._spoke = monotonic()
        self._shown = self._terminal

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self._shown:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._shown = False
