"""Forward and back: pivots, retriable steps, time limits, and what a saga may be made of."""

# ruff: noqa: ARG005 - what a lambda takes and calls is what these tests are about

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.checkers import (
    compensated_exactly_once,
    compensated_in_reverse,
    pivot_respected,
    retried_as_policy,
)
from wfsim.errors import CompletionStuck, DesignError, SagaFailed
from wfsim.kernel import Simulation, sleep, start_process
from wfsim.nemesis import Rules, crash, delay, fail, hang, lose_reply
from wfsim.resilience import Retry
from wfsim.storage import MemoryJournal
from wfsim.workflows import Saga


class World:
    """Writes down what steps and compensations do, and when."""

    def __init__(self):
        self.log = []

    def does(self, what, seconds=1):
        async def act():
            await sleep(seconds)
            self.log.append(what)
            return what.upper()

        return act


def play(saga, *args, faults=(), seed=0):
    simulation = Simulation(seed=seed, nemesis=Rules(faults))
    return simulation.run(saga.run, *args), simulation.recorder.history()


down = ConnectionError("down")


def with_pivot(world, **ship):
    saga = Saga("checkout")
    saga.add_step("reserve", forward=world.does("reserve"), compensate=world.does("release"))
    saga.add_step("charge", forward=world.does("charge"), pivot=True)
    saga.add_step("ship", forward=world.does("ship"), retriable=True, **ship)
    return saga.add_step("mail", forward=world.does("mail"), retriable=True)


# -- forward recovery --


def test_before_the_pivot_a_saga_turns_back():
    """A pivot that fails undoes what came before it: backward recovery."""
    world = World()
    outcome, _ = play(with_pivot(world), faults=[fail("charge", error=down)])
    assert type(outcome.error) is ConnectionError
    assert world.log == ["reserve", "release"]


def test_after_the_pivot_a_saga_only_goes_forward():
    """A retriable step is tried until it succeeds, each wait twice the one before, up to a minute."""
    world = World()
    outcome, history = play(with_pivot(world), faults=[fail("ship", before="5m")])
    assert outcome.value == {"reserve": "RESERVE", "charge": "CHARGE", "ship": "SHIP", "mail": "MAIL"}
    assert world.log == ["reserve", "charge", "ship", "mail"]
    waits = [op.data["delay_ns"] for op in history.where(kind="retry")]
    assert waits[:4] == [10**8, 2 * 10**8, 4 * 10**8, 8 * 10**8]
    assert max(waits) == 60 * 10**9
    assert retried_as_policy(history).valid is True
    assert pivot_respected(history).valid is True


def test_a_retriable_step_that_gives_up_is_stuck_and_nothing_is_compensated():
    """With a retry that ends, the saga says what is unfinished; what was done stays done."""
    world = World()
    outcome, history = play(with_pivot(world, retry=Retry(attempts=2)), faults=[fail("ship", error=down)])
    assert isinstance(outcome.error, CompletionStuck)
    assert outcome.error.unfinished == ("ship", "mail")
    assert world.log == ["reserve", "charge"]
    assert str(outcome.error) == (
        "saga 'checkout' is stuck past its pivot: could not finish ship, mail (RetriesExhausted: ship failed "
        "2 times; the last error was ConnectionError: down); resume it, or finish by hand"
    )
    assert history[-1].data["unfinished"] == ["ship", "mail"]
    assert compensated_exactly_once(history).valid == "unknown"


def test_a_stuck_saga_with_a_journal_is_resumed():
    """What was stuck past the pivot goes on where it stopped; nothing is done twice."""
    world = World()
    saga = Saga("checkout", journal=MemoryJournal())
    saga.add_step("charge", forward=world.does("charge"), pivot=True)
    saga.add_step("ship", forward=world.does("ship"), retriable=True, retry=Retry(attempts=2))

    async def main():
        try:
            await saga.run("k1")
        except CompletionStuck:
            await sleep(3600)
            return await saga.resume("k1")

    outcome = Simulation(nemesis=Rules([fail("ship", before="10m")])).run(main)
    assert outcome.value == {"charge": "CHARGE", "ship": "SHIP"}
    assert world.log == ["charge", "ship"]


