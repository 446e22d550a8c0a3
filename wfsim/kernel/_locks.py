"""Locks and queues inside a run: whoever must wait for one waits in virtual time.

The methods of the C types themselves are replaced (see `_patching`), so all that the standard library
builds on them in Python runs unchanged: `Event`, `Condition`, `Semaphore`, `Barrier`, `queue.Queue`,
futures, executors. It works for objects that were made before the run, and what is made in a run goes on to
work after it.

A lock that is released while somebody waits is handed to the first in line: nobody starves, and the order
is that in which they came. A lock that a real thread outside of the simulation holds is waited for in real
time, because that is the time in which it will be released; the virtual clock stands still meanwhile.
"""

from __future__ import annotations

import _queue
import _thread
import threading
from _thread import get_ident
from functools import partial
from threading import TIMEOUT_MAX
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any

from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel._switchboard import SimThread, Switchboard

_Lock: Any = _thread.LockType
_RLock: Any = _thread.RLock
_take = _Lock.acquire
_free = _Lock.release
_take_again = _RLock.acquire
_free_once = _RLock.release

_PATIENCE_S = 10.0
_GRACE_S = 0.1  # for a lock taken before the run, by whom nobody knows


def drop_locks(board: Switchboard, thread: SimThread) -> None:
    """Release what a crashed thread still holds: the memory in which it held it is gone."""
    for lock in [lock for lock, holder in board.locks.items() if holder is thread]:
        _release(lock)
    for lock, (holder, count) in list(board.rlocks.items()):
        if holder is thread:
            _give_up(board, lock, count)


def _waits(timeout: float, *, blocking: bool) -> bool:
    """Whether these arguments of `acquire` are in order and ask to wait."""
    return blocking and (timeout == -1 or 0 < timeout <= TIMEOUT_MAX)


def _wait_outside(board: Switchboard, take: Callable[..., bool], lock: Any) -> bool:
    """Wait in real time for a lock, if a real thread holds it; whether that was so and it was had."""
    if not _thread._count():
        return False
    known = take is _take_again or lock in board.outside
    return take(lock, True, _PATIENCE_S if known else _GRACE_S)


# -- Lock


