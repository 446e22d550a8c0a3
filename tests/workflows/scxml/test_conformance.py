"""Two bodies of tests that others wrote, played by the state machine.

- ``irp``: the W3C's conformance tests for SCXML 1.0. Each ends in the state "pass" or in "fail".
- ``scion``: the tests of SCION, an SCXML engine (npm package @scion-scxml/test-framework 2.0.16, Apache-2.0):
  a document, events, and the configuration after each.

``irp.tsv`` and ``scion.tsv`` list every test there is, those that are left out with the reason; only the
documents of those that pass are kept here.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from translate import translate

from wfsim import simulate, sleep

HERE = Path(__file__).parent


def table(name):
    with (HERE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


IRP, SCION = table("irp.tsv"), table("scion.tsv")


def passing(rows):
    return [row["test"] for row in rows if row["verdict"] == "pass"]


def document(path):
    return path.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("test", passing(IRP))
def test_w3c_conformance(test):
    """The machine that a conformance test describes ends in its state "pass"."""
    machine = translate(document(HERE / "irp" / f"test{test}.scxml"))
    assert simulate(machine, max_time="1m").result() == "pass"


@pytest.mark.parametrize("test", passing(SCION))
def test_scion(test):
    """After each event exactly those atomic states are active that SCION's test expects."""
    machine = translate(document(HERE / "scion" / f"{test}.scxml"))
    script = json.loads((HERE / "scion" / f"{test}.json").read_text(encoding="utf-8"))
    expected = [script["initialConfiguration"], *(event["nextConfiguration"] for event in script["events"])]
    assert simulate(play, machine, script, max_time="1h").result() == [sorted(one) for one in expected]


async def play(machine, script):
    session = machine.session()
    await session.start()
    seen = [sorted(node.name for node in session.leaves)]
    for step in script["events"]:
        await sleep(step.get("after", 0) / 1000)
        await session.trigger(step["event"]["name"], step["event"].get("data"))
        seen.append(sorted(node.name for node in session.leaves))
    return seen


def test_nothing_is_left_out_without_a_reason():
    """The tables hold every test once; what is not played says why."""
    for rows in (IRP, SCION):
        assert max(Counter(row["test"] for row in rows).values()) == 1
        assert {row["verdict"] for row in rows} == {"pass", "left out"}
        assert [row for row in rows if (row["verdict"] == "pass") is bool(row["reason"])] == []


def test_the_core_of_scxml_is_whole():
    """Of chapter 3, the core constructs, only a test for people and one of <invoke> are left out."""
    core = [row for row in IRP if row["section"].startswith("3.")]
    assert len(core) == 40
    assert {row["test"] for row in core if row["verdict"] != "pass"} == {"415", "422"}


def test_the_documents_are_those_of_the_table():
    """No document lies about that no test plays."""
    assert {path.stem for path in (HERE / "irp").glob("*.scxml")} == {f"test{one}" for one in passing(IRP)}
    assert {path.stem for path in (HERE / "scion").glob("*.scxml")} == set(passing(SCION))
