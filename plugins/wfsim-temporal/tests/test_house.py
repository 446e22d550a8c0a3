"""The house: each room has one door, nobody climbs in by a window, and starting costs nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import wfsim_temporal

HOUSE = Path(wfsim_temporal.__file__).parent
ROOMS = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))


@pytest.mark.parametrize("name", ["wfsim_temporal", *(f"wfsim_temporal.{room}" for room in ROOMS)])
def test_a_door_shows_what_it_says(name):
    """Every room has a docstring and a list of its public names; they exist and are documented."""
    door = importlib.import_module(name)
    assert (door.__doc__ or "").strip()
    public = {name: getattr(door, name) for name in door.__all__}
    bare = [
        name
        for name, thing in public.items()
        if (inspect.isclass(thing) or inspect.isroutine(thing))
        and thing.__module__.startswith("wfsim_temporal")
        and not thing.__doc__
    ]
    assert bare == []


@pytest.mark.parametrize("path", sorted(HOUSE.rglob("*.py")), ids=lambda path: str(path.relative_to(HOUSE)))
def test_nobody_climbs_in_by_a_window(path):
    """A private file (``_x.py``) is imported only from inside its own room."""
    room = path.relative_to(HOUSE).parts[0]
    imported = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    strangers = [
        name
        for name in imported
        if name.split(".")[0] in {"wfsim", "wfsim_temporal"}
        and any(part.startswith("_") for part in name.split(".")[2:])
        and name.split(".")[:2] != ["wfsim_temporal", room]
    ]
    assert strangers == []


def test_a_pytest_session_without_temporal_does_not_pay_for_it():
    """The pytest plugin, which every session loads, brings in neither the SDK nor the simulator."""
    program = (
        "import sys, pytest; before = set(sys.modules); import wfsim_temporal.pytest_plugin; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['wfsim_temporal']"
