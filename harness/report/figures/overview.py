"""The overview figure: every method's score on every factor at its summary layer, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.figures import canvas
from harness.report.scores import Scores, Transfer
from harness.report.wording import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = "Which method finds what: {metric} on {targets} at the summary layer, with intervals. Dashed: chance."

_COLUMNS = 4
_ROW, _MARK = 0.12, 0.06
"""Height of a method's row, and what every factor's mark adds to it, inches."""


def caption(scores: Scores) -> str:
    return CAPTION.format(metric=scores.headline, targets=listed(scores.targets))


def draw(scores: Scores) -> Figure:
    """Panels are transfers, rows are methods, marks are factors."""
    columns = min(_COLUMNS, len(scores.transfers))
    lines = -(-len(scores.transfers) // columns)
    names = max(len(canvas.label(probe)) for probe in scores.probes)
    left, top, gap = 0.3 + 0.066 * names, 0.5, 0.62
    body = (_ROW + _MARK * len(scores.targets)) * len(scores.probes) + 0.12
    width, height = 9.6, top + lines * (body + gap) - 0.14
    figure = canvas.new_figure(width, height)
    panel = (width - left - 0.15) / columns
    xs = [v for t in scores.transfers for s in scores.summaries(t) for c in s.scores.values() for v in (c.low, c.high)]
    xs += [c.value for t in scores.transfers for s in scores.summaries(t) for c in s.scores.values()]
    limits = canvas.value_range(scores, xs)
    for i, transfer in enumerate(scores.transfers):
        line, column = divmod(i, columns)
        bottom = height - top - line * (body + gap) - body
        axes = figure.add_axes(
            ((left + column * panel) / width, bottom / height, (panel - 0.18) / width, body / height)
        )
        _panel(axes, scores, transfer, named=column == 0)
        axes.set_xlim(*limits)
        if i + columns >= len(scores.transfers):
            axes.set_xlabel(canvas.axis_label(scores.headline))
    _legend(figure, scores, left / width)
    return figure


def _panel(axes: Axes, scores: Scores, transfer: Transfer, *, named: bool) -> None:
    probes = scores.probes
    summaries = {summary.probe: summary for summary in scores.summaries(transfer)}
    axes.set_title(canvas.label(transfer.title), fontweight="bold", pad=5)
    axes.set_ylim(len(probes) - 0.45, -0.55)
    axes.set_yticks(range(len(probes)), [canvas.label(probe) for probe in probes] if named else [""] * len(probes))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for y in range(len(probes)):
        axes.axhspan(y - 0.5, y + 0.5, color="#f6f8fa" if y % 2 else "white", linewidth=0, zorder=0)
    canvas.mark_chance(axes, scores, vertical=True)
    spread = (0.34 if len(scores.targets) < 3 else 0.62) / max(1, len(scores.targets) - 1)
    for j, target in enumerate(scores.targets):
        color = canvas.target_color(scores, target)
        for y, probe in enumerate(probes):
            score = summaries[probe].scores.get(target) if probe in summaries else None
            if score is None:
                continue
            height = y + (j - (len(scores.targets) - 1) / 2) * spread
            if score.bounded:
                axes.plot([score.low, score.high], [height, height], color=color, linewidth=1.1, solid_capstyle="butt")
            axes.plot(
                [score.value], [height], marker=canvas.target_marker(scores, target), markersize=4, color=color,
                markeredgecolor="white", markeredgewidth=0.4,
            )  # fmt: skip


def _legend(figure: Figure, scores: Scores, left: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=canvas.target_color(scores, t), marker=canvas.target_marker(scores, t), markersize=4.5,
               linewidth=1.1, label=canvas.label(t))
        for t in scores.targets
    ]  # fmt: skip
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(left - 0.01, 1.0), ncols=len(handles))
