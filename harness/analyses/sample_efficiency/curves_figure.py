"""Score by training pairs: a panel per transfer, a line per method with its interval as a band, doublings evenly apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.analyses.sample_efficiency.section import Curve, curves
from harness.report.figures import canvas
from harness.report.scores import Scores, Transfer

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANEL = 1.7
"""Height of a panel, inches."""


def caption(scores: Scores) -> str:
    return (
        f"Score by training pairs: {scores.headline} on {scores.targets[0]}, means over draws with intervals, at the summary layer; "
        "the last point of a line is the fit on all pairs. Orange methods see no labels but for their sign. Dashed: chance."
    )


def draw(scores: Scores, samples: pl.DataFrame | None) -> Figure | None:
    """None if no curve was drawn."""
    if samples is None or samples.is_empty():
        return None
    found: dict[Transfer, dict[str, Curve]] = {}
    for (transfer, probe, target, _), curve in curves(samples, scores.headline).items():
        if target == scores.targets[0]:
            found.setdefault(transfer, {})[probe] = curve
    panels = [transfer for transfer in scores.transfers if transfer in found]
    if not panels:
        return None
    probes = [probe for probe in scores.probes if any(probe in lines for lines in found.values())]
    columns = min(_COLUMNS, len(panels))
    left, top, gap = 0.62, 0.33 + 0.17 * -(-len(probes) // 5), 0.75
    rows = -(-len(panels) // columns)
    width, height = 9.6, top + rows * (_PANEL + gap) - 0.3
    figure = canvas.new_figure(width, height)
    panel = min(3.6, (width - left - 0.1) / columns)
    every = [
        v for lines in found.values() for c in lines.values() for s in c.values() for v in (s.low, s.value, s.high)
    ]
    limits = canvas.value_range(scores, every)
    for i, transfer in enumerate(panels):
        row, column = divmod(i, columns)
        bottom = height - top - row * (_PANEL + gap) - _PANEL
        place = ((left + column * panel) / width, bottom / height, (panel - 0.25) / width, _PANEL / height)
        axes = figure.add_axes(place)
        axes.set_title(canvas.label(transfer.title, 40), fontweight="bold", pad=5)
        axes.set_xlabel("training pairs")
        axes.set_ylim(*limits)
        if column == 0:
            axes.set_ylabel(canvas.axis_label(scores.headline))
        else:
            axes.set_yticklabels([])
        _panel(axes, scores, found[transfer], probes)
    _legend(figure, scores, probes, left / width)
    return figure


def _panel(axes: Axes, scores: Scores, lines: Mapping[str, Curve], probes: Sequence[str]) -> None:
    strokes = canvas.strokes(scores)
    canvas.mark_chance(axes, scores)
    axes.grid(axis="y", color=canvas.GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    sizes = sorted({size for curve in lines.values() for size in curve})
    for probe in (probe for probe in probes if probe in lines):
        curve, stroke = lines[probe], strokes[probe]
        xs = [math.log2(size) for size in curve]
        if all(score.bounded for score in curve.values()):
            low, high = ([getattr(score, side) for score in curve.values()] for side in ("low", "high"))
            axes.fill_between(xs, low, high, color=stroke.color, alpha=0.1, linewidth=0)
        ys = [score.value for score in curve.values()]
        axes.plot(xs, ys, color=stroke.color, linestyle=stroke.dash, linewidth=1.2, marker="o", markersize=2.2)
    axes.set_xticks([math.log2(size) for size in sizes], [_tick(sizes, place) for place in range(len(sizes))])


def _tick(sizes: Sequence[int], place: int) -> str:
    """The size, or nothing where it would run into the next one's."""
    crowded = place + 1 < len(sizes) and math.log2(sizes[place + 1] / sizes[place]) < 0.6
    return "" if crowded else str(sizes[place])


def _legend(figure: Figure, scores: Scores, probes: Sequence[str], left: float) -> None:
    from matplotlib.lines import Line2D

    strokes = canvas.strokes(scores)
    handles = [
        Line2D([], [], color=strokes[p].color, linestyle=strokes[p].dash, linewidth=1.4, label=canvas.label(p))
        for p in probes
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left - 0.01, 1.0),
        ncols=min(5, len(handles)),
        handlelength=2.6,
    )