def test_a_pivot_in_doubt_is_neither_undone_nor_taken_for_done():
    """When nobody knows whether the pivot took effect there is no safe way: the saga stops and says so.

    With a journal it is resumed: the pivot is tried again under the same idempotency key.
    """
    world = World()
    outcome, _ = play(with_pivot(world), faults=[lose_reply("charge")])
    assert isinstance(outcome.error, CompletionStuck)
    assert outcome.error.unfinished == ("charge", "ship", "mail")
    assert world.log == ["reserve", "charge"]

    keys = []
    saga = Saga("checkout", journal=MemoryJournal())
    saga.add_step("charge", forward=lambda context: keys.append(context.idempotency_key), pivot=True)

    async def main():
        try:
            await saga.run("k1")
        except CompletionStuck:
            return await saga.resume("k1")

    assert Simulation(nemesis=Rules([lose_reply("charge", count=1)])).run(main).name == "ok"
    assert keys == ["checkout/k1/charge"] * 2


def test_forward_recovery_needs_no_compensation():
    """With recovery="forward" every step is tried until it succeeds, and nothing is ever undone."""
    world = World()
    saga = Saga("import", recovery="forward")
    for name in "abc":
        saga.add_step(name, forward=world.does(name))
    outcome, _ = play(saga, faults=[fail("b", count=7), fail("c", count=3)])
    assert outcome.name == "ok"
    assert world.log == ["a", "b", "c"]


def test_an_error_in_the_code_is_not_retried_for_ever():
    """A design error inside a retriable step is no failure of the world: it ends the saga."""

    def wrong():
        raise DesignError("no such thing")

    saga = Saga("s", recovery="forward").add_step("a", forward=wrong)
    outcome, _ = play(saga)
    assert isinstance(outcome.error, DesignError)
    assert outcome.duration_ns == 0


# -- the laws of a saga --


def ok(context=None):  # noqa: ARG001 - what every step may take
    return None


