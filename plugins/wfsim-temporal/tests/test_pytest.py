"""Existing test suites run simulated as they are: async tests and their fixtures, with and without other plugins."""

import importlib.util

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import pytest
    import pytest_asyncio
    from temporalio.testing import WorkflowEnvironment

    ended = []

    @pytest_asyncio.fixture(scope="session")
    async def env():
        env = await WorkflowEnvironment.start_local(dev_server_extra_args=["--dynamic-config-value", "x=true"])
        yield env
        await env.shutdown()
        ended.append(env)

    @pytest.fixture(scope="session")
    def namespace(env):
        return env.client.namespace

    @pytest_asyncio.fixture
    async def client(env):
        return env.client
"""

SUITE = """
    import asyncio
    import contextvars
    import time
    from datetime import datetime

    import pytest
    import pytest_asyncio
    from conftest import ended
    from temporalio import workflow
    from temporalio.testing import WorkflowEnvironment
    from temporalio.worker import Worker

    user = contextvars.ContextVar("user", default="nobody")


    @workflow.defn
    class Sleeper:
        @workflow.run
        async def run(self, days: int) -> str:
            await workflow.sleep(86_400 * days)
            return "rested"


    @pytest.fixture
    def somebody():
        user.set("somebody")


    async def test_a_month_passes(client, namespace, somebody):
        assert (client.namespace, user.get()) == (namespace, "somebody")
        async with Worker(client, task_queue="q", workflows=[Sleeper]):
            assert await client.execute_workflow(Sleeper.run, 30, id="s", task_queue="q") == "rested"


    async def test_each_test_has_a_server_of_its_own(client, env):
        assert ended and ended[-1] is not env
        assert not env.supports_time_skipping
        assert [one async for one in client.list_workflows()] == []


    class TestInAClass:
        @pytest_asyncio.fixture
        async def itself(self, client):
            await asyncio.sleep(3600)
            yield self
            await asyncio.sleep(3600)

        @pytest.mark.parametrize("number", [1, 2])
        async def test_method(self, itself, number, tmp_path):
            assert itself is self
            assert number


    async def test_the_test_server(client):
        async with await WorkflowEnvironment.start_time_skipping() as env:
            assert env.supports_time_skipping


    stop = asyncio.Event()


    @pytest.mark.parametrize("time", [1, 2])
    async def test_what_a_module_keeps(client, time):
        async with asyncio.TaskGroup() as group:
            group.create_task(stop.wait())
            await asyncio.sleep(1)
            stop.set()
        stop.clear()


    async def test_is_skipped(client):
        pytest.skip("not today")


    async def test_fails(client):
        await asyncio.sleep(1)
        assert client is None


    async def test_waits_for_ever(client):
        await asyncio.get_running_loop().create_future()


    def test_in_the_real_world():
        assert datetime.now().year < 2030


    @pytest.mark.temporal(simulated=False)
    async def test_in_real_time():
        began = time.monotonic()
        await asyncio.sleep(0.01)
        assert datetime.now().year < 2030
"""

needs_asyncio = pytest.mark.skipif(
    importlib.util.find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed"
)


@needs_asyncio
@pytest.mark.parametrize("by", ["option", "ini"])
def test_a_whole_suite(pytester, by):
    """One switch simulates all async tests; what is shared between tests on a real server is made anew in each."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    simulated = "temporal_simulated = true" if by == "ini" else ""
    pytester.makeini(
        f"[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = session\n{simulated}"
    )
    options = ["--temporal-simulated"] if by == "option" else []
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=9, failed=2, skipped=1)
    result.stdout.fnmatch_lines(
        ["*Deadlock: nothing is left to happen*", "*main waits for *test_waits_for_ever*"]
    )
    result.stdout.no_fnmatch_line("*_environment.py*")


