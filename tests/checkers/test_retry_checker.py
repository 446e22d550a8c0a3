"""The checker of retries: count, waits and reasons, and silence where the policy was followed."""

from __future__ import annotations

import pytest

from wfsim.checkers import retried_as_policy
from wfsim.history import Recorder

MS = 1_000_000
FIXED = {"attempts": 3, "backoff": "fixed", "delay_ns": 100 * MS, "retry_on": ["Exception"]}
GROWING = {
    "attempts": 5,
    "backoff": "exponential",
    "delay_ns": 100 * MS,
    "factor": 2.0,
    "max_delay_ns": 300 * MS,
}


def story(  # a step tried with these outcomes, after these waits
    outcomes,
    waits=(),
    policy=FIXED,
    events=True,
    in_saga=True,
    error="ConnectionError",
    gave_up=None,
    numbers=None,
    end=True,
    end_error=None,
):
    clock = [0]
    recorder = Recorder(lambda: clock[0])
    data = {"steps": [{"name": "charge", "compensatable": False, "retry": policy}]}
    saga = recorder.invoke("saga", "checkout", "checkout", "main", data=data) if in_saga else None
    kind, design = ("forward", "checkout") if in_saga else ("call", "")
    cause = None
    numbers = numbers or range(1, len(outcomes) + 1)
    for place, (number, outcome) in enumerate(zip(numbers, outcomes, strict=True)):
        index = recorder.invoke(kind, design, "charge", "main", number, saga, cause)
        clock[0] += 7 * MS
        told = None if outcome == "ok" else {"error": error, "message": "down"}
        cause = recorder.complete(outcome, index, data=told) if outcome else None
        last = place == len(outcomes) - 1
        if events and outcome == "fail" and not (last and gave_up is None):
            told = {"gave_up": gave_up} if last else {"delay_ns": waits[place]}
            recorder.event("retry", design, "charge", "main", number, saga, cause, {"policy": policy, **told})
        clock[0] += 0 if last else waits[place]
    if in_saga and end:
        ok = outcomes[-1] == "ok"
        recorder.complete("ok" if ok else "fail", saga, data=None if ok else {"error": end_error or error})
    return recorder.history()


def test_policy_followed_is_silent():
    """Tries, waits and giving up as the policy says: nothing to say."""
    for in_saga in (True, False):
        assert retried_as_policy(story(["fail", "fail", "ok"], [100 * MS] * 2, in_saga=in_saga)).valid is True
        exhausted = story(["fail"] * 3, [100 * MS] * 2, gave_up="attempts", in_saga=in_saga)
        assert retried_as_policy(exhausted).valid is True


def test_no_failure_is_unknown():
    """A policy that never had to act is not proven."""
    assert retried_as_policy(story(["ok"])).valid == "unknown"
    assert retried_as_policy(Recorder(lambda: 0).history()).valid == "unknown"


def test_one_try_too_many_is_found():
    """Four tries where three are allowed."""
    verdict = retried_as_policy(story(["fail"] * 4, [100 * MS] * 3))
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'charge' was tried 4 times, but its policy allows 3"


@pytest.mark.parametrize("events", [True, False])
def test_one_try_too_few_is_found(events):
    """Two tries where three are allowed, with or without a word about it in the history."""
    verdict = retried_as_policy(story(["fail"] * 2, [100 * MS], gave_up="attempts", events=events))
    assert verdict.valid is False
    assert verdict.message == "saga checkout: 'charge' was given up after 2 tries, but its policy allows 3"


def test_forgotten_retry_is_found():
    """A step that declares a policy and is tried only once."""
    assert "given up after 1 try, but" in retried_as_policy(story(["fail"], events=False)).message


def test_retry_without_a_policy_is_found():
    """A step that declares no policy is tried once."""
    verdict = retried_as_policy(story(["fail", "ok"], [0], policy=None, events=False))
    assert verdict.message == "saga checkout: 'charge' was tried twice, but it has no retry policy"
    assert retried_as_policy(story(["fail"], policy=None, events=False)).valid == "unknown"


@pytest.mark.parametrize("wait", [0, 50 * MS, 101 * MS, 1000 * MS])
def test_wrong_wait_is_found(wait):
    """Too short, too long, or none at all."""
    verdict = retried_as_policy(story(["fail", "ok"], [wait]))
    assert verdict.valid is False
    assert "saga checkout: 'charge': the wait after try 1 was" in verdict.message
    assert "its policy says 100ms" in verdict.message


