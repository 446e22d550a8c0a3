"""The scenarios that come with the plugin: each shows its flaw, and each fix mends it."""

import importlib.util
import sys
from pathlib import Path

import pytest

from wfsim.harness import run_all
from wfsim.report._paper import Paper
from wfsim.report._timeline import print_run
from wfsim.scenario import ScenarioErrors, load, load_text

FOLDER = Path(__file__).parent.parent / "scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_scenario_meets_its_expectations(file):
    """What is expected to break breaks, what is expected to hold holds; every rule strikes somewhere."""
    result = run_all(load(file))
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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ('workflow: "shop.py:LosesItem"', "temporal.workflow: shop.py has no attribute 'LosesItem'"),
        ('workflow: "shop.py:deliver"', "it must be a class with @workflow.defn"),
        ("args: [1]", "give workflow, a class with @workflow.defn, or main"),
        ('main: "shop.py:deliver_three"', "main needs workflows or activities"),
        ('main: "shop.py:KeepsItems"', "main must be a coroutine function"),
        ('workflow: "shop.py:KeepsItems", signals: [{nam: add}]', "signals[0] must be {name: add, at: 2s"),
        (
            'workflow: "shop.py:KeepsItems", signals: [{name: add, at: soon}]',
            "at of signals[0]: 'soon' is no",
        ),
        ('workflow: "shop.py:KeepsItems", activites: []', "did you mean 'activities'?"),
        ('workflow: "shop.py:KeepsItems", args: [1]', "KeepsItems.run cannot be called with [1]: missing a"),
        ('workflow: "shop.py:KeepsItems", latency: fast', "temporal.latency: 'fast' is no duration"),
        ('workflow: "shop.py:deliver"', "workflow names deliver; it must be a class"),
        (
            'workflow: "shop.py:KeepsItems", workflows: ["shop.py:deliver"]',
            "workflows[0] names deliver; it must be",
        ),
        (
            'workflow: "shop.py:KeepsItems", activities: ["shop.py:deliver_three"]',
            "activities[0] names deliver_three; it must be a function with @activity.defn",
        ),
        ('workflow: "shop.py:KeepsItems", workers: 0', "workers=0 must be a whole number of 1 or more"),
        ("workflow: 'shop.py:KeepsItems', task_queue: ''", "task_queue='' must be a name"),
        (
            'workflow: "shop.py:KeepsItems", signals: [{name: addd}]',
            "signals[0] is 'addd', which KeepsItems does not take; did you mean 'add'?",
        ),
    ],
)
def test_a_wrong_target_is_explained(options, problem):
    """The message names the option, and says what is wrong with it."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(f"design: {{target: {{temporal: {{{options}}}}}}}", folder=FOLDER)
    assert problem in str(caught.value)


def test_a_function_may_drive_the_client():
    """``main`` is given a client and the arguments, and workers run for what is listed."""
    text = """design: {target: {temporal: {
        main: "shop.py:deliver_kept", workflows: ["shop.py:KeepsItems"], activities: ["shop.py:deliver"]}}}
expect:
  - op_count: {kind: effect, name: delivered, exactly: 3}"""
    assert run_all(load_text(text, folder=FOLDER)).passed


@pytest.mark.parametrize("sandbox", ["true", "false"])
def test_a_workflow_that_a_file_names_runs_in_the_sandbox(sandbox):
    """The sandbox imports its module anew, though that lies on no import path."""
    target = (
        'workflow: "shop.py:ChargesOnce", activities: ["shop.py:charge_by_key"], args: [order-1], sandbox: '
    )
    result = run_all(load_text(f"design: {{target: {{temporal: {{{target}{sandbox}}}}}}}", folder=FOLDER))
    assert result.runs[0].run.outcome == "ok"


def test_a_forgotten_activity_is_told_by_its_name_and_queue():
    """A deadlock in a scenario's run notes who waits for what, and the report prints it."""
    text = 'design:\n  target:\n    temporal: {workflow: "shop.py:ChargesOnce", args: [order-1]}\n'
    [run] = run_all(load_text(text, folder=FOLDER)).runs
    paper = Paper.sheet(200)
    print_run(paper, run.run)
    assert (
        "waits for a worker of task queue 'wfsim' that runs activities (activity charge_by_key)"
        in paper.text()
    )
    assert paper.text().count("still waiting:") == 0  # each line once


def test_an_eviction_strikes_workflow_tasks_alone():
    """At the name of an activity it finds nothing to strike, and says so."""
    text = (
        "design:\n  target:\n    temporal: "
        '{workflow: "shop.py:KeepsItems", args: [1, []], activities: ["shop.py:deliver"]}\n'
        "faults:\n  - evict:\n    at: {step: deliver}\nbounds: {time: 1m}\n"
    )
    result = run_all(load_text(text, folder=FOLDER))
    assert [rule.fault.kind for rule in result.unmatched] == ["evict"]
