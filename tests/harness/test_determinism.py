"""The detector of nondeterminism, and replay."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.errors import NondeterminismError, SimulationError
from wfsim.harness import Experiment, Factory, check_determinism, replay, run, simulate
from wfsim.harness._run import Run
from wfsim.history import History
from wfsim.kernel import current, effect


async def tidy():
    for number in range(3):
        await asyncio.sleep(current().stream("tidy").random())
        effect("step", number)


class Forgetful:
    """State that outlives a run: the usual cause."""

    def __init__(self):
        self.runs = 0

    async def run(self):
        self.runs += 1
        effect("begin")
        await asyncio.sleep(1)
        effect("end", self.runs)


class Silent(Forgetful):
    """The same, in plain asyncio code that records nothing."""

    async def run(self):
        self.runs += 1
        for _ in range(self.runs):
            await asyncio.sleep(1)


def test_seeded_chance_is_deterministic():
    """A design that draws from its streams does the same twice."""
    found = check_determinism(tidy, seed=3)
    assert found.valid
    assert bool(found)
    assert found.first_difference is None
    assert found.message.startswith("both runs of tidy did the same: 3 operations")


def test_the_first_operation_that_differs_is_reported():
    """Index, time and both versions, one under the other."""
    found = check_determinism(Forgetful())
    difference = found.first_difference
    assert not found
    assert (difference.what, difference.index) == ("operation", 1)
    assert difference.first_time_ns == difference.second_time_ns == 10**9
    assert '{"key": 1}' in difference.first
    assert '{"key": 2}' in difference.second
    head, first, second, *_ = found.message.splitlines()
    assert head == "the runs differ at operation 1:"
    assert first == '  first run   at 1s: info effect end in process main {"key": 1}'
    assert second == '  second run  at 1s: info effect end in process main {"key": 2}'
    assert "Usual causes" in found.message


def test_plain_code_is_compared_by_its_steps():
    """Code that records nothing still shows where its tasks part."""
    found = check_determinism(Silent())
    assert found.first_difference.what == "step"
    assert "test_determinism.py" in found.message


def test_the_order_of_objects_in_a_set_is_found():
    """Tasks started in the order of a set of objects run in an order that memory decides."""
    keep = []

    class Job:
        def __init__(self, number):
            self.number = number

    async def main():
        jobs = {Job(number) for number in range(50)}
        keep.append(jobs)
        for job in jobs:
            effect("job", job.number)

    assert not check_determinism(main)


def test_an_operation_too_many_is_a_difference():
    """If one history is the start of the other, the first operation beyond it is reported."""
    lengths = iter((1, 2))

    async def main():
        for number in range(next(lengths)):
            effect("step", number)

    difference = check_determinism(main).first_difference
    assert (difference.index, difference.first) == (1, None)
    assert "had already ended" in str(difference)


def test_an_outcome_that_differs_is_the_last_resort():
    """Equal histories and steps with another outcome are told apart too."""
    errors = iter((None, KeyError("late")))

    async def main():
        error = next(errors)
        if error:
            raise error

    difference = check_determinism(main).first_difference
    assert difference.what == "outcome"
    assert (difference.first, difference.second) == ("ok", "error KeyError: 'late'")


def test_replay_gives_the_same_run_again():
    """A run and a run of an experiment both know how to be had again."""
    first = simulate(tidy, seed=5)
    assert replay(first).fingerprint == first.fingerprint
    done = run(Experiment("tidy", tidy), 5)
    again = replay(done)
    assert again.run.fingerprint == done.run.fingerprint
    assert again is not done


def test_replay_insists_on_the_same_history():
    """A design that remembers cannot be replayed, and the error says where it parts."""
    with pytest.raises(NondeterminismError, match="the runs differ at operation 1"):
        replay(simulate(Forgetful()))
    with pytest.raises(NondeterminismError, match="differ at operation"):
        replay(run(Experiment("forgetful", Forgetful())))


def test_a_factory_makes_a_forgetful_design_replayable():
    """The cure for state that outlives a run."""
    done = run(Experiment("forgetful", Factory(Forgetful)))
    assert replay(done).run.fingerprint == done.run.fingerprint


def test_a_run_from_elsewhere_cannot_be_replayed():
    """A Run that was put together by hand says so."""
    lone = Run("lone", "ok", None, None, History(), 0, 0, 0)
    with pytest.raises(SimulationError, match="does not know how it was made"):
        replay(lone)


@pytest.mark.parametrize("end", ["value", "message"])
def test_what_code_that_records_nothing_gives_at_the_end_is_compared(end):
    """The same steps with another value, or another error, are no equal runs."""
    runs = []

    async def main():
        runs.append(1)
        if end == "message":
            raise ValueError(f"run {len(runs)}")
        return {"runs": [len(runs)]}

    difference = check_determinism(main).first_difference
    assert difference.what == "outcome"
    assert difference.first == ("ok {'runs': [1]}" if end == "value" else "error ValueError: run 1")


def test_an_address_is_no_difference():
    """Objects lie elsewhere in each run; that is not the design's doing."""

    async def gives():
        return [object()]

    async def fails():
        raise ValueError(f"no {object()!r}")

    assert check_determinism(gives)
    assert check_determinism(fails)
