"""Chance: named streams of random numbers, each a pure function of (seed, name).

A consumer that comes or goes shifts no other, because each draws from a stream of its own. Draw number i of
a stream is word i of the BLAKE2b blocks over seed, name and block number, so it is the same on every
machine and Python version, and can be asked for without those before it (`Stream.at`).

Everything else is made from `random()` alone and from arithmetic that is exact everywhere (`_exactmath`).
Continuous distributions use one draw each and grow with it: two designs compared under one seed see the
same luck.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, TypeVar

from wfsim.kernel._exactmath import exp, log, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableSequence, Sequence

_T = TypeVar("_T")

_DRAWS_PER_BLOCK: Final = 8
_BLOCK = Struct(f"<{_DRAWS_PER_BLOCK}d")
_BLOCK_BYTES = _BLOCK.size
# A float between 1 and 2 has 52 free bits below a fixed head: keep those of the hash, put the head above.
_FREE_BITS: Final = int.from_bytes((2**52 - 1).to_bytes(8, "little") * _DRAWS_PER_BLOCK, "little")
_HEADS: Final = int.from_bytes((0x3FF << 52).to_bytes(8, "little") * _DRAWS_PER_BLOCK, "little")
_SMALLEST: Final = 2.0**-53
_FEW: Final = 2**40


class Stream:
    """A stream of random numbers.

    Attributes:
        seed, name: what it is derived from.
        random: the next number, at least 0.0 and below 1.0, in steps of 2**-52.
    """

    __slots__ = ("name", "random", "seed")

    random: Callable[[], float]

    def __init__(self, seed: int, name: str) -> None:
        self.seed = seed
        self.name = name
        self.random = _draws(seed, name).__next__

    def __repr__(self) -> str:
        return f"Stream(seed={self.seed}, name={self.name!r})"

    def at(self, index: int) -> float:
        """Draw number `index` (from 0), whatever was drawn so far; it moves nothing."""
        number, place = divmod(index, _DRAWS_PER_BLOCK)
        return _block(_root(self.seed, self.name), number)[place] - 1.0

    # -- numbers

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`."""
        return a + (b - a) * self.random()

    def expovariate(self, rate: float = 1.0) -> float:
        """An exponentially distributed number with mean 1 / `rate`."""
        return -log(1.0 - self.random()) / rate

    def normal(self) -> float:
        """A normally distributed number with mean 0 and standard deviation 1."""
        return normal_quantile(self.random() or _SMALLEST)

    def lognormal(self, mu: float, sigma: float) -> float:
        """A number whose logarithm is normally distributed with mean `mu` and standard deviation `sigma`."""
        return exp(mu + sigma * self.normal())

    def randrange(self, n: int) -> int:
        """A whole number at least 0 and below `n`.

        Raises:
            ValueError: `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"randrange({n}) has no number to choose from; it needs a positive whole number")
        if n <= _FEW:
            return int(self.random() * n)
        bits = n.bit_length() + 64  # so many that the rounding down favours no number noticeably
        return (self.randbits(bits) * n) >> bits

    def randbits(self, k: int) -> int:
        """A whole number of `k` random bits."""
        words = -(-k // 32)
        value = 0
        for _ in range(words):
            value = value << 32 | int(self.random() * 4294967296.0)
        return value >> (words * 32 - k)

    def randbytes(self, n: int) -> bytes:
        """`n` random bytes."""
        return self.randbits(8 * n).to_bytes(n, "little")

    # -- sequences

    def choice(self, seq: Sequence[_T]) -> _T:
        """One element of `seq`.

        Raises:
            IndexError: `seq` is empty.
        """
        if not seq:
            raise IndexError("cannot choose from an empty sequence")
        return seq[self.randrange(len(seq))]

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Put `items` into random order, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.randrange(last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, seq: Sequence[_T], k: int) -> list[_T]:
        """`k` different elements of `seq`, in random order.

        Raises:
            ValueError: `seq` has fewer than `k` elements, or `k` is negative.
        """
        pool = list(seq)
        if not 0 <= k <= len(pool):
            raise ValueError(f"cannot take a sample of {k} from {len(pool)} elements")
        for place in range(k):
            other = place + self.randrange(len(pool) - place)
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:k]


def _root(seed: int, name: str) -> Any:
    # A seed has no slash, so no two pairs make one text; the block number that follows has a fixed length.
    return blake2b(f"{seed}/{name}".encode())


def _block(root: Any, number: int) -> tuple[float, ...]:
    """Eight numbers, at least 1.0 and below 2.0."""
    block = root.copy()
    block.update(number.to_bytes(8, "little"))
    bits = int.from_bytes(block.digest(), "little") & _FREE_BITS | _HEADS
    return _BLOCK.unpack(bits.to_bytes(_BLOCK_BYTES, "little"))


def _draws(seed: int, name: str) -> Iterator[float]:
    # A generator, because its `__next__` is the cheapest call that Python has.
    root = _root(seed, name)
    for number in count():
        for one in _block(root, number):
            yield one - 1.0
