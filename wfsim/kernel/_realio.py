"""The wall around a run: what would reach the real world is refused, with one clear error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from wfsim.errors import RealIOError
from wfsim.kernel import _patching

if TYPE_CHECKING:
    from collections.abc import Callable

# Python's audit events (PEP 578), and which of their arguments tells what was attempted.
_REFUSED = {
    "socket.bind": 1,
    "socket.connect": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyaddr": 0,
    "socket.gethostbyname": 0,
    "socket.getnameinfo": 0,
    "socket.sendmsg": 1,
    "socket.sendto": 1,
    "subprocess.Popen": 1,
    "os.exec": 0,
    "os.fork": None,
    "os.forkpty": None,
    "os.posix_spawn": 1,
    "os.spawn": 2,
    "os.startfile": 0,
    "os.system": 0,
    "pty.spawn": 0,
    "_winapi.CreateProcess": 1,
}

_inside: Callable[[], bool] | None = None


def refuse_real_io(inside: Callable[[], bool]) -> None:
    """From now on raise RealIOError for network and subprocesses wherever `inside()` is true."""
    global _inside  # noqa: PLW0603
    if _inside is None:
        _inside = inside
        sys.addaudithook(_judge(inside))  # it cannot be taken back; outside a run it does nothing


def _judge(inside: Callable[[], bool]) -> Callable[[str, tuple[Any, ...]], None]:
    refused = _REFUSED  # the hook is called when the interpreter has already emptied its modules

    def judge(event: str, args: tuple[Any, ...]) -> None:
        if event in refused and inside():
            place = refused[event]
            told = "" if place is None or place >= len(args) else repr(args[place])
            raise RealIOError(_message(f"{event}({told})"))

    return judge


def _message(what: str) -> str:
    return (
        f"{what} is real I/O, which a simulation cannot wait for. Put the call behind a function that the "
        "test replaces by a fake (its latency: asyncio.sleep or time.sleep), or make the service a simulated "
        "process."
    )


def _fork_exec(*args: Any) -> Any:
    if _inside is not None and _inside():
        raise RealIOError(_message(f"starting the process {args[0]!r}"))
    return _original_fork_exec(*args)


try:
    # multiprocessing starts its processes with this, past every audit event.
    from _posixsubprocess import fork_exec as _original_fork_exec
except ImportError:  # Windows, where CreateProcess has an event
    pass
else:
    _patching.replace(_original_fork_exec, _fork_exec)
