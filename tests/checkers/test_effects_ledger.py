"""The ledger of effects: it judges the world, whoever worked in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.checkers import locks_respected, no_lost_update, nothing_left_behind, reversed_in_order
from wfsim.errors import DesignError
from wfsim.history import Recorder

REVERSALS = {"stock": "stock back", "charge": "refund", "parcel": None}


def world(*effects, by="key"):
    """A history of effects: ``"charge"`` or ``"charge order-2"``."""
    recorder = Recorder(lambda: 0)
    for effect in effects:
        name, _, key = effect.partition("@")
        recorder.event("effect", "", name, "main", data={by: key or "order-1"})
    return recorder.history()


@pytest.mark.parametrize(
    "effects",
    [
        ("stock", "charge", "parcel"),
        ("stock", "charge", "refund", "stock back"),
        ("stock", "stock back"),
        ("stock", "stock back", "stock", "charge", "parcel"),
        ("stock@1", "stock@2", "charge@1", "stock back@2", "parcel@1"),
    ],
)
def test_whole_or_undone(effects):
    """All that was to happen stands, or nothing does; also if it was done anew after it had been undone."""
    assert nothing_left_behind(world(*effects), reversals=REVERSALS).valid is True


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (("stock",), "order-1: 'stock' stands, with 'charge', 'parcel' never done"),
        (
            ("stock", "charge", "refund"),
            "order-1: 'stock' stands, with 'charge' undone and 'parcel' never done",
        ),
        (("stock", "charge", "charge", "parcel"), "order-1: 'charge' stands twice"),
        (
            ("stock", "stock back", "stock back"),
            "order-1: 'stock back' took back 'stock' a second time",
        ),
        (("refund", "charge", "stock", "parcel"), "'refund' took back 'charge' before it was done"),
        (("stock", "charge", "stock back"), "order-1: 'charge' stands, with 'stock' undone"),
        (
            ("stock@1", "charge@1", "parcel@1", "stock@2"),
            "2: 'stock' stands, with 'charge', 'parcel' never done",
        ),
    ],
)
def test_half_is_found(effects, message):
    """What stands without the rest, twice, or was taken back without being there is named, with its key."""
    verdict = nothing_left_behind(world(*effects), reversals=REVERSALS)
    assert verdict.valid is False
    assert message in verdict.message
    assert verdict.ops


def test_nothing_happened_is_unknown():
    """A world in which none of the effects happened proves nothing."""
    assert nothing_left_behind(world("other"), reversals=REVERSALS).valid == "unknown"
    assert reversed_in_order(world("stock"), reversals=REVERSALS).valid == "unknown"


def test_optional_effects_may_be_missing():
    """A branch that is not always taken does not make the rest half."""
    history = world("stock", "parcel")
    assert nothing_left_behind(history, reversals=REVERSALS, optional=["charge"]).valid is True
    assert nothing_left_behind(history, reversals=REVERSALS).valid is False


def test_effects_may_be_told_apart_by_another_field():
    """Where the key is an idempotency key, another field says what belongs together."""
    history = world("stock@1", "charge@1", "parcel@1", by="order")
    assert nothing_left_behind(history, reversals=REVERSALS, by="order").valid is True


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 3)), max_size=12))
def test_the_ledger_agrees_with_counting(events):
    """Whatever happens without reversals: an instance is whole when each effect stands once."""
    reversals = {"a": "ua", "b": "ub", "c": "uc"}
    history = world(*(f"{name}@{key}" for name, key in events))
    verdict = nothing_left_behind(history, reversals=reversals)
    keys = {key for _, key in events}
    whole = all(events.count((name, key)) == 1 for key in keys for name in "abc")
    assert verdict.valid == (whole if events else "unknown")


@given(st.permutations(list("abcd")))
def test_only_one_order_is_the_reverse(undo):
    """Of all orders in which four effects can be taken back exactly one is right."""
    history = world(*"abcd", *(f"u{name}" for name in undo))
    verdict = reversed_in_order(history, reversals={name: f"u{name}" for name in "abcd"})
    assert verdict.valid is (undo == list("dcba"))


def test_a_partial_order_allows_more():
    """Where c does not build on b, either may be taken back first, but a only after both."""
    reversals = {name: f"u{name}" for name in "abc"}
    order = {"b": ["a"], "c": ["a"]}
    for undo in ("bca", "cba"):
        history = world(*"abc", *(f"u{name}" for name in undo))
        assert reversed_in_order(history, reversals=reversals, depends_on=order).valid is True
    history = world(*"abc", "ub", "ua", "uc")
    verdict = reversed_in_order(history, reversals=reversals, depends_on=order)
    assert verdict.valid is False
    assert verdict.message == "order-1: 'ua' took back 'a' while 'c', done after it, stood"


def test_ambiguous_reversals_are_refused():
    """One reversal for two effects would leave open which one it took back."""
    with pytest.raises(DesignError, match="is the reversal of 'a' too"):
        nothing_left_behind(world("a"), reversals={"a": "undo", "b": "undo"})
    with pytest.raises(DesignError, match="reversals is empty"):
        nothing_left_behind(world("a"), reversals={})


# -- isolation --


def acts(*what):
    """A history of reads and writes of one record: ``"1 read"``, each by a process."""
    recorder = Recorder(lambda: 0)
    for one in what:
        process, _, name = one.partition(" ")
        recorder.event("effect", "", name, process, data={"key": "account"})
    return recorder.history()


@pytest.mark.parametrize(
    ("what", "valid"),
    [
        (("1 read", "1 write", "2 read", "2 write"), True),
        (("1 read", "2 read", "1 write", "2 write"), False),
        (("1 read", "2 read", "2 write", "1 write"), False),
        (("1 read", "2 read", "1 write", "2 read", "2 write"), True),
        (("1 read", "1 write", "1 write"), True),
        (("1 write", "2 write"), "unknown"),
    ],
)
def test_lost_updates_are_found(what, valid):
    """A write is lost when it is overwritten by one who had read the record before it."""
    assert no_lost_update(acts(*what), read="read", write="write").valid == valid


def locks(*what):
    """A history of locks: ``"a locks"``, ``"a unlocks"``, and ``"a ends"`` for its saga."""
    recorder = Recorder(lambda: 0)
    sagas = {}
    for one in what:
        holder, _, word = one.partition(" ")
        if holder not in sagas:
            sagas[holder] = recorder.invoke("saga", "s", "s", "main", data={"steps": [], "key": holder})
        if word == "locks":
            index = recorder.invoke("lock", "rooms", "room", "main", data={"holder": f"s/{holder}"})
            recorder.complete("ok", index)
        elif word == "unlocks":
            recorder.event("unlock", "rooms", "room", "main", data={"holder": f"s/{holder}"})
        else:
            recorder.complete("ok", sagas[holder])
    return recorder.history()


@pytest.mark.parametrize(
    ("what", "valid"),
    [
        (("a locks", "a unlocks", "a ends", "b locks", "b unlocks", "b ends"), True),
        (("a locks", "b locks", "a unlocks", "b unlocks"), False),
        (("a locks", "a locks", "a unlocks", "a ends"), True),
        (("a locks", "a ends"), False),
        (("a locks",), "unknown"),
        ((), "unknown"),
    ],
)
def test_locks_are_exclusive_and_given_back(what, valid):
    """Two holders at once, and a holder that is over, are found; one that has not ended leaves a doubt."""
    assert locks_respected(locks(*what)).valid == valid