LAWS = [
    (
        lambda s: s.add_step("charge", forward=ok).add_step("ship", forward=ok),
        (
            "step 'charge' of saga 's' has no compensation, yet 'ship' after it can fail, and then what 'charge' did "
            "would stay; give 'charge' compensate=..., or read_only=True if it changes nothing, or make it the "
            "pivot=True and 'ship' retriable=True, or put it last"
        ),
    ),
    (
        lambda s: s.add_step("charge", forward=ok, pivot=True).add_step("ship", forward=ok, compensate=ok),
        (
            "step 'ship' of saga 's' comes after the pivot 'charge', where there is no way back, and it may fail; make "
            "it retriable=True"
        ),
    ),
    (
        lambda s: s.add_step("a", forward=ok, pivot=True).add_step("b", forward=ok, pivot=True),
        "saga 's' has two pivots, 'a' and 'b'",
    ),
    (
        lambda s: s.add_step("a", forward=ok, pivot=True).add_step(
            "b", forward=ok, retriable=True, compensate=ok
        ),
        (
            "step 'b' of saga 's' comes after the pivot 'a', from where the saga only goes forward, so its compensate "
            "would never run"
        ),
    ),
    (
        lambda s: s.add_step("a", forward=ok, compensate=ok).add_step("b", forward=ok, depends_on=[]),
        "step 'b' of saga 's' has no compensation, and 'a', which runs beside it, can fail when 'b' is done",
    ),
    (
        lambda s: s.add_step("a", forward=ok, compensate=ok).add_step(
            "p", forward=ok, depends_on=[], pivot=True
        ),
        (
            "step 'p' of saga 's' is the pivot, and 'a', which runs beside it, can fail when 'p' is done; let 'p' "
            "depend on 'a' too, or make 'a' retriable=True"
        ),
    ),
    (lambda s: s.add_step("a", forward=ok, pivot=True, retriable=True), "is pivot and retriable"),
    (lambda s: s.add_step("a", forward=ok, pivot=True, read_only=True), "is pivot and read_only"),
    (lambda s: s.add_step("a", forward=ok, pivot=True, compensate=ok), "its compensate would never run"),
    (lambda s: s.add_step("a", forward=ok, read_only=True, compensate=ok), "nothing to compensate"),
    (lambda s: s.add_step("a", forward=ok, atomic=False), "nothing undoes the half; add compensate"),
    (lambda s: s.add_step("a", forward=ok, timeout="-1s"), "timeout of step 'a' of saga 's': "),
    (lambda s: s.add_step("a", forward=ok, timeout=0), "timeout of step 'a' of saga 's' is zero"),
    (lambda s: s.add_step("a", forward=ok, compensate_timeout="1s"), "not with what; add compensate"),
    (
        lambda s: s.add_step("reserve", forward=ok, compensate=ok).add_step(
            "b", forward=ok, depends_on=["reserv"]
        ),
        (
            "step 'b' of saga 's' depends on 'reserv', which has not been added; did you mean 'reserve'?; there are so "
            "far: reserve"
        ),
    ),
    (lambda s: s.add_step("b", forward=ok, depends_on="a"), "depends_on of step 'b' of saga 's' is a text"),
    (lambda s: s.add_saga("inner"), "add_saga of saga 's' takes a saga, not 'inner'"),
    (lambda s: s.add_saga(Saga("inner")), "step 'inner' of saga 's': saga 'inner' has no steps"),
    (lambda s: s.step("x"), "saga 's' has no step 'x'"),
    (lambda s: Saga("s", timeout="soon"), "timeout of saga 's'"),
    (
        lambda s: Saga("s", recovery="sideways"),
        "recovery='sideways' of saga 's' is unknown; allowed: backward",
    ),
    (
        lambda s: Saga("s", journal="file.db"),
        "journal of saga 's' is 'file.db', which has no append and read",
    ),
    (lambda s: Saga("s", journal=MemoryJournal), "which has no append and read"),
    (lambda s: Saga("s", key=lambda: 1), "key of saga 's' must be a function from the input"),
    (
        lambda s: Saga("s", recovery="forward").add_step("a", forward=ok, pivot=True),
        "has pivot=True, but with",
    ),
    (
        lambda s: Saga("s", recovery="forward").add_step("a", forward=ok, compensate=ok),
        "has compensate, but with",
    ),
    (
        lambda s: Saga("s", recovery="forward").add_step("a", forward=ok, retriable=True),
        "need not say retriable",
    ),
    (
        lambda s: Saga("s", recovery="forward").add_saga(Saga("inner").add_step("a", forward=ok)),
        "may fail for good; make saga 'inner' recovery='forward' too",
    ),
]


@pytest.mark.parametrize(("build", "message"), LAWS, ids=range(len(LAWS)))
def test_what_could_not_end_well_is_refused(build, message):
    """A saga that might neither finish nor turn back is refused when it is built; the message tells the cure."""
    with pytest.raises(DesignError) as caught:
        build(Saga("s"))
    assert message in str(caught.value)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("cprx"), st.none() | st.sets(st.integers(0, 5))), min_size=1, max_size=6
    )
)
def test_what_the_laws_allow_can_always_end_well(plan):
    """Whatever fails, and whenever: a saga that was not refused either finishes or leaves nothing behind.

    c is compensatable, p the pivot, r retriable, x none of these.
    """
    saga, names = Saga("s"), []
    standing, finished = [], []

    def step(name):
        async def act():
            await sleep(0.001 * (1 + ord(name) % 3))
            standing.append(name)

        return act

    try:
        for number, (kind, after) in enumerate(plan):
            name = "abcdef"[number]
            depends_on = None if after is None else [names[one] for one in sorted(after) if one < number]
            options = {"p": {"pivot": True}, "r": {"retriable": True}, "x": {}}.get(
                kind, {"compensate": lambda name=name: standing.remove(name)}
            )
            saga.add_step(name, forward=step(name), depends_on=depends_on, **options)
            names.append(name)
    except DesignError:
        return
    for failing in names:
        for count in (1, None):
            standing.clear()
            if count is None and saga.step(failing).retriable:
                continue  # it would be tried for ever
            outcome, _ = play(saga, faults=[fail(failing, count=count)])
            whole = sorted(standing) == names
            assert whole if outcome.name == "ok" else not standing
            finished.append(whole)


# -- time limits --


