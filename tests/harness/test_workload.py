"""Workloads: how many instances, when they arrive, what they are given."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.errors import DesignError
from wfsim.harness import Experiment, Workload, run
from wfsim.kernel import Stream, constant, effect, exponential, now


async def shop(customer=None):
    effect("arrived", customer, at=now())
    await asyncio.sleep(1)


def arrivals(workload, seed=0):
    history = run(Experiment("shop", shop, workload), seed).run.history
    return [(op.process, op.data["key"], op.data["at"]) for op in history.where(kind="effect")]


def test_one_instance_without_arguments_is_the_default():
    """Without a workload the design runs once, at time zero, in a process of its own."""
    assert arrivals(Workload()) == [("shop-1", None, 0.0)]


def test_each_instance_is_a_process_counted_from_one():
    """Instance i runs as process shop-i."""
    assert [process for process, _, _ in arrivals(Workload(3))] == ["shop-1", "shop-2", "shop-3"]


def test_constant_arrivals_are_evenly_spaced_from_zero():
    """The first instance arrives at once, each other after the gap."""
    times = [at for _, _, at in arrivals(Workload(3, constant("10s")))]
    assert times == [0.0, 10.0, 20.0]


def test_inputs_are_made_per_instance():
    """``inputs`` gets the number of the instance and gives its one argument."""
    keys = [key for _, key, _ in arrivals(Workload(2, inputs=lambda i: f"customer {i}"))]
    assert keys == ["customer 1", "customer 2"]


def test_arrivals_come_from_the_seed():
    """Random gaps are the same for one seed and differ between seeds."""
    workload = Workload(20, exponential("1m"))
    assert arrivals(workload, 1) == arrivals(workload, 1)
    assert arrivals(workload, 1) != arrivals(workload, 2)


def test_no_instances_are_refused():
    """A workload of nothing is a mistake, told when it is made."""
    with pytest.raises(DesignError, match="at least one instance"):
        Workload(0)


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 2**32))
def test_there_is_one_gap_for_each_instance(instances, seed):
    """Whatever the distribution, the gaps are as many as the instances, and the first is zero."""
    gaps = list(Workload(instances, exponential("1s")).gaps_ns(Stream(seed, "workload/arrivals")))
    assert len(gaps) == instances
    assert gaps[0] == 0
    assert all(gap >= 0 for gap in gaps)
