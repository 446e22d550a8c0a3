from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.kernel import _exactmath as exact
from wfsim.kernel._streams import Stream

SEEDS = st.integers(-(2**70), 2**70)


def draws(stream: Stream, n: int) -> list[float]:
    return [stream.random() for _ in range(n)]


GOLDEN_DRAWS = [0.9486153836069613, 0.6146003897428785, 0.7212956094064849]
GOLDEN_EXPONENTIAL = 0.2574838811464534
GOLDEN_NORMAL = -1.529629887847011
GOLDEN_LOGNORMAL = 2.0485247467839227
GOLDEN_RANDRANGE = 123
GOLDEN_BYTES = "d6e4471acbfb"
GOLDEN_SAMPLE = [8, 1, 5, 2]
GOLDEN_BIG = 695182970567353367530957324888
GOLDEN_TOTAL = "0x1.11eebfbeeae7fp+22"
GOLDEN = """
from wfsim.kernel._streams import Stream
s = Stream(7, "checkout/charge")
print([s.random() for _ in range(9)], s.expovariate(2.0), s.normal(), s.lognormal(1.0, 0.5))
print(s.randrange(1000), s.randrange(10**30), s.randbytes(6), s.sample(range(10), 4), s.choice("abc"))
"""


class TestNumbers:
    def test_the_numbers_of_a_stream_never_change(self) -> None:
        """A recorded run replays on every machine and Python version, so these very values are a promise."""
        stream = Stream(7, "checkout/charge")
        assert draws(stream, 3) == GOLDEN_DRAWS
        assert Stream(7, "e").expovariate(2.0) == GOLDEN_EXPONENTIAL
        assert Stream(7, "n").normal() == GOLDEN_NORMAL
        assert Stream(7, "l").lognormal(1.0, 0.5) == GOLDEN_LOGNORMAL
        assert Stream(-3, "r").randrange(1000) == GOLDEN_RANDRANGE
        assert Stream(7, "b").randbytes(6).hex() == GOLDEN_BYTES
        assert Stream(7, "s").sample(range(10), 4) == GOLDEN_SAMPLE
        assert Stream(7, "big").randrange(10**30) == GOLDEN_BIG

    def test_the_numbers_do_not_depend_on_the_hash_seed(self) -> None:
        """Two interpreters with different PYTHONHASHSEED draw the same."""
        seen = {
            subprocess.run(
                [sys.executable, "-c", GOLDEN],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(seen) == 1

    @given(SEEDS, st.text(max_size=20))
    def test_a_stream_is_a_function_of_seed_and_name(self, seed: int, name: str) -> None:
        """Two streams of one seed and name give the same numbers, all at least 0 and below 1."""
        first, second = draws(Stream(seed, name), 20), draws(Stream(seed, name), 20)
        assert first == second
        assert all(0.0 <= x < 1.0 for x in first)

    @given(SEEDS, st.text(max_size=8), SEEDS, st.text(max_size=8))
    def test_other_seeds_and_names_give_other_numbers(
        self, seed: int, name: str, other: int, text: str
    ) -> None:
        """No two pairs of seed and name share a stream."""
        same = (seed, name) == (other, text)
        assert (draws(Stream(seed, name), 4) == draws(Stream(other, text), 4)) is same

    @given(st.integers(0, 50))
    def test_any_number_can_be_asked_for_by_its_place(self, index: int) -> None:
        """`at(i)` is draw number i and moves nothing."""
        stream = Stream(3, "x")
        before = stream.at(index)
        assert draws(stream, index + 1)[index] == before == stream.at(index)

    def test_the_numbers_are_spread_evenly(self) -> None:
        """Mean, deviation and ten bins of 40,000 numbers are those of the uniform distribution."""
        values = draws(Stream(11, "even"), 40_000)
        assert abs(statistics.fmean(values) - 0.5) < 0.005
        assert abs(statistics.pstdev(values) - math.sqrt(1 / 12)) < 0.003
        bins = [0] * 10
        for value in values:
            bins[int(value * 10)] += 1
        assert sum((n - 4000) ** 2 / 4000 for n in bins) < 28  # chi square, 9 degrees of freedom, p = 0.001

    def test_a_new_consumer_shifts_no_other(self) -> None:
        """Drawing from one stream leaves the numbers of another alone."""
        alone = draws(Stream(5, "arrivals"), 30)
        arrivals, faults = Stream(5, "arrivals"), Stream(5, "faults")
        together = []
        for _ in range(30):
            faults.random()
            together.append(arrivals.random())
        assert together == alone


class TestDerived:
    @given(st.integers(1, 2**200), SEEDS)
    def test_randrange_stays_in_range(self, n: int, seed: int) -> None:
        """`randrange(n)` is at least 0 and below n, also for numbers that no float can hold."""
        assert 0 <= Stream(seed, "r").randrange(n) < n

    def test_randrange_reaches_everything_evenly(self) -> None:
        """A die has six sides, all equally likely."""
        stream, sides = Stream(1, "die"), [0] * 6
        for _ in range(12_000):
            sides[stream.randrange(6)] += 1
        assert max(sides) - min(sides) < 250

    @pytest.mark.parametrize("n", [0, -1])
    def test_randrange_of_nothing_is_refused(self, n: int) -> None:
        """There is no whole number below 0 to draw."""
        with pytest.raises(ValueError, match="positive"):
            Stream(0, "r").randrange(n)

    @given(st.integers(0, 40), SEEDS)
    def test_randbytes_has_the_length_asked_for(self, n: int, seed: int) -> None:
        """`randbytes(n)` is n bytes."""
        assert len(Stream(seed, "b").randbytes(n)) == n

    def test_random_bytes_are_spread_evenly(self) -> None:
        """Every bit of random bytes is set half of the time."""
        data = Stream(1, "b").randbytes(20_000)
        for bit in range(8):
            assert abs(sum(byte >> bit & 1 for byte in data) - 10_000) < 300

    @given(st.lists(st.integers(), max_size=30), SEEDS)
    def test_shuffle_loses_nothing(self, items: list[int], seed: int) -> None:
        """A shuffled list has the same elements."""
        shuffled = list(items)
        Stream(seed, "s").shuffle(shuffled)
        assert sorted(shuffled) == sorted(items)

    @given(st.integers(0, 20), SEEDS, st.data())
    def test_a_sample_repeats_nothing(self, size: int, seed: int, data: st.DataObject) -> None:
        """A sample has k different elements of the sequence, which it leaves alone."""
        k = data.draw(st.integers(0, size))
        population = list(range(size))
        sample = Stream(seed, "s").sample(population, k)
        assert len(set(sample)) == len(sample) == k
        assert set(sample) <= set(population) == set(range(size))

    def test_a_sample_cannot_be_larger_than_its_source(self) -> None:
        """Asking for more than there is says so."""
        with pytest.raises(ValueError, match="sample of 3 from 2"):
            Stream(0, "s").sample([1, 2], 3)

    def test_choice_of_nothing_is_refused(self) -> None:
        """An empty sequence has no element to choose."""
        with pytest.raises(IndexError):
            Stream(0, "c").choice([])

    def test_continuous_distributions_have_their_mean_and_spread(self) -> None:
        """20,000 draws of each agree with theory."""
        stream, n = Stream(4, "d"), 20_000
        exponential = [stream.expovariate(4.0) for _ in range(n)]
        normal = [stream.normal() for _ in range(n)]
        logs = [math.log(stream.lognormal(1.0, 0.5)) for _ in range(n)]
        uniform = [stream.uniform(-2.0, 4.0) for _ in range(n)]
        assert abs(statistics.fmean(exponential) - 0.25) < 0.006
        assert abs(statistics.pstdev(exponential) - 0.25) < 0.01
        assert abs(statistics.fmean(normal)) < 0.02
        assert abs(statistics.pstdev(normal) - 1) < 0.02
        assert abs(statistics.fmean(logs) - 1) < 0.01
        assert abs(statistics.pstdev(logs) - 0.5) < 0.01
        assert abs(statistics.fmean(uniform) - 1) < 0.05

    def test_a_distribution_grows_with_its_draw(self) -> None:
        """One draw makes one value, larger for a larger draw: a change of rate keeps the luck of a run."""
        for method in ("expovariate", "normal"):
            base = Stream(9, "m")
            pairs = sorted((base.at(i), i) for i in range(200))
            values = Stream(9, "m")
            drawn = [getattr(values, method)() for _ in range(200)]
            assert [drawn[i] for _, i in pairs] == sorted(drawn)

    def test_extreme_draws_give_finite_values(self) -> None:
        """The lowest and the highest number that a stream can give break no distribution."""
        for extreme in (0.0, 1.0 - 2**-52):
            stream = Stream(0, "x")
            stream.random = lambda extreme=extreme: extreme
            for value in (stream.expovariate(1.0), stream.normal(), stream.lognormal(0.0, 1.0)):
                assert math.isfinite(value)
            assert 0 <= stream.randrange(2**40) < 2**40


class TestExactMath:
    """The functions are the C library's to within the last digit, without depending on it."""

    @given(st.floats(min_value=5e-324, allow_infinity=False))
    def test_log_is_right(self, x: float) -> None:
        """Within one unit in the last place of `math.log`."""
        assert abs(exact.log(x) - math.log(x)) <= math.ulp(math.log(x))

    @given(st.floats(-745, 709))
    def test_exp_is_right(self, x: float) -> None:
        """Within one unit in the last place of `math.exp`."""
        assert abs(exact.exp(x) - math.exp(x)) <= math.ulp(math.exp(x))

    def test_exp_has_the_ends_of_math_exp(self) -> None:
        """What is too small is zero, what is too large is an error."""
        assert exact.exp(-1e9) == 0.0
        with pytest.raises(OverflowError):
            exact.exp(710.0)

    @given(st.floats(2**-54, 1 - 2**-53))
    def test_normal_quantile_is_right(self, p: float) -> None:
        """The same as the standard library's to 14 digits."""
        expected = statistics.NormalDist().inv_cdf(p)
        assert math.isclose(exact.normal_quantile(p), expected, rel_tol=1e-12, abs_tol=1e-14)

    def test_the_last_digit_is_fixed(self) -> None:
        """A sum over many values is equal to the bit everywhere; this is the value."""
        source = random.Random(1)
        total = 0.0
        for _ in range(2000):
            x = source.random() * 100 + 1e-9
            total += exact.log(x) + exact.exp(x / 10) + exact.normal_quantile(x / 101)
        assert total.hex() == GOLDEN_TOTAL
