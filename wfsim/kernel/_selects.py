"""`select` and its kin inside a run: they look at the real descriptors at once, and wait in virtual time.

Nothing real becomes ready while the virtual clock moves, but a simulated thread may write into a pipe that
another one waits for (`multiprocessing.pool.ThreadPool` does): those who wait look again whenever a thread
has run.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at
from wfsim.kernel._switchboard import Parker

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel._switchboard import Switchboard


def _wait(board: Switchboard, look: Callable[[], Any], timeout_s: float | None) -> Any:
    board.act()
    found = look()
    if found or timeout_s == 0:
        return found
    parker = Parker(board, "select")
    board.watchers[parker] = look
    try:
        parker.park(board.deadline(timeout_s))
    finally:
        del board.watchers[parker]
    return look()


def _select(before: Callable[..., Any]) -> Callable[..., Any]:
    def stand_in(rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None, /) -> Any:
        board = at.here()
        if board is None or (timeout is not None and not timeout > 0):
            return before(rlist, wlist, xlist, timeout)

        def look() -> Any:
            found = before(rlist, wlist, xlist, 0)
            return found if any(found) else None

        return _wait(board, look, timeout) or ([], [], [])

    return stand_in


def _poll(before: Callable[..., Any]) -> Callable[..., Any]:
    def poll(self: Any, timeout: float | None = None, /) -> Any:  # milliseconds; None or negative: for ever
        board = at.here()
        if board is None or timeout == 0:
            return before(self, timeout)
        wait_s = None if timeout is None or timeout < 0 else timeout / 1000
        return _wait(board, lambda: before(self, 0), wait_s)

    return poll


def _epoll(before: Callable[..., Any]) -> Callable[..., Any]:
    def poll(self: Any, timeout: float | None = None, maxevents: int = -1) -> Any:
        board = at.here()
        if board is None or timeout == 0:
            return before(self, timeout, maxevents)
        wait_s = None if timeout is None or timeout < 0 else timeout
        return _wait(board, lambda: before(self, 0, maxevents), wait_s)

    return poll


_patching.replace(select.select, _select(select.select))
if hasattr(select, "poll"):
    _patching.override(type(select.poll()), "poll", _poll)
if hasattr(select, "epoll"):
    _patching.override(select.epoll, "poll", _epoll)
