"""The target of scenario files keeps the laws that wfsim demands of every engine."""

from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from wfsim_temporal import TemporalTarget
from wfsim_temporal.simulation._simulate import Program

import wfsim
from wfsim.testing import LAWS, check_target

SECONDS = timedelta(seconds=10)


@activity.defn
async def charge() -> str:
    activity.heartbeat()
    wfsim.effect("charged")
    return "receipt"


@activity.defn
async def ship() -> None:
    activity.heartbeat()
    wfsim.effect("shipped")


@workflow.defn
class Buys:
    @workflow.run
    async def run(self) -> str:
        receipt = await workflow.execute_activity(charge, start_to_close_timeout=SECONDS)
        await workflow.sleep(60)
        await workflow.execute_activity(ship, start_to_close_timeout=SECONDS)
        return receipt


@workflow.defn
class Refuses:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("sold out")


def make():
    return TemporalTarget(Program(Buys, activities=(charge, ship)))


def make_failing():
    return TemporalTarget(Program(Refuses))


@pytest.mark.parametrize("law", LAWS)
def test_the_target_keeps(law):
    """Of the server's calls this client makes two; rules for the others have nothing to strike."""
    calls = {"start_workflow_execution", "get_workflow_execution_history"}
    others = [one for one in make().describe().steps if "_" in one and one not in calls]
    others.append("wfsim")  # the task queue, which only faults of its own strike
    check_target(make, failing=make_failing, unreached=others, laws=[law])
