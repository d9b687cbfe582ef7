"""Pairs of different whole numbers, drawn by hash."""

from __future__ import annotations

from harness.errors import DataError
from harness.maths.draws import draw


def number_pairs(count: int, low: int, high: int, seed: int) -> list[tuple[int, int]]:
    """`count` different unordered pairs of two different numbers in low…high, smaller first.

    A larger count keeps the pairs of a smaller one. Raises DataError when the range has too few.
    """
    span = max(high - low + 1, 0)
    possible = span * (span - 1) // 2
    if span < 2 or possible < count:
        raise DataError(
            f"data.source: {low} to {high} has {possible} pairs of different numbers, and {count} are needed; "
            "lower `size`, or widen `low` … `high`"
        )
    pairs: dict[tuple[int, int], None] = {}
    if 2 * count > possible:
        # Most pairs are wanted: drawing until the last one turns up would take long.
        every = [(a, b) for a in range(low, high + 1) for b in range(a + 1, high + 1)]
        return sorted(every, key=lambda pair: (draw(seed, *pair), pair))[:count]
    attempt = 0
    while len(pairs) < count:
        a, b = low + draw(seed, attempt, "a") % span, low + draw(seed, attempt, "b") % span
        attempt += 1
        if a != b:
            pairs[min(a, b), max(a, b)] = None
    return list(pairs)
