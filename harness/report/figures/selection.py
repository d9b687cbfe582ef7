"""What a figure shows where a report has more than one can see: chosen by what the spec asks for and by no number.

A choice by numbers would change from run to run, and with it every line of the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from harness.report.outline import TRUTH
from harness.report.scores import Scores, Transfer

T = TypeVar("T")

MOST_FACTORS = 8
"""Series of one panel."""
_ALL, _FEW = 4, 3
"""Up to so many factors, all are shown; of more, the truth and what stands in the prompts, or so many where nothing does."""


def transfers(scores: Scores, most: int) -> list[Transfer]:
    """In the spec's order: conditions with something to be misled by first, tested where they were fitted; pairs of two conditions take
    half of the place, evenly from all of them."""
    every = scores.transfers
    if len(every) <= most:
        return list(every)
    same = [t for t in every if t.fit_on == t.tested_on]
    misled = [t for t in same if scores.outline.standing.get(t.tested_on)]
    cross = [t for t in every if t not in same]
    own = [*misled, *(t for t in same if t not in misled)]
    half = max(most - len(cross), min(len(own), most - most // 2)) if own else 0
    kept = [*own[:half], *_spread(cross, most - min(half, len(own)))]
    return [t for t in every if t in kept]


def methods(scores: Scores, named: Sequence[str], most: int) -> list[str]:
    """In the spec's order: in turn one that sees no labels, one that does, and a baseline."""
    if len(named) <= most:
        return list(named)
    families = [[p for p in named if scores.role(p) == role] for role in ("no labels", "labels", "baseline")]
    turns = [p for turn in range(len(named)) for family in families for p in family[turn : turn + 1]]
    return [p for p in named if p in turns[:most]]


def factors(scores: Scores, transfer: Transfer, few: int = _FEW) -> list[str]:
    """The truth, what stands in the prompts that are tested, and others where there is place."""
    if len(scores.targets) <= _ALL and few == _FEW:
        return list(scores.targets)
    standing = scores.outline.standing.get(transfer.tested_on, ())
    first = [t for t in scores.targets if t == TRUTH or t in standing][:MOST_FACTORS]
    kept = [*first, *[t for t in scores.targets if t not in first][: max(0, few - len(first))]]
    return [t for t in scores.targets if t in kept]


def left_out(scores: Scores, shown: Sequence[Transfer], named: Sequence[str], of: Sequence[str]) -> str:
    """A sentence on what there was no place for; empty where there was for all."""
    parts = []
    if lacking := len(of) - len(named):
        parts.append(f"{lacking} {'method' if lacking == 1 else 'methods'}")
    if lacking := len(scores.transfers) - len(shown):
        parts.append(f"{lacking} {'pair' if lacking == 1 else 'pairs'} of conditions")
    return f" Left out: {' and '.join(parts)}; report.html has all." if parts else ""


def _spread(items: Sequence[T], count: int) -> list[T]:
    """So many, the first and the last among them."""
    if count >= len(items):
        return list(items)
    return [items[round(k * (len(items) - 1) / max(1, count - 1))] for k in range(count)]
