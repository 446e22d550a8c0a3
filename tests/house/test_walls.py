"""The walls between the rooms: the import contracts hold, and they would notice a break."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest.importorskip("importlinter", reason="import-linter comes with the dev extra")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the copy of the house that stands at ``root``."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the house to break walls in."""
    shutil.copytree(ROOT / "wfsim", tmp_path / "wfsim", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    """Floors import downward only, and each third-party library has one owner."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("kernel", "import wfsim.workflows"),
        ("workflows", "import wfsim.resilience"),
        ("checkers", "import wfsim.kernel"),
        ("nemesis", "import wfsim"),
        ("harness", "import pytest"),
        ("history", "import simpy"),
        ("resilience", "import networkx"),
        ("scenario", "import rich"),
        ("report", "import yaml"),
        ("report", "import wfsim.words"),
        ("words", "import wfsim.pytest_plugin"),
    ],
)
def test_a_broken_wall_is_noticed(house: Path, room: str, line: str) -> None:
    """An import that climbs a floor, visits a neighbour, or uses another room's library breaks a contract."""
    with (house / "wfsim" / room / "__init__.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(house)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