@needs_asyncio
def test_the_mark_wins_over_pytest_asyncio(pytester):
    """A marked test is simulated, whoever else would run it; a test beside it is not."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile("""
        import asyncio
        from datetime import datetime

        import pytest


        @pytest.mark.temporal(seed=7)
        async def test_virtual():
            await asyncio.sleep(1_000_000)
            assert datetime.now().year >= 2030


        async def test_real():
            assert datetime.now().year < 2030
    """)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_what_a_workflow_keeps_waits_more_than_once(pytester):
    """A queue belongs to the loop of its workflow, which has no answer to whether it is closed."""
    pytester.makepyfile("""
        import asyncio

        import pytest
        from temporalio import workflow
        from temporalio.testing import WorkflowEnvironment
        from temporalio.worker import Worker


        @workflow.defn
        class Mailbox:
            def __init__(self) -> None:
                self.letters = asyncio.Queue()

            @workflow.run
            async def run(self) -> list[str]:
                return [await self.letters.get(), await self.letters.get()]

            @workflow.signal
            def post(self, letter: str) -> None:
                self.letters.put_nowait(letter)


        @pytest.fixture
        async def client():
            return (await WorkflowEnvironment.start_local()).client


        async def test_two_letters(client):
            async with Worker(client, task_queue="post", workflows=[Mailbox]):
                mailbox = await client.start_workflow(Mailbox.run, id="box", task_queue="post")
                for letter in ["first", "second"]:
                    await asyncio.sleep(60)  # a task that failed would not have been mended by what comes next
                    await mailbox.signal(Mailbox.post, letter)
                assert await mailbox.result() == ["first", "second"]
    """)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "--temporal-simulated").assert_outcomes(passed=1)


def test_without_any_plugin(pytester):
    """Async fixtures need no plugin in a simulated test; one that yields twice is an error, as everywhere."""
    pytester.makepyfile("""
        import asyncio

        import pytest


        @pytest.fixture
        async def pot():
            await asyncio.sleep(60)
            return "tea"


        @pytest.fixture
        async def twice():
            yield 1
            yield 2


        async def test_pot(pot):
            assert pot == "tea"


        async def test_twice(twice):
            assert twice == 1
    """)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:asyncio", "--temporal-simulated"
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*an async fixture yields once*"])


def test_runs_of_the_fixture_are_told_and_faults_that_missed_are_warned_of(pytester):
    """As with wfsim's own fixture: what failed tells its story, and a misspelt name does not pass for sturdiness."""
    pytester.makepyfile(
        """
        import wfsim
        from temporalio import workflow

        @workflow.defn
        class Rests:
            @workflow.run
            async def run(self) -> None:
                await workflow.sleep(86_400)

        def test_it(temporal):
            run = temporal.run(Rests, faults=[wfsim.fail("rset")])
            assert not run.ok
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*wfsim: Rests, seed 0, outcome ok*", "*workflow Rests ok*", "*replay: pytest *--wfsim-seed 0*"]
    )
    result.stdout.fnmatch_lines(["*UserWarning: the fault fail at step 'rset' found nothing to strike*"])


def test_what_a_fixture_starts_begins_before_the_test(pytester):
    """A task that a fixture leaves behind takes its first step, as in a loop that is left and entered again."""
    pytester.makepyfile("""
        import asyncio

        import pytest


        @pytest.fixture
        async def seen():
            seen = []

            async def note():
                seen.append("begun")

            asyncio.create_task(note())
            return seen


        async def test_seen(seen):
            assert seen == ["begun"]
    """)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:asyncio", "--temporal-simulated"
    )
    result.assert_outcomes(passed=1)


def test_faults_of_the_mark_strike(pytester):
    """The mark takes what ``simulate`` takes, and so a test of a suite runs under faults."""
    pytester.makepyfile("""
        from datetime import timedelta

        import pytest
        import wfsim
        from temporalio import activity, workflow
        from temporalio.client import Client
        from temporalio.worker import Worker


        @activity.defn
        async def work() -> int:
            return activity.info().attempt


        @workflow.defn
        class Works:
            @workflow.run
            async def run(self) -> int:
                return await workflow.execute_activity(work, start_to_close_timeout=timedelta(seconds=5))


        @pytest.mark.temporal(faults=[wfsim.fail("work", attempts=[1, 2])])
        async def test_third_time_lucky():
            client = await Client.connect("localhost:7233")
            async with Worker(client, task_queue="q", workflows=[Works], activities=[work]):
                assert await client.execute_workflow(Works.run, id="w", task_queue="q") == 3
    """)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


OLDER_PYTEST_ASYNCIO = """
import asyncio

import pytest

WRAPPER = '''
import functools
import inspect

def wrapped(function):
    @functools.wraps(function)
    def wrapper(**given):
        raise AssertionError("a real loop would run this")

    asked = [*inspect.signature(function).parameters, "request", "event_loop"]
    kind = inspect.Parameter.KEYWORD_ONLY
    wrapper.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in asked])
    return wrapper
'''
older = {"__name__": "pytest_asyncio.plugin"}
exec(WRAPPER, older)


@pytest.fixture(scope="session")
def event_loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
@older["wrapped"]
async def pot(leaves):
    await asyncio.sleep(3600)
    return leaves
"""


def test_fixtures_that_an_older_pytest_asyncio_has_wrapped(pytester):
    """Suites that pin an old pytest-asyncio run too: it wraps async fixtures when it collects, around a loop.

    The stand-in wraps as releases before 1.0 do: the fixture then also asks for ``request`` and a loop.
    """
    pytester.makeconftest(OLDER_PYTEST_ASYNCIO)
    pytester.makepyfile("""
        import pytest


        @pytest.fixture
        def leaves():
            return "green"


        async def test_pot(pot):
            assert pot == "green"


        class TestMore:
            async def test_pot_again(self, pot):
                assert pot == "green"
    """)
    pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:asyncio", "--temporal-simulated"
    ).assert_outcomes(passed=2)


def test_a_policy_that_a_fixture_keeps_is_not_the_simulations(pytester):
    """Between its coroutines a simulated test is outside: a plain fixture finds the process's own event loops there.

    pytest-asyncio before 1.0 keeps the policy it finds, and restores it when the last test is over.
    """
    pytester.makeconftest("""
        import asyncio

        import pytest


        @pytest.fixture
        async def early():
            await asyncio.sleep(1)


        @pytest.fixture(scope="session")
        def policy():
            found = asyncio.get_event_loop_policy()
            assert type(found).__module__.startswith("asyncio")
            yield found
            asyncio.set_event_loop_policy(found)
            asyncio.new_event_loop().close()


        @pytest.fixture
        def other():
            before = asyncio.get_event_loop_policy()
            mine = asyncio.DefaultEventLoopPolicy()
            asyncio.set_event_loop_policy(mine)
            yield mine
            assert asyncio.get_event_loop_policy() is mine
            asyncio.set_event_loop_policy(before)
    """)
    pytester.makepyfile("""
        import asyncio


        async def test_first(early, policy):
            assert asyncio.get_event_loop_policy() is not policy


        async def test_second(early, other):
            assert asyncio.get_event_loop_policy() is not other


        def test_all_is_as_before(policy):
            assert asyncio.get_event_loop_policy() is policy
    """)
    pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-p", "no:asyncio", "--temporal-simulated"
    ).assert_outcomes(passed=3)
