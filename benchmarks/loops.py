"""Who can run an unmodified asyncio program in virtual time: wfsim, a few lines of one's own, and other libraries."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import math
from collections.abc import Callable, Coroutine
from typing import Any

from wfsim.kernel import Simulation

Main = Callable[[], Coroutine[Any, Any, Any]]
Runner = Callable[[Main], Any]


class _NoWaiting:
    """In front of a selector: where it would wait for the next timer, the loop's clock jumps there."""

    def __init__(self, selector: Any, loop: StockVirtualLoop) -> None:
        self._selector = selector
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is ready and no timer is set")
        if timeout > 0:
            self._loop.jump()
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


class StockVirtualLoop(asyncio.SelectorEventLoop):
    """The stock loop with a virtual clock: what one writes oneself in a test suite."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_time = 0.0
        self._selector = _NoWaiting(self._selector, self)
        self.jump()

    def time(self) -> float:
        return self._virtual_time

    def jump(self) -> None:
        if self._scheduled:
            self._virtual_time = self._scheduled[0].when()
        # The loop takes timers due before time() + resolution: any larger one lumps timers, a smaller one hangs.
        self._clock_resolution = math.ulp(self._virtual_time)


def run_in_simulation(main: Main) -> Any:
    """wfsim: a whole simulation, with all that it patches and restores."""
    outcome = Simulation().run(main)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _run_on(new_loop: Callable[[], asyncio.AbstractEventLoop], main: Main) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


def run_on_stock_loop(main: Main) -> Any:
    """The baseline of the asyncio world."""
    return _run_on(StockVirtualLoop, main)


def _run_in_detangle(main: Main) -> Any:
    return importlib.import_module("detangle").run(main, max_steps=10**12)


def _run_in_looptime(main: Main) -> Any:
    looptime = importlib.import_module("looptime")
    # It rounds time to its resolution, a microsecond unless told.
    return _run_on(lambda: looptime.new_event_loop(start=0.0, resolution=1e-9), main)


_RIVALS: dict[str, Runner] = {
    "detangle": _run_in_detangle,
    "looptime": _run_in_looptime,
}


def runners() -> dict[str, Runner]:
    """Who runs asyncio programs here, by the contender's name; other libraries where they are installed."""
    rivals = {name: run for name, run in _RIVALS.items() if importlib.util.find_spec(name)}
    return {"wfsim-asyncio": run_in_simulation, "asyncio-virtual": run_on_stock_loop, **rivals}