def test_each_try_of_a_step_has_its_time():
    """A try that takes longer than ``timeout`` ends in doubt; with compensate_unknown it is undone."""
    world = World()
    saga = Saga("s").add_step(
        "slow",
        forward=world.does("slow", 10),
        compensate=world.does("undo"),
        compensate_unknown=True,
        timeout="2s",
        retry=Retry(attempts=2, backoff="fixed", delay="1s"),
    )
    outcome, history = play(saga)
    assert world.log == ["undo"]
    assert outcome.duration_ns == 6 * 10**9
    assert [op.type for op in history.where(kind="forward")] == ["invoke", "info"] * 2


def test_a_compensation_has_its_time_too():
    """A compensation that hangs is tried again after its time is over."""
    world = World()
    saga = Saga("s").add_step(
        "a", forward=world.does("a"), compensate=world.does("undo"), compensate_timeout="5s"
    )
    saga.add_step("b", forward=world.does("b"))
    faults = [fail("b", error=down), hang("a", on="compensate", count=1)]
    outcome, _ = play(saga, faults=faults)
    assert type(outcome.error) is ConnectionError
    assert world.log == ["a", "undo"]
    assert outcome.duration_ns == (1 + 5 + 0.1 + 1) * 10**9


def test_the_whole_saga_has_its_time():
    """When its time is over the saga stops where it is and turns back."""
    world = World()
    saga = Saga("s", timeout="2500ms")
    for name in "abc":
        saga.add_step(name, forward=world.does(name), compensate=world.does(f"un{name}"))
    outcome, history = play(saga)
    assert isinstance(outcome.error, TimeoutError)
    assert world.log == ["a", "b", "unb", "una"]
    assert compensated_in_reverse(history).valid is True


def test_past_the_pivot_time_no_longer_counts():
    """A saga that can only go forward goes on, however late it is."""
    world = World()
    saga = Saga("s", timeout="2500ms")
    saga.add_step("a", forward=world.does("a"), compensate=world.does("una"))
    saga.add_step("p", forward=world.does("p"), pivot=True)
    saga.add_step("c", forward=world.does("c"), retriable=True)
    outcome, history = play(saga, faults=[delay("c", "1h")])
    assert outcome.name == "ok"
    assert world.log == ["a", "p", "c"]
    assert history.where(kind="forward", type="info") == ()  # nothing was cut off on the way


def test_a_limit_that_ends_as_the_pivot_does_is_no_limit():
    """At the very instant at which the pivot succeeds it is too late to turn back."""
    for limit in ("1s", "2s"):
        world = World()
        saga = Saga("s", timeout=limit)
        saga.add_step("a", forward=world.does("a"), compensate=world.does("una"))
        saga.add_step("p", forward=world.does("p"), pivot=True)
        saga.add_step("c", forward=world.does("c"), retriable=True)
        outcome, _ = play(saga)
        assert world.log in ([], ["a", "una"], ["a", "p", "c"])
        assert (outcome.name == "ok") == ("p" in world.log)


# -- steps side by side --


def diamond(world):
    saga = Saga("trip")
    saga.add_step("plan", forward=world.does("plan"), compensate=world.does("unplan"))
    saga.add_step(
        "hotel", forward=world.does("hotel", 3), compensate=world.does("unhotel", 3), depends_on=["plan"]
    )
    saga.add_step(
        "flight", forward=world.does("flight", 2), compensate=world.does("unflight", 2), depends_on=["plan"]
    )
    return saga.add_step("pay", forward=world.does("pay"))


def test_branches_run_side_by_side():
    """The trip takes as long as its longest branch."""
    world = World()
    outcome, _ = play(diamond(world))
    assert outcome.duration_ns == 5 * 10**9
    assert world.log == ["plan", "flight", "hotel", "pay"]
    assert list(outcome.value) == ["plan", "hotel", "flight", "pay"]


def test_branches_are_compensated_side_by_side_and_before_what_they_build_on():
    """Hotel and flight are cancelled at the same time, the plan after both: the partial order, reversed."""
    world = World()
    outcome, history = play(diamond(world), faults=[fail("pay", error=down)])
    assert world.log == ["plan", "flight", "hotel", "unflight", "unhotel", "unplan"]
    assert outcome.duration_ns == (1 + 3 + 3 + 1) * 10**9
    assert compensated_in_reverse(history).valid is True
    assert compensated_exactly_once(history).valid is True


