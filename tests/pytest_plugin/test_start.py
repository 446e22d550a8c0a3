"""A session that does not use the plugin hardly notices it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import wfsim

ROOT = Path(wfsim.__file__).parent.parent
HEAVY = (
    "simpy",
    "greenlet",
    "time_machine",
    "pydantic",
    "yaml",
    "rich",
    "networkx",
    "asyncio",
    "wfsim.kernel",
)


def test_the_plugin_imports_nothing_heavy() -> None:
    """Loading it brings in pytest, which is there already, and two small files of its own."""
    code = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport wfsim.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    ).stdout
    assert out.split() == ["wfsim", "wfsim.pytest_plugin"]


def test_the_front_door_imports_nothing_heavy() -> None:
    """``import wfsim`` loads no room; a name loads what it needs."""
    code = (
        f"import sys, wfsim\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
        "wfsim.Op\nprint('wfsim.kernel' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    ).stdout
    assert out == "[]\nFalse\n"


def test_every_name_of_the_front_door_is_there() -> None:
    """What ``__all__`` and ``dir`` promise can be had; what they do not is an AttributeError."""
    for name in wfsim.__all__:
        assert getattr(wfsim, name) is not None
    assert set(wfsim.__all__) <= set(dir(wfsim))
    assert not hasattr(wfsim, "simulat")
