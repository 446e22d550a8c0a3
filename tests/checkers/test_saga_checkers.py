"""Checkers of sagas: they find each planted bug, and tell it in the design's own words."""

from __future__ import annotations

from wfsim.checkers import (
    compensated_exactly_once,
    compensated_in_reverse,
    completed,
    no_forward_after_compensation,
    pivot_respected,
)
from wfsim.history import Recorder


class Script:
    """Writes a history by hand, one operation after the other."""

    def __init__(self):
        self.time = 0
        self.recorder = Recorder(lambda: self.time)

    def begin(self, *steps, design="checkout", process="main"):
        declared = [
            {"name": step.rstrip("-"), "compensatable": not step.endswith("-"), "retry": None}
            for step in steps
        ]
        self.process = process
        self.design = design
        self.saga = self.recorder.invoke("saga", design, design, process, data={"steps": declared})
        return self

    def op(self, kind, name, outcome="ok", **data):
        self.time += 1
        index = self.recorder.invoke(kind, self.design, name, self.process, parent=self.saga)
        self.time += 1
        if outcome:
            self.recorder.complete(outcome, index, data=data or None)
        return self

    def did(self, *names):
        for name in names:
            self.op("forward", name)
        return self

    def failed(self, name):
        return self.op("forward", name, "fail", error="ConnectionError", message="down")

    def lost(self, name, kind="forward"):
        return self.op(kind, name, "info", error="wfsim.errors.ReplyLost", effect="happened")

    def undid(self, *names):
        for name in names:
            self.op("compensate", name)
        return self

    def end(self, outcome="fail", **data):
        if outcome == "fail":
            data = {"error": "ConnectionError", "message": "down", **data}
        self.recorder.complete(outcome, self.saga, data=data or None)
        return self

    def crash(self, process="main"):
        self.recorder.event("process", "", "crash", process)
        return self

    @property
    def history(self):
        return self.recorder.history()


def four(*undone, failed="pay"):
    """A saga of four steps and a fifth that fails, with these compensations."""
    script = Script().begin("a", "b", "c", "d", "pay").did("a", "b", "c", "d").failed("pay")
    return script.undid(*undone).end(failed=failed).history


def test_correct_saga_is_silent():
    """Reverse order, all of it, once: both checkers are content."""
    for checker in (compensated_in_reverse, compensated_exactly_once):
        verdict = checker(four("d", "c", "b", "a"))
        assert verdict.valid is True
        assert verdict.ops == ()
        assert verdict.checker == checker.__name__


def test_nothing_to_judge_is_unknown():
    """A history without a saga that turned back proves nothing."""
    empty = Recorder(lambda: 0).history()
    fine = Script().begin("a", "b").did("a", "b").end("ok").history
    first = Script().begin("a", "b").failed("a").end().history
    for history in (empty, fine, first):
        assert compensated_in_reverse(history).valid == "unknown"
        assert compensated_exactly_once(history).valid == "unknown"


# -- order --


def test_first_in_first_out_is_found():
    """Compensating in the order of success is the classic bug."""
    verdict = compensated_in_reverse(four("a", "b", "c", "d"))
    assert verdict.valid is False
    assert "saga checkout: 'a' was compensated before 'b', which succeeded after it" in verdict.message
    assert len(verdict.ops) > 1


def test_last_then_forward_order_is_found():
    """4, 1, 2, 3 is no reverse order, though it begins well."""
    verdict = compensated_in_reverse(four("d", "a", "b", "c"))
    assert verdict.valid is False
    assert "'b' was compensated before 'c'" in verdict.message
    assert "'c' was compensated before 'd'" not in verdict.message


def test_order_is_that_of_success_not_of_declaration():
    """What counts is when a step succeeded, whatever order the design names."""
    script = Script().begin("a", "b", "pay").did("b", "a").failed("pay").undid("a", "b").end()
    assert compensated_in_reverse(script.history).valid is True


def test_order_with_a_missing_compensation_is_still_an_order():
    """A missing compensation is the other checker's finding."""
    assert compensated_in_reverse(four("d", "b", "a")).valid is True


