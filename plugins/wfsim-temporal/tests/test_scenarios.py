"""The scenarios that come with the plugin: each shows its flaw, and each fix mends it."""

import importlib.util
import sys
from pathlib import Path

import pytest

from wfsim.harness import run_all
from wfsim.scenario import load_text

FOLDER = Path(__file__).parent.parent / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_scenario_meets_its_expectations(file, monkeypatch):
    """What is expected to break breaks, what is expected to hold holds; every rule strikes somewhere."""
    monkeypatch.chdir(FOLDER.parent)
    result = run_all(load_text(file.read_text()))
    assert result.passed
    assert result.unmatched == ()


@pytest.fixture
def shop():
    spec = importlib.util.spec_from_file_location("shop", FOLDER / "shop.py")
    module = sys.modules["shop"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "delivered"), [("LosesItems", ["apple"]), ("KeepsItems", ["apple", "pear", "plum"])]
)
def test_signals_around_continue_as_new(shop, simulate, name, delivered):
    """What a run leaves undone is lost, unless the next run is given it."""
    courier = getattr(shop, name)
    run = simulate(shop.deliver_three, courier, workflows=[courier], activities=[shop.deliver])
    run.result()
    assert [op.data["key"] for op in run.history.where(kind="effect", name="delivered")] == delivered
