from __future__ import annotations

import dataclasses
import pickle
import statistics
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import DesignError
from wfsim.kernel._distributions import (
    Constant,
    Distribution,
    Uniform,
    constant,
    empirical,
    exponential,
    lognormal,
    uniform,
)
from wfsim.kernel._streams import Stream

MS = 1_000_000
ALL = [
    constant("250ms"),
    uniform("100ms", "200ms"),
    exponential("50ms"),
    lognormal("80ms", 0.5),
    empirical(["10ms", "20ms", "40ms"]),
    empirical(["10ms", "20ms", "40ms"], [1, 2, 1]),
]


def samples(distribution: Distribution, n: int = 20_000) -> list[int]:
    stream = Stream(1, str(distribution))
    return [distribution.sample_ns(stream) for _ in range(n)]


@pytest.mark.parametrize("distribution", ALL, ids=str)
class TestEvery:
    def test_samples_are_whole_nanoseconds(self, distribution: Distribution) -> None:
        """A sample is an int and never negative."""
        for value in samples(distribution, 200):
            assert type(value) is int
            assert value >= 0

    def test_a_seed_fixes_the_samples(self, distribution: Distribution) -> None:
        """The same stream gives the same durations."""
        assert samples(distribution, 50) == samples(distribution, 50)

    def test_it_is_a_value(self, distribution: Distribution) -> None:
        """It is frozen, hashable, comparable, and survives pickling for a run in another process."""
        copy = pickle.loads(pickle.dumps(distribution))
        assert copy == distribution
        assert hash(copy) == hash(distribution)
        assert samples(copy, 10) == samples(distribution, 10)
        name = dataclasses.fields(distribution)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(distribution, name, 0)


class TestShapes:
    def test_constant_draws_nothing(self) -> None:
        """A constant leaves its stream where it was."""
        stream = Stream(0, "x")
        assert constant("250ms").sample_ns(stream) == 250 * MS
        assert stream.random() == stream.at(0)

    def test_uniform_covers_its_range(self) -> None:
        """Uniform samples lie within the bounds, both of which are reached, around the middle."""
        assert set(samples(uniform("1ns", "4ns"), 500)) == {1, 2, 3, 4}
        values = samples(uniform("100ms", "200ms"))
        assert abs(statistics.fmean(values) / MS - 150) < 1

    def test_exponential_has_its_mean_and_spread(self) -> None:
        """Mean and standard deviation of an exponential distribution are equal."""
        values = samples(exponential("50ms"))
        assert abs(statistics.fmean(values) / MS - 50) < 1.5
        assert abs(statistics.pstdev(values) / MS - 50) < 2

    def test_lognormal_has_its_median(self) -> None:
        """Half of the samples are below the median, 16 % above the median times e to the sigma."""
        values = samples(lognormal("80ms", 0.5))
        assert abs(statistics.median(values) / MS - 80) < 1.5
        assert abs(sum(v > 80 * MS * 2.718281828**0.5 for v in values) / len(values) - 0.1587) < 0.01

    def test_empirical_follows_its_weights(self) -> None:
        """Each sample comes as often as its weight says, none with weight zero."""
        values = samples(empirical(["1ms", "2ms", "3ms"], [1, 0, 3]))
        assert set(values) == {1 * MS, 3 * MS}
        assert abs(values.count(3 * MS) / len(values) - 0.75) < 0.01

    def test_empirical_without_weights_is_even(self) -> None:
        """Each of three samples comes in a third of the cases."""
        values = samples(empirical([1, 2, 3]))
        assert all(abs(values.count(s * 1000 * MS) / len(values) - 1 / 3) < 0.015 for s in (1, 2, 3))

    def test_durations_may_be_written_in_every_way(self) -> None:
        """Text, seconds and timedelta mean the same."""
        assert constant("1.5s") == constant(1.5) == constant(timedelta(seconds=1.5)) == Constant(1500 * MS)
        assert uniform(0, "1s") == Uniform(0, 1_000_000_000)

    @given(st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(any), st.integers(0, 2**32))
    def test_any_weights_choose_a_sample(self, weights: list[float], seed: int) -> None:
        """Whatever the weights, what comes out is a sample whose weight is above zero."""
        distribution = empirical(range(len(weights)), weights)
        chosen = distribution.sample_ns(Stream(seed, "w")) // 1_000_000_000
        assert weights[chosen] > 0

    def test_people_can_read_them(self) -> None:
        """str() says in words what the distribution is."""
        assert [str(d) for d in ALL] == [
            "constant 250ms",
            "uniform 100ms to 200ms",
            "exponential, mean 50ms",
            "lognormal, median 80ms, sigma 0.5",
            "empirical, 3 samples 10ms to 40ms",
            "empirical, 3 samples 10ms to 40ms",
        ]


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: constant("soon"), "constant: duration: 'soon'"),
        (lambda: constant(-1), "negative"),
        (lambda: constant(float("nan")), "finite"),
        (lambda: uniform("2s", "1s"), "swap"),
        (lambda: exponential(0), r"use constant\(0\)"),
        (lambda: lognormal(0, 1), r"use constant\(0\)"),
        (lambda: lognormal("1s", 0), r"use constant\(median\)"),
        (lambda: lognormal("1s", float("nan")), "sigma must be"),
        (lambda: lognormal("1s", "wide"), "sigma must be"),
        (lambda: lognormal("1s", 21), "at most 20"),
        (lambda: empirical([]), "at least one measured duration"),
        (lambda: empirical("120ms"), "put '120ms' in a list"),
        (lambda: empirical(["1s", "soon"]), "sample 2: 'soon'"),
        (lambda: empirical([1, 2], [1]), "2 samples need as many weights, not 1"),
        (lambda: empirical([1, 2], [1, -1]), "weight 2"),
        (lambda: empirical([1, 2], [1, float("inf")]), "weight 2"),
        (lambda: empirical([1, 2], [0, 0]), "above zero"),
        (lambda: empirical([1, 2], ["a", 1]), "weight 1"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_cure(make, cure: str) -> None:
    """What cannot be a distribution is a DesignError that names the argument and what to write instead."""
    with pytest.raises(DesignError, match=cure):
        make()
