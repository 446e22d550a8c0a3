"""Rules: where and when a fault strikes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import DesignError, DurationError
from wfsim.kernel import FaultPoint, Simulation, constant, empirical, exponential, lognormal, uniform
from wfsim.nemesis import (
    Crash,
    Delay,
    Fail,
    Hang,
    LoseReply,
    Rule,
    Rules,
    crash,
    delay,
    fail,
    fault_from_dict,
    hang,
    lose_reply,
)

SECOND = 1_000_000_000


def at(name="charge", point="call", kind="forward", design="checkout", attempt=1, process="main", time_ns=0):
    return FaultPoint(point, kind, design, name, attempt, process, time_ns)


def strikes(rule, *points):
    rules = Rules([rule])
    return [rules.ask(point) is not None for point in points]


def test_a_bare_rule_strikes_everywhere_but_in_compensations():
    """Without a selector a fault strikes each call, save compensations: they are spared unless named."""
    assert strikes(fail(), at(), at(kind="task"), at(kind="call", name="x"), at(kind="compensate")) == [
        1,
        1,
        1,
        0,
    ]
    assert strikes(fail(on="compensate"), at(), at(kind="compensate")) == [0, 1]
    assert strikes(fail(on="*"), at(), at(kind="compensate")) == [1, 1]


@pytest.mark.parametrize(
    ("field", "fits", "misses"),
    [
        ("name", {"name": "charge"}, {"name": "refund"}),
        ("design", {"design": "checkout"}, {"design": "signup"}),
        ("kind", {"kind": "forward"}, {"kind": "task"}),
        ("process", {"process": "main"}, {"process": "worker"}),
    ],
)
def test_selectors_are_names_or_globs(field, fits, misses):
    """A selector fits its name exactly, or as a glob; letters must match in case."""
    option = {"name": "step", "kind": "on"}.get(field, field)
    value = fits[field]
    for pattern in (value, value[:2] + "*", "?" + value[1:], "*"):
        assert strikes(Rule(Fail(), **{option: pattern}), at(**fits)) == [True]
    assert strikes(Rule(Fail(), **{option: value}), at(**misses), at(**{field: value.upper()})) == [
        False,
        False,
    ]


def test_faults_strike_where_they_are_at_home():
    """A lost reply strikes at the reply, all else at the call.

    `point` says otherwise, also a point of the user's own.
    """
    call, reply, own = at(), at(point="reply"), at(point="persist")
    for make in (fail, delay, hang, crash):
        assert strikes(make(), call, reply, own) == [True, False, False]
    assert strikes(lose_reply(), call, reply, own) == [False, True, False]
    assert strikes(crash(point="reply"), call, reply, own) == [False, True, False]
    assert strikes(fail(point="persist"), call, reply, own) == [False, False, True]


def test_attempts_are_a_number_a_list_or_a_range():
    """Attempts choose among the tries of a step."""
    tries = [at(attempt=number) for number in range(1, 5)]
    assert strikes(fail(attempts=2), *tries) == [0, 1, 0, 0]
    assert strikes(fail(attempts=[1, 3]), *tries) == [1, 0, 1, 0]
    assert strikes(fail(attempts=range(2, 4)), *tries) == [0, 1, 1, 0]


def test_window_includes_its_start_and_not_its_end():
    """`after` and `before` bound virtual time: from the one, up to but not including the other."""
    times = [at(time_ns=seconds * SECOND) for seconds in (0, 1, 2, 3)]
    assert strikes(fail(after="1s", before=3), *times) == [0, 1, 1, 0]
    assert strikes(fail(after=2), *times) == [0, 0, 1, 1]
    assert strikes(fail(before="1s"), *times) == [1, 0, 0, 0]


def test_a_fault_may_be_at_home_on_one_kind_of_operation():
    """Then a rule that names no kind strikes that one alone; a rule that names one has the last word."""

    class Local(Hang):
        on = "task"

    rule = Rule(Local(), step="charge")
    assert strikes(rule, at(kind="task"), at(kind="forward"), at(kind="compensate")) == [1, 0, 0]
    assert strikes(Rule(Local(), on="forward"), at(kind="task"), at(kind="forward")) == [0, 1]


def test_skip_lets_the_first_of_what_fits_pass():
    """The fault strikes from then on, as often as `count` says; chance comes first, as always."""
    assert strikes(fail("charge", skip=1), at("x"), at(), at(), at("x"), at()) == [0, 0, 1, 0, 1]
    assert strikes(fail("charge", skip=1, count=1), at(), at(), at()) == [0, 1, 0]
    assert strikes(fail("charge", skip=1, attempts=2), at(), at(attempt=2), at(attempt=2)) == [0, 0, 1]


def test_count_bounds_how_often_a_fault_strikes():
    """After `count` strikes a rule passes everything; only what fits is counted."""
    assert strikes(fail("charge", count=2), at("x"), at(), at("x"), at(), at()) == [0, 1, 0, 1, 0]


def test_the_first_rule_that_strikes_answers():
    """Rules are asked in order; one that is used up or does not fit leaves the point to the next."""
    rules = Rules([fail("charge", count=1), delay("ch*", "1s"), hang()])
    kinds = [rules.ask(point).kind for point in (at(), at(), at("x"))]
    assert kinds == ["fail", "delay", "hang"]
    assert rules.struck == (1, 1, 1)


def test_matched_tells_a_rule_that_names_nothing():
    """A rule that speaks of no point of the run is found, however it was restricted otherwise."""
    rules = Rules(
        [fail("chrage"), fail("charge", attempts=9), fail("charge", design="signup"), fail("charge", count=1)]
    )
    for _ in range(3):
        rules.ask(at())
    assert rules.matched == (0, 3, 0, 3)
    assert rules.struck == (0, 0, 0, 1)
    assert rules.unmatched() == (rules.rules[0], rules.rules[2])


def test_matched_counts_also_behind_a_rule_that_strikes():
    """A rule is not blamed for naming nothing just because one before it always strikes first."""
    rules = Rules([fail("charge"), delay("charge")])
    rules.ask(at())
    assert rules.matched == (1, 1)
    assert rules.struck == (1, 0)


def test_healed_rules_strike_no_more():
    """After `heal` every point passes, whatever was met before."""
    rules = Rules([fail()])
    assert rules.ask(at())
    rules.heal()
    assert rules.ask(at()) is None
    assert rules.ask(at("new")) is None


def ask_often(rules, times=1000):
    async def main():
        return [rules.ask(at()) is not None for _ in range(times)]

    return Simulation(seed=3, nemesis=rules).run(main).value


def test_probability_is_a_share_and_comes_from_the_rules_own_stream():
    """A rule strikes about as often as it says; a rule before it that also draws changes nothing for it."""
    alone = ask_often(Rules([fail("none"), fail(probability=0.3)]))
    assert 250 < sum(alone) < 350
    assert ask_often(Rules([fail("charge", probability=0.5, attempts=9), fail(probability=0.3)])) == alone
    assert sum(ask_often(Rules([fail(probability=0.0)]))) == 0
    assert sum(ask_often(Rules([fail(probability=1.0)]))) == 1000


def test_probability_outside_a_simulation_is_refused():
    """Chance belongs to a simulation; there is none on a plain loop."""
    with pytest.raises(DesignError, match="draws from a simulation"):
        Rules([fail(probability=0.5)]).ask(at())


def test_places_that_no_rule_speaks_of_have_no_decider():
    """The kernel asks only where a rule could strike; who decides there is looked up once."""
    rules = Rules([fail("charge"), lose_reply("ch*"), delay("ship", "1s", point="b*")])

    def watched(point, name):
        return rules.decider(point, "forward", "checkout", name) is not None

    assert [watched(point, "charge") for point in ("call", "reply", "before")] == [True, True, False]
    assert [watched(point, "chat") for point in ("call", "reply")] == [False, True]
    assert [watched(point, "ship") for point in ("call", "before", "between")] == [False, True, True]
    assert not watched("call", "other")


def test_a_decider_that_was_given_heals_too():
    """Whoever keeps a decider gets no fault from it once the nemesis has healed."""
    rules = Rules([fail("charge"), fail("charge", probability=0.5)])
    alone, both = Rules([fail("charge")]), rules
    deciders = [one.decider("call", "forward", "checkout", "charge") for one in (alone, both)]
    assert [decide(1, "main", 0) is not None for decide in deciders] == [True, True]
    alone.heal()
    both.heal()
    assert [decide(1, "main", 0) for decide in deciders] == [None, None]


def test_chance_that_is_drawn_ahead_changes_nothing():
    """A rule strikes at those passes at which its stream's draws, one a pass, lie below the probability."""

    def strikes_and_counts():
        rules = Rules([fail("charge", probability=0.03)])
        decide = rules.decider("call", "forward", "checkout", "charge")
        return [decide(1, "main", 0) is not None for _ in range(500)], rules.matched, rules.struck

    simulation = Simulation(seed=5)
    struck, matched, counted = simulation.run(strikes_and_counts).value
    stream = Simulation(seed=5).stream("nemesis/0")
    expected = [stream.random() < 0.03 for _ in range(500)]
    assert struck == expected
    assert (matched, counted) == ((500,), (sum(expected),))