def test_a_branch_that_runs_is_not_cut_off():
    """When one branch fails the other may end, so that nobody is in doubt; then it is undone."""
    world = World()
    _, history = play(diamond(world), faults=[fail("flight", error=down)])
    assert world.log == ["plan", "hotel", "unhotel", "unplan"]
    assert compensated_exactly_once(history).valid is True


def test_after_a_failure_nothing_more_is_begun():
    """What waits for a branch that still runs is not begun when another branch has failed meanwhile."""
    world = World()
    saga = Saga("s").add_step("fast", forward=world.does("fast", 1), compensate=world.does("unfast"))
    saga.add_step("slow", forward=world.does("slow", 5), compensate=world.does("unslow"), depends_on=[])
    saga.add_step("next", forward=world.does("next"), compensate=world.does("unnext"), depends_on=["slow"])
    play(saga, faults=[fail("fast", error=down)])
    assert world.log == ["slow", "unslow"]


def test_two_branches_that_fail_are_both_told():
    """The first error is raised; a note tells of the other."""
    world = World()
    faults = [fail("flight", error=down), fail("hotel", error=OSError("no room"))]
    outcome, _ = play(diamond(world), faults=faults)
    notes = " ".join(outcome.error.__notes__)
    assert "beside it, this failed too" in notes
    assert world.log == ["plan", "unplan"]


def test_a_cancelled_saga_stops_its_branches():
    """Cancelling cuts the branches off and undoes what had succeeded."""
    world = World()
    saga = diamond(world)

    async def main():
        task = asyncio.create_task(saga.run())
        await sleep(3.5)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert Simulation().run(main).value
    assert world.log == ["plan", "flight", "unflight", "unplan"]


# -- nested sagas --


def package(world):
    travel = Saga("travel").add_step("hotel", forward=world.does("hotel"), compensate=world.does("unhotel"))
    travel.add_step("flight", forward=world.does("flight"), compensate=world.does("unflight"))
    saga = Saga("holiday").add_step("insure", forward=world.does("insure"), compensate=world.does("uninsure"))
    return saga.add_saga(travel).add_step("pay", forward=world.does("pay"))


def test_a_saga_is_a_step():
    """The inner saga's results are the step's value."""
    outcome, _ = play(package(World()))
    assert outcome.value == {
        "insure": "INSURE",
        "travel": {"hotel": "HOTEL", "flight": "FLIGHT"},
        "pay": "PAY",
    }


def test_a_nested_saga_is_compensated_as_a_whole():
    """When the outer saga fails after it, all of the inner one is undone, in reverse order, then the rest."""
    world = World()
    _, history = play(package(world), faults=[fail("pay", error=down)])
    assert world.log == ["insure", "hotel", "flight", "unflight", "unhotel", "uninsure"]
    assert compensated_in_reverse(history).valid is True
    assert compensated_exactly_once(history).valid is True


def test_a_nested_saga_that_fails_undoes_itself():
    """Its own way back comes first, then that of the outer saga."""
    world = World()
    outcome, history = play(package(world), faults=[fail("flight", error=down)])
    assert type(outcome.error) is ConnectionError
    assert world.log == ["insure", "hotel", "unhotel", "uninsure"]
    assert compensated_exactly_once(history).valid is True


def test_an_inner_pivot_is_one_for_the_outer_saga():
    """A saga that cannot be undone as a whole is a pivot where it is a step: what follows must be retriable."""
    inner = Saga("inner").add_step("a", forward=ok, pivot=True)
    with pytest.raises(
        DesignError, match="step 'inner' of saga 's' has no compensation, yet 'b' after it can fail"
    ):
        Saga("s").add_saga(inner).add_step("b", forward=ok)
    Saga("s").add_saga(inner).add_step("b", forward=ok, retriable=True)


