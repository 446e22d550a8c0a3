"""The doors: each room shows its public names in one place, documented, and nobody climbs in by a window."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import wfsim

HOUSE = Path(wfsim.__file__).parent
ROOMS = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))
SINGLE_FILES = sorted(path.stem for path in HOUSE.glob("*.py") if not path.stem.startswith("__"))
DOORS = ["wfsim", *(f"wfsim.{name}" for name in ROOMS + SINGLE_FILES)]
FILES = sorted(HOUSE.rglob("*.py"))


def door(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", DOORS)
def test_a_door_says_what_its_room_is_for(name: str) -> None:
    """Every room has a docstring and a list of its public names."""
    module = door(name)
    assert (module.__doc__ or "").strip()
    assert isinstance(module.__all__, list)
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", DOORS)
def test_every_public_name_exists(name: str) -> None:
    """What ``__all__`` lists can be imported."""
    module = door(name)
    missing = [public for public in module.__all__ if not hasattr(module, public)]
    assert missing == []


@pytest.mark.parametrize("name", DOORS)
def test_every_public_class_and_function_is_documented(name: str) -> None:
    """Classes, functions and the public methods of those classes have a docstring of their own."""
    module = door(name)
    public = {public: getattr(module, public) for public in module.__all__}
    bare = [name for name, thing in public.items() if _wants_docstring(thing) and not thing.__doc__]
    bare += [
        f"{name}.{method}"
        for name, thing in public.items()
        if inspect.isclass(thing) and _is_ours(thing)
        for method, function in vars(thing).items()
        if not method.startswith("_")
        and isinstance(function, property | staticmethod | classmethod | type(door))
        and not inspect.getdoc(getattr(thing, method))
    ]
    assert bare == []


def _is_ours(thing: object) -> bool:
    return (getattr(thing, "__module__", None) or "").startswith("wfsim")


def _wants_docstring(thing: object) -> bool:
    return (inspect.isclass(thing) or inspect.isroutine(thing)) and _is_ours(thing)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_nobody_climbs_in_by_a_window(path: Path) -> None:
    """A private file (``_x.py``) is imported only from inside its own room."""
    inside = path.relative_to(HOUSE).parts[0]
    strangers = [
        name
        for name in _imports(path)
        if name.startswith("wfsim.")
        and any(part.startswith("_") and not part.startswith("__") for part in name.split(".")[2:])
        and name.split(".")[1] != inside
    ]
    assert strangers == []


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("name", ROOMS)
def test_a_rooms_files_are_private(name: str) -> None:
    """Inside a room only ``__init__`` is public: all other files bear a leading underscore."""
    public = [path.name for path in (HOUSE / name).glob("*.py") if not path.name.startswith("_")]
    assert public == []
