"""House rules that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "wfsim").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

LINES_MAX = 40
# The kernel's run loop, and what every step of a design passes: a call would cost more than the work it does.
FUSED = {"_drive_chunk", "perform_in"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_states_a_truth(path: Path) -> None:
    """Every test function has a docstring that says what is true when it passes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tops = [node for part in [tree, *_classes(tree)] for node in part.body if isinstance(node, Function)]
    mute = [node.name for node in tops if node.name.startswith("test") and not ast.get_docstring(node)]
    assert mute == []


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_function_fits_on_a_screen(path: Path) -> None:
    """No function needs scrolling: its signature and body, without the docstring, stay within a screen."""
    sizes = {node.name: _lines(node) for node in functions(path) if node.name not in FUSED}
    assert {name: lines for name, lines in sizes.items() if lines > LINES_MAX} == {}


def _lines(node: Function) -> int:
    total = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    docstring = ast.get_docstring(node) is not None
    return total - ((first.end_lineno or 0) - first.lineno + 1 if docstring else 0)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_annotations_are_never_evaluated(path: Path) -> None:
    """Every file of the library postpones its annotations, so that imports for types alone stay free."""
    assert "from __future__ import annotations\n" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_left_to_do(path: Path) -> None:
    """There is no kitchen sink, and no file is a stub that only raises NotImplementedError."""
    assert path.stem.strip("_") not in {"util", "utils", "common", "helpers", "misc"}
    assert "NotImplementedError" not in path.read_text(encoding="utf-8") or path.parts[-2] == "kernel"


def test_no_property_is_judged_by_the_real_clock():
    """Hypothesis gives each example 200 ms unless told otherwise, which a busy machine may take for anything."""
    assert settings().deadline is None
