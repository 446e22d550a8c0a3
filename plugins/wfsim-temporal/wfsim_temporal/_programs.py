"""Whole programs side by side, as one would start them in several terminals: workers, and what uses them."""

from __future__ import annotations

import asyncio
import runpy
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim_temporal._simulate import TemporalRun, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_programs(*programs: str, **options: Any) -> TemporalRun:
    """Run Python programs side by side in virtual time; the run ends when the last one does.

    Each is a file (``"worker.py"``, which may import what stands beside it) or a module (``"shop.worker"``), run as
    ``python worker.py`` or ``python -m shop.worker`` would: they connect, make workers and call
    ``asyncio.run`` themselves. ``options`` are those of ``simulate``. Raises DesignError for a file that does
    not exist.

    Example: ``run_programs("worker.py", "starter.py", faults=[wfsim.fail("charge")]).result()``
    """
    if not programs:
        raise DesignError('name at least one program: run_programs("worker.py", "starter.py")')
    for one in programs:
        if one.endswith(".py") and not Path(one).is_file():
            raise DesignError(f"there is no file {one!r} (from {Path.cwd()})")
    *others, last = programs

    async def side_by_side() -> None:
        for one in others:
            threading.Thread(target=_play, args=(one,), name=one, daemon=True).start()
        await asyncio.to_thread(_play, last)

    side_by_side.__name__ = last
    with _importable(programs):
        return simulate(side_by_side, **options)


def _play(program: str) -> None:
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__")


@contextmanager
def _importable(programs: tuple[str, ...]) -> Iterator[None]:
    before = list(sys.path)
    folders = [str(Path(one).resolve().parent) for one in programs if one.endswith(".py")]
    sys.path[:0] = dict.fromkeys([*folders, str(Path.cwd())])
    try:
        yield
    finally:
        sys.path[:] = before
