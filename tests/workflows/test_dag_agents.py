"""Agents: who can do what, how many at a time, how long it takes and what it costs."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.errors import DesignError
from wfsim.kernel import Simulation, exponential
from wfsim.resilience import Retry
from wfsim.workflows import Agent, DAGWorkflow


def play(run):
    simulation = Simulation()
    outcome = simulation.run(run)
    if outcome.error is not None:
        raise outcome.error
    return outcome, simulation.recorder.history()


def test_an_agent_without_a_function_is_a_model():
    """It takes its latency, costs its cost, and gives a word that says who did what."""
    agents = [Agent("analyst", latency="30s", cost=0.5, cost_per_s=0.01)]
    dag = DAGWorkflow(name="review", agents=agents).add_task("analyze", agent="analyst")
    outcome, history = play(dag.run)
    assert outcome.value == {"analyze": "analyze by analyst"}
    assert outcome.value.cost == pytest.approx(0.8)
    assert outcome.duration_ns == 30_000_000_000
    assert dict(history.where(kind="cost")[0].data) == {"agent": "analyst", "cost": pytest.approx(0.8)}
    assert history[-1].data["cost"] == pytest.approx(0.8)
    assert history[0].data["agents"] == {"analyze": "analyst"}


def test_an_agent_takes_so_many_at_a_time_of_all_runs():
    """Its capacity is shared by all that it has to do, also in other DAGs."""
    agent = Agent("tester", capacity=2, latency="10s")
    dags = [
        DAGWorkflow(name=f"d{n}", agents=[agent]).add_task("a", agent="tester").add_task("b", agent="tester")
        for n in range(3)
    ]

    async def main():
        await asyncio.gather(*(dag.run() for dag in dags))

    assert play(main)[0].duration_ns == 30_000_000_000
    assert play(main)[0].duration_ns == 30_000_000_000  # and the next simulation finds the agent idle


def test_each_try_costs():
    """A failed try is paid for too."""
    agent = Agent("coder", cost=2, failure_probability=1, error=ConnectionError)
    dag = DAGWorkflow(agents=[agent]).add_task("code", agent="coder", retry=Retry(attempts=3))
    outcome, history = play(dag.settle)
    assert outcome.value.cost == 6
    assert "agent coder failed at code" in str(outcome.value.error)
    assert [op.attempt for op in history.where(kind="cost")] == [1, 2, 3]


def test_an_agent_with_a_function_works_in_production():
    """The model of latency and failure is for simulations alone; the function does the work everywhere."""
    agent = Agent(
        "writer", skills=["write"], run=lambda topic: f"on {topic}", latency="1h", failure_probability=0
    )
    dag = DAGWorkflow(agents=[agent]).add_task("essay", agent="writer", skill="write")
    assert asyncio.run(dag.run("time")) == {"essay": "on time"}
    assert play(lambda: dag.run("time"))[0].duration_ns == 3_600_000_000_000


def test_a_model_does_not_work_in_production():
    """An agent without a function fails outside a simulation, and says what it needs."""
    dag = DAGWorkflow(agents=[Agent("ghost")]).add_task("work", agent="ghost")
    with pytest.raises(
        DesignError, match="agent 'ghost' is a model and works in a simulation only; give it run="
    ):
        asyncio.run(dag.run())


def test_an_agent_without_the_skill_is_refused():
    """A task that needs what its agent cannot do is refused when it is added; who can is named."""
    dag = DAGWorkflow(
        name="review", agents=[Agent("coder", skills=["code"]), Agent("tester", skills=["test"])]
    )
    with pytest.raises(DesignError) as caught:
        dag.add_task("check", agent="coder", skill="test")
    assert (
        str(caught.value)
        == "task 'check' of dag 'review' needs skill 'test', but agent 'coder' can code; tester can"
    )
    with pytest.raises(DesignError, match="can code; did you mean 'code'"):
        dag.add_task("check", agent="coder", skill="coed")


def test_agents_draw_from_streams_of_their_own():
    """Another agent's draws change nothing for this one."""
    one = DAGWorkflow(agents=[Agent("a", latency=exponential("9s"))]).add_task("a", agent="a")
    two = DAGWorkflow(agents=[Agent("a", latency=exponential("9s")), Agent("b", latency=exponential("5s"))])
    two.add_task("b", agent="b").add_task("a", agent="a")

    def end_of_a(dag):
        return [op.time_ns for op in play(dag.run)[1].where(kind="task", name="a")]

    assert end_of_a(one) == end_of_a(two)
