"""Workflows and activities that several tests run: on simulated workers, and on a real server."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

import wfsim


def seconds(number):
    return timedelta(seconds=number)


@dataclass
class Trip:
    id: str
    car: bool = True


@activity.defn
async def book_hotel(trip: Trip) -> str:
    await asyncio.sleep(1)
    wfsim.effect("hotel booked", trip.id)
    return f"hotel-{trip.id}"


@activity.defn
async def book_car(trip: Trip) -> str:
    await asyncio.sleep(1)
    if not trip.car:
        raise ApplicationError("no cars", type="NoCars", non_retryable=True)
    wfsim.effect("car booked", trip.id)
    return f"car-{trip.id}"


@activity.defn
async def cancel_hotel(trip: Trip) -> None:
    wfsim.effect("hotel cancelled", trip.id)


@workflow.defn
class TripWorkflow:
    """Books a hotel, then a car; gives the hotel back if there is no car."""

    @workflow.run
    async def run(self, trip: Trip) -> str:
        options = {"start_to_close_timeout": seconds(10)}
        hotel = await workflow.execute_activity(book_hotel, trip, **options)
        try:
            car = await workflow.execute_activity(book_car, trip, **options)
        except ActivityError as error:
            await workflow.execute_activity(cancel_hotel, trip, **options)
            raise ApplicationError("no trip") from error
        return f"{hotel} {car}"


@workflow.defn
class Approval:
    """Waits for an approval, by signal or by update."""

    def __init__(self) -> None:
        self.who = ""

    @workflow.run
    async def run(self, timeout: float) -> str:
        try:
            await workflow.wait_condition(lambda: bool(self.who), timeout=timeout)
        except TimeoutError:
            return "timed out"
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"approved by {self.who}"

    @workflow.signal
    def approve(self, who: str) -> None:
        self.who = who

    @workflow.query
    def status(self) -> str:
        return self.who or "waiting"

    @workflow.update
    async def approve_later(self, who: str) -> str:
        await workflow.sleep(5)
        self.who = who
        return f"thanks {who}"

    @approve_later.validator
    def check(self, who: str) -> None:
        if not who:
            raise ValueError("nobody")


@workflow.defn
class Square:
    """Squares a number after as many seconds; 13 is refused."""

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.sleep(number)
        if number == 13:
            raise ApplicationError("unlucky")
        return number * number


@workflow.defn
class Squares:
    """Squares several numbers, each by a child."""

    @workflow.run
    async def run(self, numbers: list[int]) -> list[str]:
        return list(await asyncio.gather(*[self.square(number) for number in numbers]))

    async def square(self, number: int) -> str:
        try:
            id = f"{workflow.info().workflow_id}-{number}"
            return str(await workflow.execute_child_workflow(Square.run, number, id=id))
        except ChildWorkflowError as error:
            return f"failed: {error.cause}"


@workflow.defn
class Countdown:
    """Continues as new until it has counted down."""

    @workflow.run
    async def run(self, number: int) -> str:
        await workflow.sleep(60)
        if number:
            workflow.continue_as_new(number - 1)
        return "lift-off"


@activity.defn
async def poll() -> str:
    try:
        while True:
            await asyncio.sleep(1)
            activity.heartbeat("polling")
    except asyncio.CancelledError:
        wfsim.effect("poll stopped")
        raise


@activity.defn
async def clean_up() -> None:
    wfsim.effect("cleaned up")


@workflow.defn
class Cancellable:
    """Polls until it is cancelled, then cleans up."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.execute_activity(
                poll,
                start_to_close_timeout=seconds(3600),
                heartbeat_timeout=seconds(10),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                retry_policy=RetryPolicy(maximum_attempts=3),
            )
        finally:
            await workflow.execute_activity(clean_up, start_to_close_timeout=seconds(5))


WORKFLOWS = [TripWorkflow, Approval, Square, Squares, Countdown, Cancellable]
ACTIVITIES = [book_hotel, book_car, cancel_hotel, poll, clean_up]
