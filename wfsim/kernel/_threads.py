"""Threads inside a run: `threading` and `concurrent.futures` run unchanged on simulated threads.

Replaced is what starts and names a real thread (`_thread`), `time.sleep`, and the part of
`ThreadPoolExecutor` that would give work of the simulation to real threads which it started before.
"""

from __future__ import annotations

import _thread
import concurrent.futures.thread as pools
import queue
import sys
import threading
import time
from contextvars import Context
from itertools import count
from operator import index
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at
from wfsim.kernel._ambient import PROCESS
from wfsim.kernel._operation import _PARENT
from wfsim.kernel._switchboard import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel._switchboard import SimThread, Switchboard


class _Real:
    """The originals, where the search for references to them does not look."""

    sleep = staticmethod(time.sleep)  # noqa: TID251  (to take its place)
    get_ident = staticmethod(_thread.get_ident)
    get_native_id = staticmethod(getattr(_thread, "get_native_id", None))  # type: ignore[arg-type]
    start_new_thread = staticmethod(_thread.start_new_thread)
    start_joinable_thread = staticmethod(getattr(_thread, "start_joinable_thread", None))  # type: ignore[arg-type]
    set_sentinel = staticmethod(getattr(_thread, "_set_sentinel", None))  # type: ignore[arg-type]


def fresh_context() -> Context:
    """The context of a new thread: empty, as the standard library has it, but for the kernel's own variables."""
    context = Context()
    context.run(_inherit, PROCESS.get(None), _PARENT.get())
    return context


def _inherit(process: Any, parent: int | None) -> None:
    if process is not None:
        PROCESS.set(process)
    if parent is not None:
        _PARENT.set(parent)


# -- sleeping


def _sleep(seconds: float, /) -> None:
    board = at.here()
    if board is None:
        _Real.sleep(seconds)
        return
    if not isinstance(seconds, float):
        seconds = index(seconds)
    if not seconds >= 0:
        _Real.sleep(seconds)  # raises
    board.sleep(nanoseconds(seconds))


_patching.replace(_Real.sleep, _sleep)


# -- starting


def _get_ident() -> int:
    ident = _Real.get_ident()
    board = at.active
    return board.current.ident if board is not None and board.real_ident == ident else ident


def _get_native_id() -> int:
    board = at.here()
    return _Real.get_native_id() if board is None or board.current is board.root else board.current.ident


def _start_new_thread(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any] = {}, /) -> int:  # noqa: B006
    board = at.here()
    if board is None or not callable(function) or type(args) is not tuple or type(kwargs) is not dict:
        return _Real.start_new_thread(function, args, kwargs)
    return _start(board, function, lambda: function(*args, **kwargs)).ident


def _start_joinable_thread(function: Callable[[], object], handle: Any = None, daemon: bool = True) -> Any:  # noqa: FBT001, FBT002
    board = at.here()
    if board is None:
        return _Real.start_joinable_thread(function, handle=handle, daemon=daemon)
    ours = _Handle()
    owner = getattr(function, "__self__", None)
    if isinstance(owner, threading.Thread):
        owner._handle = ours  # type: ignore[attr-defined]
    thread = _start(board, function, function, daemon=daemon, sentinel=ours.running)
    ours.ident = thread.ident
    return ours


def _start(
    board: Switchboard,
    function: Callable[..., object],
    call: Callable[[], object],
    *,
    daemon: bool | None = None,
    sentinel: Any = None,
) -> SimThread:
    if daemon is None:
        daemon = getattr(getattr(function, "__self__", None), "daemon", True)

    def run() -> None:
        try:
            call()
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001  (as `_thread` does)
            if not board.current.alive:
                return
            kind, error, traceback = sys.exc_info()
            sys.unraisablehook(
                SimpleNamespace(  # type: ignore[arg-type]
                    exc_type=kind,
                    exc_value=error,
                    exc_traceback=traceback,
                    err_msg="Exception ignored in thread started by",
                    object=function,
                )
            )

    return board.start(run, fresh_context(), daemon=daemon, sentinel=sentinel)


class _Handle:
    """What Python 3.13's `threading.Thread` joins its thread by."""

    def __init__(self, ident: int = 0) -> None:
        self.ident = ident
        self.running = _thread.allocate_lock()
        self.running.acquire()

    def join(self, timeout: float | None = None) -> None:
        if self.running.locked() and self.ident == _get_ident():
            raise RuntimeError("Cannot join current thread")
        if self.running.acquire(timeout=-1 if timeout is None or timeout < 0 else timeout):
            self.running.release()

    def is_done(self) -> bool:
        return not self.running.locked()

    def _set_done(self) -> None:
        pass


