"""Numbers and lists as words: the one place that decides how many digits a reader sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.report.intervals import Score


def number(value: float) -> str:
    """Two decimals, or two significant digits where two decimals would show nothing."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and abs(value) < 0.01:
        shown = f"{value:.2g}"
    elif abs(value) >= 1e6:
        shown = f"{value:.3g}"
    else:
        shown = f"{value:.2f}"
    return shown.replace("-", "−") if float(shown) else shown.lstrip("-")


def interval(score: Score) -> str:
    """`[0.81, 0.88]`, or nothing where there is none."""
    return f"[{number(score.low)}, {number(score.high)}]" if score.bounded else ""


def evidence(score: Score) -> str:
    """`0.85 [0.81, 0.88]`."""
    return " ".join(filter(None, (number(score.value), interval(score))))


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)
