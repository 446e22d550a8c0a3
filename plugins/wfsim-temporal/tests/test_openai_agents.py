"""The OpenAI agents plugin of the SDK: agents with a scripted model, their calls of it are activities."""

from datetime import timedelta

import pytest

agents = pytest.importorskip("agents")
try:
    import temporalio.openai_agents as plugin
    import temporalio.openai_agents.testing as scripted
except ImportError:
    plugin = pytest.importorskip("temporalio.contrib.openai_agents")
    scripted = pytest.importorskip("temporalio.contrib.openai_agents.testing")

import wfsim_temporal  # noqa: E402 - whatever the plugin needs may be missing
from temporalio import activity, workflow  # noqa: E402
from temporalio.client import Client  # noqa: E402
from temporalio.worker import Worker  # noqa: E402

import wfsim  # noqa: E402


@activity.defn
async def weather(city: str) -> str:
    """Tell the weather of a city."""
    wfsim.effect("weather asked", city)
    return f"sunny in {city}"


@workflow.defn
class Assistant:
    """An agent that may ask for the weather."""

    @workflow.run
    async def run(self, question: str) -> str:
        tool = plugin.workflow.activity_as_tool(weather, start_to_close_timeout=timedelta(seconds=10))
        agent = agents.Agent(name="assistant", instructions="Help.", tools=[tool])
        answer = await agents.Runner.run(agent, input=question)
        return answer.final_output


async def ask():
    build = scripted.ResponseBuilders
    model = scripted.TestModel.returning_responses(
        [build.tool_call('{"city": "Oslo"}', "weather"), build.output_message("It is sunny in Oslo.")]
    )
    mine = plugin.OpenAIAgentsPlugin(
        model_params=plugin.ModelActivityParameters(start_to_close_timeout=timedelta(seconds=30)),
        model_provider=scripted.TestModelProvider(model),
    )
    client = await Client.connect("localhost:7233", plugins=[mine])
    async with Worker(client, task_queue="q", workflows=[Assistant], activities=[weather]):
        return await client.execute_workflow(Assistant.run, "weather?", id="a", task_queue="q")


@pytest.mark.parametrize("replay", [False, True])
def test_an_agent_calls_a_tool(replay):
    """Model and tool are activities; what the agent does replays."""
    run = wfsim_temporal.simulate(ask, settings=wfsim_temporal.Settings(replay_every_task=replay))
    assert run.result() == "It is sunny in Oslo."
    called = [op.name for op in run.history.where(kind="activity", type="invoke")]
    assert called == ["invoke_model_activity", "weather", "invoke_model_activity"]


def test_a_lost_answer_of_a_tool_calls_it_twice():
    """Faults strike the calls of an agent as they do any activity."""
    run = wfsim_temporal.simulate(ask, faults=[wfsim.lose_reply("weather", attempts=1)])
    assert run.result() == "It is sunny in Oslo."
    assert len(run.history.where(kind="effect", name="weather asked")) == 2
