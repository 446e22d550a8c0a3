"""Resets, deletions and batches: equal to the real server's, and what only a simulation can show."""

import asyncio
import json
from datetime import timedelta

import pytest
import reset_cases
import reset_open_cases
import wfsim_temporal
from real_server import RECORDED, on_real_server
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import CreateNexusEndpointRequest
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowUpdateStage

import wfsim

NAMES = [*reset_cases.CASES, *reset_open_cases.CASES]
WORKER = {
    "workflows": [reset_cases.Wishes],
    "activities": [reset_cases.takes],
    "task_queue": reset_cases.QUEUE,
}
OPEN = {
    "workflows": [reset_open_cases.Leader, reset_open_cases.Follower],
    "activities": [reset_open_cases.beats, reset_open_cases.pauses],
    "task_queue": reset_open_cases.QUEUE,
}
OPEN_OPTIONS = {
    "nexus_service_handlers": [reset_open_cases.Handler()],
    "max_heartbeat_throttle_interval": timedelta(seconds=0.05),
}


@pytest.fixture(scope="module")
def simulated():
    runs = [
        wfsim_temporal.simulate(reset_cases.play_all, **WORKER),
        wfsim_temporal.simulate(reset_open_cases.play_all, **OPEN, worker_options=OPEN_OPTIONS),
    ]
    played = {name: one for run in runs for name, one in run.result().items()}
    assert sum(run.check_replay() for run in runs) > len(NAMES)
    return json.loads(json.dumps(played))


