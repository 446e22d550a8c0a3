"""Faults of events: as data, and where they strike."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim import corrupt, duplicate, lose_event, partition, reorder
from wfsim.errors import DesignError
from wfsim.nemesis import Corrupt, Duplicate, LoseEvent, Partition, Reorder, Rule, Rules, fault_from_dict

names = st.text("abcxyz-*", min_size=1, max_size=6)
sides = st.one_of(names, st.lists(names, min_size=1, max_size=3))
faults = st.one_of(
    st.just(LoseEvent()),
    st.integers(1, 9).map(Duplicate),
    st.builds(Reorder, st.integers(1, 9), st.sampled_from(["1s", "250ms", 2])),
    st.builds(Corrupt, names, st.none() | st.integers() | names),
    st.just(Corrupt()),
    st.lists(sides, min_size=1, max_size=2).map(Partition),
    names.map(Partition),
)


@given(faults)
def test_a_fault_is_data(fault):
    """``describe`` and ``from_dict`` are inverse."""
    assert fault_from_dict(fault.describe()) == fault


@given(faults, st.none() | names, st.none() | names)
def test_a_rule_is_data(fault, topic, subscriber):
    """A rule that names topic and subscriber can be saved and read back."""
    rule = Rule(fault, topic=topic, subscriber=subscriber)
    assert Rule.from_dict(rule.describe()) == rule


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: duplicate("a", copies=0), "copies=0 of fault 'duplicate' must be a whole number from 1"),
        (lambda: reorder("a", behind=1.5), "behind=1.5 of fault 'reorder'"),
        (lambda: corrupt("a", value=3), "no field to put it in"),
        (lambda: partition(), "one party or two"),
        (lambda: partition("a", "b", "c"), "one party or two"),
        (lambda: partition("a", ""), "one party or two"),
        (lambda: partition(["a", 3]), "one party or two"),
        (lambda: lose_event("a", point="call"), "lose_event cannot strike at point 'call'"),
        (lambda: corrupt("a", point="ack"), "corrupt cannot strike at point 'ack'"),
        (lambda: lose_event(""), "topic='' of a fault must be a name or a glob"),
        (lambda: lose_event("a", probabilty=1), "no option 'probabilty'; did you mean 'probability'"),
        (lambda: fault_from_dict({"kind": "partition"}), "needs between"),
        (lambda: fault_from_dict({"kind": "reorder", "behnd": 1}), "did you mean 'behind'"),
        (lambda: fault_from_dict({"kind": "lose_event", "x": 1}), "it has none"),
    ],
)
def test_a_wrong_fault_is_refused_when_it_is_made(make, problem):
    """The error names the field and says what would be right."""
    with pytest.raises(DesignError, match=problem):
        make()


@dataclass(frozen=True)
class At:
    """A place of events, as the bus makes them."""

    point: str
    topic: str
    subscriber: str = ""
    ends: tuple = ((), ())


def strikes(rule, *places):
    nemesis = Rules([rule])
    deciders = [
        nemesis.decider_of_event(at.point, at.point, "bus", at.subscriber or at.topic, at) for at in places
    ]
    return [decide is not None and decide(1, "", 0) is not None for decide in deciders]


def test_topic_and_subscriber_choose_where_a_fault_strikes():
    """Both are globs; a fault of events spares all that is no event."""
    rule = lose_event("order.*", to="bill*")
    assert strikes(
        rule,
        At("deliver", "order.placed", "billing"),
        At("deliver", "order.placed", "shipping"),
        At("deliver", "user.added", "billing"),
        At("ack", "order.placed", "billing"),
    ) == [True, False, False, False]
    assert Rules([rule]).decider("deliver", "deliver", "bus", "billing") is None


def test_a_fault_of_events_is_at_home_at_delivery():
    """At the other points it strikes only when the rule says so."""
    points = [At(point, "a", "s") for point in ("publish", "deliver", "ack")]
    assert strikes(duplicate("a"), *points) == [False, True, False]
    assert strikes(lose_event("a", point="ack"), *points) == [False, False, True]
    assert strikes(lose_event(point="[pda]*"), *points) == [True, True, True]


def test_a_partition_cuts_the_line_between_its_parties():
    """It strikes in both directions, and only where the line runs between the two."""
    to_billing = At("deliver", "a", "billing", (("bus", "orders"), ("billing", "p1")))
    to_mail = At("deliver", "a", "mail", (("bus", "orders"), ("mail", "p2")))
    from_orders = At("publish", "a", "", (("orders",), ("bus",)))
    ack = At("ack", "a", "billing", (("billing", "p1"), ("bus",)))
    places = (to_billing, to_mail, from_orders, ack)
    assert Rules([partition("p1")]).decider("call", "forward", "checkout", "charge") is None
    assert strikes(partition("billing", "orders"), *places) == [True, False, False, False]
    assert strikes(partition("orders", "p1"), *places) == [True, False, False, False]
    assert strikes(partition("billing", "bus"), *places) == [True, False, False, True]
    assert strikes(partition("billing"), *places) == [True, False, False, True]
    assert strikes(partition(["billing", "mail"], "orders"), *places) == [True, True, False, False]
    assert strikes(partition("orders", "bus"), *places) == [False, False, True, False]
    assert strikes(partition("nobody"), *places) == [False] * 4


@pytest.mark.parametrize(
    ("fault", "payload", "arrives"),
    [
        (Corrupt(), {"amount": 20}, '{"amoun'),
        (Corrupt("amount", -1), {"amount": 20, "order": 1}, {"amount": -1, "order": 1}),
        (Corrupt("amount"), {"amount": 20}, {"amount": None}),
        (Corrupt("amount", 3), "text", 3),
    ],
)
def test_what_a_corrupted_payload_becomes(fault, payload, arrives):
    """Half of its JSON text, or with one field replaced; the original is left as it is."""
    before = repr(payload)
    assert fault.corrupted(payload) == arrives
    assert repr(payload) == before