def test_an_inner_saga_stuck_past_its_pivot_does_not_turn_the_outer_one_back():
    """Where the inner saga can only go forward, so can the outer one."""
    world = World()
    inner = Saga("inner").add_step("p", forward=world.does("p"), pivot=True)
    inner.add_step("r", forward=world.does("r"), retriable=True, retry=Retry(attempts=2))
    saga = Saga("s").add_step("a", forward=world.does("a"), compensate=world.does("una")).add_saga(inner)
    outcome, history = play(saga, faults=[fail("r")])
    assert isinstance(outcome.error, CompletionStuck)
    assert world.log == ["a", "p"]
    assert history[-1].data["unfinished"] == ["inner"]


def test_an_inner_saga_is_added_as_it_is():
    """Steps that it gets later are not part of the outer saga, whose laws were checked without them."""
    inner = Saga("inner").add_step("a", forward=lambda: "a", compensate=ok)
    saga = Saga("s").add_saga(inner, given=lambda context: context.input * 2)
    inner.add_step("b", forward=lambda context: context.input, compensate=ok)
    assert play(saga, 21)[0].value == {"inner": {"a": "a"}}


def test_a_nested_saga_gets_an_input_of_its_own():
    """``given`` makes it from the outer context."""
    inner = Saga("inner").add_step("a", forward=lambda context: context.input)
    saga = Saga("s").add_step("x", forward=lambda: 4, read_only=True)
    saga.add_saga(inner, name="twice", given=lambda context: (context["x"], context.input))
    assert play(saga, 5)[0].value["twice"] == {"a": (4, 5)}


# -- keys and journals --


def test_keys_are_stable_over_tries_and_unique_over_steps_and_instances():
    """Each try of a step sees the same key; another step, its compensation and another instance see others."""
    seen = {}

    def note(what):
        def step(context):
            seen.setdefault(what, []).append((context.key, context.idempotency_key))

        return step

    saga = Saga("s").add_step("a", forward=note("a"), compensate=note("una"), retry=Retry(attempts=3))
    saga.add_step("b", forward=note("b"), compensate=note("unb"))
    saga.add_step("c", forward=note("c"))
    faults = [lose_reply("a", attempts=[1, 2]), fail("c")]
    play(saga, faults=faults)
    assert len(set(seen["a"])) == 1
    assert len(seen["a"]) == 3
    assert len({key for keys in seen.values() for _, key in keys}) == 4
    instance = seen["a"][0][0]
    play(saga, faults=faults, seed=1)
    assert seen["a"][-1][0] != instance
    assert len({key for key, _ in seen["a"]}) == 2


def test_a_given_key_names_the_instance():
    """``run(key=...)`` names it; a function of the saga does so from the input."""
    saga = Saga("s", key=lambda order: order["id"]).add_step(
        "a", forward=lambda context: context.idempotency_key
    )
    assert play(saga, {"id": 7})[0].value == {"a": "s/7/a"}
    assert Saga("s").add_step("a", forward=lambda c: c.key).execute(key="mine") == {"a": "mine"}


def test_an_instance_is_run_once():
    """Started again under the same key, a saga that has ended tells its outcome again and does nothing."""
    world = World()
    saga = Saga("s", journal=MemoryJournal())
    saga.add_step("a", forward=world.does("a"), compensate=world.does("una"))
    saga.add_step("b", forward=world.does("b"))

    async def main():
        first = await saga.run("good")
        again = await saga.run("good")
        errors = []
        for _ in range(2):
            try:
                await saga.run("bad")
            except Exception as error:
                errors.append(error)
        return first, again, errors

    simulation = Simulation(nemesis=Rules([fail("b", after="2s", error=down)]))
    first, again, errors = simulation.run(main).value
    assert first == again == {"a": "A", "b": "B"}
    assert [type(error) for error in errors] == [ConnectionError, SagaFailed]
    assert str(errors[1]) == "saga 's' failed at step 'b' (ConnectionError: down) and was undone"
    assert world.log == ["a", "b", "a", "una"]
    assert compensated_exactly_once(simulation.recorder.history()).valid is True