def test_compensations_must_not_overlap():
    """Undoing the earlier step while the later one is still being undone is no reverse order."""
    script = Script().begin("a", "b", "pay").did("a", "b").failed("pay")
    one = script.recorder.invoke("compensate", "checkout", "b", "main", parent=script.saga)
    two = script.recorder.invoke("compensate", "checkout", "a", "main", parent=script.saga)
    script.recorder.complete("ok", one)
    script.recorder.complete("ok", two)
    verdict = compensated_in_reverse(script.end().history)
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'a' was compensated before the end of the compensation of 'b'"


def test_tries_of_one_compensation_are_one():
    """A compensation tried three times keeps its place in the order."""
    script = Script().begin("a", "b", "pay").did("a", "b").failed("pay")
    script.op("compensate", "b", "fail").op("compensate", "b", "fail").undid("b", "a").end()
    assert compensated_in_reverse(script.history).valid is True


def test_each_run_is_judged_by_itself():
    """Two sagas side by side do not disturb each other; one wrong one is enough."""
    script = Script()
    for order in (("b", "a"), ("b", "a"), ("a", "b")):
        script.begin("a", "b", "pay").did("a", "b").failed("pay").undid(*order).end()
    assert compensated_in_reverse(script.history).valid is False
    assert compensated_in_reverse(script.history, design="other").valid == "unknown"


def test_nested_saga_keeps_its_steps_to_itself():
    """The steps of a saga inside a step are not taken for steps of the outer one."""
    script = Script().begin("a", "b", "pay")
    outer = script.saga
    step = script.recorder.invoke("forward", "checkout", "a", "main", parent=outer)
    inner = script.saga = script.recorder.invoke("saga", "inner", "inner", "main", parent=step)
    script.did("x", "y").failed("z").undid("y", "x")
    script.recorder.complete("fail", inner)
    script.recorder.complete("ok", step)
    script.saga = outer
    script.did("b").failed("pay").undid("b", "a").end()
    assert compensated_in_reverse(script.history).valid is True
    assert compensated_exactly_once(script.history).valid is True


# -- completely, and once --


def test_missing_compensation_is_found():
    """A step that succeeded and was never undone is left behind."""
    verdict = compensated_exactly_once(four("d", "c", "a"))
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'b' succeeded but was never compensated after 'pay' failed"


def test_saga_that_never_began_to_compensate_is_found():
    """A saga that fails and just stops leaves all behind."""
    verdict = compensated_exactly_once(four())
    assert verdict.valid is False
    assert verdict.message.count("never compensated") == 4


def test_double_compensation_is_found():
    """Money given back twice."""
    verdict = compensated_exactly_once(four("d", "c", "c", "b", "a"))
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'c' was compensated twice"


def test_compensation_that_ran_again_after_a_lost_reply_is_found():
    """The first compensation took effect, so the second was one too many."""
    script = Script().begin("a", "pay").did("a").failed("pay").lost("a", "compensate").undid("a").end()
    verdict = compensated_exactly_once(script.history)
    assert verdict.valid is False
    assert "compensated twice; the reply of the first was lost" in verdict.message


def test_compensation_of_the_failed_step_is_found():
    """A step that never succeeded has nothing to undo."""
    verdict = compensated_exactly_once(four("pay", "d", "c", "b", "a"))
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'pay' was compensated although it never succeeded"


def test_compensation_of_a_step_that_never_ran_is_found():
    """Nor has one that was not reached."""
    script = Script().begin("a", "pay", "ship").did("a").failed("pay").undid("ship", "a").end()
    assert (
        "'ship' was compensated although it never succeeded"
        in compensated_exactly_once(script.history).message
    )


def test_compensation_before_success_is_found():
    """Undoing what is not yet done does not undo it."""
    script = Script().begin("a", "pay").undid("a").did("a").failed("pay").end()
    assert "'a' was compensated before it succeeded" in compensated_exactly_once(script.history).message


