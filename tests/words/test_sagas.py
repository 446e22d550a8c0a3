"""Sentences about an orchestrated saga."""

from __future__ import annotations

import asyncio

import pytest

from wfsim import MemoryJournal, Retry, Saga, called, checkers, crash, effect, fail, given, hang, lose_reply
from wfsim.errors import DesignError, RetriesExhausted
from wfsim.words import ExpectationFailed
from wfsim.words._reversals import learned


def failing(act, *parts):
    """Insist that an expectation fails, and that its message holds these parts."""
    with pytest.raises(ExpectationFailed) as caught:
        act()
    for part in parts:
        assert part in str(caught.value)
    return caught.value


# -- calls


def test_calls_are_expected_in_order_and_none_other(checkout):
    """As with Axon's expectDispatchedCommands; each of the two can be waived."""
    outcome = given(checkout).when("order-1").then_called("reserve", "charge", "ship")
    outcome.then_called("ship", "reserve", "charge", in_order=False)
    outcome.then_called("reserve", "ship", none_other=False)
    outcome.then_called("ship", "reserve", in_order=False, none_other=False)
    failing(lambda: outcome.then_called("reserve", "charge"), "then_called: ship not expected")
    failing(lambda: outcome.then_called("charge", "reserve", "ship"), "out of order")
    failing(lambda: outcome.then_called("ship", "reserve", none_other=False), "out of order")
    failing(lambda: outcome.then_called("reserve", "reserve", "charge", "ship"), "no call reserve")


def test_a_call_is_expected_with_its_value_its_attempts_and_its_end(checkout):
    """Attempts count as one call; what is not said may be anything."""
    outcome = given(checkout).under(fail("charge", attempts=1)).when("order-1")
    outcome.then_called("reserve", called("charge", attempts=2, ended="ok"), "ship")
    outcome.then_called(called("charge", value="charged for order-1"), none_other=False)
    outcome.then_called(called("ship", where=lambda call: call.start_ns > 0), none_other=False)
    for wrong in (
        called("charge", attempts=1),
        called("charge", ended="failed"),
        called("charge", value="charged for order-2"),
        called("charge", error=ValueError),
        called("charge", where=lambda call: call.instance == "nobody"),
    ):
        failing(lambda wrong=wrong: outcome.then_called(wrong, none_other=False), str(wrong))


def test_a_call_that_failed_or_is_in_doubt_says_so(checkout):
    """A lost reply leaves it unknown whether the call took effect, a hang leaves it unfinished."""
    outcome = given(checkout).under(lose_reply("reserve")).when("order-1")
    outcome.then_called(called("reserve", ended="unknown", error="ReplyLost"))
    outcome = given(checkout).under(fail("charge")).when("order-1")
    outcome.then_called(called("charge", attempts=2, ended="failed", error="InjectedFault"), none_other=False)
    outcome = given(checkout).under(hang("charge")).when("order-1").when_time_passes("1h")
    outcome.then_called("reserve", called("charge", ended="unfinished")).then_not_completed()


def test_what_was_not_called(checkout):
    """A call that must not be there, and a call that is there all the same."""
    outcome = given(checkout).under(fail("charge")).when("order-1").then_not_called("ship")
    failing(lambda: outcome.then_not_called("reserve"), "then_not_called: reserve not expected")
    failing(outcome.then_nothing_called, "none at all")


# -- the way back


def test_compensation_is_expected_in_its_order(checkout):
    """The last one first; the other way round is out of order."""
    outcome = given(checkout).under(fail("ship")).when("order-1")
    outcome.then_compensated("charge", "reserve").then_compensated("reserve", none_other=False)
    outcome.then_compensated("reserve", "charge", in_order=False)
    failing(lambda: outcome.then_compensated("reserve", "charge"), "out of order")
    failing(lambda: outcome.then_compensated("charge"), "reserve not expected")
    failing(outcome.then_nothing_compensated, "charge, reserve not expected")


def test_a_compensation_counts_only_if_it_succeeded(checkout):
    """One that is stuck did not compensate; that too can be expected."""
    outcome = given(checkout).under(fail("ship"), fail("charge", on="compensate")).when("order-1")
    outcome.then_compensated(called("charge", ended="failed", attempts=3), "reserve")
    failing(lambda: outcome.then_compensated("charge", "reserve"), "no compensation of charge")


