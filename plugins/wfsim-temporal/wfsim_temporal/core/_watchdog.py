"""Workflow code that does not come to an end: a loop without ``await``, or one that swallows every exception.

Temporal's worker gives a workflow task two seconds, then it says that there may be a deadlock. In a simulation no
virtual time passes in such a loop, and the run would hang for ever. So a thread of the real world looks now and then
whether the same activation is still under way, and raises an exception in it. It counts its own looks and reads no
clock: a machine that sleeps, or is slow, is no loop.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
import time
from _thread import LockType
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wfsim_temporal.wire import is_library

if TYPE_CHECKING:
    from types import FrameType

# A simulation replaces these wherever a module's globals refer to them; it does not look into a dict.
_REAL: Final[dict[str, Any]] = {
    "start": _thread.start_new_thread,
    "ident": _thread.get_ident,
    "sleep": time.sleep,  # noqa: TID251 - in a thread of the real world
    "acquire": LockType.acquire,
    "release": LockType.release,
}
PATIENCE_S: Final = 20.0  # a busy machine may need seconds for a long replay, or for the imports of a sandbox
_LOOK_S: Final = 0.5
_AGAIN_S: Final = 0.001
_DEBUGGERS: Final = ("pdb", "bdb", "pydevd", "_pydevd_bundle", "debugpy", "ipdb")
_raise_in: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Endless(BaseException):
    """Raised in code that does not come to an end. No user's ``except Exception`` is meant to stop it."""


class Watchdog:
    """Looks after one activation at a time, in whatever thread."""

    def __init__(self) -> None:
        self._busy: Any = None
        self._struck: Any = None
        self._thread_id = 0
        self._place = ""
        self._lock = _thread.allocate_lock()
        self._is_watching = False
        os.register_at_fork(after_in_child=self._forget_thread)

    def _forget_thread(self) -> None:
        self._is_watching = False

    def enter(self, activation: Any) -> None:
        """Begin to look after an activation, which is an object of its own."""
        if not self._is_watching:
            self._is_watching = True
            self._lock = _thread.allocate_lock()
            _REAL["start"](self._watch, ())
        self._thread_id = _REAL["ident"]()
        self._busy = activation

    def leave(self) -> str:
        """End that; give where the code was if it had to be interrupted. What was not raised yet is not any more."""
        self._busy = None
        if self._struck is None:
            return ""
        _REAL["acquire"](self._lock)
        _raise_in(ctypes.c_ulong(self._thread_id), None)
        self._struck = None
        _REAL["release"](self._lock)
        return self._place

    def _watch(self) -> None:
        seen, looks = None, 0
        while True:
            busy = self._busy
            if busy is None or busy is not seen:
                seen, looks = busy, 0
            elif looks * _LOOK_S < PATIENCE_S:
                looks += 1
            elif not _is_debugged(self._thread_id):
                self._strike(busy)
            _REAL["sleep"](_AGAIN_S if self._struck is not None else _LOOK_S)

    def _strike(self, busy: Any) -> None:
        # First announced, then looked again: so whoever leaves meanwhile waits, and takes it back.
        _REAL["acquire"](self._lock)
        if self._struck is None:
            self._place = _place_of(sys._current_frames().get(self._thread_id)) or "a place unknown"
        self._struck = busy
        if self._busy is busy:
            _raise_in(ctypes.c_ulong(self._thread_id), ctypes.py_object(Endless))
        else:
            self._struck = None
        _REAL["release"](self._lock)


def _is_debugged(thread_id: int) -> bool:
    frame: FrameType | None = sys._current_frames().get(thread_id)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _DEBUGGERS:
            return True
        frame = frame.f_back
    return bool(os.environ.get("TEMPORAL_DEBUG"))


def _place_of(frame: FrameType | None) -> str:
    """Say where code is, as "file.py:12 in function": in the innermost line of the user's own."""
    while frame is not None:
        code = frame.f_code
        if not is_library(code.co_filename):
            return f"{Path(code.co_filename).name}:{frame.f_lineno} in {code.co_qualname}"
        frame = frame.f_back
    return ""


WATCHDOG: Final = Watchdog()
"""The one of this process: one simulation runs code at a time."""
