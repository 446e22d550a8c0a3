"""Programs that connect and make workers themselves run as they are; pytest and scenario files too."""

import asyncio
import signal
import sys
import textwrap

import pytest
import samples
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from wfsim_temporal import NotSimulated, run_programs
from wfsim_temporal import simulate as plain_simulate

import wfsim
from wfsim.errors import DesignError, DurationError, RealIOError
from wfsim.harness import run_all
from wfsim.scenario import load_text

pytest_plugins = ["pytester"]


async def program(trip):
    """What users write, word for word."""
    client = await Client.connect("localhost:7233", namespace="default")
    async with Worker(
        client, task_queue="trips", workflows=[samples.TripWorkflow], activities=samples.ACTIVITIES
    ):
        return await client.execute_workflow(samples.TripWorkflow.run, trip, id="trip", task_queue="trips")


def test_a_program_runs_unmodified(simulate):
    """It finds a server wherever it connects to."""
    assert simulate(program, samples.Trip("1")).result() == "hotel-1 car-1"


def test_a_worker_runs_beside_its_client(simulate):
    """``worker.run()`` in a task of its own ends with ``shutdown()``."""

    async def main():
        client = await Client.connect("localhost:7233")
        worker = Worker(client, task_queue="q", workflows=[samples.Square])
        running = asyncio.create_task(worker.run())
        result = await client.execute_workflow(samples.Square.run, 3, id="s", task_queue="q")
        await worker.shutdown()
        await running
        return result, worker.is_shutdown

    assert simulate(main).result() == (9, True)


def test_a_test_environment_is_simulated(simulate):
    """``WorkflowEnvironment.start_time_skipping`` gives the simulated server."""

    async def main():
        async with (
            await WorkflowEnvironment.start_time_skipping() as environment,
            Worker(environment.client, task_queue="q", workflows=[samples.Square]),
        ):
            began = await environment.get_current_time()
            result = await environment.client.execute_workflow(samples.Square.run, 60, id="s", task_queue="q")
            return result, (await environment.get_current_time() - began).total_seconds() > 59

    assert simulate(main).result() == (3600, True)


def test_another_namespace_and_two_queues(simulate):
    """Activities may run on another queue's workers; a rule picks them by the worker's process."""

    async def main():
        client = await Client.connect("localhost:7233")
        async with (
            Worker(client, task_queue="trips", workflows=[samples.TripWorkflow]),
            Worker(client, task_queue="other", activities=samples.ACTIVITIES),
        ):
            handle = await client.start_workflow(
                samples.TripWorkflow.run, samples.Trip("1"), id="t", task_queue="trips"
            )
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(handle.result(), 60)
            return (await handle.describe()).raw_description.pending_activities[0].activity_type.name

    assert simulate(main).result() == "book_hotel"


SCENARIO = """
name: lost reply
design:
  target:
    temporal:
      workflow: samples:TripWorkflow
      activities: [samples:book_hotel, samples:book_car, samples:cancel_hotel]
      args: [{id: "7"}]
faults:
  - lose_reply:
    at: {step: book_hotel, attempt: 1}
  - evict:
    at: {step: TripWorkflow, on: workflow_task}
expect:
  breaks: [effect_at_most_once]
"""


def test_a_scenario_file_names_a_temporal_target():
    """The engine is found through wfsim's plugin hooks."""
    result = run_all(load_text(SCENARIO))
    assert result.passed, result.expectations


def test_a_misspelt_activity_in_a_scenario_is_told():
    """A rule that speaks of nothing that the workflow does is unmatched, which the report says."""
    result = run_all(load_text(SCENARIO.replace("step: book_hotel", "step: book_hotl")))
    assert [rule.step for rule in result.unmatched] == ["book_hotl"]


def test_the_fixture_and_the_mark(pytester):
    """The fixture ``temporal`` runs workflows; a marked test is itself run in a simulation."""
    pytester.makepyfile(
        textwrap.dedent("""
        import asyncio
        from datetime import timedelta

        import pytest
        from temporalio import workflow
        from temporalio.client import Client
        from temporalio.worker import Worker


        @workflow.defn
        class Sleeper:
            @workflow.run
            async def run(self) -> str:
                await workflow.sleep(3600)
                return "rested"


        def test_fixture(temporal):
            run = temporal.run(Sleeper)
            assert run.result() == "rested"
            assert run.check_replay() == 1


        @pytest.mark.temporal
        async def test_mark(tmp_path):
            client = await Client.connect("localhost:7233")
            async with Worker(client, task_queue="q", workflows=[Sleeper]):
                assert await client.execute_workflow(Sleeper.run, id="s", task_queue="q") == "rested"


        @pytest.mark.temporal
        async def test_mark_fails():
            await asyncio.sleep(5)
            assert False
        """)
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)


def test_a_run_can_be_played_again():
    """``wfsim`` replays a run and insists on the same history."""
    run = plain_simulate(samples.TripWorkflow, samples.Trip("1"), activities=samples.ACTIVITIES)
    assert run.again().fingerprint == run.fingerprint
    assert wfsim.simulate is not None


