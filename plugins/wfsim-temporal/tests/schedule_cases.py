"""Schedules, and what they leave behind: on a real server and on the simulated one."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from google.protobuf.json_format import MessageToDict
from temporalio import workflow
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.exceptions import ApplicationError

QUEUE = "schedules"


def s(number):
    return timedelta(seconds=number)


@workflow.defn
class Report:
    """Takes some seconds; fails if they are negative. Tells what the run before it told."""

    @workflow.run
    async def run(self, seconds: float) -> str:
        before = workflow.get_last_completion_result(str) or ""
        if seconds < 0:
            raise ApplicationError("no report")
        if seconds:
            await workflow.sleep(seconds)
        return f"{before}."


def schedule(id, seconds, *, every=2.0, start=None, state=None, spec=None, **policy):
    return Schedule(
        action=ScheduleActionStartWorkflow(Report.run, seconds, id=id, task_queue=QUEUE),
        spec=spec or ScheduleSpec(intervals=[ScheduleIntervalSpec(every=s(every))], start_at=start),
        policy=SchedulePolicy(**policy),
        state=state or ScheduleState(),
    )


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


async def until(instant):
    await asyncio.sleep(instant.timestamp() - time.time())


async def tell(client, handle, begin, seconds):
    """Pause a schedule some seconds on; tell what it has done by then."""
    await until(begin + s(seconds))
    await handle.pause(note="enough")
    told = await handle.describe()
    info, actions = told.info, []
    for one in info.recent_actions:
        run = client.get_workflow_handle(one.action.workflow_id, run_id=one.action.first_execution_run_id)
        described = await run.describe()
        held = described.typed_search_attributes
        is_stamped = one.action.workflow_id == f"{handle.id}-" + held[stamp(held)].strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
        actions.append(((one.scheduled_at - begin) // s(1), described.status.name, is_stamped))
    return {
        "actions": info.num_actions,
        "skipped": info.num_actions_skipped_overlap,
        "running": len(info.running_actions),
        "buffered": told.raw_description.info.buffer_size,
        "recent": actions,
        "state": str(told.schedule.state),
        "times": len(info.next_action_times),
    }


def stamp(attributes):
    [key] = [one.key for one in attributes if one.key.name == "TemporalScheduledStartTime"]
    return key


def overlap(policy):
    async def play(client, id, begin):
        planned = schedule(id, 4.5, start=begin, overlap=ScheduleOverlapPolicy[policy])
        return await tell(client, await client.create_schedule(id, planned), begin, 11.5)

    play.__name__ = f"overlap_{policy.lower()}"
    return case(play)


for one in ScheduleOverlapPolicy:
    overlap(one.name)


@case
async def hands_on_the_last_result(client, id, begin):
    handle = await client.create_schedule(id, schedule(id, 0, start=begin))
    await until(begin + s(5.5))
    [*_, last] = (await handle.describe()).info.recent_actions
    result = await client.get_workflow_handle(last.action.workflow_id).result()
    return result, await tell(client, handle, begin, 5.5)


@case
async def pauses_on_failure(client, id, begin):
    handle = await client.create_schedule(id, schedule(id, -1, start=begin, pause_on_failure=True))
    await until(begin + s(5.5))
    told = await handle.describe()
    # The note names the workflow, and so the second in which it was started.
    return told.info.num_actions, told.schedule.state.paused, told.schedule.state.note.rpartition(": ")[2]


@case
async def goes_on_after_failures(client, id, begin):
    return await tell(client, await client.create_schedule(id, schedule(id, -1, start=begin)), begin, 5.5)


@case
async def acts_a_limited_number_of_times(client, id, begin):
    state = ScheduleState(limited_actions=True, remaining_actions=2)
    handle = await client.create_schedule(id, schedule(id, 0, start=begin, state=state))
    return await tell(client, handle, begin, 7.5)


@case
async def is_paused(client, id, begin):
    state = ScheduleState(paused=True, note="from the start")
    handle = await client.create_schedule(id, schedule(id, 0, start=begin, state=state))
    await until(begin + s(3.5))
    before = (await handle.describe()).info.num_actions
    await handle.unpause(note="go on")
    return before, await tell(client, handle, begin, 5.5)


@case
async def is_triggered(client, id, begin):
    planned = schedule(id, 0, every=3600, start=begin + s(7200))
    handle = await client.create_schedule(id, planned, trigger_immediately=True)
    await until(begin + s(1.5))
    await handle.trigger()
    told = await tell(client, handle, begin, 2.5)
    return {**told, "recent": [one[1:] for one in told["recent"]]}


@case
async def is_triggered_while_it_runs(client, id, begin):
    planned = schedule(id, 30, every=3600, start=begin + s(7200))
    handle = await client.create_schedule(id, planned, trigger_immediately=True)
    await until(begin + s(0.3))
    await handle.trigger()
    await until(begin + s(1.5))
    await handle.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
    told = await tell(client, handle, begin, 2.5)
    return {**told, "recent": [one[1:] for one in told["recent"]]}


def past(hour):
    return datetime(2026, 1, 1, hour, tzinfo=UTC)


def backfill(first, last, policy):
    return ScheduleBackfill(start_at=past(first), end_at=past(last), overlap=ScheduleOverlapPolicy[policy])


@case
async def is_backfilled(client, id, begin):
    planned = schedule(id, 0.2, every=3600, state=ScheduleState(paused=True))
    handle = await client.create_schedule(id, planned, backfill=[backfill(0, 3, "BUFFER_ALL")])
    await until(begin + s(3.5))
    await handle.backfill(backfill(10, 12, "ALLOW_ALL"), backfill(14, 15, "ALLOW_ALL"))
    await until(begin + s(5))
    told = await handle.describe()
    times = [str(one.scheduled_at) for one in told.info.recent_actions]
    return told.info.num_actions, sorted(times), told.raw_description.info.buffer_size


@case
async def is_updated(client, id, begin):
    handle = await client.create_schedule(id, schedule(id, 0, every=3600, start=begin + s(7200)))

    def update(known):
        planned = known.description.schedule
        planned.spec.intervals = [ScheduleIntervalSpec(every=s(2))]
        planned.spec.start_at = begin + s(1)
        planned.state.note = "faster"
        return ScheduleUpdate(planned)

    await handle.update(update)
    await until(begin + s(5.5))
    told = await handle.describe()
    return told.info.num_actions, told.schedule.state.note, told.info.last_updated_at is not None


@case
async def is_deleted(client, id, begin):
    handle = await client.create_schedule(id, schedule(id, 1, start=begin))
    await until(begin + s(1.5))
    await handle.delete()
    told = []
    for name in ("describe", "pause", "delete"):
        try:
            await getattr(handle, name)()
        except Exception as error:
            told.append((name, str(error), error.status.name))
    await client.create_schedule(id, schedule(id, 0, every=3600))
    return told


@case
async def is_there_already(client, id, _begin):
    told = []
    for _ in range(2):
        try:
            await client.create_schedule(id, schedule(id, 0, every=3600))
        except Exception as error:
            told.append((type(error).__name__, str(error)))
    return told


@case
async def is_unknown(client, id, _begin):
    told = []
    for name in ("describe", "pause", "trigger", "delete"):
        try:
            await getattr(client.get_schedule_handle(id), name)()
        except Exception as error:
            told.append((name, str(error), error.status.name))
    return told


async def play(client):
    """Play all cases at once, with time enough to create them all before the first acts.

    The real server's timers are up to a second late: nothing is looked at that is younger.
    """
    begin = datetime.fromtimestamp(int(time.time()) // 2 * 2 + 4, UTC)

    async def told(name, function):
        return name, await function(client, name.replace("_", "-"), begin)

    return dict(await asyncio.gather(*[told(name, function) for name, function in CASES.items()]))


# -- specifications

FROM = datetime(2031, 3, 28, 12, tzinfo=UTC)  # two days before the clocks of Europe are set forward


def every(seconds, offset=0):
    return ScheduleIntervalSpec(every=s(seconds), offset=s(offset))


def r(start, end=0, step=0):
    return ScheduleRange(start, end, step)


SPECS = {
    "interval": {"intervals": [every(3600, 600)]},
    "two intervals": {"intervals": [every(50), every(70, 5)]},
    "interval with a fraction": {"intervals": [every(90.5)]},
    "calendar": {
        "calendars": [ScheduleCalendarSpec(hour=[r(9, 17, 4)], day_of_week=[r(1, 5)], comment="work")]
    },
    "calendar with days of both kinds": {
        "calendars": [ScheduleCalendarSpec(day_of_month=[r(13)], day_of_week=[r(5)])]
    },
    "calendar with years": {"calendars": [ScheduleCalendarSpec(year=[r(2033, 2037, 2)], month=[r(2)])]},
    "calendar by the second": {
        "calendars": [ScheduleCalendarSpec(second=[r(0, 59, 17)], minute=[r(58, 59)])]
    },
    "skip": {
        "intervals": [every(3600)],
        "skip": [
            ScheduleCalendarSpec(minute=[r(0, 59)], hour=[r(13, 20)]),
            ScheduleCalendarSpec(hour=[r(22)]),
        ],
    },
    "end": {"intervals": [every(3600)], "end_at": FROM + s(3 * 3600)},
    "zone": {
        "calendars": [ScheduleCalendarSpec(hour=[r(2)], minute=[r(30)])],
        "time_zone_name": "Europe/Oslo",
    },
    "zone by the hour": {
        "calendars": [ScheduleCalendarSpec(hour=[r(0, 23, 6)])],
        "time_zone_name": "Australia/Lord_Howe",
    },
    "clock set back": {
        "cron_expressions": ["30 1 * 10,11 *"],
        "time_zone_name": "America/New_York",
        "start_at": datetime(2031, 11, 1, tzinfo=UTC),
    },
    "impossible day": {"cron_expressions": ["0 0 31 2 *"]},
    "unknown zone": {"intervals": [every(60)], "time_zone_name": "No/Where"},
    "interval too small": {"intervals": [every(0.5)]},
    "offset too large": {"intervals": [every(5, 7)]},
    "hour too large": {"calendars": [ScheduleCalendarSpec(hour=[r(24)], minute=[r(5, 70)])]},
    "zones that differ": {"cron_expressions": ["CRON_TZ=Asia/Tokyo * * * * *", "* * * * *"]},
    "zones in conflict": {
        "cron_expressions": ["CRON_TZ=Asia/Tokyo * * * * *"],
        "time_zone_name": "Europe/Oslo",
    },
    **{
        cron: {"cron_expressions": [cron]}
        for cron in (
            "*/15 9-17 * jan,mar-june MON-fri 2034 # quarters",
            "10 20 30 1 1 * *",
            "10 20 3 1 1 * 2034-2040/3",
            "0 12 * * 5-7",
            "0 12 * * 7",
            "0 0 13 * 5",
            "5/20 3 * * *",
            "@every 1h30m/10m",
            "@every 2d",
            "@weekly",
            "CRON_TZ=Europe/Oslo 30 2 * * *",
            "? * * * *",
            "60 * * * *",
            "* * * * 8",
            "* * * * fri-sun",
            "1-2-3 * * * *",
            "9-5 * * * *",
            "*/0 * * * *",
            "* * * *",
            "1,,2 * * * *",
            "@every soon",
            "@sometimes",
        )
    },
}


async def specs(client):
    """Create a schedule of each specification; tell how the server describes it, or why it refuses it."""
    told = {}
    for number, (name, spec) in enumerate(SPECS.items()):
        planned = ScheduleSpec(**{"start_at": FROM, **spec})
        state = ScheduleState(paused=True)
        try:
            handle = await client.create_schedule(
                f"spec-{number}", schedule("x", 0, spec=planned, state=state)
            )
        except Exception as error:
            told[name] = type(error).__name__, str(error)
            continue
        described = await handle.describe()
        told[name] = (
            MessageToDict(described.raw_description.schedule),
            [str(one) for one in described.info.next_action_times],
        )
    return told
