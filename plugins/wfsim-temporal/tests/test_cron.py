"""Cron schedules: when a run is due, what it learns of the run before, and what ends the chain."""

import asyncio
from datetime import UTC, datetime

import cron_cases
import pytest
from cron_cases import CASES, EXPRESSIONS, NO_EXPRESSIONS, Job
from real_server import on_real_server
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import TerminatedError
from temporalio.service import RPCError
from wfsim_temporal.timetable._cron import first_backoff_ns, parse_go_duration

Q = {"task_queue": "wfsim"}


def seconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def due(expression, *after):
    """Give when an expression is due after each of some instants."""
    told = []
    for text in after:
        at = seconds(text)
        wait_s = first_backoff_ns(expression, at * 10**9) // 10**9
        told.append(datetime.fromtimestamp(at + wait_s, UTC).strftime("%Y-%m-%d %H:%M"))
    return told


def test_days_of_the_month_and_of_the_week_are_alternatives():
    """Friday or the 13th, as cron has it; a star makes it both, and a star with a step does not."""
    assert due("0 0 13 * 5", "2026-04-08", "2026-04-10") == ["2026-04-10 00:00", "2026-04-13 00:00"]
    assert due("0 0 * * 5", "2026-04-10") == ["2026-04-17 00:00"]
    assert due("0 0 */2 * 5", "2026-04-10") == ["2026-04-11 00:00"]


def test_where_the_clock_is_set_forward_the_hour_left_out_is_skipped():
    """In Oslo there is no 2:30 on March 29, 2026: the next one is a day later."""
    assert due("CRON_TZ=Europe/Oslo 30 2 * * *", "2026-03-28 12:00") == ["2026-03-30 00:30"]


def test_where_the_clock_is_set_back_the_hour_happens_twice():
    """In New York it is 1:30 twice on November 1, 2026: at 5:30 and at 6:30 in UTC."""
    expression = "CRON_TZ=America/New_York 30 1 * * *"
    told = due(expression, "2026-11-01 00:00", "2026-11-01 05:30", "2026-11-01 06:30")
    assert told == ["2026-11-01 05:30", "2026-11-01 06:30", "2026-11-02 06:30"]


def test_durations_are_read_as_go_reads_them():
    """Hours, minutes, fractions; anything else is refused."""
    assert parse_go_duration("1h30m") == 5400 * 10**9
    assert parse_go_duration("1.5s") == 1_500_000_000
    for text in ("", "5", "1x", "1h 30m"):
        with pytest.raises(ValueError, match="no duration"):
            parse_go_duration(text)


def test_a_chain_goes_on_until_it_is_terminated(simulate):
    """Each run begins when it is due, with the result of the last; three days are three runs."""

    async def main(client):
        handle = await client.start_workflow(Job.run, "counts", id="job", cron_schedule="0 9 * * *", **Q)
        await asyncio.sleep(3 * 86_400)
        latest = await client.get_workflow_handle("job").describe()
        await client.get_workflow_handle("job").terminate()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, TerminatedError)
        return latest.execution_time, await cron_cases.runs(client, "job")

    run = simulate(main, workflows=[Job])
    execution_time, told = run.result()
    assert (execution_time.hour, execution_time.minute) == (9, 0)
    assert [one["last result"] for one in told] == [[], ['"1"'], ['"2"'], ['"3"']]


def test_a_cancelled_run_is_the_last(simulate):
    """A workflow that lets itself be cancelled ends its chain."""

    async def main(client):
        handle = await client.start_workflow(Job.run, "hangs", id="job", cron_schedule="@every 10s", **Q)
        await asyncio.sleep(15)
        await handle.cancel()
        await asyncio.sleep(60)
        return (await client.get_workflow_handle("job").describe()).status.name

    assert simulate(main, workflows=[Job]).result() == "CANCELED"


def test_a_cron_schedule_that_is_none_is_refused(simulate):
    """With the server's own error; so is one together with a delay."""

    async def main(client):
        async def refused(**options):
            with pytest.raises(RPCError) as caught:
                await client.start_workflow(Job.run, "counts", id="job", **options, **Q)
            return caught.value.status.name, str(caught.value)

        return [
            await refused(cron_schedule="every day"),
            await refused(cron_schedule="@daily", start_delay=cron_cases.s(1)),
        ]

    assert simulate(main, workflows=[Job]).result() == [
        ("INVALID_ARGUMENT", "invalid CronSchedule."),
        ("INVALID_ARGUMENT", "CronSchedule and WorkflowStartDelay may not be used together."),
    ]


# -- against the real server


@pytest.fixture(scope="module")
def real():
    async def program(client):
        return await cron_cases.first_due(client), await cron_cases.play(client)

    return on_real_server(program, task_queue=cron_cases.QUEUE, workflows=[Job])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_first_run_is_due_when_the_real_server_says(real, expression):
    """From the instant at which the real server took it."""
    began_ns, wait_ns = real[0][expression]
    assert first_backoff_ns(expression, began_ns) == wait_ns


@pytest.mark.parametrize("expression", NO_EXPRESSIONS)
def test_what_the_real_server_refuses_is_refused(real, expression):
    """With the same words."""
    with pytest.raises(RPCError) as caught:
        first_backoff_ns(expression, 0)
    assert str(caught.value) == real[0][expression]


@pytest.mark.parametrize("case", [*CASES, "is a parent-child"])
def test_the_chain_is_that_of_the_real_server(real, simulate, case):
    """Events, results, failures, attempts and waits of every run."""
    run = simulate(cron_cases.play, workflows=[Job], task_queue=cron_cases.QUEUE)
    mine, theirs = run.result()[case], real[1][case]
    # The last run may or may not have begun when the chain is ended.
    assert [forgiving(one) for one in mine[:3]] == [forgiving(one) for one in theirs[:3]]
    assert abs(len(mine) - len(theirs)) <= 1


def forgiving(run):
    """A wait that makes up for the time that a run took is as exact as the machine is fast."""
    return {**run, "backoff": round(run["backoff"])}