def test_a_saga_that_goes_through_compensates_nothing(checkout):
    """Nothing at all on the way back."""
    given(checkout).when("order-1").then_nothing_compensated().then_completed()


# -- ends


def test_completion_and_its_value(checkout):
    """The results by step; a wrong one is told with the right one."""
    results = {step: f"{done} for order-1" for step, done in zip(
        ("reserve", "charge", "ship"), ("reserved", "charged", "shipped"), strict=True)}  # fmt: skip
    outcome = given(checkout).when("order-1").then_completed(results).then_ended()
    failing(lambda: outcome.then_completed({}), "expected {}")
    failing(outcome.then_failed, "nothing failed, expected an error")
    failing(outcome.then_not_completed, "checkout completed, expected it to go on")


def test_failure_with_its_type_and_message(checkout):
    """The error that the saga raised, by its type, a type above it, or its message."""
    outcome = given(checkout).under(fail("charge", error=ConnectionError("no line"))).when("order-1")
    outcome.then_failed().then_failed(RetriesExhausted).then_failed(Exception, match="no line").then_ended()
    failing(lambda: outcome.then_failed(KeyError), "expected KeyError")
    failing(lambda: outcome.then_failed(match="no money"), "matching 'no money'")
    failing(outcome.then_completed, "checkout failed: RetriesExhausted", "expected it to complete")


def test_what_hangs_has_not_ended(checkout):
    """A run in which nothing can happen any more is told with who waits for what."""
    outcome = given(checkout).under(hang("charge")).when("order-1").then_not_completed()
    failing(outcome.then_ended, "checkout has not ended", "waits for an injected fault to pass")


def test_what_crashed_for_good_has_not_ended_well(checkout):
    """It was cut off: neither completed nor failed by its own word."""
    outcome = given(checkout).under(crash("charge")).when("order-1")
    failing(outcome.then_ended, "checkout was cut off: ProcessCrashed")


# -- time


def test_time_passes_exactly(checkout):
    """After 250 ms two steps are done and the third is at work; 50 ms later, to the nanosecond, all is done."""
    outcome = given(checkout).when("order-1").when_time_passes("250ms")
    outcome.then_called("reserve", "charge", called("ship", ended="unfinished")).then_active(1)
    outcome = outcome.when_time_passes("49.999999ms").then_nothing_called().then_not_completed()
    outcome = outcome.when_time_passes("1ns").then_completed().then_effects("shipped").then_active(0)
    assert outcome.run.duration_ns == 300_000_000


def test_a_date_is_reached(checkout):
    """The clock starts on a date of the test's choice, and is moved to another."""
    outcome = given(checkout, start="2031-05-01T08:00").when("order-1").when_time_is("2031-05-01T09:30")
    outcome.then_completed().then_took(at_least="90m", at_most="90m")
    failing(lambda: outcome.then_took(at_most="1h"), "it took 1h 30m, expected at most 1h")
    failing(lambda: outcome.then_took(at_least="2h"), "expected at least 2h")
    with pytest.raises(DesignError, match="time does not go back"):
        given(checkout).when_time_is("2029-12-31").then_ended()


def test_how_long_it_took(checkout):
    """Virtual time from when it came to the end of the sentence."""
    given(checkout).having_waited("1h").when("order-1").then_took(at_least="300ms", at_most="300ms")


def test_a_wait_before_the_next_try_is_scheduled():
    """What a policy waits for counts as a timer."""
    from wfsim import Retry

    def make():
        return Saga("s").add_step(
            "ask", forward=lambda: 1 / 0, retry=Retry(attempts=2, delay="10m", max_delay="10m")
        )

    outcome = given(make).when().when_time_passes("4m").then_scheduled("retry ask", after="6m")
    outcome = outcome.when_time_passes("6m").then_nothing_scheduled().then_called("ask").then_failed()


# -- given


def test_steps_that_are_given_as_done_are_played_and_not_judged(checkout):
    """Faults and expectations begin where they end; their effects are in the world all the same."""
    outcome = given(checkout).having_done("reserve", "charge").under(fail()).when("order-1")
    outcome.then_called("ship", "compensate charge", "compensate reserve")
    outcome.then_effects("refunded", "released").then_nothing_left_behind()


