"""FarmHash's 32-bit fingerprint: by it the server chooses which workflow ids go to a version that is ramped up.

Source: Google's FarmHash (``farmhashmk::Hash32``), which the server uses by way of ``go-farm``.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final

_MASK: Final = 0xFFFFFFFF
_C1: Final = 0xCC9E2D51
_C2: Final = 0x1B873593
_STEP: Final = 20


def fingerprint32(data: bytes) -> int:
    """Give the fingerprint of some bytes, from 0 to 2**32 - 1."""
    size = len(data)
    if size <= 4:  # noqa: PLR2004 - FarmHash's own classes of length; so too below
        return _of_most_4(data)
    if size <= 12:  # noqa: PLR2004
        return _of_most_12(data)
    if size <= 24:  # noqa: PLR2004
        return _of_most_24(data)
    return _of_many(data)


def _word(data: bytes, place: int) -> int:
    return int(unpack_from("<I", data, place)[0])


def _turned(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << (32 - by)) & _MASK


def _scrambled(value: int) -> int:
    return _turned(value * _C1, 17) * _C2 & _MASK


def _fed(state: int) -> int:
    return (_turned(state, 19) * 5 + 0xE6546B64) & _MASK


def _mur(value: int, state: int) -> int:
    return _fed(state ^ _scrambled(value))


def _mixed(state: int) -> int:
    state = (state ^ state >> 16) * 0x85EBCA6B & _MASK
    state = (state ^ state >> 13) * 0xC2B2AE35 & _MASK
    return state ^ state >> 16


def _of_most_4(data: bytes) -> int:
    b, c = 0, 9
    for byte in data:
        signed = byte - 256 if byte > 127 else byte  # noqa: PLR2004 - FarmHash reads bytes with a sign
        b = (b * _C1 + signed) & _MASK
        c ^= b
    return _mixed(_mur(b, _mur(len(data), c)))


def _of_most_12(data: bytes) -> int:
    size = len(data)
    a, b = size + _word(data, 0), size * 5 + _word(data, size - 4)
    c = 9 + _word(data, size >> 1 & 4)
    return _mixed(_mur(c & _MASK, _mur(b & _MASK, _mur(a & _MASK, size * 5))))


def _of_most_24(data: bytes) -> int:
    size = len(data)
    a, b, c = _word(data, (size >> 1) - 4), _word(data, 4), _word(data, size - 8)
    d, e, f = _word(data, size >> 1), _word(data, 0), _word(data, size - 4)
    state = (d * _C1 + size) & _MASK
    a = _turned(a, 12) + f
    state = (_mur(c, state) + a) & _MASK
    a = _turned(a, 3) + c
    state = (_mur(e, state) + a) & _MASK
    a = _turned(a + f, 12) + d
    return _mixed((_mur(b, state) + a) & _MASK)


def _of_many(data: bytes) -> int:
    size = len(data)
    h, g = size, _C1 * size & _MASK
    f = (_turned(g + _scrambled(_word(data, size - 20)), 19) + 113) & _MASK
    for back in (4, 16):
        h = _fed(h ^ _scrambled(_word(data, size - back)))
    for back in (8, 12):
        g = _fed(g ^ _scrambled(_word(data, size - back)))
    for place in range(0, (size - 1) // _STEP * _STEP, _STEP):
        a, b, c, d, e = unpack_from("<5I", data, place)
        h = (_mur(d, (h + a) & _MASK) + e) & _MASK
        g, f = (
            (_mur(c, (g + b) & _MASK) + a) & _MASK,
            (_mur((b + e * _C1) & _MASK, (f + c) & _MASK) + d) & _MASK,
        )
        f = (f + g) & _MASK
        g = (g + f) & _MASK
    for by in (11, 17):
        g, f = _turned(g, by) * _C1 & _MASK, _turned(f, by) * _C1 & _MASK
    for other in (g, f):
        h = _turned(_fed(h + other), 17) * _C1 & _MASK
    return h
