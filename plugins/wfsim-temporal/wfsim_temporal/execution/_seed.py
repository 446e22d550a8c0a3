"""The seed of a workflow's randomness, as Temporal's Core derives it: SipHash-1-3 of the run id.

Source: ``temporalio/sdk-core``, which hashes the run id with Rust's ``DefaultHasher`` (SipHash 1-3 with zero
keys; a string is followed by the byte 0xff). ``workflow.random()`` and ``workflow.uuid4()`` draw from it, so
only with the same seed does a history pass the real Replayer.
"""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1


def seed_of(run_id: str) -> int:
    """Give the randomness seed of a run."""
    return _siphash13(run_id.encode() + b"\xff")


def _siphash13(data: bytes) -> int:
    state = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    whole = len(data) - len(data) % 8
    for place in range(0, whole, 8):
        state = _absorb(state, struct.unpack_from("<Q", data, place)[0])
    state = _absorb(state, (len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    a, b, c, d = state
    state = (a, b, c ^ 0xFF, d)
    for _ in range(3):
        state = _round(*state)
    a, b, c, d = state
    return a ^ b ^ c ^ d


def _absorb(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    a, b, c, d = state
    a, b, c, d = _round(a, b, c, d ^ word)
    return a ^ word, b, c, d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    # Every run has its seed: as one function it takes half as long as with the rotations in one of their own.
    a = (a + b) & _MASK
    b = (b << 13 | b >> 51) & _MASK ^ a
    c = (c + d) & _MASK
    d = (d << 16 | d >> 48) & _MASK ^ c
    a = ((a << 32 | a >> 32) + d) & _MASK
    d = (d << 21 | d >> 43) & _MASK ^ a
    c = (c + b) & _MASK
    b = (b << 17 | b >> 47) & _MASK ^ c
    return a, b, (c << 32 | c >> 32) & _MASK, d
