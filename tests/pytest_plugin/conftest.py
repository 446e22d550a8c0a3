"""A pytest session inside the test, with the plugin on whether or not wfsim is installed."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

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


@pytest.fixture
def plugin_on() -> list[str]:
    """The arguments that load the plugin where its entry point is not installed."""
    installed = any(point.name == "wfsim" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "wfsim.pytest_plugin"]


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