def test_a_completed_saga_can_be_undone_as_a_whole_once():
    """``compensate`` takes back a completed instance; done again it changes nothing; then it is failed."""
    world = World()
    saga = Saga("s", journal=MemoryJournal())
    for name in "ab":
        saga.add_step(name, forward=world.does(name), compensate=world.does(f"un{name}"))

    async def main():
        await saga.run("k")
        await saga.compensate(key="k")
        await saga.compensate(key="k")
        await saga.run("k")

    outcome = Simulation().run(main)
    assert isinstance(outcome.error, SagaFailed)
    assert world.log == ["a", "b", "unb", "una"]


def test_a_completed_saga_without_a_journal_is_undone_from_its_results():
    """The caller keeps the results and hands them back."""
    seen = []
    saga = Saga("s").add_step(
        "a", forward=lambda: 7, compensate=lambda c: seen.append((c["a"], c.idempotency_key))
    )

    async def main():
        results = await saga.run(key="k")
        await saga.compensate(key="k", results=results)

    Simulation().run(main)
    assert seen == [(7, "s/k/a/compensate")]


def carried_on(saga, *faults):
    """Run an instance in a process that crashes and comes back."""

    async def main():
        return await start_process("worker", saga.run, "k", restart_after=1)

    simulation = Simulation(nemesis=Rules(faults))
    return simulation.run(main), simulation.recorder.history()


def test_a_known_failure_is_not_tried_again():
    """A crash between a failure and the turn: the next life turns back at once, and writes so once."""
    world, journal = World(), MemoryJournal()
    saga = Saga("s", journal=journal)
    saga.add_step("a", forward=world.does("a"), compensate=world.does("una"))
    saga.add_step("b", forward=world.does("b"))
    faults = [fail("b", count=1), crash("b", point="journal", on="turned", count=1)]
    faults.append(crash("a", on="compensate", count=1))
    outcome, history = carried_on(saga, *faults)
    assert isinstance(outcome.error, SagaFailed)
    assert world.log == ["a", "una"]
    assert len(history.where(kind="forward", name="b", type="invoke")) == 1
    records = [record["what"] for record in asyncio.run(journal.read("s/k"))]
    assert records == [
        *("started", "begun", "done", "begun", "failed"),
        *("turned", "compensating", "compensated", "undone"),
    ]


@pytest.mark.parametrize("unknown", [False, True])
def test_a_step_that_a_crash_cut_off_and_that_then_fails(unknown):
    """Its answer is believed, for its key is the same; unless the step says that such an answer proves nothing."""
    world = World()
    saga = Saga("s", journal=MemoryJournal())
    saga.add_step("a", forward=world.does("a"), compensate=world.does("una"), compensate_unknown=unknown)
    saga.add_step("b", forward=world.does("b"))
    outcome, history = carried_on(
        saga, crash("a", point="reply", count=1), fail("a", after="1500ms", error=down)
    )
    assert type(outcome.error) is ConnectionError
    assert world.log == (["a", "una"] if unknown else ["a"])
    assert compensated_exactly_once(history).valid is unknown


def test_undoing_as_a_whole_is_carried_on_too():
    """A crash while a completed instance is undone: the next life goes on undoing it."""
    world = World()
    saga = Saga("s", journal=MemoryJournal())
    for name in "ab":
        saga.add_step(name, forward=world.does(name), compensate=world.does(f"un{name}"))

    async def undo():
        await saga.compensate(key="k")

    async def main():
        await saga.run("k")
        process = start_process("worker", undo)
        await sleep(1.5)
        process.crash()
        await saga.resume("k")

    simulation = Simulation()
    assert isinstance(simulation.run(main).error, SagaFailed)
    assert world.log == ["a", "b", "unb", "una"]


def test_recover_carries_on_all_that_is_open():
    """After a crash of the machine one call ends every instance that had not ended."""
    world = World()
    saga = Saga("s", journal=MemoryJournal())
    saga.add_step("a", forward=world.does("a"), compensate=world.does("una"))
    saga.add_step("b", forward=world.does("b"))

    async def main():
        async def worker():
            await asyncio.gather(saga.run("k1"), saga.run("k2"))

        await saga.run("k0")
        process = start_process("worker", worker)
        await sleep(1.5)
        process.crash()
        return await saga.recover()

    outcome = Simulation().run(main)
    assert outcome.value == {"k1": {"a": "A", "b": "B"}, "k2": {"a": "A", "b": "B"}}
    assert world.log.count("a") == 3