# -- rules are data --

distributions = st.one_of(
    st.integers(0, 10**15).map(lambda ns: constant(ns / 1e9)),
    st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(
        lambda pair: uniform(f"{min(pair)}ms", f"{max(pair)}ms")
    ),
    st.integers(1, 10**6).map(lambda us: exponential(f"{us}us")),
    st.tuples(st.integers(1, 10**6), st.floats(0.01, 3)).map(lambda pair: lognormal(f"{pair[0]}us", pair[1])),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5).map(
        lambda ms: empirical([f"{one}ms" for one in ms])
    ),
    st.just(empirical(["1s", "2s"], weights=[1, 2.5])),
)
names = st.one_of(st.none(), st.text(min_size=1, max_size=8))
faults = st.one_of(
    st.sampled_from(
        [Fail(), Fail(KeyError), Fail(ConnectionError("down", 3)), Hang(), LoseReply(), Crash(), Crash("5s")]
    ),
    distributions.map(Delay),
)
rules = st.builds(
    Rule,
    faults,
    design=names,
    step=names,
    on=names,
    attempt=st.one_of(
        st.none(), st.integers(1, 9), st.lists(st.integers(1, 9), min_size=1), st.just(range(2, 9, 3))
    ),
    point=names,
    process=names,
    after=st.one_of(st.none(), st.integers(0, 10**6)),
    before=st.one_of(st.none(), st.floats(10**7, 10**8)),
    probability=st.floats(0, 1),
    count=st.one_of(st.none(), st.integers(1, 9)),
    skip=st.integers(0, 9),
)


