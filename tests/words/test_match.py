"""Comparing two lists: laws that hold whatever is in them."""

from __future__ import annotations

from itertools import permutations
from operator import eq

from hypothesis import given
from hypothesis import strategies as st

from wfsim.words._match import match

SHORT = st.lists(st.sampled_from("abc"), max_size=5)


def is_subsequence(short, long):
    rest = iter(long)
    return all(one in rest for one in short)


@given(SHORT, SHORT)
def test_in_order_nothing_is_missing_just_if_it_is_a_subsequence(expected, actual):
    """The textbook's definition, by brute force."""
    found = match(expected, actual, eq, in_order=True)
    assert (not found.missing) == is_subsequence(expected, actual)


@given(SHORT, SHORT)
def test_in_any_order_nothing_is_missing_just_if_some_order_of_it_is_a_subsequence(expected, actual):
    """All orders are tried."""
    found = match(expected, actual, eq, in_order=False)
    assert (not found.missing) == any(is_subsequence(one, actual) for one in permutations(expected))


@given(SHORT, SHORT, st.booleans())
def test_what_fits_and_what_is_left_add_up(expected, actual, in_order):
    """As many are paired on one side as on the other; equal lists leave nothing."""
    found = match(expected, actual, eq, in_order=in_order)
    assert len(expected) - len(found.missing) == len(actual) - len(found.surplus)
    same = match(expected, expected, eq, in_order=in_order)
    assert same.missing == same.surplus == ()


@given(st.lists(st.sets(st.integers(0, 4)), max_size=5))
def test_wishes_that_overlap_are_paired_as_well_as_can_be(wishes):
    """One that is content with anything leaves room for one that is not (Hall's theorem, by brute force)."""
    found = match(wishes, range(5), lambda wish, one: one in wish, in_order=False)
    best = max(
        sum(one in wish for wish, one in zip(wishes, order, strict=False)) for order in permutations(range(5))
    )
    assert len(wishes) - len(found.missing) == best
