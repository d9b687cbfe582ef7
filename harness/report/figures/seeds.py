"""The figure of scores over seeds at the summary layer: two clouds are a finding that a mean would hide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.report.figures import canvas, finding, selection
from harness.report.scores import Scores, Summary, Transfer
from harness.report.wording import listed

_MOST_TRANSFERS, _MOST_METHODS, _MOST_ROWS = 4, 6, 18
_BINS = 40
_BAR = 15.0
"""Height of a factor's bars where all seeds are in one, pixels."""


def caption(scores: Scores) -> str:
    transfers, methods = _shown(scores)
    targets = dict.fromkeys(target for transfer in transfers for target in selection.factors(scores, transfer))
    return (
        f"Where the seeds of each method lie at the summary layer: {scores.headline} on {listed(list(targets))}; the higher a bar, the more "
        f"seeds. Dashed: chance. Over each: how many seeds follow what.{selection.left_out(scores, transfers, methods, scores.seeded)}"
    )


def draw(scores: Scores) -> canvas.Surface | None:
    """Rows are methods with seeds, columns are transfers; None if no method has seeds."""
    transfers, methods = _shown(scores)
    found = {(t, s.probe): s for t in transfers for s in scores.summaries(t) if s.probe in methods}
    if not found:
        return None
    methods = [probe for probe in methods if any(probe == one for _, one in found)]
    factors = {transfer: selection.factors(scores, transfer) for transfer in transfers}
    left = 14 + canvas.LETTER * max(len(canvas.label(probe)) for probe in methods)
    row = 20 + (_BAR + 2) * max(map(len, factors.values()))
    top, wide = 62.0, (canvas.WIDTH - left) / len(transfers)
    surface = canvas.Surface(top + row * len(methods) + 34, _title(found))
    values = {(t, p, f): _values(scores, s, t, f) for (t, p), s in found.items() for f in factors[t]}
    x = left
    for target in dict.fromkeys(target for (_, _, target), several in values.items() if several):
        x = canvas.key(surface, x, 33, canvas.label(target), canvas.factor_of(scores, target))
    limits = canvas.value_range(scores, (value for several in values.values() for value in several))
    for j, transfer in enumerate(transfers):
        panel = canvas.Panel(surface, left + j * wide, top, wide - 18, row * len(methods), limits, (len(methods), 0))
        surface.text(panel.left, top - 8, canvas.heading(transfer, panel.width), "b s")
        panel.scale_below(canvas.ticks(*limits), canvas.axis_label(scores.headline))
        for i, probe in enumerate(methods):
            if (summary := found.get((transfer, probe))) is None:
                continue
            told = finding.told(_counts(summary), most=2)
            for chance in scores.chances(transfer.tested_on, factors[transfer]):
                panel.upright(chance, (i + 20 / row, i + 1))
            surface.text(
                panel.left, top + row * i + 14, canvas.label(told, int(panel.width / (canvas.LETTER - 0.7))), "s q"
            )
            for k, target in enumerate(factors[transfer]):
                base = top + row * i + 20 + (_BAR + 2) * (k + 1) - 2
                _bars(panel, values[transfer, probe, target], base, canvas.look_of(canvas.factor_of(scores, target)))
    for i, probe in enumerate(methods):
        surface.text(left - 8, top + row * (i + 0.5) + 4, canvas.label(probe), "s", "end")
    return surface


def _shown(scores: Scores) -> tuple[list[Transfer], list[str]]:
    transfers = selection.transfers(scores, _MOST_TRANSFERS)
    rows = max((len(selection.factors(scores, transfer)) for transfer in transfers), default=1)
    return transfers, selection.methods(scores, scores.seeded, max(2, min(_MOST_METHODS, _MOST_ROWS // rows)))


def _values(scores: Scores, summary: Summary, transfer: Transfer, target: str) -> list[float]:
    return [seed.value for seed in scores.seeds_by_layer(transfer, summary.probe, target).get(summary.layer, ())]


def _counts(summary: Summary) -> Counter[str]:
    return finding.counted(follows for follows, count in summary.seeds.items() for _ in range(count))


def _title(found: dict[tuple[Transfer, str], Summary]) -> str:
    split = [_counts(summary) for summary in found.values() if len(summary.seeds) > 1]
    if not split:
        return f"The seeds agree on what is followed in all {len(found)} cases"
    return f"The seeds of one method disagree on what is followed in {len(split)} of {len(found)} cases"


def _bars(panel: canvas.Panel, values: Sequence[float], base: float, look: str) -> None:
    """A bar for each part of the axis that holds seeds, as high as their share."""
    low, high = panel.xs
    counts = Counter(min(_BINS - 1, int(_BINS * (v - low) / (high - low))) for v in values if low <= v <= high)
    wide = 2 * panel.width / _BINS
    bars = []
    for b, count in sorted(counts.items()):
        tall = max(3, round(2 * _BAR * count / len(values)))
        bars.append(f"M{round(2 * panel.left + b * wide)} {round(2 * base)}v-{tall}h{max(2, round(wide - 1))}v{tall}z")
    panel.surface.path("".join(bars), f"f {look}")
