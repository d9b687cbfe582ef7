"""What a figure shows, in a few words: how often which factor is followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.report.figures import canvas
from harness.report.scores import NEITHER, UNCLEAR

_WORDS = {NEITHER: "none", UNCLEAR: "unclear", "": "unclear"}


def counted(follows: Iterable[str]) -> Counter[str]:
    """By the factor that is followed, in words; factors that cannot be told apart are counted as the first of them, which is said."""
    return Counter(_WORDS.get(one) or canvas.label(_first(one), 30) for one in follows)


def _first(follows: str) -> str:
    name, among, _ = follows.partition(" and ")
    return f"{name} or others" if among else name


def told(counts: Counter[str], between: str = " ", most: int = 3) -> str:
    """`word 4, truth 2 of 8`: the factors, the most frequent first; what is none of them only where there is no factor."""
    if not counts:
        return ""
    named = {name: count for name, count in counts.items() if name not in _WORDS.values()} or counts
    shown = sorted(named.items(), key=lambda item: (-item[1], item[0]))[:most]
    return ", ".join(f"{name}{between}{count}" for name, count in shown) + f" of {counts.total()}"