MISUSES = [
    (lambda s: s.resume("k"), "saga 's' has no journal to resume from"),
    (lambda s: s.recover(), "saga 's' has no journal to recover from"),
    (lambda s: s.compensate(key="k"), "saga 's' has no journal, so compensate needs what run() gave"),
    (lambda s: s.compensate(results={"a": 1}), "compensate of saga 's' needs the key of the instance"),
    (lambda s: journalled(s).resume("nobody"), "the journal knows no instance 'nobody' of saga 's'"),
    (lambda s: journalled(s).compensate(key="nobody"), "the journal knows no instance 'nobody' of saga 's'"),
    (lambda s: journalled(s).run({"id": 1}), "so each instance needs a name to be found by: run(order, key="),
    (lambda s: Saga("e").run(), "saga 'e' has no steps"),
    (
        lambda s: Saga("p").add_step("a", forward=ok, pivot=True).compensate(key="k", results={}),
        "saga 'p' cannot be compensated as a whole: it has a pivot",
    ),
]


def journalled(saga):
    other = Saga(saga.name, journal=MemoryJournal())
    return other.add_step("a", forward=ok, compensate=ok)


@pytest.mark.parametrize(("use", "message"), MISUSES, ids=range(len(MISUSES)))
def test_wrong_use_is_refused(use, message):
    """What cannot be done is refused with the cure."""
    saga = Saga("s").add_step("a", forward=ok, compensate=ok)
    outcome = Simulation().run(lambda: use(saga))
    assert isinstance(outcome.error, DesignError)
    assert message in str(outcome.error)


def test_an_instance_of_another_design_is_not_carried_on():
    """A saga whose steps have changed refuses what began with other steps, rather than guess."""
    journal = MemoryJournal()
    old = Saga("s", journal=journal).add_step("a", forward=ok, compensate=ok).add_step("b", forward=ok)
    new = Saga("s", journal=journal).add_step("a", forward=ok, compensate=ok).add_step("c", forward=ok)

    async def main():
        await old.run("k")
        await new.run("k")

    outcome = Simulation().run(main)
    assert "saga 's' has the steps a, c, but instance 'k' began with a, b" in str(outcome.error)


def test_a_result_that_no_journal_can_hold_undoes_the_saga():
    """The step is done and its result cannot be kept: the saga turns back and names the step."""
    world = World()
    saga = Saga("s", journal=MemoryJournal()).add_step("a", forward=object, compensate=world.does("una"))
    outcome, _ = play(saga, "k")
    assert "'value' of the record for 's/k' is object" in str(outcome.error)
    assert "'a'" in " ".join(outcome.error.__notes__)
    assert world.log == ["una"]


def test_a_journal_that_fails_stops_the_saga_before_it_acts():
    """What cannot be written down is not begun."""
    world = World()
    saga = Saga("s", journal=MemoryJournal())
    saga.add_step("a", forward=world.does("a"), compensate=world.does("una"))
    saga.add_step("b", forward=world.does("b"))
    full = OSError("disk full")
    outcome, _ = play(saga, "k", faults=[fail("b", point="journal", on="begun", error=full)])
    assert str(outcome.error) == "disk full"
    assert world.log == ["a", "una"]


def test_real_time_on_a_plain_loop():
    """The same saga with branches, a journal, a pivot and limits runs on asyncio's own loop."""
    log = []

    def does(what):
        async def act():
            await asyncio.sleep(0.001)
            log.append(what)

        return act

    saga = Saga("s", journal=MemoryJournal(), timeout="1m")
    saga.add_step("a", forward=does("a"), compensate=does("una"), timeout="1m")
    saga.add_step("b", forward=does("b"), compensate=does("unb"), depends_on=[])
    saga.add_step("p", forward=does("p"), pivot=True)
    saga.add_step("c", forward=does("c"), retriable=True)
    assert set(asyncio.run(saga.run("k"))) == {"a", "b", "p", "c"}
    assert sorted(log[:2]) == ["a", "b"]
    assert log[2:] == ["p", "c"]
