"""The README and the pages of docs/, each read from top to bottom and done as it says.

The blocks of a page run in order in one directory, which holds a copy of ``scenarios/``:

- A block whose first line is a comment with a file name (``# outage.yaml``) becomes that file.
- A ``python`` block runs on its own; if it defines tests, pytest runs it.
- In a ``console`` block the lines after ``$`` are commands (all lines, if none has a ``$``). They must exit
  with 0, or with the code in a comment ``<!-- exit: 1 -->`` above the block. What installs is left out.
- The blocks after ``<!-- main-command -->`` and ``<!-- test-command -->`` make an environment of their own:
  ``.ci/run`` runs them, as on a fresh machine.
- A block under ``<!-- not run: reason -->`` is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import wfsim

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^\n]*?) -->\s*)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
FILE_NAME = re.compile(r"# (?P<name>[\w./-]+\.(?:py|yaml|toml|ini))\s*$", re.MULTILINE)
INSTALLS = re.compile(r"\bpip install\b|\bgit clone\b|\bpython3? -m venv\b|^cd |\bactivate\b")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    note: str
    text: str

    @property
    def exit_code(self) -> int:
        return int(self.note.removeprefix("exit:")) if self.note.startswith("exit:") else 0

    @property
    def file_name(self) -> str | None:
        found = FILE_NAME.match(self.text)
        return found["name"] if found else None

    @property
    def commands(self) -> list[str]:
        lines = self.text.replace("\\\n", " ").splitlines()
        typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or lines
        return [
            line.replace(".venv/bin/", "") for line in typed if line.strip() and not INSTALLS.search(line)
        ]

    @property
    def is_done_elsewhere(self) -> bool:
        return self.note in {"main-command", "test-command"} or self.note.startswith("not run:")

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-line-{self.line}-{self.language}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("text")),
            found["language"],
            found["note"] or "",
            found["text"],
        )
        for found in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks(page) if not block.is_done_elsewhere]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Where the reader of each page sits."""
    return {page: _seat(tmp_path_factory.mktemp("reader")) for page in PAGES}


def _seat(place: Path) -> Path:
    """Make a reader's directory, with the scenarios and, on the path, ``wfsim``."""
    shutil.copytree(ROOT / "scenarios", place / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
    script = place / "bin" / "wfsim"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wfsim "$@"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return place


def run(command: str | list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as the reader would, with this Python and this wfsim."""
    path = os.pathsep.join([str(place / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    library = os.pathsep.join([str(Path(wfsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": library}
    if not any(entry.value == "wfsim.pytest_plugin" for entry in entry_points(group="pytest11")):
        environment["PYTEST_PLUGINS"] = "wfsim.pytest_plugin"
    shell = isinstance(command, str)
    return subprocess.run(
        command,
        shell=shell,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_page_is_true(block: Block, places: dict[Path, Path]) -> None:
    """What the README or a page of docs/ shows can be done as it stands there."""
    place = places[block.page]
    if block.file_name:
        (place / block.file_name).parent.mkdir(parents=True, exist_ok=True)
        (place / block.file_name).write_text(block.text, encoding="utf-8")
    if block.language == "python":
        _run_python(block, place)
    elif block.language == "console":
        for command in block.commands:
            done = run(command, place)
            assert done.returncode == block.exit_code, f"$ {command}\n{done.stdout}{done.stderr}"
    elif block.note.startswith("output of: "):
        done = run(f"COLUMNS=110 {block.note.removeprefix('output of: ')}", place)
        shown = [line for line in block.text.splitlines() if not line.endswith("...")]
        assert [line for line in shown if line not in done.stdout.splitlines()] == []
    else:
        assert block.language in {"", "text", "yaml", "toml", "ini", "mermaid"}, "write commands as `console`"


def _run_python(block: Block, place: Path) -> None:
    is_test = re.search(r"^(async )?def test_", block.text, re.MULTILINE)
    name = block.file_name or f"{'test_' if is_test else ''}line_{block.line}.py"
    (place / name).write_text(block.text, encoding="utf-8")
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", name] if is_test else [name]
    done = run([sys.executable, *arguments], place)
    assert done.returncode == block.exit_code, done.stdout + done.stderr


def test_the_two_commands_of_a_newcomer_are_marked() -> None:
    """The README marks the command that shows wfsim at work and the one that runs its tests."""
    notes = [block.note for block in blocks(README) if block.language == "console"]
    assert notes.count("main-command") == 1
    assert notes.count("test-command") == 1