def _set_sentinel() -> Any:
    board = at.here()
    if board is None or board.current is board.root:
        return _Real.set_sentinel()
    board.current.sentinel = sentinel = _thread.allocate_lock()
    return sentinel


def sign_off(thread: SimThread) -> None:
    """A thread has ended or crashed: let those who join it go on, leave nothing for the interpreter's exit."""
    threading._active.pop(thread.ident, None)  # type: ignore[attr-defined]
    if thread.sentinel is not None and thread.sentinel.locked():
        thread.sentinel.release()


def _unnamed(before: Callable[[Any], None]) -> Callable[[Any], None]:
    """What `current_thread` makes for a thread that `threading` did not start: here one of the simulation's own."""

    def __init__(self: Any) -> None:  # noqa: N807
        board = at.here()
        if board is None or board.current is board.root:
            before(self)
            return
        threading.Thread.__init__(self, name=board.current.name(), daemon=False)
        self._started.set()
        self._set_ident()
        self._set_native_id()
        if hasattr(self, "_handle"):
            self._handle = _Handle(self._ident)
        threading._active[self._ident] = self  # type: ignore[attr-defined]

    return __init__


_patching.override(threading._DummyThread, "__init__", _unnamed)  # type: ignore[attr-defined]
_patching.replace(_Real.get_ident, _get_ident)
_patching.replace(_Real.start_new_thread, _start_new_thread)
if hasattr(_thread, "get_native_id"):
    _patching.replace(_Real.get_native_id, _get_native_id)
if hasattr(_thread, "start_joinable_thread"):
    _patching.replace(_Real.start_joinable_thread, _start_joinable_thread)
if hasattr(_thread, "_set_sentinel"):
    _patching.replace(_Real.set_sentinel, _set_sentinel)


# -- executors


class Pools:
    """The executors of one run. One that has real threads already gets simulated ones for as long as it runs."""

    def __init__(self) -> None:
        self._adopted: WeakKeyDictionary[pools.ThreadPoolExecutor, tuple[Any, ...]] = WeakKeyDictionary()
        self._ends: Any = None
        self._names = (threading._counter, pools.ThreadPoolExecutor._counter)  # type: ignore[attr-defined]
        threading._counter = count(1).__next__  # type: ignore[attr-defined]
        pools.ThreadPoolExecutor._counter = count().__next__  # type: ignore[attr-defined]

    def adopt(self, executor: Any) -> None:
        """Let an executor work with simulated threads."""
        if executor not in self._adopted:
            self._adopted[executor] = (executor._work_queue, executor._idle_semaphore, executor._threads)
            executor._work_queue = queue.SimpleQueue()
            executor._idle_semaphore = threading.Semaphore(0)
            executor._threads = set()

    def end(self) -> None:
        """Do what the interpreter does at its exit: let the workers finish what is queued and then end."""
        self._open = [executor for executor in self._adopted if not executor._shutdown]
        pools._shutdown, self._ends = _EndOfRun(), pools._shutdown
        for thread, work in list(pools._threads_queues.items()):
            if _is_simulated(thread):
                work.put(None)

    def give_back(self) -> None:
        """Put everything back as it was."""
        if self._ends is not None:
            pools._shutdown = self._ends
            for executor in self._open:
                executor._shutdown = False
        for executor, (work, idle, threads) in self._adopted.items():
            executor._work_queue, executor._idle_semaphore, executor._threads = work, idle, threads
            if executor._shutdown:
                work.put(None)  # its real workers have not heard of it yet
        for thread in [thread for thread in pools._threads_queues if _is_simulated(thread)]:
            del pools._threads_queues[thread]
        threading._counter, pools.ThreadPoolExecutor._counter = self._names  # type: ignore[attr-defined]


def _is_simulated(thread: threading.Thread) -> bool:
    return (thread.ident or 0) > at.FIRST_IDENT


class _EndOfRun:
    """Says "the interpreter shuts down" to the simulation, and not to anybody else."""

    def __bool__(self) -> bool:
        return at.here() is not None


def _adopting(before: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        board = at.here()
        if board is not None:
            board.pools.adopt(self)
        return before(self, *args, **kwargs)

    return method


_patching.override(pools.ThreadPoolExecutor, "submit", _adopting)
_patching.override(pools.ThreadPoolExecutor, "shutdown", _adopting)
