"""Whole programs side by side, as one would start them in several terminals: workers, and what uses them."""

from __future__ import annotations

import asyncio
import runpy
import shlex
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, RealIOError
from wfsim.kernel import as_program
from wfsim.units import NS_PER_SECOND, parse_duration
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.simulation._imports import import_libraries
from wfsim_temporal.simulation._simulate import TemporalRun, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from wfsim.units import Duration


def run_programs(*programs: str | Sequence[str], linger: Duration = 0, **options: Any) -> TemporalRun:
    """Run Python programs side by side in virtual time; the run ends when the last one does.

    Each is a file (``"worker.py"``, which may import what stands beside it) or a module (``"shop.worker"``), run as
    ``python worker.py`` or ``python -m shop.worker`` would: they connect, make workers and call
    ``asyncio.run`` themselves. Arguments follow as they do there (``"starter.py --orders 3"``), or in a sequence
    (``["starter.py", "--orders", "3"]``). For ``linger`` the others go on after the end of the last: it may only
    start what a worker has then to do. ``options`` are those of ``simulate``. Raises DesignError for a file that
    does not exist, NotSimulated for programs that use gevent; a program that ends with an exit code other than 0 is
    the run's error.

    Libraries that the programs import are imported before the run.

    Example: ``run_programs("worker.py", "starter.py", faults=[wfsim.fail("charge")]).result()``
    """
    if not programs:
        raise DesignError('name at least one program: run_programs("worker.py", "starter.py")')
    asked = [_words(one) for one in programs]
    for name, *_ in asked:
        if name.endswith(".py") and not Path(name).is_file():
            raise DesignError(f"there is no file {name!r} (from {Path.cwd()})")
    side_by_side = _together(asked, parse_duration(linger, "linger") / NS_PER_SECOND)
    with _importable([name for name, *_ in asked]) as folders:
        import_libraries([name for name, *_ in asked], folders)
        return simulate(side_by_side, **options)


def _together(asked: list[list[str]], linger_s: float) -> Callable[[], Coroutine[Any, Any, None]]:
    *others, last = asked

    async def side_by_side() -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for one in others:
            threading.Thread(target=_stand_by, args=(one, failed), name=one[0], daemon=True).start()
        main = asyncio.ensure_future(asyncio.to_thread(_play, last))
        try:
            await asyncio.wait({main, failed}, return_when=asyncio.FIRST_COMPLETED)
            if main.done():
                main.result()
                await asyncio.wait({failed}, timeout=linger_s)
            if failed.done():
                failed.result()
        finally:
            main.cancel()
            failed.cancel()

    side_by_side.__name__ = last[0]
    return side_by_side


def _words(program: str | Sequence[str]) -> list[str]:
    """Give a program and its arguments, as ``sys.argv`` has them. Raises DesignError if there is none."""
    if isinstance(program, str):
        words = [program] if Path(program).is_file() else shlex.split(program)
    else:
        words = list(program)
    if not words:
        raise DesignError('a program is a file or a module, with its arguments: "starter.py --orders 3"')
    return words


def _stand_by(words: list[str], failed: asyncio.Future[None]) -> None:
    """Run a program that the run does not wait for; its error ends the run nevertheless."""
    try:
        _play(words)
    except asyncio.CancelledError:
        # When the run ends, workers are cancelled, as by Ctrl-C: that is nothing to print a traceback for.
        if not failed.done():
            raise
    except Exception as error:
        if failed.done():
            raise
        error.add_note(f"in {shlex.join(words)}, which runs beside the last program")
        failed.get_loop().call_soon_threadsafe(_tell, failed, error)


def _tell(failed: asyncio.Future[None], error: Exception) -> None:
    if not failed.done():  # another program has failed at the same instant
        failed.set_exception(error)


def _play(words: list[str]) -> None:
    program = words[0]
    sys.argv = list(words)  # of all that run, the one that was started last: programs read it when they begin
    try:
        with as_program():
            if program.endswith(".py"):
                runpy.run_path(program, run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{shlex.join(words)} ended with exit code {end.code}") from end
    except BaseExceptionGroup as group:
        raise _refusal_in(group) or group  # noqa: B904 - it is a part of the group


def _refusal_in(group: BaseExceptionGroup[Any]) -> BaseException | None:
    """Give what wfsim has refused in one of the groups that trio makes of all errors."""
    found: BaseException | None = group.subgroup((NotSimulated, RealIOError))
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


@contextmanager
def _importable(programs: list[str]) -> Iterator[list[str]]:
    """Let programs import what stands beside them; gives the folders that count."""
    before, arguments = list(sys.path), sys.argv
    folders = [str(Path(one).resolve().parent) for one in programs if one.endswith(".py")]
    sys.path[:0] = own = list(dict.fromkeys([*folders, str(Path.cwd())]))
    try:
        yield own
    finally:
        sys.path[:], sys.argv = before, arguments
