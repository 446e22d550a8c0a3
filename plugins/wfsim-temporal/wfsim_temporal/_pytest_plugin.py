"""The pytest side: the fixture ``temporal``, and the mark of the same name for tests that are programs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wfsim_temporal import TemporalRun


class TemporalSimulator:
    """Runs Temporal code for a test. Its runs are told in the report if the test fails, as wfsim's own are."""

    def __init__(self, wfsim: Any) -> None:
        self._wfsim = wfsim

    def run(self, main: Any, *args: Any, seed: int | None = None, **options: Any) -> TemporalRun:
        """Run it as ``wfsim_temporal.simulate`` does; ``--wfsim-seed`` gives the seed where the test names none."""
        from wfsim_temporal import simulate

        return simulate(main, *args, seed=self._wfsim.seed if seed is None else seed, **options)

    def check(self, run: TemporalRun, *checkers: Callable[..., Any]) -> Sequence[Any]:
        """Fail the test unless every checker finds that all is well."""
        __tracebackhide__ = True
        verdicts: Sequence[Any] = self._wfsim.check(run, *checkers)
        return verdicts


@pytest.fixture
def temporal(wfsim: Any) -> TemporalSimulator:
    """Run Temporal workflows in virtual time, under faults, with no server."""
    return TemporalSimulator(wfsim)


def pytest_configure(config: pytest.Config) -> None:
    """Announce the mark."""
    config.addinivalue_line(
        "markers", "temporal(**options): run this async test in a simulation with a simulated Temporal server"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked async test in virtual time; its clients and workers are simulated ones."""
    mark = pyfuncitem.get_closest_marker("temporal")
    if mark is None or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from wfsim_temporal import simulate

    function = pyfuncitem.obj
    names = inspect.signature(function).parameters
    given = {name: one for name, one in pyfuncitem.funcargs.items() if name in names}

    async def test() -> None:
        await function(**given)

    test.__name__ = function.__name__
    simulate(test, **{"seed": pyfuncitem.config.getoption("wfsim_seed", None) or 0, **mark.kwargs}).result()
    return True
