"""Questions about which of two numbers is larger, as Alice and Bob answer them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.data._order import draw
from harness.data._quirky import Question

PAIRS = 1600
"""Pairs of numbers; each is asked about both ways round."""

LOW, HIGH = 11, 99


def pairs() -> list[tuple[int, int]]:
    """Pairs of two-digit numbers whose last digits differ, the smaller number first.

    As many in which the larger number ends with the larger digit as in which it does not: so what Bob says is
    independent of the truth.
    """
    everything = [(a, b) for a in range(LOW, HIGH + 1) for b in range(a + 1, HIGH + 1) if a // 10 != b // 10]
    ordered = sorted(everything, key=lambda pair: draw("comparisons", *pair))
    agreeing = [pair for pair in ordered if pair[0] % 10 < pair[1] % 10]
    contrary = [pair for pair in ordered if pair[0] % 10 > pair[1] % 10]
    return sorted(agreeing[: PAIRS // 2] + contrary[: PAIRS // 2])


def questions(chosen: Sequence[tuple[int, int]], seed: int) -> list[Question]:
    """Both ways round of each pair. Bob compares the last digits only."""
    del seed
    return [
        Question(
            text=f"Is {a} larger than {b}?",
            example=f"{a} > {b}",
            group=f"{low}, {high}",
            truth=int(a > b),
            bob=int(a % 10 > b % 10),
            # Numbers that are close are harder to tell apart.
            hardness=-float(high - low),
        )
        for low, high in chosen
        for a, b in ((high, low), (low, high))
    ]
