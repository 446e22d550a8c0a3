"""The pages for users, each read from top to bottom and done as it says; so is the README's first test.

A block that begins with a file's name in a comment becomes that file. What stands after ``$`` is a command, which exits
with 0, or with what a comment above says (``<!-- exit: 1 -->``). A block under ``<!-- in shop.py -->`` is one line to
change in that file: the one that calls the same.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "first-chaos-test.md"
BLOCK = re.compile(r"(?:<!-- ([^\n]*?) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w-]+\.py)\n")


def run(command, place):
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PATH": scripts, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=False
    )


def change_line(file, line):
    text = file.read_text()
    [old] = re.findall(rf"^.*{re.escape(line.split('(')[0].strip())}\(.*$", text, re.MULTILINE)
    file.write_text(text.replace(old, line.rstrip("\n")))


def test_the_page_is_true(tmp_path):
    """Whoever follows it sees what it says: green, red, and green again."""
    done = []
    for note, language, text in BLOCK.findall(PAGE.read_text()):
        named = FILE.match(text)
        if named:
            (tmp_path / named[1]).write_text(text)
        elif note.startswith("in "):
            change_line(tmp_path / note.removeprefix("in "), text)
        elif language == "console":
            for command in re.findall(r"^\$ (?!pip )(.*)$", text, re.MULTILINE):
                done.append(run(f"{command} -p no:cacheprovider", tmp_path))
                wanted = int(note.removeprefix("exit: ")) if note else 0
                assert done[-1].returncode == wanted, done[-1].stdout + done[-1].stderr
    assert "2 passed" in done[0].stdout
    assert "card charged" in done[1].stdout
    assert len(done) == 4


def test_the_first_test_of_the_readme_fails_as_it_says(tmp_path):
    """Its card is charged twice."""
    [test] = re.findall(r"```python\n(# test_order\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "test_order.py").write_text(test)
    done = run("pytest -q -p no:cacheprovider test_order.py", tmp_path)
    assert done.returncode == 1
    assert "card charged" in done.stdout


def test_a_link_leads_somewhere():
    """Files that the page names are there."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target
