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

from wfsim.errors import DesignError
from wfsim_temporal.simulation._simulate import TemporalRun, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def run_programs(*programs: str | Sequence[str], **options: Any) -> TemporalRun:
    """Run Python programs side by side in virtual time; the run ends when the last one does.

    Each is a file (``"worker.py"``, which may import what stands beside it) or a module (``"shop.worker"``), run as
    ``python worker.py`` or ``python -m shop.worker`` would: they connect, make workers and call
    ``asyncio.run`` themselves. Arguments follow as they do there (``"starter.py --orders 3"``), or in a sequence
    (``["starter.py", "--orders", "3"]``). ``options`` are those of ``simulate``. Raises DesignError for a file that
    does not exist; a program that ends with an exit code other than 0 is the run's error.

    Example: ``run_programs("worker.py", "starter.py", faults=[wfsim.fail("charge")]).result()``
    """
    if not programs:
        raise DesignError('name at least one program: run_programs("worker.py", "starter.py")')
    asked = [_words(one) for one in programs]
    for name, *_ in asked:
        if name.endswith(".py") and not Path(name).is_file():
            raise DesignError(f"there is no file {name!r} (from {Path.cwd()})")
    *others, last = asked

    async def side_by_side() -> None:
        for one in others:
            threading.Thread(target=_play, args=(one,), name=one[0], daemon=True).start()
        await asyncio.to_thread(_play, last)

    side_by_side.__name__ = last[0]
    with _importable([name for name, *_ in asked]):
        return simulate(side_by_side, **options)


def _words(program: str | Sequence[str]) -> list[str]:
    """Give a program and its arguments, as ``sys.argv`` has them. Raises DesignError if there is none."""
    if isinstance(program, str):
        words = [program] if Path(program).is_file() else shlex.split(program)
    else:
        words = list(program)
    if not words:
        raise DesignError('a program is a file or a module, with its arguments: "starter.py --orders 3"')
    return words


def _play(words: list[str]) -> None:
    program = words[0]
    sys.argv = list(words)  # of all that run, the one that was started last: programs read it when they begin
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{shlex.join(words)} ended with exit code {end.code}") from end


@contextmanager
def _importable(programs: list[str]) -> Iterator[None]:
    before, arguments = list(sys.path), sys.argv
    folders = [str(Path(one).resolve().parent) for one in programs if one.endswith(".py")]
    sys.path[:0] = dict.fromkeys([*folders, str(Path.cwd())])
    try:
        yield
    finally:
        sys.path[:], sys.argv = before, arguments