@given(rules)
def test_every_rule_comes_back_from_its_data(rule):
    """`describe` is JSON, and `from_dict` makes an equal rule of it."""
    data = json.loads(json.dumps(rule.describe()))
    assert Rule.from_dict(data) == rule
    assert hash(Rule.from_dict(data)) == hash(rule)
    assert Rule.from_dict(data).describe() == rule.describe()


def test_description_holds_only_what_is_set():
    """The data of a rule are short and fit for a file."""
    assert fail("charge", error=ConnectionError("down"), attempts=[2, 1]).describe() == {
        "fault": {"kind": "fail", "error": "ConnectionError", "args": ["down"]},
        "step": "charge",
        "attempt": [1, 2],
    }
    assert delay("c*", lognormal("200ms", 0.5), after=90, probability=0.5).describe() == {
        "fault": {"kind": "delay", "by": {"distribution": "lognormal", "median": "200ms", "sigma": 0.5}},
        "step": "c*",
        "after": "1m 30s",
        "probability": 0.5,
    }


def test_errors_of_the_users_own_come_back():
    """An error is named by its module and class; one that cannot be found says so."""
    rule = fail("x", error=json.JSONDecodeError("bad", "doc", 3))
    assert rule.describe()["fault"]["error"] == "json.decoder.JSONDecodeError"
    with pytest.raises(DesignError, match=r"there is no exception 'shop\.Declined'"):
        fault_from_dict({"kind": "fail", "error": "shop.Declined"})
    with pytest.raises(DesignError, match="there is no exception 'int'"):
        fault_from_dict({"kind": "fail", "error": "int"})


