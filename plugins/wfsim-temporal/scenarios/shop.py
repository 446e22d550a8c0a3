"""Three workflows with a flaw each, and each with its fix."""

from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

import wfsim

OPTIONS = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(maximum_attempts=3),
}


def record(name: str, key: str) -> None:
    """Note an effect in the world."""
    wfsim.effect(name, key)


# -- a saga: when is a compensation registered?


@activity.defn
async def book_hotel(trip: str) -> None:
    record("hotel", trip)


@activity.defn
async def cancel_hotel(trip: str) -> None:
    record("hotel cancelled", trip)


@activity.defn
async def book_flight(trip: str) -> None:
    record("flight", trip)


@activity.defn
async def cancel_flight(trip: str) -> None:
    record("flight cancelled", trip)


STEPS = ((book_hotel, cancel_hotel), (book_flight, cancel_flight))


async def undo(compensations, trip: str) -> str:
    for compensation in reversed(compensations):
        await workflow.execute_activity(compensation, trip, **OPTIONS)
    return "undone"


@workflow.defn
class RegistersTooEarly:
    """Registers each compensation before its step: it undoes what never happened."""

    @workflow.run
    async def run(self, trip: str) -> str:
        compensations = []
        try:
            for step, compensation in STEPS:
                compensations.append(compensation)
                await workflow.execute_activity(step, trip, **OPTIONS)
        except ActivityError:
            return await undo(compensations, trip)
        return "booked"


@workflow.defn
class RegistersInTime:
    """Registers each compensation when its step is done."""

    @workflow.run
    async def run(self, trip: str) -> str:
        compensations = []
        try:
            for step, compensation in STEPS:
                await workflow.execute_activity(step, trip, **OPTIONS)
                compensations.append(compensation)
        except ActivityError:
            return await undo(compensations, trip)
        return "booked"


# -- an activity that took effect and is tried again

_seen: set[str] = set()


@activity.defn
async def charge(order: str) -> None:
    """Each call charges the card."""
    record("card charged", order)


@activity.defn
async def charge_by_key(order: str) -> None:
    """The bank knows a charge by its key, the workflow's id and the activity's, and does it once."""
    info = activity.info()
    key = f"{info.workflow_run_id}/{info.activity_id}"
    if key not in _seen:
        _seen.add(key)
        record("card charged", order)


@workflow.defn
class ChargesTwice:
    @workflow.run
    async def run(self, order: str) -> None:
        await workflow.execute_activity(charge, order, **OPTIONS)


@workflow.defn
class ChargesOnce:
    @workflow.run
    async def run(self, order: str) -> None:
        await workflow.execute_activity(charge_by_key, order, **OPTIONS)


# -- signals around continue-as-new


@activity.defn
async def send(target: str, item: str) -> None:
    handle = activity.client().get_workflow_handle(target)
    await handle.signal("add", item)


@activity.defn
async def deliver(item: str) -> None:
    record("delivered", item)


class Courier:
    """Delivers the items that it is signalled, and continues as new after a second."""

    def __init__(self) -> None:
        self.items: list[str] = []

    async def work(self) -> None:
        await workflow.sleep(1)
        if self.items:
            await workflow.execute_activity(deliver, self.items.pop(0), **OPTIONS)


@workflow.defn
class LosesItems(Courier):
    """Starts its next run with nothing: what came in and is not delivered yet is lost."""

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.run
    async def run(self, rounds: int, items: list[str]) -> None:
        await self.work()
        if rounds:
            workflow.continue_as_new(args=[rounds - 1, []])


@workflow.defn
class KeepsItems(Courier):
    """Hands what is not delivered yet to its next run."""

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.run
    async def run(self, rounds: int, items: list[str]) -> None:
        self.items[:0] = items
        await self.work()
        if rounds:
            workflow.continue_as_new(args=[rounds - 1, self.items])


async def deliver_three(client, courier) -> None:
    """Start a courier and signal three items to it at once."""
    handle = await client.start_workflow(courier.run, args=[5, []], id="courier", task_queue="wfsim")
    for item in ("apple", "pear", "plum"):
        await handle.signal("add", item)
    await handle.result()


async def deliver_kept(client) -> None:
    """The same to the courier that keeps what waits."""
    await deliver_three(client, KeepsItems)