def test_compensation_in_a_saga_that_succeeded_is_found():
    """A saga that succeeds undoes nothing."""
    script = Script().begin("a", "b").did("a", "b").undid("a").end("ok")
    verdict = compensated_exactly_once(script.history)
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'a' was compensated although the saga succeeded"


def test_success_in_spite_of_a_failed_step_is_found():
    """A saga that swallows a failure neither did its work nor undid it."""
    script = Script().begin("a", "pay").did("a").failed("pay").end("ok")
    verdict = compensated_exactly_once(script.history)
    assert verdict.valid is False
    assert verdict.message == "saga checkout reported success although 'pay' failed (ConnectionError: down)"


def test_step_without_compensation_may_stay():
    """What the design declares to need no undoing is not missed."""
    script = Script().begin("look-", "a", "pay").did("look", "a").failed("pay").undid("a").end()
    assert compensated_exactly_once(script.history).valid is True


def test_stuck_compensation_is_told():
    """A compensation that failed for good leaves its step behind; the verdict says that the saga knows."""
    script = Script().begin("a", "b", "pay").did("a", "b").failed("pay")
    for _ in range(3):
        script.op("compensate", "b", "fail", error="OSError", message="no route")
    script.undid("a").end(failed="pay", undone=["b"])
    verdict = compensated_exactly_once(script.history)
    assert verdict.valid is False
    assert verdict.message == (
        "saga checkout: 'b' is left undone, because its compensation failed 3 times, with OSError: no route; "
        "the saga reports it as stuck"
    )
    assert compensated_exactly_once(script.history, allow_stuck=True).valid is True


def test_swallowed_compensation_failure_is_told():
    """A saga that hides a failed compensation is worse; no option lets it pass."""
    script = (
        Script().begin("a", "pay").did("a").failed("pay").op("compensate", "a", "fail", error="OSError").end()
    )
    verdict = compensated_exactly_once(script.history, allow_stuck=True)
    assert verdict.valid is False
    assert verdict.message.endswith("the saga does not say so")


def test_lost_reply_leaves_an_effect_behind():
    """The step took effect, the saga took it for failed and did not undo it."""
    script = Script().begin("a", "pay").did("a").lost("pay").undid("a").end()
    verdict = compensated_exactly_once(script.history)
    assert verdict.valid is False
    assert verdict.message == (
        "saga checkout: 'pay' took effect, its reply was lost, and it was never compensated"
    )


def test_compensated_lost_reply_is_right():
    """Undoing a step whose reply was lost leaves nothing behind."""
    script = Script().begin("a", "pay").did("a").lost("pay").undid("pay", "a").end()
    assert compensated_exactly_once(script.history).valid is True
    assert compensated_in_reverse(script.history).valid is True


def test_lost_reply_then_success_is_one_success():
    """A step that was tried again after a lost reply and then succeeded is undone once."""
    script = Script().begin("a", "pay").lost("a").did("a").failed("pay").undid("a").end()
    assert compensated_exactly_once(script.history).valid is True


def test_timeout_leaves_a_doubt():
    """Whether a step that timed out took effect nobody knows, so neither does the checker."""
    script = (
        Script()
        .begin("a", "pay")
        .did("a")
        .op("forward", "pay", "info", error="TimeoutError", effect="unknown")
    )
    verdict = compensated_exactly_once(script.undid("a").end().history)
    assert verdict.valid == "unknown"
    assert verdict.message == "saga checkout: 'pay' may have taken effect and was not compensated"


def test_a_breach_outweighs_a_doubt():
    """What is certainly wrong is reported even beside what is uncertain."""
    script = (
        Script()
        .begin("a", "pay")
        .did("a")
        .op("forward", "pay", "info", error="TimeoutError", effect="unknown")
    )
    assert compensated_exactly_once(script.end().history).valid is False


def test_compensation_cut_off_leaves_a_doubt():
    """A compensation that was cancelled may or may not have worked."""
    script = Script().begin("a", "pay").did("a").failed("pay")
    script.op("compensate", "a", "info", error="asyncio.exceptions.CancelledError", effect="unknown").end()
    assert compensated_exactly_once(script.history).valid == "unknown"


