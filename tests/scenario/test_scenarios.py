"""Every file under scenarios/: it passes, says what is to be seen, and does the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wfsim.harness import run_all
from wfsim.scenario import load

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scenarios").rglob("*.yaml"))

FINGERPRINTS = """
import json, sys
from wfsim.harness import run_all
from wfsim.scenario import load
print(json.dumps({file: [one.run.fingerprint for one in run_all(load(file)).runs] for file in sys.argv[1:]}))
"""


def name_of(path):
    return str(path.relative_to(ROOT / "scenarios"))


def fingerprints_elsewhere(hash_seed):
    """Run all scenarios in another process, with another order of sets."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FINGERPRINTS, *map(str, FILES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_there_are_scenarios_of_real_situations():
    """At least eight, some of which show a design that breaks."""
    assert len(FILES) >= 8
    breaking = [file for file in FILES if any(one.breaks for one in load(file).expectations)]
    assert len(breaking) >= 4


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_each_passes_and_is_described(file):
    """Every expectation is met, no fault misses, and the description says what is to be seen."""
    experiment = load(file)
    result = run_all(experiment)
    assert [
        (str(one.expectation), one.verdict.message) for one in result.expectations if one.met is not True
    ] == []
    assert result.expectations
    assert result.unmatched == ()
    assert len(experiment.description.split()) > 20


def test_each_does_the_same_in_every_process():
    """Two processes with different hash seeds write the same histories, byte for byte."""
    assert fingerprints_elsewhere("1") == fingerprints_elsewhere("4242")


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_each_mentions_only_files_that_exist(file):
    """A description that points to the fixed design points to a file."""
    named = [word.strip(".,;:") for word in load(file).description.split() if ".yaml" in word]
    assert [name for name in named if not (file.parent / name).is_file()] == []
