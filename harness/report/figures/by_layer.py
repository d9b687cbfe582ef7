"""The figure of scores by layer: a panel per transfer and factor, a line per method with its interval as a band. Below them, where it can be
seen, the noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.figures import canvas
from harness.report.scores import ALL_LAYERS, Scores, Transfer
from harness.report.wording import listed
from harness.scoring.noise_floor import BOUND, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Score by layer: {metric} on {targets}, means over seeds with intervals. Orange methods see no labels, blue ones do, grey "
    "ones are baselines. Dashed: chance."
)
_NOISE = " Below: how far arithmetic moves x⁺ − x⁻, larger of the two conditions; dotted: {bound}, beyond which a check is inconclusive."
_COLUMNS = 4
_MOST_BANDS = 12
"""With more methods the bands hide the lines; results.csv has the intervals."""
_PANEL = 1.45
"""Height of a panel, inches."""
_STRIP = 0.5
"""Height of the strip with the noise floor, inches."""


def caption(scores: Scores) -> str:
    noise = _NOISE.format(bound=percent(BOUND)) if scores.noise.shows else ""
    return CAPTION.format(metric=scores.headline, targets=listed(scores.targets)) + noise


def draw(scores: Scores) -> Figure:
    """Columns are transfers, rows are factors; more than four transfers go on below."""
    columns = min(_COLUMNS, len(scores.transfers))
    blocks = -(-len(scores.transfers) // columns)
    targets = scores.targets
    legend_rows = -(-len(scores.probes) // 5)
    left, top, gap, foot = 0.62, 0.33 + 0.17 * legend_rows, 0.18, 0.55
    strip = _STRIP + gap if scores.noise.shows else 0.0
    block = len(targets) * (_PANEL + gap) + strip + foot
    width, height = 9.6, top + blocks * block - 0.25
    figure = canvas.new_figure(width, height)
    panel = (width - left - 0.1) / columns
    strokes = canvas.strokes(scores)
    limits = canvas.value_range(scores, _extremes(scores))
    for i, transfer in enumerate(scores.transfers):
        row, column = divmod(i, columns)
        for j, target in enumerate(targets):
            bottom = height - top - row * block - j * (_PANEL + gap) - _PANEL
            place = ((left + column * panel) / width, bottom / height, (panel - 0.2) / width, _PANEL / height)
            axes = figure.add_axes(place)
            _panel(axes, scores, transfer, target, strokes)
            axes.set_ylim(*limits)
            if j == 0:
                axes.set_title(canvas.label(transfer.title), fontweight="bold", pad=5)
            if j == len(targets) - 1 and strip:
                axes.set_xticklabels([])
                below = (place[0], (bottom - strip) / height, place[2], _STRIP / height)
                _noise(figure.add_axes(below), scores, transfer, labelled=column == 0)
            elif j == len(targets) - 1:
                axes.set_xlabel("layer")
            else:
                axes.set_xticklabels([])
            if column == 0:
                axes.set_ylabel(f"{canvas.axis_label(scores.headline)} on {canvas.label(target)}")
            else:
                axes.set_yticklabels([])
    _legend(figure, scores, strokes, left / width)
    return figure


def _panel(axes: Axes, scores: Scores, transfer: Transfer, target: str, strokes: dict[str, canvas.Stroke]) -> None:
    canvas.mark_chance(axes, scores)
    axes.grid(axis="y", color=canvas.GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    depth = _depth(scores, transfer)
    banded = len(scores.probes) <= _MOST_BANDS
    # Baselines and labelled ceilings first: the unlabelled methods, which are in question, lie on top.
    order = sorted(scores.probes, key=lambda probe: ("baseline", "labels", "no labels").index(scores.role(probe)))
    for probe in order:
        line = scores.by_layer(transfer, probe, target)
        stroke = strokes[probe]
        if ALL_LAYERS in line:
            xs, cells = [0, depth], [line[ALL_LAYERS]] * 2
        else:
            xs, cells = [int(layer) for layer in line], list(line.values())
        if not xs:
            continue
        if banded and all(cell.bounded for cell in cells):
            low, high = [c.low for c in cells], [c.high for c in cells]
            axes.fill_between(xs, low, high, color=stroke.color, alpha=0.1, linewidth=0)
        marker = "o" if len(xs) == 1 else ""
        axes.plot(
            xs,
            [c.value for c in cells],
            color=stroke.color,
            linestyle=stroke.dash,
            linewidth=1.2,
            marker=marker,
            markersize=3,
        )
    axes.set_xlim(-0.02 * max(depth, 1), 1.02 * max(depth, 1))


def _noise(axes: Axes, scores: Scores, transfer: Transfer, labelled: bool) -> None:
    depth = max(_depth(scores, transfer), 1)
    line = scores.noise.of((transfer.fit_on, transfer.tested_on))
    axes.axhline(BOUND, color=canvas.GRID, linestyle=":", linewidth=1)
    axes.plot([*line], [*line.values()], color=canvas.INK, linewidth=1)
    axes.set_xlim(-0.02 * depth, 1.02 * depth)
    axes.set_ylim(0, 1.1 * max(BOUND, *scores.noise.by_place.values()))
    axes.set_xlabel("layer")
    if labelled:
        axes.set_ylabel("noise")
    else:
        axes.set_yticklabels([])


def _depth(scores: Scores, transfer: Transfer) -> int:
    found = (scores.by_layer(transfer, probe, target) for probe in scores.probes for target in scores.targets)
    return max((int(layer) for line in found for layer in line if layer != ALL_LAYERS), default=1)


def _extremes(scores: Scores) -> list[float]:
    return [
        value
        for transfer in scores.transfers
        for probe in scores.probes
        for target in scores.targets
        for cell in scores.by_layer(transfer, probe, target).values()
        for value in (cell.low, cell.value, cell.high)
    ]


def _legend(figure: Figure, scores: Scores, strokes: dict[str, canvas.Stroke], left: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=strokes[p].color, linestyle=strokes[p].dash, linewidth=1.4, label=canvas.label(p))
        for p in scores.probes
    ]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left - 0.01, 1.0),
        ncols=min(5, len(handles)),
        handlelength=2.6,
    )