def test_crashed_saga_leaves_its_effects_behind():
    """A saga whose process crashed undoes nothing: what it did stands."""
    verdict = compensated_exactly_once(Script().begin("a", "b").did("a").crash().history)
    assert verdict.valid is False
    assert verdict.message == "saga checkout was cut off when process 'main' crashed; left behind: 'a'"


def test_crash_of_another_process_is_no_excuse_and_no_fault():
    """A saga that had not ended when the run did may still undo its steps."""
    verdict = compensated_exactly_once(Script().begin("a", "b").did("a").crash("other").history)
    assert verdict.valid == "unknown"
    assert "had not ended when the run did" in verdict.message


def test_crashed_saga_may_be_carried_on():
    """A later run in the same process that succeeds, or undoes the step, leaves nothing behind."""
    again = Script().begin("a", "b").did("a").crash().begin("a", "b").did("a", "b").end("ok")
    assert compensated_exactly_once(again.history).valid == "unknown"
    undone = Script().begin("a", "b").did("a").crash().begin("a", "b").did("a").failed("b").undid("a").end()
    assert compensated_exactly_once(undone.history).valid is True
    failed = Script().begin("a", "b").did("a").crash().begin("a", "b").failed("a").end()
    assert compensated_exactly_once(failed.history).valid is False


def test_many_findings_are_cut_short():
    """A verdict stays readable: the first findings, and how many more there are."""
    script = Script()
    for _ in range(10):
        script.begin("a", "pay").did("a").failed("pay").end()
    verdict = compensated_exactly_once(script.history)
    assert verdict.message.count("never compensated") == 5
    assert verdict.message.endswith("; and 5 more")


def test_verdict_is_true_only_if_valid():
    """`assert checker(history)` does what it says: unknown does not pass."""
    assert compensated_in_reverse(four("d", "c", "b", "a"))
    assert not compensated_in_reverse(four("a", "b", "c", "d"))
    assert not compensated_in_reverse(Recorder(lambda: 0).history())


# -- branches, pivots, instances with several lives --


def branches(*undone):
    """A saga whose b and c both depend on a, and on nothing else."""
    script = Script()
    steps = [
        {"name": "a", "compensatable": True},
        {"name": "b", "compensatable": True, "depends_on": ["a"]},
        {"name": "c", "compensatable": True, "depends_on": ["a"]},
        {"name": "pay", "compensatable": False},
    ]
    script.process, script.design = "main", "trip"
    script.saga = script.recorder.invoke("saga", "trip", "trip", "main", data={"steps": steps})
    return script.did("a", "b", "c").failed("pay").undid(*undone).end(failed="pay").history


def test_branches_may_be_compensated_in_any_order_between_them():
    """What does not depend on each other has no order; what does keeps it."""
    assert compensated_in_reverse(branches("b", "c", "a")).valid is True
    assert compensated_in_reverse(branches("c", "b", "a")).valid is True
    verdict = compensated_in_reverse(branches("b", "a", "c"))
    assert verdict.valid is False
    assert verdict.message == "saga trip: 'a' was compensated before 'c', which depended on it"


class Lives(Script):
    """Writes the history of an instance that bears a key, and so may have several lives."""

    def begin(self, *steps, key="order-1", **more):
        declared = [
            {"name": step.rstrip("-!"), "compensatable": step[-1] not in "-!"}
            | ({"pivot": True} if step[-1] == "!" else {})
            for step in steps
        ]
        self.process, self.design = "main", "checkout"
        data = {"steps": declared, "key": key, **more}
        self.saga = self.recorder.invoke("saga", "checkout", "checkout", "main", data=data)
        return self


def test_lives_of_one_instance_are_one_run():
    """What the first life did and the second undid is undone; twice undone is twice."""
    first = Lives().begin("a", "b", "pay-").did("a", "b").failed("pay").undid("b").crash()
    assert compensated_exactly_once(first.begin("a", "b", "pay-").undid("a").end().history).valid is True
    assert compensated_in_reverse(first.history).valid is True
    assert completed(first.history).valid is True
    twice = (
        Lives().begin("a", "pay-").did("a").failed("pay").undid("a").end().begin("a", "pay-").undid("a").end()
    )
    assert "'a' was compensated twice" in compensated_exactly_once(twice.history).message
    other = Lives().begin("a", "pay-").did("a").crash().begin("a", "pay-", key="order-2").did("a").end("ok")
    assert compensated_exactly_once(other.history).valid is False
    assert completed(other.history).valid is False


