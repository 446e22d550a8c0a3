"""Logarithm, exponential and the normal distribution's quantiles, equal to the last bit on every machine.

`math.log` and `math.exp` come from the platform's C library and may differ in the last digit between two of
them; one digit is enough to swap two events and to change a history's fingerprint. What IEEE 754 defines
exactly (the four operations, square root, `frexp`, `ldexp`) is the same everywhere, and all of this is
built on it alone.

Sources: the algorithms of fdlibm (`e_log.c`, `e_exp.c`; Sun Microsystems, 1993), whose error is below one
unit in the last place, and Wichura's algorithm AS 241 (Applied Statistics 37, 1988).
"""

from __future__ import annotations

from math import frexp, ldexp, sqrt

_SQRT_HALF = 0.7071067811865476
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_LOG2_E = 1.44269504088896338700e00
_UNDERFLOW = -750.0
_CENTRAL, _NEAR = 0.425, 5.0


def log(x: float) -> float:
    """The natural logarithm of a positive, finite number."""
    m, k = frexp(x)
    if m < _SQRT_HALF:
        m += m
        k -= 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    even = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + odd + even) + k * _LN2_LOW)) - f)


def exp(x: float) -> float:
    """The number e to the power of `x`; 0.0 where that is too small for a float.

    Raises:
        OverflowError: it is too large for a float (`x` above 709.78).
    """
    if x < _UNDERFLOW:
        return 0.0
    k = int(_LOG2_E * x + (0.5 if x >= 0.0 else -0.5))
    high = x - k * _LN2_HIGH
    low = k * _LN2_LOW
    r = high - low
    t = r * r
    fine = 6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
    c = r - t * (1.66666666666666019037e-01 + t * (-2.77777777770155933842e-03 + t * fine))
    return ldexp(1.0 - ((low - (r * c) / (2.0 - c)) - high), k)


# Numerator and denominator of AS 241's three rational functions, highest power first.
_CENTRE = (
    (
        2509.0809287301226727,
        33430.575583588128105,
        67265.770927008700853,
        45921.953931549871457,
        13731.693765509461125,
        1971.5909503065514427,
        133.14166789178437745,
        3.387132872796366608,
    ),
    (
        5226.495278852854561,
        28729.085735721942674,
        39307.89580009271061,
        21213.794301586595867,
        5394.1960214247511077,
        687.1870074920579083,
        42.313330701600911252,
        1.0,
    ),
)
_MIDDLE = (
    (
        7.7454501427834140764e-4,
        0.0227238449892691845833,
        0.24178072517745061177,
        1.27045825245236838258,
        3.64784832476320460504,
        5.7694972214606914055,
        4.6303378461565452959,
        1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9,
        5.475938084995344946e-4,
        0.0151986665636164571966,
        0.14810397642748007459,
        0.68976733498510000455,
        1.6763848301838038494,
        2.05319162663775882187,
        1.0,
    ),
)
_FAR = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        0.0012426609473880784386,
        0.026532189526576123093,
        0.29656057182850489123,
        1.7848265399172913358,
        5.4637849111641143699,
        6.6579046435011037772,
    ),
    (
        2.04426310338993978564e-15,
        1.4215117583164458887e-7,
        1.8463183175100546818e-5,
        7.868691311456132591e-4,
        0.0148753612908506148525,
        0.13692988092273580531,
        0.59983220655588793769,
        1.0,
    ),
)


def normal_quantile(p: float) -> float:
    """The value below which a standard normal variable stays with probability `p` (between 0 and 1)."""
    q = p - 0.5
    if -_CENTRAL <= q <= _CENTRAL:
        return q * _ratio(_CENTRE, 0.180625 - q * q)
    r = sqrt(-log(p if q < 0.0 else 1.0 - p))
    x = _ratio(_MIDDLE, r - 1.6) if r <= _NEAR else _ratio(_FAR, r - 5.0)
    return -x if q < 0.0 else x


def _ratio(terms: tuple[tuple[float, ...], tuple[float, ...]], r: float) -> float:
    (a7, a6, a5, a4, a3, a2, a1, a0), (b7, b6, b5, b4, b3, b2, b1, b0) = terms
    above = ((((((a7 * r + a6) * r + a5) * r + a4) * r + a3) * r + a2) * r + a1) * r + a0
    below = ((((((b7 * r + b6) * r + b5) * r + b4) * r + b3) * r + b2) * r + b1) * r + b0
    return above / below