def test_growing_waits_are_checked_one_by_one():
    """Exponential waits double up to the longest; one that does not grow is found."""
    right = [100 * MS, 200 * MS, 300 * MS, 300 * MS]
    assert retried_as_policy(story(["fail"] * 4 + ["ok"], right, GROWING)).valid is True
    wrong = [100 * MS, 100 * MS, 300 * MS, 300 * MS]
    verdict = retried_as_policy(story(["fail"] * 4 + ["ok"], wrong, GROWING))
    assert "the wait after try 2 was 100ms, its policy says 200ms" in verdict.message
    over = [100 * MS, 200 * MS, 400 * MS, 300 * MS]
    assert (
        "the wait after try 3 was 400ms, its policy says 300ms"
        in retried_as_policy(story(["fail"] * 4 + ["ok"], over, GROWING)).message
    )


@pytest.mark.parametrize(
    ("jitter", "right", "wrong"),
    [
        ("full", [0, 200 * MS, 150 * MS], [101 * MS, 0, 0]),
        ("equal", [50 * MS, 200 * MS, 150 * MS], [49 * MS, 200 * MS, 150 * MS]),
        ("decorrelated", [300 * MS, 299 * MS, 100 * MS], [100 * MS, 99 * MS, 100 * MS]),
    ],
)
def test_jitter_must_stay_in_its_range(jitter, right, wrong):
    """With jitter a wait must lie where that kind of jitter says."""
    policy = {**GROWING, "jitter": jitter}
    assert retried_as_policy(story(["fail"] * 3 + ["ok"], right, policy)).valid is True
    assert retried_as_policy(story(["fail"] * 3 + ["ok"], wrong, policy)).valid is False


def test_announced_and_real_wait_must_agree():
    """A retry that says one thing and does another is found even within the range of its jitter."""
    policy = {**FIXED, "jitter": "full"}
    clock = [0]
    recorder = Recorder(lambda: clock[0])
    first = recorder.invoke("call", "", "charge", "main", 1)
    failed = recorder.complete("fail", first, data={"error": "OSError"})
    recorder.event("retry", "", "charge", "main", 1, None, failed, {"policy": policy, "delay_ns": 50 * MS})
    clock[0] += 30 * MS
    recorder.complete("ok", recorder.invoke("call", "", "charge", "main", 2, None, failed))
    verdict = retried_as_policy(recorder.history())
    assert verdict.message == "'charge': the wait after try 1 was 30ms, although 50ms had been announced"


def test_retry_of_what_is_not_retryable_is_found():
    """An error that the policy does not name must not be tried again."""
    policy = {**FIXED, "retry_on": ["ConnectionError"]}
    verdict = retried_as_policy(story(["fail", "ok"], [100 * MS], policy, error="ValueError"))
    assert verdict.valid is False
    assert (
        "was tried again after try 1 failed with ValueError: down, which is not retryable" in verdict.message
    )
    subclass = story(["fail", "ok"], [100 * MS], policy, error="ConnectionResetError")
    assert retried_as_policy(subclass).valid is True


def test_giving_up_on_what_is_not_retryable_is_right():
    """One try is enough for an error that the policy does not name."""
    policy = {**FIXED, "retry_on": ["ConnectionError"]}
    assert (
        retried_as_policy(story(["fail"], policy=policy, error="ValueError", gave_up="not retryable")).valid
        is True
    )
    assert retried_as_policy(story(["fail"], policy=policy, error="ValueError", events=False)).valid is True


def test_giving_up_on_what_is_retryable_is_found():
    """Calling a retryable error not retryable is an excuse."""
    verdict = retried_as_policy(story(["fail"], gave_up="not retryable"))
    assert verdict.message == (
        "saga checkout: 'charge': ConnectionError: down was called not retryable, but its policy says it is"
    )


def test_errors_the_history_cannot_judge_are_left_alone():
    """A predicate, or a type of the user's own beside a named one.

    The history does not tell, so nobody is blamed.
    """
    for policy in ({**FIXED, "retry_on": {"predicate": "f"}}, {**FIXED, "retry_on": ["shop.Down"]}):
        assert retried_as_policy(story(["fail", "ok"], [100 * MS], policy, error="shop.Off")).valid is True
        assert retried_as_policy(story(["fail"], policy=policy, error="shop.Off", events=False)).valid is True


def test_retry_after_success_is_found():
    """What worked is not done again."""
    verdict = retried_as_policy(story(["ok", "ok"], [100 * MS]))
    assert verdict.message == "saga checkout: 'charge' was tried again after try 1 had succeeded"


