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
from concurrent.futures import Future
from contextvars import Context
from itertools import count
from operator import index
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at
from wfsim.kernel._ambient import PROCESS
from wfsim.kernel._cause import PARENT
from wfsim.kernel._switchboard import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel._switchboard import SimThread

# `_thread` and `threading` differ between the Python versions and keep much to themselves.
_raw: Any = _thread
_threading: Any = threading
_pools: Any = pools

_LOOK_S = 0.001


class _Real:
    """The originals, where the search for references to them does not look."""

    sleep: Any = staticmethod(time.sleep)  # noqa: TID251  (to take its place)
    get_ident: Any = staticmethod(_raw.get_ident)
    get_native_id: Any = staticmethod(getattr(_raw, "get_native_id", _raw.get_ident))
    start_new_thread: Any = staticmethod(_raw.start_new_thread)
    start_joinable_thread: Any = staticmethod(getattr(_raw, "start_joinable_thread", _raw.get_ident))
    set_sentinel: Any = staticmethod(getattr(_raw, "_set_sentinel", _raw.get_ident))


def in_real_thread(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a function outside of the simulation, in a thread of its own, while virtual time stands still."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def call() -> None:
        try:
            outcome.append((fn(*args), None))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            outcome.append((None, error))

    _Real.start_new_thread(call, ())
    while not outcome:
        _Real.sleep(_LOOK_S)
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def fresh_context() -> Context:
    """A new thread's context: empty, as the standard library has it, but for the kernel's own variables."""
    context = Context()
    context.run(_inherit, PROCESS.get(None), PARENT.get())
    return context


def _inherit(process: Any, parent: int | None) -> None:
    if process is not None:
        PROCESS.set(process)
    if parent is not None:
        PARENT.set(parent)


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


class _Job:
    """What a new thread does."""

    def __init__(self, function: Callable[..., object], args: Any, kwargs: Any) -> None:
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def run(self) -> None:
        try:
            self._function(*self._args, **self._kwargs)
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001  (as `_thread` does)
            self._report()

    def _report(self) -> None:
        board = at.active
        if board is None or not board.current.alive:
            return  # it crashed, and what it stumbled over is that
        kind, error, traceback = sys.exc_info()
        report: Any = SimpleNamespace(
            exc_type=kind,
            exc_value=error,
            exc_traceback=traceback,
            err_msg="Exception ignored in thread started by",
            object=self._function,
        )
        sys.unraisablehook(report)

    def name(self) -> str:
        return getattr(self._function, "__qualname__", type(self._function).__name__)

    def forget(self) -> None:
        del self._function, self._args, self._kwargs


def _start_new_thread(function: Any, args: Any, kwargs: Any = None, /) -> int:
    board = at.here()
    kwargs = {} if kwargs is None else kwargs
    if board is None or not callable(function) or type(args) is not tuple or type(kwargs) is not dict:
        return _Real.start_new_thread(function, args, kwargs)  # type: ignore[no-any-return]
    daemon = getattr(getattr(function, "__self__", None), "daemon", True)
    return board.start(_Job(function, args, kwargs), fresh_context(), daemon=daemon).ident


# Any of them may be given by position: it is what the original allows.
def _start_joinable_thread(function: Any, handle: Any = None, daemon: bool = True) -> Any:  # noqa: FBT001, FBT002
    board = at.here()
    if board is None:
        return _Real.start_joinable_thread(function, handle=handle, daemon=daemon)
    ours = _Handle()
    owner = getattr(function, "__self__", None)
    if isinstance(owner, threading.Thread):
        owner._handle = ours  # type: ignore[attr-defined]
    job = _Job(function, (), {})
    ours.ident = board.start(job, fresh_context(), daemon=daemon, sentinel=ours.running).ident
    return ours


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
        """Asked of the main thread's handle only."""


def _set_sentinel() -> Any:
    """Up to Python 3.12: the lock by which a thread is joined."""
    board = at.here()
    if board is None or board.in_main_thread():
        return _Real.set_sentinel()
    board.current.sentinel = sentinel = _thread.allocate_lock()
    return sentinel


def sign_off(thread: SimThread) -> None:
    """A thread has ended or crashed: let go who joins it, leave nothing for the interpreter's exit."""
    if thread.ident > at.FIRST_IDENT:  # the main thread goes on to be known
        _threading._active.pop(thread.ident, None)
    if thread.sentinel is not None and thread.sentinel.locked():
        thread.sentinel.release()


_patching.replace(_Real.start_new_thread, _start_new_thread)
if hasattr(_raw, "start_joinable_thread"):
    _patching.replace(_Real.start_joinable_thread, _start_joinable_thread)
if hasattr(_raw, "_set_sentinel"):
    _patching.replace(_Real.set_sentinel, _set_sentinel)


# -- who am I


def _get_ident() -> int:
    ident: int = _Real.get_ident()
    board = at.active
    return board.current.ident if board is not None and board.real_ident == ident else ident


def _get_native_id() -> int:
    board = at.here()
    if board is None or board.in_main_thread():
        return _Real.get_native_id()  # type: ignore[no-any-return]
    return board.current.ident


def _of_the_run(before: Callable[[Any], None]) -> Callable[[Any], None]:
    """What `current_thread` makes for a thread that `threading` has not started: here no foreign daemon."""

    def __init__(self: Any) -> None:  # noqa: N807
        board = at.here()
        if board is None or board.in_main_thread():
            before(self)
            return
        threading.Thread.__init__(self, name=board.current.name(), daemon=False)
        self._started.set()
        self._set_ident()
        self._set_native_id()
        if hasattr(self, "_handle"):
            self._handle = _Handle(self._ident)
        _threading._active[self._ident] = self

    return __init__


_patching.override(_threading._DummyThread, "__init__", _of_the_run)
_patching.replace(_Real.get_ident, _get_ident)
if hasattr(_raw, "get_native_id"):
    _patching.replace(_Real.get_native_id, _get_native_id)


# -- executors


class Pools:
    """The executors and futures of one run.

    An executor that has real threads already gets simulated ones until the run ends.
    """

    def __init__(self) -> None:
        self._adopted: WeakKeyDictionary[Any, tuple[Any, ...]] = WeakKeyDictionary()
        self._open: list[Any] = []
        self.is_over = False
        self.next_number = count().__next__
        # The numbers in the names of threads begin anew: they shall not depend on what ran before.
        self._before = (_threading._counter, _pools.ThreadPoolExecutor._counter, _pools._shutdown)
        _threading._counter = count(1).__next__
        _pools.ThreadPoolExecutor._counter = count().__next__

    def adopt(self, executor: Any) -> None:
        """Let an executor work with simulated threads."""
        if executor not in self._adopted:
            self._adopted[executor] = (executor._work_queue, executor._idle_semaphore, executor._threads)
            executor._work_queue = queue.SimpleQueue()
            executor._idle_semaphore = threading.Semaphore(0)
            executor._threads = _InOrder()

    def end(self) -> None:
        """Do what the interpreter does at its exit: let the workers finish what is queued and then end."""
        self.is_over = True
        self._open = [executor for executor in self._adopted if not executor._shutdown]
        _pools._shutdown = _EndOfRun()
        for thread, work in list(_pools._threads_queues.items()):
            if _is_simulated(thread):
                work.put(None)

    def give_back(self) -> None:
        """Put everything back as it was."""
        _threading._counter, _pools.ThreadPoolExecutor._counter, _pools._shutdown = self._before
        for executor in self._open:
            executor._shutdown = False
        for executor, (work, idle, threads) in self._adopted.items():
            executor._work_queue, executor._idle_semaphore, executor._threads = work, idle, threads
            if executor._shutdown:
                work.put(None)  # its real workers have not heard of it yet
        for thread in [thread for thread in _pools._threads_queues if _is_simulated(thread)]:
            del _pools._threads_queues[thread]


class _InOrder(dict[Any, None]):
    """As much of a set as an executor needs, without a set's order by address."""

    def add(self, thread: Any) -> None:
        self[thread] = None


def _is_simulated(thread: threading.Thread) -> bool:
    return (thread.ident or 0) > at.FIRST_IDENT


class _EndOfRun:
    """Says "the interpreter shuts down" to the simulation, and not to anybody else."""

    def __bool__(self) -> bool:
        return at.here() is not None


def _alive_until_the_end(_before: Any) -> Callable[[Any], bool]:
    """Let threads that work for as long as there is a main thread hear of the end, as at the interpreter's exit."""

    def is_alive(self: Any) -> bool:
        board = at.here()
        return (board is None or not board.pools.is_over) and threading.Thread.is_alive(self)

    return is_alive


_patching.override(_threading._MainThread, "is_alive", _alive_until_the_end)


def _adopting(before: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        board = at.here()
        if board is not None:
            board.pools.adopt(self)
        return before(self, *args, **kwargs)

    return method


class _NumberedFuture(Future[Any]):
    """A future that was made in a run.

    `wait` and `as_completed` keep futures in sets; hashed by address they would come out in any order.
    """

    _number: int

    def __hash__(self) -> int:
        return self._number


_NumberedFuture.__name__ = Future.__name__


def _numbering(before: Callable[[Any], None]) -> Callable[[Any], None]:
    def __init__(self: Any) -> None:  # noqa: N807
        before(self)
        board = at.here()
        if board is not None and type(self) is Future:
            numbered: Any = self
            numbered.__class__ = _NumberedFuture
            numbered._number = board.pools.next_number()

    return __init__


_patching.override(Future, "__init__", _numbering)
_patching.override(pools.ThreadPoolExecutor, "submit", _adopting)
_patching.override(pools.ThreadPoolExecutor, "shutdown", _adopting)
