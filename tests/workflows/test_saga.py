"""The saga: forward in order, back in reverse, and nothing left unsaid."""

# ruff: noqa: ARG005 - what a lambda takes and calls is what these tests are about

from __future__ import annotations

import asyncio

import pytest

from wfsim.errors import CompensationStuck, DesignError, ReplyLost, RetriesExhausted
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, crash, fail, hang, lose_reply
from wfsim.resilience import Retry
from wfsim.workflows import Context, Saga


class World:
    """Writes down what steps and compensations do."""

    def __init__(self):
        self.log = []

    def does(self, what, value=None, error=None):
        async def act():
            await sleep(1)
            self.log.append(what)
            if error is not None:
                raise error
            return value

        return act


def three_steps(world, **options):
    saga = Saga("checkout")
    for name in ("reserve", "charge", "ship"):
        saga.add_step(
            name, forward=world.does(name, name.upper()), compensate=world.does(f"un{name}"), **options
        )
    return saga


def play(saga, *args, faults=(), seed=0):
    simulation = Simulation(seed=seed, nemesis=Rules(faults))
    return simulation.run(saga.run, *args), simulation.recorder.history()


def test_steps_run_in_order_and_give_their_results():
    """A saga that succeeds runs its steps in order, undoes nothing and returns results by name."""
    world = World()
    outcome, _ = play(three_steps(world))
    assert outcome.value == {"reserve": "RESERVE", "charge": "CHARGE", "ship": "SHIP"}
    assert world.log == ["reserve", "charge", "ship"]
    assert outcome.duration_ns == 3_000_000_000


def test_compensates_in_reverse_order_of_success():
    """What succeeded is undone last first; the failed step is not.

    The original error is raised, with a note.
    """
    world = World()
    outcome, history = play(three_steps(world), faults=[fail("ship", error=ConnectionError("down"))])
    assert world.log == ["reserve", "charge", "uncharge", "unreserve"]
    assert type(outcome.error) is ConnectionError
    assert outcome.error.__notes__ == ["saga 'checkout' failed at step 'ship'; compensated: charge, reserve"]
    assert history[-1].type == "fail"
    assert history[-1].data["failed"] == "ship"


def test_compensations_name_the_failure_as_their_cause():
    """In the history each compensation is caused by the operation that failed, and lies within the saga."""
    _, history = play(three_steps(World()), faults=[fail("ship")])
    failed = history.where(type="fail", kind="forward")[0]
    undone = history.where(type="invoke", kind="compensate")
    assert [op.name for op in undone] == ["charge", "reserve"]
    assert {op.cause for op in undone} == {failed.index}
    assert {op.parent for op in undone} == {0}


def test_history_tells_the_design():
    """The saga's own operation holds what a checker must know of its steps."""
    saga = Saga("checkout").add_step("a", forward=lambda: None, read_only=True, retry=Retry(attempts=2))
    saga.add_step("b", forward=lambda: None, compensate=lambda: None, compensate_unknown=True)
    _, history = play(saga)
    first, second = history[0].data["steps"]
    assert first == {
        "name": "a",
        "compensatable": False,
        "retry": Retry(attempts=2).describe(),
        "read_only": True,
    }
    assert second["compensatable"]
    assert second["compensate_unknown"]
    assert second["compensate_retry"]["attempts"] == 3


def test_read_only_step_is_passed_over():
    """A step that changes nothing is skipped on the way back."""
    world = World()
    saga = Saga().add_step("look", forward=world.does("look"), read_only=True)
    saga.add_step("book", forward=world.does("book"), compensate=world.does("unbook"))
    saga.add_step("pay", forward=world.does("pay", error=ValueError("no money")))
    outcome, _ = play(saga)
    assert world.log == ["look", "book", "pay", "unbook"]
    assert str(outcome.error) == "no money"


