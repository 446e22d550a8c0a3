"""CPython's own tests for asyncio pass on virtual loops: the outside truth for the event loop.

`plan.toml` says which modules are run, which are left out, and which of their tests are excluded and why. Each module
runs in a process of its own (`run_module.py`), twice: on bare loops, and with each test as the blocking code of a
simulation of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ASYNCIO_TESTS = "test.test_asyncio"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = ("3.11", "3.12", "3.13")
WHERE = ("bare", "simulation")
PROCESS_LIMIT_S = 120
TOLD = 12

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("test") is None or importlib.util.find_spec(ASYNCIO_TESTS) is None,
    reason=f"this Python comes without its own tests ({ASYNCIO_TESTS}), as those of most Linux distributions do",
)


@dataclass(frozen=True)
class Module:
    """A module of CPython's tests that is run, and the least number of tests in it that must pass."""

    name: str
    floor: int
    where: tuple[str, ...] = WHERE
    python: tuple[str, ...] = PYTHONS


@dataclass(frozen=True)
class Exclusion:
    """Tests of a module that cannot pass, and why. They are named `Class.method`; `*` stands for anything.

    A lucky one passes or not as real time will have it.
    """

    module: str
    tests: tuple[str, ...]
    reason: str
    where: tuple[str, ...] = WHERE
    python: tuple[str, ...] = PYTHONS
    lucky: bool = False


def read(kind: type[Any], entries: list[dict[str, Any]]) -> list[Any]:
    return [
        kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in one.items()}) for one in entries
    ]


PLAN = tomllib.loads((HERE / "plan.toml").read_text(encoding="utf-8"))
MODULES: list[Module] = read(Module, PLAN["module"])
EXCLUSIONS: list[Exclusion] = read(Exclusion, PLAN["excluded"])
LEFT_OUT: dict[str, str] = {name: one["reason"] for one in PLAN["left_out"] for name in one["modules"]}

RUNS = [
    pytest.param(module, where, id=f"{where}-{module.name}")
    for where in WHERE
    for module in MODULES
    if PYTHON in module.python and where in module.where
]


def run(module: str, where: str, excluded: Iterable[str], path: Path) -> dict[str, Any]:
    """What happened to each test of a module: {"passed": [id], "failed": {id: traceback}, "skipped": {id: reason}}."""
    command = [sys.executable, str(HERE / "run_module.py"), where, module, str(path), *excluded]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), *sys.path])}
    said = path.with_suffix(".txt")
    with said.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            process.wait(PROCESS_LIMIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that a test may have left behind
            process.wait()
    if not path.exists():
        pytest.fail(f"{module} did not come to its end:\n{said.read_text(encoding='utf-8')[-4000:]}")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def excluded_tests(module: Module, where: str) -> dict[str, bool]:
    """The ids (or patterns) of the module's tests that are excluded in this Python, and whether each is lucky."""
    return {
        f"{module.name}.{test}": one.lucky
        for one in EXCLUSIONS
        if one.module == module.name and where in one.where and PYTHON in one.python
        for test in one.tests
    }


def judge(found: dict[str, Any], excluded: dict[str, bool]) -> list[str]:
    """What is wrong with the tests' results, or with the list of those that are excluded."""
    problems = []
    for test, traceback in found["failed"].items():
        if not any(fnmatchcase(test, pattern) for pattern in excluded):
            problems.append(f"{test} fails:\n{traceback}")
    for pattern, lucky in excluded.items():
        ids = [test for kind in ("passed", "failed", "skipped") for test in found[kind]]
        passing = [test for test in found["passed"] if fnmatchcase(test, pattern)]
        if not any(fnmatchcase(test, pattern) for test in ids):
            problems.append(f"{pattern} is excluded and does not exist")
        elif passing and not lucky:
            problems.append(f"{pattern} is excluded and passes: {', '.join(passing)}")
    return problems


@pytest.mark.parametrize(("module", "where"), RUNS)
def test_cpythons_own_tests_pass(module: Module, where: str, tmp_path: Path) -> None:
    """All tests of a module pass on virtual loops, but for those that are excluded; and those fail."""
    excluded = excluded_tests(module, where)
    found = run(module.name, where, excluded, tmp_path / "report.json")
    problems = judge(found, excluded)
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems[:TOLD])
    assert len(found["passed"]) >= module.floor
    assert found["stock_loops"] == [], "these tests run on another event loop than ours"
    assert found["virtual_loops"] > 0


def test_no_module_of_asyncios_tests_is_forgotten() -> None:
    """Each module of test.test_asyncio is run, or left out for a reason; and none is listed that does not exist."""
    package = importlib.import_module(ASYNCIO_TESTS)
    there = {f"{ASYNCIO_TESTS}.{one.name}" for one in pkgutil.iter_modules(package.__path__)}
    there = {name for name in there if name.rpartition(".")[2].startswith("test_")}
    run_here = {one.name for one in MODULES if PYTHON in one.python}
    left_out = {f"{ASYNCIO_TESTS}.{name}" for name in LEFT_OUT}
    assert there - run_here - left_out == set()
    assert left_out - there == set()
    assert run_here & left_out == set()
    assert [name for name in run_here if importlib.util.find_spec(name) is None] == []


def test_every_exclusion_says_why() -> None:
    """An exclusion names a module that is run, on a Python and loops that it is run on, and gives a reason."""
    modules = {one.name: one for one in MODULES}
    for one in EXCLUSIONS:
        module = modules[one.module]
        assert set(one.python) <= set(module.python) <= set(PYTHONS)
        assert set(one.where) <= set(module.where) <= set(WHERE)
        assert len(one.reason) > len("it does not pass")
        assert one.tests
    assert all(len(reason) > len("it does not pass") for reason in LEFT_OUT.values())


# ---------------------------------------------------------------------------------- the judge under test


def test_the_judge_finds_each_kind_of_trouble() -> None:
    """A test that fails, an excluded one that passes and one that is gone are three different complaints."""
    found = {"passed": ["m.C.good"], "failed": {"m.C.bad": "Error"}, "skipped": {"m.C.skipped": "Windows"}}
    assert judge(found, {"m.C.bad": False, "m.C.skipped": False}) == []
    assert judge(found, {}) == ["m.C.bad fails:\nError"]
    assert judge(found, {"m.*.bad": False, "m.*.good": False}) == [
        "m.*.good is excluded and passes: m.C.good"
    ]
    assert judge(found, {"m.C.bad": False, "m.C.good": True}) == []
    assert judge(found, {"m.C.bad": False, "m.C.gone": True}) == ["m.C.gone is excluded and does not exist"]


def test_a_hanging_test_is_named(tmp_path: Path) -> None:
    """A test that waits for ever fails by itself and does not take the others with it."""
    (tmp_path / "hanging.py").write_text(
        "import threading, unittest\n"
        "class Tests(unittest.TestCase):\n"
        "    def test_hangs(self):\n"
        "        threading.Lock().acquire() and threading.Event().wait()\n"
        "    def test_passes(self):\n"
        "        pass\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        found = run("hanging", "bare", ["hanging.Tests.test_hangs"], tmp_path / "report.json")
    assert found["passed"] == ["hanging.Tests.test_passes"]
    assert "_Hangs" in found["failed"]["hanging.Tests.test_hangs"]
