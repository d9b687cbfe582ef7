"""A value with its interval, and when two of them are apart."""

from __future__ import annotations

import math

import msgspec

_ROUNDING = 1e-4
"""Tables have four decimals."""


class Score(msgspec.Struct, frozen=True):
    """A value with its interval; `low` and `high` are NaN when there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def bounded(self) -> bool:
        """Whether there is an interval that holds the value. A table that was edited by hand may have one that does not."""
        finite = math.isfinite(self.value) and math.isfinite(self.low) and math.isfinite(self.high)
        return finite and self.low - _ROUNDING <= self.value <= self.high + _ROUNDING

    def less(self, much: float) -> Score:
        """The value and its interval, moved down."""
        return Score(self.value - much, self.low - much, self.high - much)


def apart(a: Score, b: Score) -> bool:
    """Whether the interval of a − b excludes zero; never where an interval is missing.

    The interval is made from the two given ones by squaring and adding the sides that face each other (Newcombe 1998,
    method 10), as if the two were independent. That is right for different factors of the same rows, which are drawn
    independently, and cautious for two runs on the same rows.
    """
    return a.bounded and b.bounded and abs(a.value - b.value) > reach(a, b)


def reach(a: Score, b: Score, correlation: float = 0.0) -> float:
    """The half that faces zero of the interval of a − b, whose correlation may be known (Zou & Donner 2008)."""
    upper, lower = (a, b) if a.value >= b.value else (b, a)
    down, up = max(upper.value - upper.low, 0), max(lower.high - lower.value, 0)
    return math.sqrt(max(down * down + up * up - 2 * correlation * down * up, 0.0))