def _acquire(self: Any, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002  (Lock's own)
    board = at.active
    if board is None:
        return _take(self, blocking, timeout)  # type: ignore[no-any-return]
    if board.real_ident != get_ident():
        return _acquire_outside(board, self, blocking, timeout)
    if timeout != -1 and not _waits(timeout, blocking=blocking):
        return _take(self, blocking, timeout)  # type: ignore[no-any-return]  # it does not wait, or raises
    board.act()
    if _take(self, False):
        board.locks[self] = board.current
        return True
    return blocking and _wait_for(board, self, timeout)


def _acquire_outside(board: Switchboard, lock: Any, blocking: Any, timeout: float) -> bool:
    taken: bool = _take(lock, blocking, timeout)
    if taken:
        board.outside[lock] = get_ident()
    return taken


def _wait_for(board: Switchboard, lock: Any, timeout: float) -> bool:
    if lock not in board.locks and _wait_outside(board, _take, lock):
        board.locks[lock] = board.current
        return True
    # Who waits for its own lock waits for a signal, as Condition does, and then drops the lock: it must not be
    # kept here, once for each wait.
    is_signal = board.locks.get(lock) is board.current
    taken = board.stand_in_line(lock, "Lock.acquire", board.deadline(timeout))
    if is_signal and board.locks.get(lock) is board.current:
        del board.locks[lock]
    if is_signal:  # of any other lock it would never be known whether the thread has it
        board.be_interrupted()
    return taken


def _release(self: Any) -> None:
    board = at.active
    if board is None or board.real_ident != get_ident():
        if board is not None:
            board.outside.pop(self, None)
        _free(self)
    elif self in board.lines:
        board.locks[self] = board.next_in_line(self)
    else:
        _free(self)
        board.locks.pop(self, None)


def _exit(self: Any, *_error: object) -> None:
    _release(self)


for _name in ("acquire", "acquire_lock", "__enter__"):
    _patching.override(_Lock, _name, lambda _before: _acquire)
for _name in ("release", "release_lock"):
    _patching.override(_Lock, _name, lambda _before: _release)
_patching.override(_Lock, "__exit__", lambda _before: _exit)


# -- RLock: for C all simulated threads are one, so who owns it is kept here


def _r_acquire(self: Any, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002
    board = at.here()
    if board is None or (timeout != -1 and not _waits(timeout, blocking=blocking)):
        return _r_acquire_at_once(board, self, blocking, timeout)
    board.act()
    if _r_take(board, self):
        return True
    if not blocking:
        return False
    if self not in board.rlocks and _wait_outside(board, _take_again, self):
        board.rlocks[self] = (board.current, 1)
        return True
    return board.stand_in_line(self, "RLock.acquire", board.deadline(timeout))


def _r_acquire_at_once(board: Switchboard | None, lock: Any, blocking: Any, timeout: float) -> bool:
    if board is None or timeout != 0 or not blocking:
        return _take_again(lock, blocking, timeout)  # type: ignore[no-any-return]
    return _r_take(board, lock)


def _r_take(board: Switchboard, lock: Any) -> bool:
    """Take it if it is free or the current thread's own."""
    holder, count = board.rlocks.get(lock, (board.current, 0))
    if holder is not board.current or not _take_again(lock, False):
        return False
    board.rlocks[lock] = (holder, count + 1)
    return True


def _r_release(self: Any) -> None:
    board = at.here()
    if board is None or self not in board.rlocks:
        _free_once(self)
        return
    holder, count = board.rlocks[self]
    if holder is not board.current:
        raise RuntimeError("cannot release un-acquired lock")
    if count > 1:
        _free_once(self)
        board.rlocks[self] = (holder, count - 1)
    else:
        _give_up(board, self, 1)


def _give_up(board: Switchboard, lock: Any, count: int) -> None:
    """Undo `count` acquisitions, all there are, and hand the lock to the first in line."""
    for _ in range(count - 1):
        _free_once(lock)
    if lock in board.lines:
        board.rlocks[lock] = (board.next_in_line(lock), 1)
    else:
        del board.rlocks[lock]
        _free_once(lock)


def _r_exit(self: Any, *_error: object) -> None:
    _r_release(self)


def _r_is_owned(before: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def _is_owned(self: Any) -> bool:
        board = at.here()
        if board is None:
            return before(self)
        if self in board.rlocks:
            return board.rlocks[self][0] is board.current
        return board.in_main_thread() and before(self)

    return _is_owned


def _r_count(before: Callable[[Any], int]) -> Callable[[Any], int]:
    def _recursion_count(self: Any) -> int:
        board = at.here()
        if board is None or self not in board.rlocks:
            return before(self)
        holder, count = board.rlocks[self]
        return count if holder is board.current else 0

    return _recursion_count


def _r_release_save(before: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def _release_save(self: Any) -> Any:
        board = at.here()
        if board is None or self not in board.rlocks:
            return before(self)
        holder, count = board.rlocks[self]
        if holder is not board.current:
            raise RuntimeError("cannot release un-acquired lock")
        _give_up(board, self, count)
        return count

    return _release_save


def _r_acquire_restore(before: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def _acquire_restore(self: Any, state: Any) -> None:
        if type(state) is not int:  # saved by the original
            before(self, state)
            return
        for _ in range(state):
            _r_acquire(self)

    return _acquire_restore


for _name in ("acquire", "__enter__"):
    _patching.override(_RLock, _name, lambda _before: _r_acquire)
_patching.override(_RLock, "release", lambda _before: _r_release)
_patching.override(_RLock, "__exit__", lambda _before: _r_exit)
_patching.override(_RLock, "_is_owned", _r_is_owned)
_patching.override(_RLock, "_release_save", _r_release_save)
_patching.override(_RLock, "_acquire_restore", _r_acquire_restore)
if hasattr(_RLock, "_recursion_count"):
    _patching.override(_RLock, "_recursion_count", _r_count)


# -- Condition: it keeps bound methods of its lock, and one made before the run has the original ones


class _OfItsLock:
    """Reads a method of a Condition's lock from the lock as it is now."""

    def __init__(self, name: str, before: Any) -> None:
        self._name = name
        self._before = before

    def __get__(self, condition: Any, cls: type | None = None) -> Any:
        if condition is None:
            return self._before
        kept = vars(condition).get(self._name)
        if type(kept) is BuiltinMethodType:
            return getattr(kept.__self__, self._name)
        if kept is not None:
            return kept
        if not hasattr(self._before, "__get__"):
            raise AttributeError(self._name)
        return self._before.__get__(condition, cls)

    def __set__(self, condition: Any, value: Any) -> None:
        vars(condition)[self._name] = value


for _name in ("acquire", "release", "_is_owned", "_release_save", "_acquire_restore"):
    _patching.override(threading.Condition, _name, partial(_OfItsLock, _name))


# -- SimpleQueue


def _q_get(before: Callable[..., Any]) -> Callable[..., Any]:
    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        board = at.here()
        if board is not None:
            board.act()
        if board is None or not block or (timeout is not None and not timeout > 0):
            return before(self, block, timeout)
        deadline_ns = board.deadline(timeout)
        while True:
            try:
                return before(self, False)
            except _queue.Empty:
                if not board.stand_in_line(self, "SimpleQueue.get", deadline_ns):
                    raise

    return get


def _q_get_nowait(before: Callable[..., Any]) -> Callable[..., Any]:
    def get_nowait(self: Any) -> Any:
        board = at.here()
        if board is not None:
            board.act()
        return before(self)

    return get_nowait


def _q_put(before: Callable[..., None]) -> Callable[..., None]:
    def put(self: Any, item: Any, *args: Any, **kwargs: Any) -> None:
        before(self, item, *args, **kwargs)
        board = at.here()
        if board is not None and self in board.lines:
            board.next_in_line(self)

    return put


_patching.override(_queue.SimpleQueue, "get", _q_get)
_patching.override(_queue.SimpleQueue, "get_nowait", _q_get_nowait)
_patching.override(_queue.SimpleQueue, "put", _q_put)
_patching.override(_queue.SimpleQueue, "put_nowait", _q_put)
