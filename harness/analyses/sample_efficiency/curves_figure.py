"""Score by training pairs: a panel per method and transfer, a line per factor with its interval as a band, doublings evenly apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.analyses.sample_efficiency.section import curves, needed
from harness.report.figures import canvas, grid, selection
from harness.report.intervals import Score
from harness.report.outline import TRUTH
from harness.report.scores import Scores, Transfer

if TYPE_CHECKING:
    import polars as pl

_MOST_TRANSFERS, _MOST_METHODS = 3, 5
Panels = dict[tuple[str, Transfer], dict[str, dict[float, Score]]]


def caption(scores: Scores) -> str:
    return (
        f"Score by training pairs: {scores.headline}, means over draws with intervals, at the summary layer; the last point of a line is "
        "the fit on all pairs. Dashed: chance. Over each panel: the pairs from which on the truth is found as well as from all."
    )


def draw(scores: Scores, samples: pl.DataFrame | None) -> canvas.Surface | None:
    """None if no curve was drawn."""
    if samples is None or samples.is_empty():
        return None
    panels: Panels = {}
    enough: dict[tuple[str, Transfer], str] = {}
    for (transfer, probe, target, _), curve in curves(samples, scores.headline).items():
        if target in selection.factors(scores, transfer) and len(curve) > 1:
            panels.setdefault((probe, transfer), {})[target] = {math.log2(size): score for size, score in curve.items()}
            if target == TRUTH and scores.chance is not None:
                least = needed(curve, scores.chance)
                enough[probe, transfer] = "truth not found" if least is None else f"truth from {least} pairs on"
    panels = _shown(scores, panels)
    if not panels:
        return None
    told = {place: enough.get(place, "truth not measured") for place in panels}
    lacking = Counter(told.values())["truth not found"]
    return grid.draw(
        scores,
        grid.Grid(
            title=f"Of {len(panels)} cases, more training pairs lead to the truth in {len(panels) - lacking}",
            across="training pairs",
            ticks=_named,
            panels=panels,
            told=told,
        ),
    )


def _shown(scores: Scores, panels: Panels) -> Panels:
    transfers = [t for t in scores.transfers if any(t == one for _, one in panels)]
    probes = [p for p in scores.probes if any(p == one for one, _ in panels)]
    kept = [t for t in selection.transfers(scores, len(scores.transfers)) if t in transfers][:_MOST_TRANSFERS]
    methods = selection.methods(scores, probes, _MOST_METHODS)
    return {(p, t): lines for (p, t), lines in panels.items() if t in kept and p in methods}


def _named(places: Sequence[float]) -> dict[float, str]:
    """The sizes from the largest on, but for those that would run into one that is named."""
    named: list[float] = []
    for place in reversed(places):
        if not named or named[-1] - place >= 0.16 * (places[-1] - places[0]):
            named.append(place)
    return {place: f"{round(2**place)}" for place in reversed(named)}
