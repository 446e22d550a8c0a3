"""What plugins add: faults, checkers and targets by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from wfsim.checkers import Verdict
from wfsim.errors import DesignError
from wfsim.harness import Description, Reference, run_all
from wfsim.hookspecs import hookimpl, load_plugins
from wfsim.kernel import effect
from wfsim.scenario import ScenarioErrors, load, load_text

SAGA = """\
design:
  saga: checkout
  steps:
    - name: charge
"""


@dataclass(frozen=True)
class Brownout:
    """A fault of a plugin's: the call goes through, darkly."""

    volts: int
    kind: ClassVar[str] = "brownout"
    point: ClassVar[str] = "call"

    def describe(self):
        return {"kind": self.kind, "volts": self.volts}

    async def strike(self, _simulation, _at):
        effect("brownout", self.volts)


class Engine:
    """A target of a plugin's."""

    made: Engine

    def __init__(self, *, version: str = "1", part: Reference = None, parts: Sequence[Reference] = ()):
        if int(version) < 1:
            raise DesignError(f"there is no version {version}")
        self.version, self.part, self.parts = version, part, parts
        Engine.made = self

    def describe(self):
        return Description("engine", "engine")

    async def start(self):
        return self.version

    async def drive(self, system, *_args):
        effect("version", system)


def lit(history, *, at_least: int) -> Verdict:
    """Judge the voltage."""
    volts = [op.data["key"] for op in history.where(kind="effect", name="brownout")]
    return Verdict("lit", min(volts, default=230) >= at_least, f"volts {volts}")


class Plugin:
    @hookimpl
    def wfsim_faults(self):
        return {"brownout": Brownout}

    @hookimpl
    def wfsim_checkers(self):
        return {"lit": lit}

    @hookimpl
    def wfsim_targets(self):
        return {"engine": Engine}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Install the plugin for a test."""
    found = load_plugins(Plugin())
    monkeypatch.setattr("wfsim.hookspecs.installed_plugins", lambda: found)


def test_a_fault_and_a_checker_of_a_plugin():
    """They are named, given options and validated as wfsim's own."""
    text = f"{SAGA}faults:\n  - brownout: 180\n    at: charge\nexpect:\n  breaks:\n    - lit: 200\n"
    result = run_all(load_text(text))
    assert result.passed
    assert result.runs[0].verdicts[0].message == "volts [180]"


def test_a_target_of_a_plugin():
    """``target`` names it, and gives its options if there are any."""
    for written, version in (("engine", "1"), ("{engine: {}}", "1"), ("{engine: {version: '2'}}", "2")):
        result = run_all(load_text(f"design:\n  target: {written}\n"))
        assert [op.data["key"] for op in result.runs[0].run.history.where(kind="effect")] == [version]


def test_a_target_is_given_what_a_file_names(tmp_path):
    """References start from the file; all that come from one module are parts of one and the same module."""
    (tmp_path / "parts.py").write_text("class A:\n    pass\n\nclass B(A):\n    pass\n")
    file = tmp_path / "s.yaml"
    file.write_text("design: {target: {engine: {part: 'parts.py:A', parts: ['parts.py:B', 'parts.py:A']}}}\n")
    load(file)
    part, (second, third) = Engine.made.part, Engine.made.parts
    assert third is part
    assert issubclass(second, part)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("{engine: {part: 'parts.py:Z'}}", "design.target.engine.part: there is no file parts.py"),
        ("{engine: {parts: ['parts.py:Z']}}", "design.target.engine.parts[0]: there is no file parts.py"),
        ("{engine: {parts: 'parts.py:Z'}}", "design.target.engine.parts: expected a list, got 'parts.py:Z'"),
        ("{engine: 3}", "design.target.engine: expected a mapping of options, got 3"),
        ("{engine: {}, other: {}}", "design.target: expected the name of a target, with its options"),
        (
            "{engin: {}}",
            "design.target.engin: unknown target 'engin'; allowed: engine; did you mean 'engine'",
        ),
        ("{engine: {version: '0'}}", "design.target.engine: there is no version 0"),
        ("{engine: {version: 'x'}}", "design.target.engine: making the target failed: ValueError"),
    ],
)
def test_what_is_wrong_with_a_target_has_its_place(target, problem):
    """The name, an option, a reference in it, and what the target itself refuses."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(f"design: {{target: {target}}}\n")
    assert problem in str(caught.value)


def test_what_plugins_have_is_part_of_what_is_allowed():
    """A misspelt name of a plugin's is recognised; wrong options have their place."""
    text = (
        f"{SAGA}faults:\n  - brownot: 3\n  - brownout: {{volts: high}}\n"
        "expect:\n  - lit: {at_last: 3}\n  - litt\n"
    )
    with pytest.raises(ScenarioErrors) as caught:
        load_text(text, file="p.yaml")
    told = str(caught.value).splitlines()
    assert told[0].endswith(
        "allowed: fail, delay, hang, lose_reply, crash, "
        "lose_event, duplicate, reorder, corrupt, partition, brownout; did you mean 'brownout'?"
    )
    assert told[1] == "p.yaml:7:23: faults[1].brownout.volts: expected a whole number, got 'high'"
    assert told[2].startswith("p.yaml:9:11: expect[0].lit.at_last: unknown key 'at_last'; allowed: at_least")
    assert told[3].endswith("did you mean 'lit'?")
    with pytest.raises(
        ScenarioErrors, match="unknown target 'engin'; allowed: engine; did you mean 'engine'"
    ):
        load_text("design:\n  target: engin\n")