@pytest.fixture(scope="module")
def real():
    played = on_real_server(reset_cases.play_all, **WORKER)
    played |= on_real_server(reset_open_cases.play_all, **OPEN, **OPEN_OPTIONS)
    return json.loads(json.dumps(played))


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_that_the_real_server_gave(simulated, name):
    """When they were recorded; for where there is none."""
    assert simulated[name][0] == {**RECORDED["resets"], **RECORDED["open-resets"]}[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_the_real_server(simulated, real, name):
    """Results, what the calls answer, and how they refuse."""
    assert simulated[name][0] == real[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """Those of all runs: the ones that were reset, and the new ones."""
    assert simulated[name][1] == real[name][1]


# -- what only a simulation shows


@workflow.defn
class Dice:
    """Throws ten times, and does an activity or waits, as it comes."""

    def __init__(self) -> None:
        self.may_go = False

    @workflow.signal
    def go(self) -> None:
        self.may_go = True

    async def throw(self) -> int:
        number = workflow.random().randint(0, 1)
        await (reset_cases.take(1) if number else workflow.sleep(1))
        return number

    @workflow.run
    async def run(self) -> list[list[int]]:
        before = [await self.throw() for _ in range(10)]
        await workflow.wait_condition(lambda: self.may_go)
        return [before, [await self.throw() for _ in range(10)]]


async def reset_to(client, id, task_id, run_id=""):
    named = WorkflowExecution(workflow_id=id, run_id=run_id)
    request = ResetWorkflowExecutionRequest(
        namespace="default", workflow_execution=named, workflow_task_finish_event_id=task_id
    )
    await client.workflow_service.reset_workflow_execution(request)


def test_chance_is_another_after_a_reset(simulate):
    """What was drawn before stays; what is drawn after it is new, and the Replayer draws the same."""

    async def main(client):
        handle = await client.start_workflow(Dice.run, id="dice", task_queue="wfsim")
        await asyncio.sleep(60)
        await handle.signal("go")
        first = await handle.result()
        tasks = await reset_cases.Bench(client).tasks("dice")
        await reset_to(client, "dice", tasks[11])
        return first, await client.get_workflow_handle("dice").result()

    run = simulate(main, workflows=[Dice], activities=[reset_cases.takes])
    (before, first), (still, second) = run.result()
    assert before == still
    assert first != second
    assert second != before
    assert run.check_replay() == 2


def test_a_timer_rings_when_it_would_have_without_the_reset(simulate):
    """A reset in the middle of its time neither stops it nor begins it again."""

    async def main(client):
        await client.start_workflow(reset_cases.Wishes.run, False, id="timer", task_queue="wfsim")
        bench = reset_cases.Bench(client)
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()
        await bench.wish("timer", "timer", "done")
        await asyncio.sleep(2)
        await reset_to(client, "timer", (await bench.tasks("timer"))[-1])
        await client.get_workflow_handle("timer").result()
        return asyncio.get_running_loop().time() - begun

    run = simulate(main, workflows=[reset_cases.Wishes], activities=[reset_cases.takes])
    assert run.result() == pytest.approx(5, abs=0.1)


def test_a_worker_that_crashes_replays_a_run_that_was_reset(simulate):
    """Its history begins in another run."""

    async def main(client):
        await client.start_workflow(reset_cases.Wishes.run, False, id="reset", task_queue="wfsim")
        bench = reset_cases.Bench(client)
        await asyncio.sleep(5)
        await bench.wish("reset", "note", "patch", "timer")
        await reset_to(client, "reset", (await bench.tasks("reset"))[-1])
        again = client.get_workflow_handle("reset")
        await asyncio.sleep(20)
        await again.signal("wish", "done")
        return await again.result()

    options = {"workflows": [reset_cases.Wishes], "activities": [reset_cases.takes]}
    expected = simulate(main, **options).result()
    assert expected == ["no note", 0.0, "note", "patch", True, "timer", "done", None, "noted"]
    every_task = [wfsim_temporal.evict("Wishes", tasks=range(1, 100))]
    assert simulate(main, faults=every_task, **options).result() == expected
    crash = wfsim_temporal.crash_worker("Wishes", task=2, restart_after="3s")
    assert simulate(main, faults=[crash], **options).result() == expected


def test_a_run_is_reset_to_a_task_that_timed_out(simulate):
    """What the workflow was to learn there it learns anew; what came later comes again."""

    async def main(client):
        handle = await client.start_workflow(reset_cases.Wishes.run, False, id="slow", task_queue="wfsim")
        await asyncio.sleep(1)
        await handle.signal("wish", "note")
        await asyncio.sleep(1)
        await handle.signal("wish", "patch")
        await asyncio.sleep(9)
        history = await handle.fetch_history()
        late = [
            one.event_id for one in history.events if one.HasField("workflow_task_timed_out_event_attributes")
        ]
        assert len(late) == 1
        await reset_to(client, "slow", late[0])
        again = client.get_workflow_handle("slow")
        await again.signal("wish", "done")
        return await again.result()

    slow = wfsim.delay("Wishes", "20s", on="workflow_task", attempts=3)
    run = simulate(main, workflows=[reset_cases.Wishes], activities=[reset_cases.takes], faults=[slow])
    assert run.result() == ["no note", 0.0, "note", "patch", True, "done", "noted"]
    assert run.check_replay() == 2


@pytest.mark.parametrize("fault", ["none", "evict", "crash"])
def test_what_was_open_goes_on_whichever_worker_replays_it(simulate, fault):
    """A child, an operation and an update of a run that was reset, with workers that forget and die."""

    async def main(client):
        await make_endpoint(client)
        bench = reset_open_cases.Bench(client, "open")
        handle = await bench.start()
        await handle.start_update("ask", "tea", id="u", wait_for_stage=WorkflowUpdateStage.ACCEPTED)
        await bench.wish("open", "child", "nexus", "other")
        await bench.back()
        again = client.get_workflow_handle("open")
        for id in ("open-child", await bench.backing()):
            await client.get_workflow_handle(id).signal("wish", "done")
        await again.signal("answer")
        await asyncio.sleep(30)
        await again.signal("wish", "done")
        return await again.result(), await again.get_update_handle("u").result()

    faults = {
        "none": [],
        "evict": [wfsim_temporal.evict("Leader", tasks=range(1, 100))],
        "crash": [wfsim_temporal.crash_worker("Leader", task=one, restart_after="2s") for one in (2, 4)],
    }
    run = simulate(main, **OPEN, worker_options=OPEN_OPTIONS, faults=faults[fault])
    ended = ["asked tea", "child", "nexus", "other", "done", ["child", "done"], ["backing", "done"]]
    assert run.result() == (ended, "tea it is")


async def make_endpoint(client):
    target = EndpointTarget.Worker(namespace="default", task_queue=reset_open_cases.QUEUE)
    spec = EndpointSpec(name=reset_open_cases.QUEUE, target=EndpointTarget(worker=target))
    await client.operator_service.create_nexus_endpoint(CreateNexusEndpointRequest(spec=spec))


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_child_workflow(reset_cases.Wishes.run, False, id="child")


def test_a_parent_learns_that_its_child_was_deleted(simulate):
    """It was terminated, as on a real server."""

    async def main(client):
        handle = await client.start_workflow(Parent.run, id="parent", task_queue="wfsim")
        await asyncio.sleep(1)
        bench = reset_cases.Bench(client)
        await bench.delete("child")
        with pytest.raises(Exception, match="Workflow execution failed"):
            await handle.result()

    run = simulate(main, workflows=[Parent, reset_cases.Wishes], activities=[reset_cases.takes])
    assert run.error is None
    assert "CHILD_WORKFLOW_EXECUTION_TERMINATED" in run.events("parent")
    assert run.events("child")[-1] == "WORKFLOW_EXECUTION_TERMINATED"


def test_a_memo_that_was_changed_does_not_go_on(simulate):
    """A run that continues as new has the memo of the beginning, as on a real server."""

    async def main(client):
        handle = await client.start_workflow(
            reset_cases.Wishes.run, False, id="memo", task_queue="wfsim", memo={"note": "first"}
        )
        for wish in ("note", "renew", "done"):
            await handle.signal("wish", wish)
            await asyncio.sleep(2)
        return await client.get_workflow_handle("memo").result()

    run = simulate(main, workflows=[reset_cases.Wishes], activities=[reset_cases.takes])
    assert run.result() == ["first", 0.0, "done", "first"]
