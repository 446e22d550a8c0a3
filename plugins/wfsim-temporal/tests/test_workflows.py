"""Real workflow code in virtual time: activities, timers, signals, queries, updates, children, cancellation."""

import asyncio
import os
import subprocess
import sys

import pytest
import samples
from temporalio import workflow
from temporalio.client import (
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, TerminatedError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

EVERYTHING = {"workflows": samples.WORKFLOWS, "activities": samples.ACTIVITIES}
Q = {"task_queue": "wfsim"}


def effects(run):
    return [op.name for op in run.history.where(kind="effect")]


def test_a_workflow_gives_its_result(simulate):
    """A workflow class is run with its arguments, and virtual time passes as its activities say."""
    run = simulate(samples.TripWorkflow, samples.Trip("1"), activities=samples.ACTIVITIES)
    assert run.result() == "hotel-1 car-1"
    assert run.duration == pytest.approx(2, abs=0.05)
    assert effects(run) == ["hotel booked", "car booked"]


def test_a_workflow_fails_with_temporals_own_error(simulate):
    """The client raises what it raises with a real server, causes and all."""
    run = simulate(samples.TripWorkflow, samples.Trip("1", car=False), activities=samples.ACTIVITIES)
    assert isinstance(run.error, WorkflowFailureError)
    assert str(run.error.cause) == "no trip"
    assert run.error.cause.cause.cause.type == "NoCars"
    assert effects(run) == ["hotel booked", "hotel cancelled"]


def test_signal_and_query(simulate):
    """A signal wakes the workflow, a query sees its state before and after its end."""

    async def main(client):
        handle = await client.start_workflow(samples.Approval.run, 30, id="a", **Q)
        await asyncio.sleep(10)
        before = await handle.query(samples.Approval.status)
        await handle.signal(samples.Approval.approve, "ann")
        return before, await handle.result(), await handle.query(samples.Approval.status)

    run = simulate(main, **EVERYTHING)
    assert run.result() == ("waiting", "approved by ann", "ann")


def test_a_timer_fires_when_no_signal_comes(simulate):
    """The timeout of a condition is a timer of the server."""
    run = simulate(samples.Approval, 30.0)
    assert run.result() == "timed out"
    assert "TIMER_FIRED" in run.events("Approval")


def test_an_update_is_validated_then_runs(simulate):
    """A validator's refusal leaves no event; an accepted update gives its result."""

    async def main(client):
        handle = await client.start_workflow(samples.Approval.run, 300, id="a", **Q)
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update(samples.Approval.approve_later, "")
        thanks = await handle.execute_update(samples.Approval.approve_later, "bob")
        return str(caught.value.cause), thanks, await handle.result()

    run = simulate(main, **EVERYTHING)
    assert run.result() == ("ValueError: nobody", "thanks bob", "approved by bob")
    assert run.events("a").count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == 1


def test_an_update_can_be_waited_for_in_two_stages(simulate):
    """Accepted first, then completed, through the real client's handle."""

    async def main(client):
        handle = await client.start_workflow(samples.Approval.run, 300, id="a", **Q)
        update = await handle.start_update(
            samples.Approval.approve_later, "eve", wait_for_stage=WorkflowUpdateStage.ACCEPTED
        )
        return await update.result(), await handle.result()

    assert simulate(main, **EVERYTHING).result() == ("thanks eve", "approved by eve")


def test_children_succeed_and_fail(simulate):
    """A child's result and its failure reach the parent."""
    run = simulate(samples.Squares, [2, 13, 5], workflows=[samples.Square])
    assert run.result() == ["4", "failed: unlucky", "25"]
    assert run.duration == pytest.approx(13, abs=0.1)


def test_continue_as_new_is_a_chain_of_runs(simulate):
    """Each run has a history of its own; the client follows the chain."""
    run = simulate(samples.Countdown, 3)
    assert run.result() == "lift-off"
    assert len(run.workflow_histories) == 4
    assert run.duration == pytest.approx(240, abs=0.1)


def test_cancellation_reaches_the_activity_by_its_heartbeat(simulate):
    """A cancelled workflow waits for its activity, then cleans up."""

    async def main(client):
        handle = await client.start_workflow(samples.Cancellable.run, id="c", **Q)
        await asyncio.sleep(20)
        await handle.cancel()
        await handle.result()

    run = simulate(main, **EVERYTHING)
    assert isinstance(run.error, WorkflowFailureError)
    assert isinstance(run.error.cause, CancelledError)
    assert effects(run) == ["poll stopped", "cleaned up"]
    assert run.events("c")[-1] == "WORKFLOW_EXECUTION_CANCELED"


def test_termination_runs_no_code(simulate):
    """A terminated workflow does not clean up."""

    async def main(client):
        handle = await client.start_workflow(samples.Cancellable.run, id="c", **Q)
        await asyncio.sleep(20)
        await handle.terminate("enough")
        await handle.result()

    run = simulate(main, **EVERYTHING)
    assert isinstance(run.error.cause, TerminatedError)
    assert "cleaned up" not in effects(run)


def test_an_id_is_taken_while_its_workflow_runs(simulate):
    """Policies decide whether a workflow id may be used while, and after, another has it."""

    async def main(client):
        async def start(**policy):
            return await client.start_workflow(samples.Square.run, 5, id="one", **Q, **policy)

        first = await start()
        with pytest.raises(WorkflowAlreadyStartedError):
            await start()
        same = await start(id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING)
        other = await start(id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
        await other.result()
        with pytest.raises(WorkflowAlreadyStartedError):
            await start(id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE)
        with pytest.raises(WorkflowAlreadyStartedError):
            await start(id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)
        return first.result_run_id == same.result_run_id

    assert simulate(main, **EVERYTHING).result()


def test_signal_with_start(simulate):
    """The signal is there before the first workflow task."""

    async def main(client):
        handle = await client.start_workflow(
            samples.Approval.run, 30, id="a", start_signal="approve", start_signal_args=["sue"], **Q
        )
        return await handle.result()

    assert simulate(main, **EVERYTHING).result() == "approved by sue"


def test_a_missing_workflow_is_not_found(simulate):
    """The client's errors are gRPC's."""

    async def main(client):
        await client.get_workflow_handle("nobody").signal("x")

    run = simulate(main, **EVERYTHING)
    assert isinstance(run.error, RPCError)
    assert run.error.status == RPCStatusCode.NOT_FOUND


@workflow.defn
class Talker:
    """Signals and cancels other workflows."""

    @workflow.run
    async def run(self, other: str) -> str:
        handle = workflow.get_external_workflow_handle(other)
        await handle.signal("approve", "tom")
        stranger = workflow.get_external_workflow_handle("nobody")
        try:
            await stranger.signal("approve", "tom")
        except Exception as error:
            return str(error)
        return "?"


def test_workflows_signal_each_other(simulate):
    """A signal to another workflow arrives; one to nobody fails."""

    async def main(client):
        approval = await client.start_workflow(samples.Approval.run, 30, id="a", **Q)
        told = await client.execute_workflow(Talker.run, "a", id="t", **Q)
        return await approval.result(), told

    run = simulate(main, workflows=[*samples.WORKFLOWS, Talker])
    assert run.result() == (
        "approved by tom",
        "ExternalWorkflowExecutionNotFound: Unable to signal external workflow because it was not found",
    )


@workflow.defn
class Leaver:
    """Starts a child and ends."""

    @workflow.run
    async def run(self, policy: str) -> None:
        await workflow.start_child_workflow(
            "Square", 5, id="child", parent_close_policy=workflow.ParentClosePolicy[policy]
        )


@pytest.mark.parametrize(
    ("policy", "status"),
    [("TERMINATE", "TERMINATED"), ("REQUEST_CANCEL", "CANCELED"), ("ABANDON", "COMPLETED")],
)
def test_the_parent_close_policy(simulate, policy, status):
    """A child that outlives its parent is terminated, cancelled or left alone."""

    async def main(client):
        await client.execute_workflow(Leaver.run, policy, id="leaver", **Q)
        await asyncio.sleep(10)
        return (await client.get_workflow_handle("child").describe()).status.name

    assert simulate(main, workflows=[samples.Square, Leaver]).result() == status


def test_the_same_seed_writes_the_same_history(simulate):
    """Two runs are equal byte by byte, run ids and all; another seed draws other ids."""
    runs = [simulate(samples.Squares, [2, 3], workflows=[samples.Square], seed=seed) for seed in (1, 1, 2)]
    assert runs[0].fingerprint == runs[1].fingerprint != runs[2].fingerprint
    texts = [[one.to_json() for one in run.workflow_histories] for run in runs]
    assert texts[0] == texts[1] != texts[2]


def test_another_process_writes_the_same_history():
    """Byte for byte, whatever its number, its machine and its hash seed: also what the client signs with."""
    program = """
import asyncio, samples, wfsim_temporal

async def main(client):
    handle = await client.start_workflow(samples.Approval.run, 30, id="a", task_queue="wfsim")
    await handle.signal(samples.Approval.approve, "ann")
    await handle.result()

run = wfsim_temporal.simulate(main, workflows=samples.WORKFLOWS, activities=samples.ACTIVITIES)
print(run.fingerprint, run.workflow_histories[0].to_json())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert b"WORKFLOW_EXECUTION_SIGNALED" in told[0]
    assert told[0] == told[1]


closed_in_workflow = []


@workflow.defn
class Streams:
    """Takes the first of what a generator yields, and lets go of it."""

    async def chunks(self):
        try:
            while True:
                await workflow.sleep(10)
                yield "chunk"
        finally:
            closed_in_workflow.append(workflow.in_workflow())

    @workflow.run
    async def run(self) -> str:
        async for chunk in self.chunks():
            break
        return chunk


def test_an_async_generator_that_is_let_go_is_closed_in_its_workflow(simulate):
    """At once, as in the SDK's threads, and not by the event loop that runs the worker."""
    closed_in_workflow.clear()
    assert simulate(Streams).result() == "chunk"
    assert closed_in_workflow == [True]
