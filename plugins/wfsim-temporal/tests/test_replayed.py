"""What watches over the histories of all tests (``replayed.py``) sees them, and notices one that is wrong."""

import pytest
import replayed
import samples
from wfsim_temporal import ReplayFailed

from wfsim.harness import run_all
from wfsim.scenario import load_text

pytest_plugins = ["pytester"]


def test_a_history_that_is_wrong_is_noticed(simulate):
    """Somebody writes into it that another activity was scheduled than the workflow asks for."""
    simulate(samples.TripWorkflow, samples.Trip("1"), activities=samples.ACTIVITIES)
    [server] = replayed.servers
    [execution] = server.executions.values()
    scheduled = [one for one in execution.log._attributes if "activity_type" in one]
    scheduled[0]["activity_type"] = {"name": "book_moon"}
    with pytest.raises(ReplayFailed, match="book_moon"):
        replayed.judge(server)
    replayed.servers.clear()


def test_scenario_files_and_programs_are_watched_too():
    """Whatever makes a server is seen, not only the fixture."""
    text = "design: {target: {temporal: {workflow: samples:Square, args: [3]}}}"
    run_all(load_text(text))
    assert [len(server.executions) for server in replayed.servers] == [1]


def test_sessions_that_tests_start_are_watched_too(pytester):
    """Their summary counts what was judged there."""
    pytester.makepyfile(
        """
        from temporalio import workflow

        @workflow.defn
        class Sleeper:
            @workflow.run
            async def run(self) -> None:
                await workflow.sleep(3600)

        def test_it(temporal):
            temporal.run(Sleeper).result()
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(["1 histories passed the Replayer"])