def test_failed_compensation_is_tried_again():
    """A compensation that fails twice and then works leaves nothing behind: the original error is raised."""
    world = World()
    faults = [fail("ship", error=ConnectionError("down")), fail("charge", on="compensate", attempts=[1, 2])]
    outcome, history = play(three_steps(world), faults=faults)
    assert type(outcome.error) is ConnectionError
    assert world.log[-2:] == ["uncharge", "unreserve"]
    tries = history.where(type="invoke", kind="compensate", name="charge")
    assert [op.attempt for op in tries] == [1, 2, 3]
    assert tries[1].time_ns - tries[0].time_ns == 100_000_000


def test_stuck_compensation_is_reported_and_the_others_still_run():
    """When a compensation fails for good the rest is undone; the error names what is left."""
    world = World()
    faults = [fail("ship", error=ConnectionError("down")), fail("charge", on="compensate")]
    outcome, history = play(three_steps(world), faults=faults)
    assert world.log == ["reserve", "charge", "unreserve"]
    assert isinstance(outcome.error, CompensationStuck)
    assert outcome.error.undone == ("charge",)
    assert isinstance(outcome.error.cause, RetriesExhausted)
    assert type(outcome.error.__cause__) is ConnectionError
    assert history[-1].data["undone"] == ["charge"]
    assert "left undone: charge" in outcome.error.__cause__.__notes__[0]


def test_compensate_retry_replaces_the_three_tries():
    """With a policy of its own a compensation is tried as that says."""
    world = World()
    saga = three_steps(world, compensate_retry=Retry(attempts=5, backoff="fixed", delay="2s"))
    _, history = play(saga, faults=[fail("ship"), fail("charge", on="compensate", attempts=range(1, 5))])
    tries = history.where(type="invoke", kind="compensate", name="charge")
    assert [op.attempt for op in tries] == [1, 2, 3, 4, 5]
    assert tries[1].time_ns - tries[0].time_ns == 2_000_000_000


def test_retry_wraps_a_step():
    """A step with a policy is tried again before the saga turns back; each try is an operation of its own."""
    world = World()
    saga = three_steps(world, retry=Retry(attempts=3, backoff="fixed", delay=0.5))
    outcome, history = play(saga, faults=[fail("charge", attempts=[1, 2])])
    assert outcome.name == "ok"
    tries = history.where(type="invoke", kind="forward", name="charge")
    assert [op.attempt for op in tries] == [1, 2, 3]
    assert [history[op.cause].type for op in tries[1:]] == ["fail", "fail"]
    assert [op.data["delay_ns"] for op in history.where(kind="retry")] == [500_000_000, 500_000_000]


def test_exhausted_retry_turns_the_saga_back():
    """When the policy gives up, RetriesExhausted leaves the saga, chained to the last error.

    The cause is its last try.
    """
    saga = three_steps(World(), retry=Retry(attempts=2))
    outcome, history = play(saga, faults=[fail("charge", error=ConnectionError("down"))])
    assert isinstance(outcome.error, RetriesExhausted)
    assert type(outcome.error.__cause__) is ConnectionError
    (undo,) = history.where(type="invoke", kind="compensate")
    assert history[undo.cause].attempt == 2


def test_lost_reply_is_not_compensated_by_default():
    """Textbook sagas do not undo a step whose outcome they do not know."""
    world = World()
    outcome, _ = play(three_steps(world), faults=[lose_reply("charge")])
    assert isinstance(outcome.error, ReplyLost)
    assert world.log == ["reserve", "charge", "unreserve"]


def test_compensate_unknown_undoes_a_lost_reply():
    """With compensate_unknown the step whose reply was lost is undone first."""
    world = World()
    play(three_steps(world, compensate_unknown=True), faults=[lose_reply("charge")])
    assert world.log == ["reserve", "charge", "uncharge", "unreserve"]


