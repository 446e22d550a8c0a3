"""What CPython keeps once per real thread and every simulated thread needs for itself: its thread-locals.

All simulated threads run in one real thread. Up to Python 3.12 a `threading.local` finds its values in the
dict of the real thread's state; from 3.13 on the state holds a key instead, and a sentinel whose end frees
the values; CPython makes both anew where it finds none. All these are pointers. Exchanging them at each
switch gives every simulated thread its own values of every `threading.local`, also of those made before the
run, in C, or by asyncio (the current event loop).

Where in the state the pointers lie is found out, not assumed, and tried out once before it is used.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from typing import Any

_WORD = ctypes.sizeof(ctypes.c_size_t)
_WORDS_TO_SEARCH = 64

# Function objects of our own: setting `restype` on those of ctypes.pythonapi would change them for everybody.
_state = ctypes.PYFUNCTYPE(ctypes.c_size_t)(("PyThreadState_Get", ctypes.pythonapi))
_state_dict = ctypes.PYFUNCTYPE(ctypes.c_size_t)(("PyThreadState_GetDict", ctypes.pythonapi))
_let_go = ctypes.PYFUNCTYPE(None, ctypes.c_size_t)(("Py_DecRef", ctypes.pythonapi))


def _find() -> tuple[int, int]:
    """Offset and number of the pointers in a thread state."""
    if "gevent.monkey" in sys.modules and threading.local.__module__ != "_thread":
        raise ImportError(
            "gevent has taken the place of threads and thread-locals (monkey.patch_all), and waits in real time. "
            "Run wfsim in a process without it: in a simulation the standard library's own are virtual."
        )
    probe = threading.local()
    probe.value = 1
    words = list((ctypes.c_size_t * _WORDS_TO_SEARCH).from_address(_state()))
    for held in gc.get_referents(probe):
        for key in held if type(held) is dict else ():
            if id(key) in words:
                return words.index(id(key)) * _WORD, 2
    return words.index(_state_dict()) * _WORD, 1


_OFFSET, _SIZE = _find()
_Pointers: Any = ctypes.c_size_t * _SIZE

KEYED = _SIZE > 1
"""Whether CPython makes and changes the pointers itself, so that they must be read when a thread leaves."""


def pointers() -> Any:
    """The pointers of the real thread that asks; `pointers()[:]` are those in use."""
    _state_dict()  # makes the dict, if there is none yet
    return _Pointers.from_address(_state() + _OFFSET)


class Locals:
    """The thread-locals of a simulated thread.

    Attributes:
        pointers: what to put into the thread state while the thread runs.
    """

    __slots__ = ("_values", "pointers")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.pointers = [0] * _SIZE if KEYED else [id(self._values)]

    def unused(self) -> Locals:
        """These if nothing was kept in them, else new ones; the old ones are let go."""
        if not KEYED:
            return Locals() if len(self._values) > 1 else self  # asyncio notes there that no loop runs
        for number, pointer in enumerate(self.pointers):
            if pointer:
                self.pointers[number] = 0
                _let_go(pointer)
        return self


def _try_out() -> None:
    probe, words, other = threading.local(), pointers(), Locals()
    probe.value = 1
    own = words[:]
    words[:] = other.pointers
    shared = hasattr(probe, "value")
    probe.value = 2
    other.pointers = words[:]
    words[:] = own
    other.unused()
    if shared or probe.value != 1:
        raise ImportError(
            "wfsim cannot find the thread-locals of this Python interpreter; it runs on CPython 3.11 to 3.13"
        )


_try_out()
