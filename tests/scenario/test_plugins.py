"""What plugins add: faults, checkers and targets by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from wfsim.checkers import Verdict
from wfsim.harness import Description, run_all
from wfsim.hookspecs import hookimpl, load_plugins
from wfsim.kernel import effect
from wfsim.scenario import ScenarioErrors, load_text

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

    def __init__(self, *, version: str = "1"):
        self.version = version

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
    """``target`` names it, ``with`` gives its options."""
    result = run_all(load_text("design:\n  target: engine\n  with: {version: '2'}\n"))
    assert [op.data["key"] for op in result.runs[0].run.history.where(kind="effect")] == ["2"]


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