def test_compensate_unknown_remembers_an_earlier_try():
    """A reply lost at the first try leaves the step in doubt, even if a later try fails plainly."""
    world = World()
    saga = three_steps(world, compensate_unknown=True, retry=Retry(attempts=2))
    play(saga, faults=[lose_reply("charge", attempts=1), fail("charge", attempts=2)])
    assert world.log == ["reserve", "charge", "uncharge", "unreserve"]


def test_compensate_unknown_leaves_a_plain_failure_alone():
    """A step that failed for certain is not compensated, whatever was in doubt before it."""
    world = World()
    saga = three_steps(world, compensate_unknown=True, retry=Retry(attempts=2))
    play(saga, faults=[lose_reply("charge", attempts=1), fail("ship")])
    assert world.log == ["reserve", "charge", "charge", "uncharge", "unreserve"]


def test_timeout_inside_a_step_is_an_unknown_outcome():
    """A client's own timeout tells nothing of the effect, so compensate_unknown covers it."""
    world = World()

    async def slow():
        async with asyncio.timeout(1):
            await sleep(5)

    saga = Saga().add_step("slow", forward=slow, compensate=world.does("undo"), compensate_unknown=True)
    outcome, _ = play(saga)
    assert isinstance(outcome.error, TimeoutError)
    assert world.log == ["undo"]


def test_cancelled_saga_is_compensated():
    """A saga that runs into a timeout undoes what it did; the caller sees its own timeout."""
    world = World()
    saga = three_steps(world)

    async def impatient():
        async with asyncio.timeout(2.5):
            await saga.run()

    simulation = Simulation()
    outcome = simulation.run(impatient)
    assert isinstance(outcome.error, TimeoutError)
    assert world.log == ["reserve", "charge", "uncharge", "unreserve"]
    assert outcome.duration_ns == 4_500_000_000


def test_saga_cancelled_on_its_way_back_says_what_is_left():
    """A second cancellation stops the compensations; the history holds what they left."""
    world = World()

    async def main():
        task = asyncio.create_task(three_steps(world).run())
        await sleep(2.5)
        task.cancel()
        await sleep(1.5)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    simulation = Simulation()
    assert simulation.run(main).value
    end = simulation.recorder.history().where(kind="saga")[-1]
    assert end.data["undone"] == ["reserve"]
    assert world.log == ["reserve", "charge", "uncharge"]


def test_hanging_step_hangs_the_saga():
    """A step that hangs is neither success nor failure: the saga waits, and the run ends as a deadlock."""
    outcome, _ = play(three_steps(World()), faults=[hang("charge")])
    assert outcome.name == "deadlock"
    assert outcome.duration_ns == 1_000_000_000


def test_crash_runs_no_compensation():
    """A crash is no failure: the process is gone, and with it the saga that would undo anything."""
    world = World()
    outcome, history = play(three_steps(world), faults=[crash("ship")])
    assert outcome.name == "crashed"
    assert world.log == ["reserve", "charge"]
    assert history.completion(0) is None


def test_steps_may_ask_for_the_context():
    """A function with one argument gets the context.

    Earlier results, the input and, on the way back, the error.
    """
    seen = []

    def charge(context):
        seen.append((context["reserve"], context.input, dict(context), context.error))
        raise ValueError("no money")

    def release(context: Context):
        seen.append((context["reserve"], context.input, str(context.error)))

    saga = (
        Saga().add_step("reserve", forward=lambda: 7, compensate=release).add_step("charge", forward=charge)
    )
    play(saga, {"order": 1})
    assert seen == [(7, {"order": 1}, {"reserve": 7}, None), (7, {"order": 1}, "no money")]


def test_context_knows_what_has_succeeded():
    """Asking for a step that has not run names those that have, and the one that was meant."""
    saga = Saga().add_step("reserve", forward=lambda: 7, read_only=True)
    saga.add_step("charge", forward=lambda c: c["reserv"])
    outcome, _ = play(saga)
    assert outcome.error.args[0] == (
        "no step 'reserv' has succeeded so far (succeeded: reserve); did you mean 'reserve'?"
    )