# -- wrong rules --


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Rule(Fail), "a rule needs a fault"),
        (lambda: Rule("fail"), "a rule needs a fault, such as Fail() or Delay('2s'), not 'fail'"),
        (lambda: fail(3), "step=3 of a fault must be a name or a glob"),
        (lambda: fail(""), "step='' of a fault"),
        (lambda: fail("x", design=["a"]), "design=['a']"),
        (lambda: fail("x", attempts=0), "attempts=0 of a fault must be numbers from 1"),
        (lambda: fail("x", attempts=[]), "attempts=[]"),
        (lambda: fail("x", attempts="first"), "attempts='first'"),
        (lambda: fail("x", attempts=True), "attempts=True"),
        (lambda: fail("x", attempts=range(3)), "attempts=range(0, 3)"),
        (lambda: fail("x", attempts=1.5), "attempts=1.5"),
        (lambda: fail("x", after="2s", before="1s"), "after 2s and before 1s can never strike"),
        (lambda: fail("x", probability=1.5), "probability=1.5 of a fault must be a number from 0 to 1"),
        (lambda: fail("x", probability="0.5"), "probability='0.5'"),
        (lambda: fail("x", count=0), "count=0 of a fault must be 1 or more"),
        (lambda: fail("x", count=1.5), "count=1.5"),
        (lambda: fail("x", skip=-1), "skip=-1 of a fault must be 0 or more"),
        (lambda: fail("x", skip=True), "skip=True"),
        (lambda: fail("x", atempts=1), "fail() has no option 'atempts'; did you mean 'attempts'?"),
        (lambda: fail("x", error="down"), "must be an exception"),
        (lambda: fail("x", error=KeyboardInterrupt()), "must be an exception"),
        (lambda: fail("x", error=lambda: "down"), "must be an exception"),
        (lambda: delay("x", "soon"), "'soon'"),
        (
            lambda: lose_reply("x", point="call"),
            "lose_reply cannot strike at point 'call'; leave point='call' out",
        ),
        (lambda: lose_reply("x", point="*"), "leave point='*' out"),
        (lambda: Rules([Fail()]), "is no rule; write for example fail('charge')"),
        (lambda: Rule.from_dict({"step": "x"}), "names no fault"),
        (
            lambda: Rule.from_dict({"fault": {"kind": "hang"}, "stepp": "x"}),
            "a rule has no 'stepp'; did you mean 'step'?",
        ),
        (
            lambda: Rule.from_dict({"fault": {"kind": "hng"}}),
            "'hng' is no kind of fault; did you mean 'hang'?",
        ),
        (
            lambda: fault_from_dict({"kind": "hang", "for": "1s"}),
            "fault 'hang' has no option 'for'; it has none",
        ),
        (lambda: fault_from_dict({"kind": "delay"}), "fault 'delay' needs by"),
        (
            lambda: fault_from_dict({"kind": "delay", "by": {"distribution": "pareto"}}),
            "there is no distribution 'pareto'",
        ),
        (
            lambda: fault_from_dict({"kind": "delay", "by": {"distribution": "uniform", "a": 1}}),
            "distribution 'uniform'",
        ),
    ],
)
def test_wrong_rules_are_refused(build, message):
    """A rule that cannot work is refused when it is made, with the field and the cure."""
    with pytest.raises(DesignError) as caught:
        build()
    assert message in str(caught.value)


def test_wrong_durations_are_refused():
    """Times of a rule must be durations."""
    with pytest.raises(DurationError):
        fail("x", after="soon")