def test_an_instance_undone_as_a_whole_after_it_completed():
    """A life that goes back from a completed one undoes all of it, and is judged like any way back."""
    good = (
        Lives().begin("a", "b").did("a", "b").end("ok").begin("a", "b", back=True).undid("b", "a").end("ok")
    )
    assert compensated_exactly_once(good.history).valid is True
    half = Lives().begin("a", "b").did("a", "b").end("ok").begin("a", "b", back=True).undid("b").end("ok")
    assert compensated_exactly_once(half.history).valid is False


def test_a_step_forward_after_the_turn_is_found():
    """Once it compensates, a saga goes back only, in whatever life."""
    right = Lives().begin("a", "b", "pay-").did("a", "b").failed("pay").undid("b", "a").end()
    assert no_forward_after_compensation(right.history).valid is True
    wrong = Lives().begin("a", "b", "pay-").did("a", "b").failed("pay").undid("b").crash()
    wrong.begin("a", "b", "pay-").failed("pay").undid("a").end()
    verdict = no_forward_after_compensation(wrong.history)
    assert verdict.valid is False
    assert verdict.message == "saga checkout ran 'pay' again after it had begun to compensate"
    assert no_forward_after_compensation(Lives().begin("a").did("a").end("ok").history).valid == "unknown"


def test_a_pivot_that_does_not_decide_is_found():
    """After the pivot nothing is compensated, and what follows it does not begin before it."""
    right = Lives().begin("a", "p!", "c-").did("a", "p", "c").end("ok")
    assert pivot_respected(right.history).valid is True
    back = Lives().begin("a", "p!", "c-").did("a", "p").failed("c").undid("a").end()
    assert pivot_respected(back.history).message == (
        "saga checkout: 'a' was compensated after the pivot 'p' had succeeded"
    )
    early = Lives().begin("a", "p!", "c-").did("a", "c", "p").end("ok")
    assert (
        pivot_respected(early.history).message
        == "saga checkout: 'c' began before the pivot 'p' had succeeded"
    )
    assert pivot_respected(Lives().begin("a").did("a").end("ok").history).valid == "unknown"


def test_a_saga_stuck_past_its_pivot_has_not_turned_back():
    """It left nothing undone that it should have undone; but it must not have compensated anything."""
    stuck = Lives().begin("a", "p!", "c-").did("a", "p").failed("c").end(unfinished=["c"])
    assert compensated_exactly_once(stuck.history).valid == "unknown"
    wrong = Lives().begin("a", "p!", "c-").did("a", "p").failed("c").undid("a").end(unfinished=["c"])
    assert (
        "'a' was compensated although the saga was past its pivot"
        in compensated_exactly_once(wrong.history).message
    )


def test_a_compensation_that_the_world_did_not_feel_is_none():
    """Where effects are recorded, a second compensation whose key the service knew already is no second one."""
    script = Lives().begin("a", "pay-").did("a").failed("pay")
    for times in (1, 0):
        index = script.recorder.invoke("compensate", "checkout", "a", "main", parent=script.saga)
        if times:
            script.recorder.event("effect", "", "refund", "main", parent=index, data={"key": "order-1"})
        script.recorder.complete("ok", index)
    assert compensated_exactly_once(script.end().history).valid is True


def test_half_a_step_may_be_compensated_if_it_is_not_atomic():
    """A failed step that the saga declared as not atomic is undone rightly."""
    script = Script()
    script.process, script.design = "main", "trip"
    steps = [{"name": "a", "compensatable": True, "atomic": False}]
    script.saga = script.recorder.invoke("saga", "trip", "trip", "main", data={"steps": steps})
    assert compensated_exactly_once(script.failed("a").undid("a").end().history).valid is True
