"""Sockets, pipes and `select` inside a run: they look at the real descriptors at once, and wait in virtual time.

Nothing real becomes ready while the virtual clock moves, but a simulated thread may write into a pipe that
another one waits for (`multiprocessing.pool.ThreadPool` does): those who wait look again whenever a thread
has run. Such pipes and pairs of sockets are made in the run. To read from others, and to use other sockets,
is real I/O: it would wait for the real world in real time, and is refused.
"""

from __future__ import annotations

import _socket
import io
import os
import select
import stat
import sys
from typing import TYPE_CHECKING, Any

from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at
from wfsim.kernel._realio import refuse
from wfsim.kernel._switchboard import Parker

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel._switchboard import Switchboard


def _wait(board: Switchboard, look: Callable[[], Any], timeout_s: float | None, what: str = "select") -> Any:
    board.act()
    found = look()
    if found or timeout_s == 0:
        return found
    parker = Parker(board, what)
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


# -- making descriptors in the run


class _Real:
    """The originals, where the search for references to them does not look."""

    pipe: Any = staticmethod(os.pipe)
    pipe2: Any = staticmethod(getattr(os, "pipe2", os.pipe))
    socketpair: Any = staticmethod(getattr(_socket, "socketpair", os.pipe))
    read: Any = staticmethod(os.read)
    waitpid: Any = staticmethod(getattr(os, "waitpid", os.read))


def _making(make: Callable[..., Any]) -> Callable[..., Any]:
    """A pipe or pair of sockets, both ends of which are the run's own."""

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        ends = make(*args, **kwargs)
        if (board := at.here()) is not None:
            board.descriptors.update(end if type(end) is int else end.fileno() for end in ends)
        return ends

    return stand_in


_patching.replace(_Real.pipe, _making(_Real.pipe))
if hasattr(os, "pipe2"):
    _patching.replace(_Real.pipe2, _making(_Real.pipe2))
if hasattr(_socket, "socketpair"):
    _patching.replace(_Real.socketpair, _making(_Real.socketpair))


# -- reading and writing


def _is_outside(board: Switchboard, descriptor: int) -> bool:
    """Whether this is a pipe or socket that was opened before the run."""
    if descriptor in board.descriptors or descriptor <= 0:  # zero: a debugger at the prompt
        return False
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _on_socket(name: str, *, reads: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def make(before: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            board = at.here()
            if board is None:
                return before(self, *args, **kwargs)
            if _is_outside(board, self.fileno()):
                refuse(f"socket.{name.strip('_')}() on {self!r}")
            if (timeout := self.gettimeout()) != 0 and not _until_ready(board, self, timeout, reads=reads):
                raise TimeoutError("timed out")
            return before(self, *args, **kwargs)

        return method

    return make


def _until_ready(board: Switchboard, end: Any, timeout_s: float | None, *, reads: bool) -> bool:
    readers, writers = ([end], []) if reads else ([], [end])
    what = "data to read" if reads else "room to write"
    return bool(_wait(board, lambda: any(select.select(readers, writers, [], 0)), timeout_s, what))


def _read(descriptor: int, length: int, /) -> bytes:
    board = at.here()
    if board is not None:
        if _is_outside(board, descriptor):
            refuse(f"os.read({descriptor}) from a pipe or socket that was opened before the run")
        if descriptor in board.descriptors and os.get_blocking(descriptor):
            _until_ready(board, descriptor, None, reads=True)
    return _Real.read(descriptor, length)  # type: ignore[no-any-return]


def _on_file(before: Callable[..., Any]) -> Callable[..., Any]:
    """What reads for the file objects of the standard library, such as the pipe of a process."""

    def method(self: Any, *args: Any) -> Any:
        board = at.here()
        if board is not None and not self.closed and _is_outside(board, self.fileno()):
            refuse(f"reading from the pipe {self.name!r}, which was opened before the run,")
        return before(self, *args)

    return method


def _waitpid(pid: int, options: int, /) -> tuple[int, int]:
    if at.here() is not None and not options & os.WNOHANG:
        refuse(f"waiting for the real process {pid}")
    return _Real.waitpid(pid, options)  # type: ignore[no-any-return]


def _on_tls(before: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        board = at.here()
        end = getattr(self.owner, "fileno", None)  # what works in memory has none
        if board is not None and end is not None and _is_outside(board, end()):
            refuse(f"TLS on {self.owner!r}")
        return before(self, *args)

    return method


def _wall_off_tls() -> None:
    for name in ("do_handshake", "read", "shutdown", "write"):
        _patching.override(sys.modules["_ssl"]._SSLSocket, name, _on_tls)


for _name in ("_accept", "recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into"):
    if hasattr(_socket.socket, _name):
        _patching.override(_socket.socket, _name, _on_socket(_name, reads=True))
for _name in ("send", "sendall"):
    _patching.override(_socket.socket, _name, _on_socket(_name, reads=False))
for _name in ("read", "readall", "readinto"):
    _patching.override(io.FileIO, _name, _on_file)
_patching.replace(_Real.read, _read)
if hasattr(os, "WNOHANG"):
    _patching.replace(_Real.waitpid, _waitpid)
_patching.when_imported("_ssl", _wall_off_tls)
