"""The pytest side: the fixture ``temporal``, and async tests that run with a simulated server.

A test is simulated if it bears the mark ``temporal``, or if ``--temporal-simulated`` (or the ini option of that
name) says so for all async tests. Then the test and all its async fixtures, of whatever scope, run in one
simulation: a new one for each test, so that no test depends on those before it.
"""

from __future__ import annotations

import inspect
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from wfsim_temporal import TemporalRun
    from wfsim_temporal.pytest_plugin._world import TestWorld

__all__: list[str] = []


class TemporalSimulator:
    """Runs Temporal code for a test. Its runs are told in the report if the test fails, as wfsim's own are."""

    def __init__(self, wfsim: Any) -> None:
        self._wfsim = wfsim

    def run(self, main: Any, *args: Any, seed: int | None = None, **options: Any) -> TemporalRun:
        """Run it as ``wfsim_temporal.simulate`` does; ``--wfsim-seed`` gives the seed where the test names none."""
        from wfsim_temporal import simulate

        run = simulate(main, *args, seed=self._wfsim.seed if seed is None else seed, **options)
        self._wfsim.note(run, is_fixed=seed is not None)
        return run

    def check(self, run: TemporalRun, *checkers: Callable[..., Any]) -> Sequence[Any]:
        """Fail the test unless every checker finds that all is well."""
        __tracebackhide__ = True
        verdicts: Sequence[Any] = self._wfsim.check(run, *checkers)
        return verdicts


@pytest.fixture
def temporal(wfsim: Any) -> TemporalSimulator:
    """Run Temporal workflows in virtual time, under faults, with no server."""
    return TemporalSimulator(wfsim)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--temporal-simulated`` and the ini option ``temporal_simulated``."""
    told = "run every async test, and its async fixtures, in a simulation with a simulated Temporal server"
    parser.getgroup("wfsim").addoption("--temporal-simulated", action="store_true", default=None, help=told)
    parser.addini("temporal_simulated", help=told, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Announce the mark."""
    config.addinivalue_line(
        "markers",
        "temporal(simulated=True, **options): run this async test in a simulation with a simulated Temporal server; "
        "options are those of wfsim_temporal.simulate. simulated=False exempts it from --temporal-simulated.",
    )


# -- simulated tests


class _Stage:
    """A simulated test under way: its world, and the async fixtures that live in it."""

    def __init__(self, item: pytest.Function) -> None:
        self.item = item
        self.fixtures: list[tuple[Any, Any]] = []
        self._world: TestWorld | None = None

    @property
    def world(self) -> TestWorld:
        if self._world is None:
            from wfsim_temporal.pytest_plugin._world import TestWorld

            mark = self.item.get_closest_marker("temporal")
            options = {} if mark is None else dict(mark.kwargs)
            options.pop("simulated", None)
            seed = self.item.config.getoption("wfsim_seed", None) or 0
            self._world = TestWorld(self.item.name, **{"seed": seed, **options})
        return self._world

    def play(self) -> None:
        """Run the test's function."""
        __tracebackhide__ = True
        names = inspect.signature(self.item.obj).parameters
        given = {name: one for name, one in self.item.funcargs.items() if name in names}
        self.world.run(partial(self.item.obj, **given))

    def end(self) -> None:
        """Take down the fixtures that would outlive the test, and the world."""
        __tracebackhide__ = True
        errors: list[BaseException] = []
        acts: list[Callable[[], None]] = [
            partial(known.finish, asked) for known, asked in reversed(self.fixtures)
        ]
        for act in [*acts, *([] if self._world is None else [self._world.close])]:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - the rest comes down all the same
                errors.append(error)
        if errors:
            raise errors[0]


_STAGE = pytest.StashKey[_Stage | None]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Prepare a simulated test: whatever else would run its coroutine (pytest-asyncio, anyio) does not."""
    if isinstance(item, pytest.Function) and _is_simulated(item):
        stage = item.config.stash[_STAGE] = _Stage(item)
        vars(item)["runtest"] = stage.play
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """End a simulated test."""
    try:
        return (yield)
    finally:
        vars(item).pop("runtest", None)
        stage = item.config.stash.get(_STAGE, None)
        item.config.stash[_STAGE] = None
        if stage is not None:
            stage.end()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Run an async fixture of a simulated test in the test's world."""
    stage, function = request.config.stash.get(_STAGE, None), _as_written(fixturedef.func)
    if stage is None or not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        return (yield)
    stage.fixtures.append((fixturedef, request))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", _in_world(stage.world, function, request))
        return (yield)


def _is_simulated(item: pytest.Function) -> bool:
    if not inspect.iscoroutinefunction(item.obj):
        return False
    mark = item.get_closest_marker("temporal")
    if mark is not None:
        return bool(mark.kwargs.get("simulated", True))
    config = item.config
    return bool(config.getoption("temporal_simulated") or config.getini("temporal_simulated"))


def _as_written(function: Any) -> Any:
    """Give the suite's own fixture function: older releases of pytest-asyncio have wrapped it at collection."""
    if getattr(function, "__globals__", {}).get("__name__", "").partition(".")[0] == "pytest_asyncio":
        return getattr(function, "__wrapped__", function)
    return function


def _in_world(
    world: TestWorld, function: Callable[..., Any], request: pytest.FixtureRequest
) -> Callable[..., Any]:
    if isinstance(function, MethodType) and isinstance(request.instance, type(function.__self__)):
        function = function.__func__.__get__(
            request.instance
        )  # the object whose test runs, not the collected one

    wanted = inspect.signature(function).parameters

    def value(*args: Any, **found_by_pytest: Any) -> Any:
        __tracebackhide__ = True
        given = {name: one for name, one in found_by_pytest.items() if name in wanted}
        if inspect.iscoroutinefunction(function):
            return world.run(partial(function, *args, **given))
        generator: AsyncGenerator[Any, None] = function(*args, **given)
        found = world.run(generator.__anext__)
        request.addfinalizer(lambda: None if world.is_over else world.run(partial(_finish, generator)))
        return found

    return value


async def _finish(generator: AsyncGenerator[Any, None]) -> None:
    try:
        await anext(generator)
    except StopAsyncIteration:
        return
    raise RuntimeError("an async fixture yields once, and this one did so again")