def test_retry_before_the_end_is_found():
    """A try begins when the one before has ended."""
    assert "tried again before try 1 had ended" in retried_as_policy(story([None, "ok"], [100 * MS])).message


def test_wrong_numbers_are_found():
    """Tries are numbered from 1 without gaps."""
    assert (
        "tries are numbered 1, 3"
        in retried_as_policy(story(["fail", "ok"], [100 * MS], numbers=[1, 3])).message
    )


def test_interrupted_retry_is_not_blamed():
    """A saga that was cancelled, crashed or still running while it waited had no chance to try again."""
    waiting = story(["fail", "fail"], [100 * MS], end=False, events=True)
    assert retried_as_policy(waiting).valid is True
    clock = [0]
    recorder = Recorder(lambda: clock[0])
    data = {"steps": [{"name": "charge", "compensatable": False, "retry": FIXED}]}
    saga = recorder.invoke("saga", "checkout", "checkout", "main", data=data)
    failed = recorder.complete("fail", recorder.invoke("forward", "checkout", "charge", "main", 1, saga))
    recorder.event(
        "retry", "checkout", "charge", "main", 1, saga, failed, {"policy": FIXED, "delay_ns": 100 * MS}
    )
    recorder.complete("info", saga, data={"error": "asyncio.exceptions.CancelledError"})
    assert retried_as_policy(recorder.history()).valid is True


def test_announced_try_that_never_came_is_found():
    """A saga that announces a wait and then fails on without the try broke its word."""
    clock = [0]
    recorder = Recorder(lambda: clock[0])
    data = {"steps": [{"name": "charge", "compensatable": False, "retry": FIXED}]}
    saga = recorder.invoke("saga", "checkout", "checkout", "main", data=data)
    index = recorder.invoke("forward", "checkout", "charge", "main", 1, saga)
    failed = recorder.complete("fail", index, data={"error": "OSError"})
    recorder.event(
        "retry", "checkout", "charge", "main", 1, saga, failed, {"policy": FIXED, "delay_ns": 100 * MS}
    )
    recorder.complete("fail", saga, data={"error": "OSError"})
    assert retried_as_policy(recorder.history()).valid is False


def test_explicit_policy_serves_histories_without_one():
    """What the history does not hold can be given: a policy, or the number of tries and the waits."""
    history = story(["fail", "fail", "ok"], [100 * MS, 200 * MS], policy=None, events=False, in_saga=False)
    assert retried_as_policy(history).valid == "unknown"
    assert retried_as_policy(history, policy=GROWING).valid is True
    assert retried_as_policy(history, policy=FIXED).valid is False
    assert retried_as_policy(history, attempts=3).valid is True
    assert "allows 2" in retried_as_policy(history, attempts=2).message
    assert retried_as_policy(history, delays=["100ms", "200ms"]).valid is True
    assert retried_as_policy(history, delays=["100ms", ("50ms", "150ms")]).valid is False
    assert retried_as_policy(history, step="refund", attempts=1).valid == "unknown"


def test_compensations_are_retries_too():
    """The policy of a compensation is checked as that of a step."""
    recorder = Recorder(lambda: 0)
    declared = {"name": "a", "compensatable": True, "retry": None, "compensate_retry": FIXED}
    saga = recorder.invoke("saga", "checkout", "checkout", "main", data={"steps": [declared]})
    recorder.complete("ok", recorder.invoke("forward", "checkout", "a", "main", 1, saga))
    failed = recorder.invoke("compensate", "checkout", "a", "main", 1, saga)
    recorder.complete("fail", failed, data={"error": "OSError"})
    recorder.complete("fail", saga, data={"error": "OSError"})
    verdict = retried_as_policy(recorder.history())
    assert verdict.message == (
        "saga checkout: the compensation of 'a' was given up after 1 try, but its policy allows 3"
    )


def test_tasks_of_a_dag_are_judged_by_its_policies():
    """A DAG tells the policies of its tasks; a task without one is tried once."""
    recorder = Recorder(lambda: 0)
    data = {"tasks": {"a": [], "b": []}, "retry": {"a": {**FIXED, "delay_ns": 0}}}
    dag = recorder.invoke("dag", "build", "build", "main", data=data)
    for name in "ab":
        for number in (1, 2):
            index = recorder.invoke("task", "build", name, "main", number, dag)
            recorder.complete("fail" if number == 1 else "ok", index, data={"error": "OSError"})
    recorder.complete("ok", dag)
    verdict = retried_as_policy(recorder.history())
    assert verdict.message == "dag build: 'b' was tried twice, but it has no retry policy"
