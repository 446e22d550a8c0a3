"""Activities that no workflow asked for: as the real server tells of them, and what only a simulation can show."""

import dataclasses
import json
import time
from datetime import timedelta

import pytest
import standalone_cases as cases
import wfsim_temporal
from real_server import on_real_server
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import ActivityFailureError, Client, Interceptor, OutboundInterceptor
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import ActivityAlreadyStartedError
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, Worker
from temporalio.worker import Interceptor as WorkerInterceptor
from wfsim_temporal import backlog

import wfsim

NAMES = [*cases.CASES, *cases.FILTERS, "GROUP BY", "limit"]


@pytest.fixture(scope="module")
def simulated():
    return by_name(wfsim_temporal.simulate(cases.play_all_here).result())


@pytest.fixture(scope="module")
def real():
    worker = {"task_queue": cases.QUEUE, "activities": cases.ACTIVITIES}
    return by_name(on_real_server(cases.play_all, search_attributes=[cases.CITY], **worker))


def by_name(told):
    lists = told.pop("lists")
    told |= dict(zip([*cases.FILTERS, "GROUP BY", "limit"], lists, strict=True))
    return json.loads(json.dumps(told))


@pytest.mark.parametrize("name", NAMES)
def test_a_client_is_told_what_the_real_server_tells(simulated, real, name):
    """Outcomes with all their causes, descriptions on the way and at the end, refusals, lists and counts."""
    assert simulated[name] == real[name]


# -- what a real server does not let one try


@activity.defn
async def charge(order: str) -> str:
    wfsim.effect("card charged", order)
    return f"charged {order}, attempt {activity.info().attempt}"


@activity.defn
def prints(pages: int) -> str:
    time.sleep(pages)
    return f"{pages} pages"


async def charged(client, **options):
    known = {"id": "c", "task_queue": "wfsim", "start_to_close_timeout": timedelta(seconds=10)}
    return await client.execute_activity(charge, "order-1", **{**known, **options})


def run(main=charged, *args, **options):
    return wfsim_temporal.simulate(main, *args, activities=[charge, prints], **options)


def test_it_is_an_operation_with_its_attempts_below():
    """The history has the whole and each attempt, so that checkers and reports see both."""
    done = run(faults=[wfsim.fail("charge", error=ConnectionError, attempts=range(1, 3))])
    assert done.result() == "charged order-1, attempt 3"
    [whole] = done.history.where(kind="standalone_activity", type="invoke")
    assert (whole.design, whole.name, whole.process, whole.data["activity_id"]) == (
        "charge",
        "charge",
        "c",
        "c",
    )
    assert done.history.completion(whole.index).type == "ok"
    attempts = done.history.where(kind="activity", type="invoke")
    assert [(op.name, op.attempt, op.cause) for op in attempts] == [
        ("charge", n, whole.index) for n in (1, 2, 3)
    ]
    assert [op.name for op in done.history.where(kind="retry")] == ["charge", "charge"]
    assert done.duration == pytest.approx(3, abs=0.1)


def test_its_failure_is_in_the_history():
    """With the type of what the attempt raised; the caller has the SDK's own error."""

    async def main(client):
        return await charged(client, retry_policy=RetryPolicy(maximum_attempts=1))

    done = run(main, faults=[wfsim.fail("charge", error=ConnectionError)])
    assert isinstance(done.error, ActivityFailureError)
    [whole] = done.history.where(kind="standalone_activity", type="invoke")
    ended = done.history.completion(whole.index)
    assert (ended.type, ended.data["error"]) == ("fail", "ConnectionError")


def test_a_lost_answer_has_the_effect_twice():
    """The worker has charged the card, and the server never heard of it: the checker finds that out."""
    done = run(faults=[wfsim.lose_reply("charge", attempts=1)])
    assert done.result() == "charged order-1, attempt 2"
    assert not wfsim.checkers.effect_at_most_once(done.history).valid
    assert done.duration == pytest.approx(11, abs=0.1)


def test_the_worker_crashes_and_another_attempt_follows():
    """When the attempt has timed out: the server does not learn of crashes."""
    done = run(faults=[wfsim.crash("charge", restart_after="1s", count=1)])
    assert done.result() == "charged order-1, attempt 2"
    assert done.duration == pytest.approx(11, abs=0.1)