def test_what_is_given_must_have_happened():
    """A step that never succeeds cannot be given as done."""
    never = Saga("never").add_step("try", forward=lambda: 1 / 0)
    failing(lambda: given(never).having_done("try").when().then_ended(), "given try done: try never was")


def test_a_step_that_is_only_compensated_is_not_done():
    """One that ended in doubt and was compensated has not succeeded."""

    def late():
        raise TimeoutError

    saga = Saga("doubt").add_step("ask", forward=late, compensate=lambda: None, compensate_unknown=True)
    failing(lambda: given(saga).having_done("ask").when().then_ended(), "ask never was")


def test_an_earlier_run_can_be_given(checkout):
    """What came before is over, and is not judged."""
    outcome = given(checkout).having("order-1").having_waited("2h").when("order-2")
    outcome.then_called("reserve", "charge", "ship").then_effects("reserved", "charged", "shipped")


def test_a_sentence_goes_on_after_then(checkout):
    """What comes next is judged by itself, as with NServiceBus's testable saga."""
    outcome = given(checkout).when("order-1").then_called("reserve", "charge", "ship")
    outcome.when("order-2").then_called("reserve", "charge", "ship").then_completed()


def test_faults_reach_all_that_comes(checkout):
    """They strike from the first when on, also in what comes after a then."""
    outcome = given(checkout).having("order-0").under(fail("ship", count=1)).when("order-1").then_failed()
    outcome.when("order-2").then_called("reserve", "charge", "ship").then_nothing_compensated()


# -- journals


def test_a_saga_is_carried_on_from_its_journal(durable):
    """The records that production kept are given; the restarted saga does what is left, and no more."""
    records = (
        {"what": "started", "steps": ["reserve", "ship"], "input": "order-7"},
        {"what": "begun", "step": "reserve"},
        {"what": "done", "step": "reserve", "value": None},
    )
    outcome = given(durable).having_recorded("order-7", *records).when_restarted()
    outcome.then_called("ship").then_completed().then_effects("shipped")


def test_a_saga_that_is_restarted_forgets_nothing(durable):
    """Crashed in the middle of a step, it does that step again and then the rest."""
    outcome = given(durable).when("order-1").when_time_passes("150ms").when_restarted("5s")
    outcome.then_completed().then_effects("reserved", "shipped").then_nothing_left_behind()
    assert outcome.run.duration_ns > 5 * 10**9


def test_without_a_journal_there_is_nothing_to_carry_on(checkout):
    """The error says what is missing."""
    with pytest.raises(DesignError, match="it has no journal to be carried on from"):
        given(checkout).when_restarted().then_ended()
    with pytest.raises(DesignError, match="has no journal that could hold records"):
        given(checkout).having_recorded("order-7", {})


# -- the world


def test_effects_in_the_world(checkout):
    """In order and none other, of one key, or none at all."""
    outcome = given(checkout).under(fail("ship")).when("order-1")
    outcome.then_effects("reserved", "charged", "refunded", "released", key="order-1")
    outcome.then_effects("refunded", none_other=False).then_no_effects("shipped")
    failing(lambda: outcome.then_effects("reserved"), "charged (order-1)", "not expected")
    failing(lambda: outcome.then_no_effects("charged"), "charged (order-1) not expected")
    failing(outcome.then_no_effects, "none at all")


def test_nothing_is_left_behind(checkout):
    """What takes back what is learned from the saga; a compensation that does nothing is found out."""
    given(checkout).under(fail("ship")).when("order-1").then_nothing_left_behind()

    def forgetful():
        saga = Saga("forgetful")
        saga.add_step("a", forward=lambda: effect("done"), compensate=lambda: None)
        return saga.add_step("b", forward=lambda: 1 / 0, read_only=True)

    sentence = given(forgetful).when()
    failing(lambda: sentence.then_nothing_left_behind({"done": "undone", "b": None}), "'done' stands")


