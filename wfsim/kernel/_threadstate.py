"""What CPython keeps once per real thread and every simulated thread needs for itself: its thread-locals.

All simulated threads run in one real thread. Up to Python 3.12 a `threading.local` finds its values in the dict of
the real thread's state; from 3.13 on the state holds a key instead, and a sentinel whose end frees the values. Both
are pointers that CPython makes anew where it finds none. Exchanging them at each switch gives every simulated thread
its own values of every `threading.local`, also of those made before the run, in C, or by asyncio itself (the current
event loop).

Where in the state the pointers lie is found out, not assumed, and tried out once before it is used.
"""

from __future__ import annotations

import ctypes
import gc
import threading

_WORD = ctypes.sizeof(ctypes.c_size_t)
_WORDS_TO_SEARCH = 64

# Function objects of our own: setting `restype` on those of ctypes.pythonapi would change them for everybody.
_state = ctypes.PYFUNCTYPE(ctypes.c_size_t)(("PyThreadState_Get", ctypes.pythonapi))
_state_dict = ctypes.PYFUNCTYPE(ctypes.c_size_t)(("PyThreadState_GetDict", ctypes.pythonapi))
_let_go = ctypes.PYFUNCTYPE(None, ctypes.c_size_t)(("Py_DecRef", ctypes.pythonapi))


def _find() -> tuple[int, int]:
    """Offset and number of the pointers in a thread state."""
    probe = threading.local()
    probe.value = 1
    words = list((ctypes.c_size_t * _WORDS_TO_SEARCH).from_address(_state()))
    for held in gc.get_referents(probe):
        for key in held if type(held) is dict else ():
            if id(key) in words:
                return words.index(id(key)) * _WORD, 2
    return words.index(_state_dict()) * _WORD, 1


_OFFSET, _SIZE = _find()
_Pointers = ctypes.c_size_t * _SIZE
NO_LOCALS = [0] * _SIZE


class ThreadLocals:
    """The thread-locals of the real thread that makes this object.

    `words[:]` are its pointers. Who takes them out owns them, and either puts them back or calls `free`.
    """

    def __init__(self) -> None:
        self.words = _Pointers.from_address(_state() + _OFFSET)


def free(pointers: list[int]) -> None:
    """Let go of thread-locals that are not in use any more."""
    for pointer in pointers:
        if pointer:
            _let_go(pointer)


def _try_out() -> None:
    probe, words = threading.local(), ThreadLocals().words
    probe.value = 1
    own = words[:]
    words[:] = NO_LOCALS
    other = hasattr(probe, "value")
    probe.value = 2
    others = words[:]
    words[:] = own
    free(others)
    if other or probe.value != 1:
        raise ImportError(
            "wfsim cannot find the thread-locals of this Python interpreter; it runs on CPython 3.11 to 3.13"
        )


_try_out()
