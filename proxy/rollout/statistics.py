"""What a count of failures says about the ratio behind it: exact one-sided binomial bounds. Pure.

C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
Biometrika 26 (1934) 404-413. The binomial distribution function is the regularised incomplete beta function (NIST
DLMF 8.17.5), here by its continued fraction (DLMF 8.17.22) with the modified Lentz method (Numerical Recipes 6.4).
Neighbour: `checks` asks.
"""

import math
from collections.abc import Callable
from typing import Final

_TINY: Final = 1e-300
_PRECISION: Final = 1e-14
_MOST_TERMS: Final = 100_000
_BISECTIONS: Final = 100
_MOST_SAMPLES: Final = 1 << 50


def at_most(failures: int, total: int, ratio: float) -> float:
    """The probability of so few failures or fewer among `total`, if `ratio` of all fail."""
    if failures >= total:
        return 1.0
    if failures < 0:
        return 0.0
    return _incomplete_beta(total - failures, failures + 1, 1.0 - ratio)


def at_least(failures: int, total: int, ratio: float) -> float:
    """The probability of so many failures or more among `total`, if `ratio` of all fail."""
    if failures <= 0:
        return 1.0
    if failures > total:
        return 0.0
    return _incomplete_beta(failures, total - failures + 1, ratio)


def surely_below(failures: int, total: int, bound: float, confidence: float) -> bool:
    """Whether the upper confidence bound of the ratio is at most `bound`. Without samples it is not."""
    return total > 0 and at_most(failures, total, bound) <= 1.0 - confidence


def surely_above(failures: int, total: int, bound: float, confidence: float) -> bool:
    """Whether the lower confidence bound of the ratio is above `bound`. Without samples it is not."""
    return total > 0 and at_least(failures, total, bound) < 1.0 - confidence


def upper_bound(failures: int, total: int, confidence: float) -> float:
    """The Clopper-Pearson upper bound of the ratio; 1 when nothing or everything failed to be seen to work."""
    if failures >= total:
        return 1.0
    return _least(lambda ratio: at_most(failures, total, ratio) <= 1.0 - confidence)


def lower_bound(failures: int, total: int, confidence: float) -> float:
    """The Clopper-Pearson lower bound of the ratio; 0 without failures."""
    if failures <= 0 or total <= 0:
        return 0.0
    return _least(lambda ratio: at_least(failures, total, ratio) >= 1.0 - confidence)


def samples_needed(failures: int, bound: float, confidence: float) -> int:
    """The least total with which `failures` of them still leave the ratio surely below `bound` (above 0)."""
    low, high = failures, failures + 1
    while not surely_below(failures, high, bound, confidence):
        low, high = high, high * 2
        if high > _MOST_SAMPLES:
            return high
    while high - low > 1:
        middle = (low + high) // 2
        if surely_below(failures, middle, bound, confidence):
            high = middle
        else:
            low = middle
    return high


def _least(holds: Callable[[float], bool]) -> float:
    """The least ratio from which on a condition holds."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), for positive a and b."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x),
    )
    if x < (a + 1.0) / (a + b + 2.0):  # where the fraction converges fast
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, 1.0 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        value *= d * c
        if abs(d * c - 1.0) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