def test_several_effects_of_a_step_are_taken_back_the_last_first():
    """So they are paired; where their numbers differ it must be said which takes back which."""

    def make(*back):
        saga = Saga("two")

        def forward():
            effect("opened")
            effect("filled")

        def backward():
            for name in back:
                effect(name)

        saga.add_step("a", forward=forward, compensate=backward)
        return saga.add_step("b", forward=lambda: effect("sent"), read_only=True)

    outcome = given(lambda: make("emptied", "closed")).under(fail("b")).when().then_nothing_left_behind()
    outcome.then_nothing_left_behind({"opened": "closed", "filled": "emptied", "sent": None})
    failing(
        lambda: outcome.then_nothing_left_behind({"opened": "emptied", "filled": "sent"}), "'filled' stands"
    )
    assert learned(outcome._scenes) == {"opened": "closed", "filled": "emptied", "sent": None}
    with pytest.raises(DesignError, match="which takes back which"):
        given(lambda: make("closed")).under(fail("b")).when().then_nothing_left_behind()


def test_what_never_ends_leaves_something_behind(checkout):
    """Even if all effects stand: nobody knows what would still come."""
    outcome = given(checkout).under(hang("ship", point="reply")).when("order-1")
    outcome.then_effects("reserved", "charged", "shipped")
    failing(outcome.then_nothing_left_behind, "checkout has not ended")


def test_no_code_of_the_design_runs_once_the_sentence_is_over():
    """What is still at work when time is up is not cancelled: nothing of it runs, no compensation, no finally."""
    log = []

    async def slow():
        try:
            await asyncio.sleep(3600)
        finally:
            log.append("finally")

    def make():
        saga = Saga("slow").add_step("a", forward=lambda: log.append("a"), compensate=lambda: log.append("b"))
        return saga.add_step("slow", forward=slow)

    given(make).when().when_time_passes("1m").then_not_completed()
    assert log == ["a"]


def test_what_takes_back_what_must_be_known():
    """A design that is no saga has to be told; so has a saga without effects."""

    async def flow():
        effect("card charged")

    with pytest.raises(DesignError, match="does not say what takes back what"):
        given(flow).when().then_nothing_left_behind()
    silent = Saga("silent").add_step("a", forward=lambda: None, compensate=lambda: None)
    with pytest.raises(DesignError, match="leaves no effects to judge"):
        given(silent).when().then_nothing_left_behind()


def test_any_checker_can_be_held_against_it(checkout):
    """A checker that finds nothing to judge objects too: such a test tests nothing."""
    outcome = given(checkout).under(fail("ship")).when("order-1")
    outcome.then_holds(checkers.compensated_in_reverse, checkers.compensated_exactly_once)
    healthy = given(checkout).when("order-1")
    failing(lambda: healthy.then_holds(checkers.compensated_in_reverse), "nothing to judge")


# -- slips


@pytest.mark.parametrize(
    ("slip", "hint"),
    [
        (lambda s: s.when("o").then_called("reserve", "chrage"), "no step 'chrage'; did you mean 'charge'"),
        (lambda s: s.when("o").then_not_called("shipp"), "did you mean 'ship'"),
        (lambda s: s.when("o").then_not_called("pay"), "there are: reserve, charge, ship"),
        (lambda s: s.when("o").then_compensated("resreve"), "did you mean 'compensate reserve'"),
        (lambda s: s.having_done("chargee"), "did you mean 'charge'"),
        (lambda s: s.under(fail("chargee")), "did you mean 'charge'"),
        (
            lambda s: s.under(fail("charge", attempts=9)).under(fail(design="chekout")).when().run,
            "design='chekout'",
        ),
        (
            lambda s: s.when("o").then_called(),
            "names no call; if there is to be none, write then_nothing_called()",
        ),
        (lambda s: s.when("o").then_completed(key="order-9"), "no instance 'order-9'"),
        (lambda s: s.when("o").then_effects(), "write then_no_effects()"),
        (lambda s: s.when("o").then_took(), "needs a limit"),
        (lambda s: s.when("o").then_holds(), "needs a checker"),
        (lambda s: s.when("o").then_active(), "a number or a key"),
        (lambda s: s.when_time_passes(0), "no time at all"),
        (lambda s: s.when_time_is("tomorrow"), "'tomorrow' is no date"),
        (lambda s: s.when("o").then_called(7), "7 is no call"),
        (lambda _: called("a", ended="good"), "allowed: ok, failed, unknown, unfinished"),
        (lambda _: called("a", attempts=0), "must be 1 or more"),
        (lambda s: s.answering("bank.charge", True).when("o").run, "has no bus"),
        (lambda s: s.having_reached("paid"), "is no state machine"),
    ],
)
def test_a_slip_is_named_with_what_would_be_right(checkout, slip, hint):
    """A misspelt name must not make an expectation hold by accident."""
    with pytest.raises(DesignError) as caught:
        slip(given(checkout))
    assert hint in str(caught.value)