def test_default_arguments_are_left_alone():
    """A default holds a value on purpose: such a function is called without arguments."""
    saga = Saga()
    for number in range(3):
        saga.add_step(f"s{number}", forward=lambda number=number: number, read_only=True)
    assert play(saga)[0].value == {"s0": 0, "s1": 1, "s2": 2}


def test_functions_of_every_kind_are_steps():
    """Sync, async, a lambda that returns a coroutine, a bound method and a callable object all work."""

    async def coroutine():
        return "coroutine"

    class Thing:
        def method(self):
            return "method"

        async def __call__(self):
            return "object"

    saga = Saga()
    functions = {
        "a": lambda: "plain",
        "b": coroutine,
        "c": lambda: coroutine(),
        "d": Thing().method,
        "e": Thing(),
    }
    for name, function in functions.items():
        saga.add_step(name, forward=function, read_only=True)
    assert list(play(saga)[0].value.values()) == ["plain", "coroutine", "coroutine", "method", "object"]


def test_same_error_raised_twice_is_noted_once():
    """An exception object that a step raises again and again does not gather the same note."""
    error = ValueError("always me")

    def step():
        raise error

    saga = Saga().add_step(forward=step)
    play(saga)
    play(saga)
    assert len(error.__notes__) == 1


def test_one_saga_serves_many_runs_at_once():
    """A saga object holds no state of its runs: a hundred of them run side by side."""
    saga = (
        Saga()
        .add_step("echo", forward=lambda context: context.input, read_only=True)
        .add_step("wait", forward=lambda: sleep(1))
    )

    async def main():
        return await asyncio.gather(*(saga.run(number) for number in range(100)))

    outcome = Simulation().run(main)
    assert [one["echo"] for one in outcome.value] == list(range(100))
    assert outcome.duration_ns == 1_000_000_000


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Saga(""), "the name of a saga must be a text"),
        (lambda: Saga([]), "the name of a saga must be a text"),
        (
            lambda: Saga("s").add_step("a", forward=None),
            "forward of step 'a' of saga 's' cannot be called: it is None",
        ),
        (
            lambda: Saga("s").add_step("a", forward=lambda a, b: 0),
            "forward of step 'a' of saga 's' takes 2 arguments; a step takes none, or one",
        ),
        (
            lambda: Saga("s").add_step("a", forward=print, compensate=lambda *, key: 0),
            "compensate of step 'a' of saga 's' needs key by keyword",
        ),
        (
            lambda: Saga("s").add_step("a", forward=print).add_step("a", forward=print),
            "has a step 'a' already",
        ),
        (
            lambda: Saga("s").add_step("a", forward=print, retry=3),
            "retry of step 'a' of saga 's' is 3, which is no policy",
        ),
        (lambda: Saga("s").add_step("a", forward=print, retry=Retry), "which is no policy"),
        (lambda: Saga("s").add_step("a", forward=print, compensate_retry=Retry()), "add compensate="),
        (lambda: Saga("s").add_step("a", forward=print, compensate_unknown=True), "add compensate="),
        (
            lambda: Saga("s").add_step(7, forward=print),
            "the name of a step of saga 's' must be a text, not 7",
        ),
    ],
)
def test_wrong_designs_are_refused_at_once(build, message):
    """A design that cannot work is refused while it is built, and the message names the part."""
    with pytest.raises(DesignError) as caught:
        build()
    assert message in str(caught.value)


def test_coroutine_in_place_of_a_function_is_refused():
    """`forward=charge()` is a common slip.

    The message tells the cure, and nobody is warned of the lost coroutine.
    """

    async def charge():
        pass

    with pytest.raises(DesignError, match="pass the function itself, without the brackets"):
        Saga().add_step(forward=charge())


def test_empty_saga_is_refused():
    """A saga without steps has nothing to run."""
    with pytest.raises(DesignError, match="saga 'saga' has no steps; add them"):
        Saga().execute()
