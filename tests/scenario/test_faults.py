"""A fault rule written as a file has it is the same rule when it is read again."""

from __future__ import annotations

import builtins
import json

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from wfsim.errors import DesignError, InjectedFault
from wfsim.kernel import constant, empirical, exponential, lognormal, uniform
from wfsim.nemesis import Crash, Delay, Fail, Hang, LoseReply, Rule
from wfsim.scenario import fault_from_data, fault_to_data, load_text
from wfsim.units import format_duration

durations = st.integers(1, 10**13).map(format_duration)
names = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Zl", "Zp")),
    min_size=1,
)
sigmas = st.floats(0.01, 5)
distributions = st.one_of(
    durations.map(constant),
    st.tuples(durations, st.integers(0, 10**9)).map(lambda pair: uniform(pair[0], wider(*pair))),
    durations.map(exponential),
    st.builds(lognormal, durations, sigmas),
    st.lists(durations, min_size=1, max_size=4).map(empirical),
    st.lists(st.tuples(durations, st.floats(0.1, 9)), min_size=1, max_size=4).map(
        lambda pairs: empirical([one for one, _ in pairs], [weight for _, weight in pairs])
    ),
)
errors = st.sampled_from([ConnectionError, TimeoutError, KeyError, InjectedFault, builtins.OSError])
fault_kinds = st.one_of(
    errors.map(Fail),
    st.builds(lambda error, text: Fail(error(text)), errors.filter(lambda one: one is not KeyError), names),
    distributions.map(Delay),
    st.just(Hang()),
    st.just(LoseReply()),
    st.just(Crash()),
    durations.map(Crash),
)
attempts = st.one_of(
    st.integers(1, 99),
    st.lists(st.integers(1, 99), min_size=1, max_size=5),
    st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda pair: range(pair[0], pair[0] + pair[1])),
)
windows = st.tuples(st.integers(0, 10**12), st.integers(1, 10**12)).map(
    lambda pair: {"after": format_duration(pair[0]), "before": format_duration(sum(pair))}
)


def wider(low, extra_ns):
    """Return a duration above another."""
    from wfsim.units import parse_duration

    return format_duration(parse_duration(low) + extra_ns)


@st.composite
def rules(draw):
    """Draw a rule with any of its selectors."""
    fields = {
        "design": names,
        "step": names,
        "on": names,
        "point": names,
        "process": names,
        "attempt": attempts,
        "probability": st.floats(0, 1),
        "count": st.integers(1, 99),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(fields))))
    where = {name: draw(fields[name]) for name in sorted(chosen)}
    try:
        return Rule(draw(fault_kinds), **where, **draw(st.just({}) | windows))
    except DesignError:  # such as a lost reply at the point "call"
        reject()


@settings(deadline=None)
@given(rules())
def test_a_rule_survives_being_written_and_read(rule):
    """To data and back gives an equal rule."""
    assert fault_from_data(fault_to_data(rule)) == rule


@settings(deadline=None)
@given(rules())
def test_a_rule_survives_a_file(rule):
    """Also by way of a scenario file's text: as JSON, since PyYAML quotes by the rules of YAML 1.1."""
    data = {"design": "builtins:print", "faults": [fault_to_data(rule)]}
    text = json.dumps(data, ensure_ascii=False)
    assert load_text(text).faults == (rule,)


def test_it_is_written_the_short_way():
    """What is written is what a person would write."""
    assert fault_to_data(Rule(Hang())) == {"hang": None}
    assert fault_to_data(Rule(Delay("2s"), step="charge", attempt=range(1, 4))) == {
        "delay": "2s",
        "at": {"step": "charge", "attempt": "1..3"},
    }
    assert fault_to_data(Rule(Fail(ConnectionError("down")), attempt=[1, 3])) == {
        "fail": {"error": "ConnectionError", "message": "down"},
        "at": {"attempt": [1, 3]},
    }


def test_an_error_of_a_designs_file_is_written_relative_to_a_folder(folder):
    """The saved scenario names the exception so that it finds it again."""
    text = "design: designs.py:checkout\nfaults:\n  - fail: designs.py:OutOfStock\n"
    rule = load_text(text, folder=folder).faults[0]
    (folder / "found").mkdir()
    data = fault_to_data(rule, folder / "found")
    assert data == {"fail": {"error": "../designs.py:OutOfStock"}}
    assert fault_from_data(data, folder / "found").fault.describe() == rule.fault.describe()


def test_an_error_that_only_a_function_makes_cannot_be_written():
    """Its type would be lost; the message says what to do."""
    with pytest.raises(DesignError, match="name its type"):
        fault_to_data(Rule(Fail(lambda: ConnectionError("down"))))