WORKER = """
import asyncio
from datetime import timedelta

import wfsim
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

interrupted = asyncio.Event()


@activity.defn
async def greet(name: str) -> str:
    await asyncio.sleep(1)
    wfsim.effect("greeted", name)
    return f"Hello, {name}"


@workflow.defn
class Greets:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(minutes=5))

    @workflow.update
    def more(self, number: int) -> int:
        return number + 1


async def main():
    client = await Client.connect("localhost:7233")
    async with Worker(client, task_queue="q", activities=[greet], workflows=[Greets]):
        await interrupted.wait()


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    except KeyboardInterrupt:
        interrupted.set()
"""

STARTER = """
import asyncio

from temporalio.client import Client
from {package}worker import Greets


async def main():
    client = await Client.connect("localhost:7233")
    handle = await client.start_workflow(Greets.run, "Ada", id="g", task_queue="q")
    print(await handle.execute_update(Greets.more, 4), await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["files", "modules"])
def test_worker_and_starter_run_side_by_side(tmp_path, monkeypatch, capsys, kind):
    """Each with an event loop of its own, as in two terminals; the run ends with the last."""
    package = f"greetings_{kind}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER)
    (folder / "starter.py").write_text(STARTER.format(package="" if kind == "files" else f"{package}."))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "worker", raising=False)
    form = "{0}/{1}.py" if kind == "files" else "{0}.{1}"
    names = [form.format(package, name) for name in ("worker", "starter")]
    run = run_programs(*names, faults=[wfsim.lose_reply("greet", attempts=1)])
    run.result()
    assert capsys.readouterr().out == "5 Hello, Ada\n"
    assert len(run.history.where(kind="effect", name="greeted")) == 2
    assert run.events("g")[-1] == "WORKFLOW_EXECUTION_COMPLETED"


ASKED = """
import argparse
import asyncio
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--orders", type=int, required=True)


async def main(orders):
    await asyncio.sleep(orders)
    print(orders, sys.argv[0])


if __name__ == "__main__":
    asyncio.run(main(parser.parse_args().orders))
"""


def test_programs_have_arguments_of_their_own(tmp_path, monkeypatch, capsys):
    """Those named after the program, and not those of the test runner, which has its own again afterwards."""
    (tmp_path / "asked.py").write_text(ASKED)
    monkeypatch.chdir(tmp_path)
    before = list(sys.argv)
    run_programs("asked.py --orders 1", ["asked.py", "--orders", "2"]).result()
    assert capsys.readouterr().out == "1 asked.py\n2 asked.py\n"
    assert sys.argv == before


def test_an_exit_code_is_an_error(tmp_path, monkeypatch):
    """All but 0, with which a program may end as well as by coming to its end."""
    (tmp_path / "asked.py").write_text(ASKED)
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit()\n")
    monkeypatch.chdir(tmp_path)
    assert run_programs("leaves.py").error is None
    run = run_programs("asked.py --orders many")
    assert str(run.error) == "asked.py --orders many ended with exit code 2"
    with pytest.raises(DesignError, match="a program is a file or a module"):
        run_programs("")


LISTENS = """
import asyncio
import signal

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker


@workflow.defn
class Greets:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"Hello, {name}"


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    client = await Client.connect("localhost:7233")
    async with Worker(client, task_queue="q", workflows=[Greets]):
        await stop.wait()


asyncio.run(main())
"""


ALONE = """
import asyncio

from temporalio.client import Client


async def main():
    client = await Client.connect("localhost:7233")
    await client.execute_workflow("Greets", "Ada", id="g", task_queue="q")


asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_a_worker_that_listens_to_signals(tmp_path, monkeypatch):
    """Each program is in its main thread, where handlers may be set; Ctrl-C remains that of who runs them."""
    before = signal.getsignal(signal.SIGINT)
    (tmp_path / "listens.py").write_text(LISTENS)
    (tmp_path / "alone.py").write_text(ALONE)
    monkeypatch.chdir(tmp_path)
    run = run_programs("listens.py", "alone.py")
    run.result()
    assert run.events("g")[-1] == "WORKFLOW_EXECUTION_COMPLETED"
    assert signal.getsignal(signal.SIGINT) is before


def test_programs_that_fail_at_once(tmp_path, monkeypatch, caplog):
    """The first is told; the second leaves no trace of its own."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(f"raise ValueError('{name}')\n")
    (tmp_path / "alone.py").write_text(ALONE)
    monkeypatch.chdir(tmp_path)
    run = run_programs("one.py", "two.py", "alone.py")
    assert str(run.error) == "one"
    assert not caplog.records


def test_a_program_that_does_not_exist_is_told():
    """Before anything runs."""
    with pytest.raises(DesignError, match=r"there is no file 'nowhere\.py'"):
        run_programs("nowhere.py")
    with pytest.raises(DesignError, match="at least one"):
        run_programs()


QUEUE = """
import asyncio

