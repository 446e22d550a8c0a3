"""What starting costs: people who do not use wfsim in a session must not pay for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "asyncio",
    "greenlet",
    "hypothesis",
    "networkx",
    "pluggy",
    "pydantic",
    "rich",
    "simpy",
    "time_machine",
    "yaml",
]
PROGRAM = """
import sys, json
before = set(sys.modules)
import {module}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_loaded_by(module: str, *first: str) -> list[str]:
    """Import a module in a fresh interpreter, after some others, and list what it brings in."""
    program = "".join(f"import {name}\n" for name in first) + PROGRAM.format(module=module)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(done.stdout)
    return loaded


def test_importing_wfsim_is_light() -> None:
    """``import wfsim`` opens the front door and no room behind it."""
    loaded = modules_loaded_by("wfsim")
    assert [name for name in loaded if name.startswith("wfsim.")] == []
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []


def test_the_pytest_plugin_is_light() -> None:
    """The plugin, which every pytest session loads, brings in none of the heavy libraries."""
    loaded = modules_loaded_by("wfsim.pytest_plugin", "pytest")
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize("room", ["wfsim.history", "wfsim.errors", "wfsim.units", "wfsim.checkers"])
def test_reading_a_history_needs_no_simulator(room: str) -> None:
    """The floors that only read and judge histories load no third-party library."""
    loaded = modules_loaded_by(room)
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []
