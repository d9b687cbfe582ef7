"""Comparing two scores: the difference, its interval, and the sentence about it."""

from __future__ import annotations

from harness.checks._of_probe import above, judged, number
from harness.contracts import Judgement
from harness.estimate import Measured, difference


def compared(
    one: Measured, other: Measured, *, metric: str, this: str, that: str, where: str, margin: float = 0.0
) -> Judgement:
    """Whether `one` scores above `other` by more than `margin`; the names are for the sentence."""
    gap = difference(one, other)
    values = [number(float(side.value.mean())) for side in (one, other)]
    statement = f"{metric} of {this} ({values[0]}) minus that of {that} ({values[1]}), {where}"
    finding = above(gap, margin)
    bar = f"{margin:g}".replace("-", "−")
    rule = {
        "pass": f"the whole interval is above {bar}",
        "fail": f"no part of the interval is above {bar}",
        "inconclusive": f"{bar} lies within the interval",
    }[finding]
    return judged(finding, gap, margin, statement, rule)
