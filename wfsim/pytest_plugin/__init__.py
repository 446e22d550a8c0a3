"""The pytest plugin: the ``wfsim`` fixture, and scenario files as tests.

Every pytest session of everyone who has wfsim installed imports this file, so it imports nothing but pytest;
the rest comes when a test asks for the fixture or a scenario file is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from wfsim.pytest_plugin._fixture import Simulator
    from wfsim.pytest_plugin._scenarios import ScenarioFile

__all__: list[str] = []

_SIMULATOR = pytest.StashKey["Simulator"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--wfsim-seed`` and the ini option ``wfsim_scenarios``."""
    parser.getgroup("wfsim").addoption(
        "--wfsim-seed",
        type=int,
        default=None,
        metavar="N",
        help="run scenarios with this seed alone, and the wfsim fixture with it where a test names no seed",
    )
    parser.addini(
        "wfsim_scenarios",
        help="directories whose YAML files are wfsim scenarios: names, or paths from the root, or patterns",
        type="args",
        default=["scenarios"],
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """Collect a scenario file as a test."""
    if file_path.suffix not in {".yaml", ".yml"}:
        return None
    from wfsim.pytest_plugin._scenarios import ScenarioFile, is_scenario

    return ScenarioFile.from_parent(parent, path=file_path) if is_scenario(file_path, parent) else None


@pytest.fixture(name="wfsim")
def _wfsim(request: pytest.FixtureRequest) -> Simulator:
    """Run designs in virtual time under faults, and check what happened.

    ``run = wfsim.run(saga, faults=[wfsim.fail("charge")])`` plays a design, a coroutine function or a
    blocking function; ``wfsim.check(run, wfsim.checkers.compensated_in_reverse)`` fails the test with the
    run's timeline, its seed and the command that replays it. ``wfsim.given(saga).when("order-1").then_completed()``
    is both in one sentence. Every name of the module wfsim is there too.
    """
    from wfsim.pytest_plugin._fixture import Simulator

    simulator = Simulator(request.config, request.node.nodeid)
    request.node.stash[_SIMULATOR] = simulator
    return simulator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the timelines of a failed test's runs, whatever it was that failed."""
    report = yield
    simulator = item.stash.get(_SIMULATOR, None)
    if simulator is not None and report.failed and report.when == "call":
        error = call.excinfo.value if call.excinfo else None
        simulator.shorten(report, error)
        report.sections += simulator.sections(error)
    return report
