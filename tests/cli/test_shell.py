"""The command line as a program: what it imports, how it is interrupted, what it prints where."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wfsim
from wfsim.cli import main
from wfsim.cli._progress import Progress

pytestmark = pytest.mark.usefixtures("folder")

ROOT = Path(wfsim.__file__).parent.parent
GOOD = "scenarios/good.yaml"


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-m", "wfsim", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


def test_version_and_help_import_nothing_heavy() -> None:
    """Typing ``wfsim --version`` or a wrong option answers at once."""
    code = (
        "import sys\nfrom wfsim.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'simpy', 'rich', 'pydantic', 'networkx', 'yaml', 'greenlet', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    ).stdout
    assert out == f"wfsim {wfsim.__version__}\n[]\n"


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["fly"], ["run", "x.yaml", "--sed", "a"], ["run", "x", "--seed", "a"]]
)
def test_wrong_arguments_exit_with_2(arguments, capsys) -> None:
    """The parser says what it knows; exit code 2 as for any bad input."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("usage: wfsim")


def test_help_tells_the_exit_codes(capsys) -> None:
    """Its last line is plain text, on the whole command line's page and on that of ``run``."""
    for arguments in (["--help"], ["run", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == "exit code: 0 all expectations met, 1 an expectation failed, 2 bad input"


def test_ascii_stands_in_where_the_encoding_has_no_more(folder) -> None:
    """On a terminal without UTF-8 the same story is told with ASCII marks; no letter is lost to an error."""
    (folder / "euro.yaml").write_text((folder / GOOD).read_text().replace("bank is down", "bänk is döwn"))
    process = start("run", "euro.yaml", PYTHONIOENCODING="ascii", COLUMNS="100")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.isascii()
    assert "!  0.030s           charge failed: ConnectionError: b\\xe4nk is d\\xf6wn (injected)\n" in out
    assert "+  compensated_in_reverse" in out


def test_ctrl_c_ends_cleanly(folder) -> None:
    """An interrupted run says one word, leaves no traceback and exits with 130."""
    begun = folder / "begun"
    (folder / "endless.py").write_text(
        f"import pathlib\n\ndef work():\n    pathlib.Path({str(begun)!r}).touch()\n"
    )
    (folder / "endless.yaml").write_text("design: endless.py:work\nseeds: 1000000\n")
    process = start("run", "endless.yaml")
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, err) == ("", "interrupted\n")
    # Caught inside exec(), as dataclasses use it, Python ends by the signal itself: a shell calls both 130.
    assert process.returncode in {130, -signal.SIGINT}


def test_a_closed_pipe_ends_quietly() -> None:
    """``wfsim run ... | head`` leaves no traceback of a broken pipe."""
    process = start("run", GOOD, "--verbose")
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=20)
    process.stderr.close()
    assert err == ""


def test_colours_only_where_a_terminal_is() -> None:
    """A file or a pipe gets plain text."""
    out, _ = start("run", GOOD).communicate()
    assert "\x1b" not in out


def test_the_width_follows_the_terminal(capsys, monkeypatch) -> None:
    """No line is wider than the terminal, whatever its width."""
    for width in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        main(["run", GOOD])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= width


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_overwrites_itself_on_a_terminal_and_is_taken_away(monkeypatch) -> None:
    """Long work shows a line that moves; nothing of it is left before the result."""
    clock = iter([0.0, 0.0, 0.05, 1.0, 1.0])
    monkeypatch.setattr("wfsim.cli._progress.monotonic", lambda: next(clock))
    stream = Terminal()
    progress = Progress(stream)
    for done in range(3):
        progress.say("a.yaml", done, 9)
    progress.clear()
    assert stream.getvalue() == "\r\x1b[Ka.yaml: 0 of 9 runs\r\x1b[Ka.yaml: 2 of 9 runs\r\x1b[K"


def test_progress_in_a_log_is_a_line_now_and_then(monkeypatch) -> None:
    """Where lines cannot be overwritten, one every ten seconds is enough."""
    clock = iter([0.0, 5.0, 11.0, 11.0])
    monkeypatch.setattr("wfsim.cli._progress.monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = Progress(stream)
    progress.say("a.yaml", 1, 9)
    progress.say("a.yaml", 2, 9)
    progress.clear()
    assert stream.getvalue() == "a.yaml: 2 of 9 runs\n"