def test_the_server_does_not_answer_the_start():
    """The client hears that the server is away, but the activity runs: its id is taken."""

    async def main(client):
        told = []
        for _ in range(2):
            try:
                told.append(await charged(client))
            except (RPCError, ActivityAlreadyStartedError) as error:
                told.append(type(error).__name__)
        return [*told, await client.get_activity_handle("c").result()]

    lost = wfsim.lose_reply("start_activity_execution", on="rpc", count=10)  # a client tries ten times
    slow = wfsim.delay("charge", "9500ms")
    told = run(main, faults=[lost, slow]).result()
    assert told[1:] == ["ActivityAlreadyStartedError", "charged order-1, attempt 1"]
    # Older releases of the SDK give their request no id, so that the second try is taken for another start.
    assert told[0] in {"RPCError", "ActivityAlreadyStartedError"}


def test_code_that_blocks_runs_in_virtual_time():
    """In a simulated thread of the worker's executor."""

    async def main(client):
        return await client.execute_activity(
            prints, 300, id="p", task_queue="wfsim", schedule_to_close_timeout=timedelta(hours=1)
        )

    done = run(main)
    assert done.result() == "300 pages"
    assert done.duration == pytest.approx(300, abs=0.1)


def test_it_waits_in_a_backlog():
    """The queue's faults are those of any queue; its own timeout tells that it waited."""

    async def main(client):
        return await charged(client, schedule_to_start_timeout=timedelta(seconds=3))

    done = run(main, faults=[backlog("wfsim", "5s")])
    assert "ScheduleToStart" in str(done.error.cause)
    assert [op.data["type"] for op in done.history.where(kind="timeout")] == ["ScheduleToStart"]


def test_codec_and_interceptors_take_part():
    """Those of the client and of the worker; input and result pass through the codec."""
    seen = []

    class Outbound(OutboundInterceptor):
        async def start_activity(self, input):
            seen.append(["client", input.activity_type, input.id])
            return await super().start_activity(input)

    class Inbound(ActivityInboundInterceptor):
        async def execute_activity(self, input):
            seen.append(["worker", *input.args, activity.info().workflow_id])
            return await super().execute_activity(input)

    class Both(Interceptor, WorkerInterceptor):
        def intercept_client(self, next):
            return Outbound(next)

        def intercept_activity(self, next):
            return Inbound(next)

    async def main():
        converter = dataclasses.replace(DataConverter.default, payload_codec=Reversed())
        client = await Client.connect("localhost:7233", data_converter=converter, interceptors=[Both()])
        async with Worker(client, task_queue="wfsim", activities=[charge]):
            return await charged(client)

    assert wfsim_temporal.simulate(main).result() == "charged order-1, attempt 1"
    assert seen == [["client", "charge", "c"], ["worker", "order-1", None]]


class Reversed(PayloadCodec):
    async def encode(self, payloads):
        return [
            Payload(metadata={"encoding": b"reversed"}, data=one.SerializeToString()[::-1])
            for one in payloads
        ]

    async def decode(self, payloads):
        assert all(one.metadata["encoding"] == b"reversed" for one in payloads), payloads
        return [Payload.FromString(one.data[::-1]) for one in payloads]


def test_a_run_repeats():
    """Run ids, histories and all."""

    async def main(client):
        handles = [
            await client.start_activity(
                charge, f"o{n}", id=f"c{n}", task_queue="wfsim", start_to_close_timeout=timedelta(seconds=9)
            )
            for n in range(5)
        ]
        return [(await handle.result(), handle.run_id) for handle in handles]

    faults = [wfsim.fail("charge", probability=0.5), wfsim.delay("charge", "2s", probability=0.5)]
    first, second = (run(main, faults=faults, seed=7) for _ in range(2))
    assert first.result() == second.result()
    assert first.history.fingerprint() == second.history.fingerprint()
    assert len({run_id for _, run_id in first.result()}) == 5


def test_a_worker_can_crash_at_each_attempt():
    """Crash points have them."""
    points = wfsim_temporal.crash_points(run())
    assert [(one.on, one.step, one.attempt, one.point) for one in points] == [
        ("activity", "charge", 1, "call"),
        ("activity", "charge", 1, "reply"),
    ]
