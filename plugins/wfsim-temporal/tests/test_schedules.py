"""Schedules: what they start, when, and what a client sees of them."""

import asyncio
from datetime import timedelta

import pytest
import schedule_cases
from real_server import on_real_server
from schedule_cases import CASES, SPECS, Report, every, schedule
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

OPTIONS = {"workflows": [Report], "task_queue": schedule_cases.QUEUE}


def test_a_workflow_is_started_whenever_it_is_due(simulate):
    """For a day, every hour at ten past; each knows the result of the one before."""

    async def main(client):
        spec = ScheduleSpec(intervals=[every(3600, 600)])
        handle = await client.create_schedule("hourly", schedule("hourly", 60, spec=spec))
        await asyncio.sleep(86_400)
        told = (await handle.describe()).info
        last = client.get_workflow_handle(told.recent_actions[-1].action.workflow_id)
        return told.num_actions, await last.result(), [one.started_at.minute for one in told.recent_actions]

    assert simulate(main, **OPTIONS).result() == (24, "." * 24, [10] * 10)


def test_jitter_is_drawn_for_each_action_and_repeats(simulate):
    """Later than due by less than the jitter, by another time for each action and seed; foretold as it comes."""

    async def main(client):
        spec = ScheduleSpec(intervals=[every(3600)], jitter=timedelta(minutes=20))
        handle = await client.create_schedule("late", schedule("late", 0, spec=spec))
        foretold = (await handle.describe()).info.next_action_times
        await asyncio.sleep(9 * 3600)
        acted = [one.started_at for one in (await handle.describe()).info.recent_actions]
        assert [one.replace(microsecond=0) for one in foretold[: len(acted)]] == [
            one.replace(microsecond=0) for one in acted
        ]
        return [one.minute * 60 + one.second for one in acted]

    first, again, other = (simulate(main, seed=seed, **OPTIONS).result() for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) >= 8
    assert len(set(first)) == len(first)
    assert all(0 <= seconds < 1200 for seconds in first)


def test_schedules_are_listed(simulate):
    """The latest first, with what a list tells; deleted ones are gone."""

    async def main(client):
        for id in ("a", "b", "c"):
            await client.create_schedule(id, schedule(id, 0, every=60), memo={"name": id})
        await client.get_schedule_handle("b").delete()
        await client.get_schedule_handle("a").pause()
        await asyncio.sleep(90)
        return [
            (one.id, one.schedule.state.paused, await one.memo(), len(one.info.recent_actions))
            async for one in await client.list_schedules()
        ]

    assert simulate(main, **OPTIONS).result() == [
        ("c", False, {"name": "c"}, 1),
        ("a", True, {"name": "a"}, 0),
    ]


def test_what_a_schedule_did_is_in_the_history_of_the_run(simulate):
    """Started, skipped, paused: facts of kind "schedule"."""

    async def main(client):
        handle = await client.create_schedule("slow", schedule("slow", 90, every=60))
        await asyncio.sleep(150)
        await handle.pause()

    history = simulate(main, **OPTIONS).history
    assert [op.name for op in history.where(kind="schedule")] == ["started", "skipped", "paused"]


# -- against the real server


@pytest.fixture(scope="module")
def simulated():
    import wfsim_temporal

    async def main(client):
        return await schedule_cases.play(client), await schedule_cases.specs(client)

    run = wfsim_temporal.simulate(main, **OPTIONS)
    run.check_replay()
    return run.result()


@pytest.fixture(scope="module")
def real():
    async def program(client):
        return await schedule_cases.play(client), await schedule_cases.specs(client)

    return on_real_server(program, task_queue=schedule_cases.QUEUE, workflows=[Report])


@pytest.mark.parametrize("case", CASES)
def test_a_schedule_does_what_it_does_on_the_real_server(simulated, real, case):
    """Actions, their times and ends, what was skipped and what waits, and errors with their words."""
    assert simulated[0][case] == real[0][case]


@pytest.mark.parametrize("spec", SPECS)
def test_a_specification_means_what_it_means_on_the_real_server(simulated, real, spec):
    """Its description and the next ten times, or the error that refuses it."""
    assert simulated[1][spec] == real[1][spec]


def test_the_attributes_of_an_action_have_their_registered_types(simulate):
    """Who reads a schedule is told them also of those that were sent without."""
    key = SearchAttributeKey.for_keyword("place")

    async def main():
        async with await WorkflowEnvironment.start_local(search_attributes=[key]) as environment:
            action = ScheduleActionStartWorkflow("any", id="any", task_queue="q")
            action.untyped_search_attributes = {"place": ["Oslo"]}
            plan = Schedule(action=action, spec=ScheduleSpec())
            told = await (await environment.client.create_schedule("plan", plan)).describe()
            return told.schedule.action.typed_search_attributes[key]

    assert simulate(main).result() == "Oslo"
