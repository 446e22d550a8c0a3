"""The wall around a run: what would reach the real world is refused, with one clear error."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from wfsim.errors import RealIOError
from wfsim.kernel import _patching

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

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

_OUTSIDE_OF_THE_RUN = "wfsim.kernel._simulation"  # its frame is where a run's stack begins

_inside: Callable[[], bool] | None = None


def refuse_real_io(inside: Callable[[], bool]) -> None:
    """From now on raise RealIOError for network and subprocesses wherever `inside()` is true."""
    global _inside  # noqa: PLW0603
    # The standard library starts ``uname -p`` for this when it is first asked, and then knows it.
    _ = platform.uname().processor
    if _inside is None:
        _inside = inside
        sys.addaudithook(_judge(inside))  # it cannot be taken back; outside a run it does nothing


def _judge(inside: Callable[[], bool]) -> Callable[[str, tuple[Any, ...]], None]:
    refused = _REFUSED  # the hook is called when the interpreter has already emptied its modules

    def judge(event: str, args: tuple[Any, ...]) -> None:
        if event in refused and inside():
            place = refused[event]
            told = "" if place is None or place >= len(args) else repr(args[place])
            refuse(f"{event}({told})")
        elif event == "sys.set_asyncgen_hook_firstiter" and inside():
            _check_loop(sys._getframe(1))

    return judge


def _check_loop(frame: FrameType) -> None:
    """Refuse an event loop in C, such as uvloop's, when it begins to run: it waits in real time.

    Every loop then announces itself to async generators, and one in Python names the function that does it.
    """
    if "set_asyncgen_hooks" not in frame.f_code.co_names:
        raise RealIOError(
            "an event loop that is not written in Python (uvloop?) waits in real time, which a simulation cannot "
            "see. Let asyncio.run, asyncio.Runner or asyncio.new_event_loop make the loop: they make a virtual one."
        )


def refuse(what: str) -> NoReturn:
    """Raise the error that says what to do instead of `what`."""
    module = _being_imported(sys._getframe(1))
    if module:
        raise RealIOError(
            f"{what} is real I/O, which a simulation cannot wait for. It happens because the run is the first to "
            f"import {module}: import that before the run."
        )
    raise RealIOError(
        f"{what} is real I/O, which a simulation cannot wait for. Put the call behind a function that the "
        "test replaces by a fake (its latency: asyncio.sleep or time.sleep), or make the service a simulated "
        "process."
    )


def _being_imported(frame: FrameType | None) -> str:
    """The outermost module that the run is importing, "" if there is none."""
    found = ""
    while frame is not None and frame.f_globals.get("__name__") != _OUTSIDE_OF_THE_RUN:
        if frame.f_code.co_name == "<module>" and _imports(frame.f_back):
            found = frame.f_globals.get("__name__", "")
        frame = frame.f_back
    return found


def _imports(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")


def _fork_exec(*args: Any) -> Any:
    if _inside is not None and _inside():
        refuse(f"starting the process {args[0]!r}")
    return _original_fork_exec(*args)


try:
    # multiprocessing starts its processes with this, past every audit event.
    from _posixsubprocess import fork_exec as _original_fork_exec
except ImportError:  # Windows, where CreateProcess has an event
    pass
else:
    _patching.replace(_original_fork_exec, _fork_exec)
