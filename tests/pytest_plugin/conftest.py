"""A pytest session inside the test, with the plugin on whether or not wfsim is installed."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# pytester throws away what an inner session imports; a kernel imported twice would patch the clock twice.
import wfsim.checkers
import wfsim.pytest_plugin._fixture
import wfsim.pytest_plugin._scenarios
import wfsim.report
import wfsim.scenario

DESIGN = """
import asyncio
from wfsim import Retry, Saga

async def work():
    await asyncio.sleep(0.03)

async def cannot():
    raise OSError("no way back")

def shop(release=work):
    saga = Saga("shop")
    saga.add_step("reserve", forward=work, compensate=release)
    saga.add_step("charge", forward=work, compensate=work, retry=Retry(attempts=2))
    return saga
"""


ROOT = Path(wfsim.__file__).parent.parent
QUIET = "ignore::pytest.PytestAssertRewriteWarning"


@pytest.fixture
def plugin_on() -> list[str]:
    """The arguments that load the plugin where its entry point is not installed."""
    installed = any(point.name == "wfsim" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "wfsim.pytest_plugin", "-W", QUIET]


@pytest.fixture
def installed(tmp_path_factory, monkeypatch) -> None:
    """Let interpreters started from here find wfsim as if it were installed, entry point and all."""
    site = tmp_path_factory.mktemp("site")
    info = site / "wfsim_as_installed-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wfsim-as-installed\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest11]\nwfsim = wfsim.pytest_plugin\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{site}")


@pytest.fixture
def session(pytester, plugin_on, monkeypatch):
    """Run pytest on a test file written with the design above."""
    monkeypatch.setenv("COLUMNS", "110")
    pytester.makepyfile(design=DESIGN)

    def run(test: str = "", *arguments: str) -> pytest.RunResult:
        if test:
            pytester.makepyfile(test_shop=f"import wfsim as front\nfrom design import *\n\n{test}")
        return pytester.runpytest(*plugin_on, "-p", "no:cacheprovider", *arguments)

    return run