from temporalio.client import Client
from temporalio.worker import Worker
from counts import Counts


async def main():
    client = await Client.connect("localhost:7233")
    await Worker(client, task_queue="counts", workflows=[Counts]).run()


asyncio.run(main())
"""

COUNTS = """
from temporalio import workflow


@workflow.defn
class Counts:
    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(30)
        return "counted"
"""

BEGINS = """
import asyncio

from temporalio.client import Client
from counts import Counts


async def main():
    client = await Client.connect("localhost:7233")
    await client.start_workflow(Counts.run, id="c", task_queue="counts")


asyncio.run(main())
"""


@pytest.mark.filterwarnings("error")  # such as of an error that a thread ends with
def test_workers_linger_after_the_last_program(tmp_path, monkeypatch, capsys):
    """For as long as is said, if the last program only starts something; their end is no error, and prints none."""
    for name, text in {"queue_worker": QUEUE, "counts": COUNTS, "begins": BEGINS}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "counts", raising=False)
    ends = {}
    for linger in (0, "1m"):
        run = run_programs("queue_worker.py", "begins.py", linger=linger)
        run.result()
        ends[linger] = (run.duration < 1, "WORKFLOW_EXECUTION_COMPLETED" in run.events("c"))
    assert ends == {0: (True, False), "1m": (False, True)}
    assert capsys.readouterr().err == ""
    with pytest.raises(DurationError, match="linger"):
        run_programs("begins.py", linger="soon")


def test_a_program_that_fails_beside_the_last_ends_the_run(tmp_path, monkeypatch):
    """A worker that cannot start is told at once, by its own error, and not as a deadlock of the starter."""
    (tmp_path / "fails.py").write_text("import time\ntime.sleep(3)\nopen('no/such/file')\n")
    (tmp_path / "sleeps.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.chdir(tmp_path)
    run = run_programs("fails.py", "sleeps.py")
    assert isinstance(run.error, FileNotFoundError)
    assert run.error.__notes__ == ["in fails.py, which runs beside the last program"]
    assert run.duration == 3


LOOKS_AROUND = """
import subprocess
import sys

subprocess.run([sys.executable, "--version"], check=True, stdout=subprocess.DEVNULL)
from other_library import VALUE
"""


@pytest.mark.parametrize("written", ["from shop.parts import HERE", "from .parts import HERE"])
def test_libraries_are_imported_before_the_run(tmp_path, monkeypatch, written):
    """What a library does in the real world when it is imported is done by then; own modules are read for that."""
    libraries, own = tmp_path / "libraries", tmp_path / "own"
    (own / "shop").mkdir(parents=True)
    libraries.mkdir()
    (libraries / "looks_around.py").write_text(LOOKS_AROUND)
    (libraries / "other_library.py").write_text("VALUE = 1\n")
    (own / "shop" / "__init__.py").write_text("")
    (own / "shop" / "main.py").write_text(f"{written}\n")
    parts = (
        "try:\n    import no_such_library\nexcept ImportError:\n    from looks_around import VALUE as HERE\n"
    )
    (own / "shop" / "parts.py").write_text(parts)
    monkeypatch.chdir(own)
    monkeypatch.syspath_prepend(str(libraries))
    for name in ("looks_around", "other_library", "shop", "shop.main", "shop.parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert run_programs("shop.main").error is None


def test_gevent_is_refused(tmp_path, monkeypatch):
    """Before it has patched anything, in whichever of the programs' own modules it stands."""
    (tmp_path / "greens.py").write_text("import gevent\n")
    (tmp_path / "green.py").write_text("from greens import *\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotSimulated, match=r"greens\.py imports gevent"):
        run_programs("green.py")


GROUP = """
import asyncio
import socket


async def connects():
    socket.create_connection(("127.0.0.1", 1))


async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(connects())


asyncio.run(main())
"""


def test_a_refusal_in_a_group_is_told_as_itself(tmp_path, monkeypatch):
    """Groups of errors say no more than that there are some."""
    (tmp_path / "group.py").write_text(GROUP)
    monkeypatch.chdir(tmp_path)
    assert isinstance(run_programs("group.py").error, RealIOError)


def test_a_loop_of_another_kind_is_refused(simulate):
    """What drives asyncio by something else, such as trio, is no place for a client or a worker."""

    class Other(asyncio.SelectorEventLoop):
        """Stands for trio-asyncio's. It is never opened, and says so when the collector asks it."""

        _closed = True

    async def main():
        client = await Client.connect("localhost:7233")
        mine, other = asyncio._get_running_loop(), object.__new__(Other)
        asyncio._set_running_loop(other)
        try:
            await client.workflow_service.get_system_info(GetSystemInfoRequest())
        finally:
            asyncio._set_running_loop(mine)

    run = simulate(main)
    assert isinstance(run.error, NotSimulated)
    assert "Other" in str(run.error)