def test_a_sentence_is_about_something_that_runs(checkout):
    """A coroutine that was called, a value, an input for what takes none: each is refused with the cure."""

    async def flow():
        return 1

    with pytest.raises(DesignError, match=r"write given\(flow\)"):
        given(flow())
    with pytest.raises(DesignError, match="a sentence is about a design"):
        given(7)
    with pytest.raises(DesignError, match=r"write \.when\(input\)"):
        given(checkout, input=3)


# -- any other design


def test_any_coroutine_function_can_be_the_subject():
    """It runs in virtual time as it is; what it calls by perform and effect is in the history."""

    async def flow(order):
        await asyncio.sleep(3600)
        effect("sent", order)
        return order.upper()

    given(flow).when("a").then_completed("A").then_effects("sent").then_took(at_least="1h", at_most="1h")


def test_a_class_is_made_anew_for_each_run():
    """What one run leaves in it, no other finds."""

    class Flow:
        def __init__(self):
            self.count = 0

        async def run(self):
            self.count += 1
            return self.count

    outcome = given(Flow).when().then_completed(1)
    assert outcome.when().run.value == [1, 2]


def test_the_message_tells_all(checkout):
    """Expected and happened, the timeline with the break marked, the seed and the command."""
    outcome = given(checkout, seed=5).under(fail("ship")).when("order-1")
    error = failing(
        lambda: outcome.then_called("reserve", "charge"),
        "then_called: ship failed: InjectedFault, compensate charge, compensate reserve not expected",
        "  expected, in this order, and none other:\n    reserve\n    charge\n  what happened, in order:\n    reserve",
        "compensate charge ok, effect: refunded (order-1)  ←then_called",
        "when order-1",
        "seed 5; replay: pytest '",
        "test_the_message_tells_all",
    )
    assert error.run is outcome.run
    assert error.summary.startswith("then_called: ship failed")


def test_the_same_sentence_is_the_same_run(checkout):
    """Byte for byte, and whatever was played before."""
    prints = {given(checkout, seed=3).under(fail("ship")).when("o").run.fingerprint for _ in range(3)}
    assert len(prints) == 1


def test_a_journal_is_refused_where_runs_would_meet_in_it():
    """A saga whose journal outlives the run cannot be played many times; the error says how it can."""
    saga = Saga("once", journal=MemoryJournal()).add_step("a", forward=lambda: None, read_only=True)
    given(saga).when("order-1").then_completed()
    with pytest.raises(DesignError, match=r"keeps a journal, .* given\(make\)"):
        given(saga).when("order-2").at_every_failure_point().then_ended()


# -- what could pass unnoticed


def test_a_retry_that_the_time_limit_cut_off_is_not_due_any_more():
    """A saga whose time is over tries nothing again, whatever it had announced."""
    saga = Saga("short", timeout="300ms")

    async def charge():
        raise OSError("down")

    saga.add_step("charge", forward=charge, retry=Retry(attempts=3, delay="10s", jitter="none"))
    given(saga).when("order-1").when_time_passes("100ms").then_scheduled("retry charge", after="9900ms")
    outcome = given(saga).when("order-1").then_failed(TimeoutError)
    outcome.then_nothing_scheduled().then_not_scheduled("retry charge")


def test_effects_are_picked_by_any_key():
    """A key may be a list or a dict, compared as plain data."""

    async def act():
        effect("booked", ["room", 1])
        effect("booked", ["room", 2])

    outcome = given(act).when()
    outcome.then_effects("booked", key=("room", 2)).then_effects("booked", "booked")
    failing(lambda: outcome.then_effects("booked", key=["room", 3]), "no effect booked")


def test_an_error_may_be_named_with_its_module():
    """As the history writes it, or by its name alone."""

    async def charge():
        raise RetriesExhausted(2, OSError("down"), "charge")

    outcome = given(Saga("checkout").add_step("charge", forward=charge)).when("order-1")
    outcome.then_called(called("charge", error="wfsim.errors.RetriesExhausted"))
    outcome.then_called(called("charge", error="RetriesExhausted"))
    failing(lambda: outcome.then_not_called(called("charge", error="wfsim.errors.RetriesExhausted")))
