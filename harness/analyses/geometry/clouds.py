"""The states' first two principal components, coloured by one factor at a time: what varies most, and is it the truth?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL = 1.7
"""Height of a panel, inches."""
_MOST_ROWS = 400
"""Points of a panel; more would only lie on top of each other."""
_DOT = 0.016
"""Half of a point's side, inches."""


class Scatter(msgspec.Struct, frozen=True):
    """Rows in the plane of their states' first principal components, at one layer."""

    coordinates: np.ndarray
    """(row, 2) or (row, 3)."""
    labels: Mapping[str, Sequence[str]]
    """For each factor, truth first, the class of every row."""
    layer: str = ""


def caption(states: Mapping[str, Scatter]) -> str:
    factors = ", ".join(dict.fromkeys(name for scatter in states.values() for name in scatter.labels))
    return f"First two principal components of the states: the same rows, coloured by {factors}."


def draw(states: Mapping[str, Scatter]) -> Figure | None:
    """Columns are conditions, rows are factors; None without states."""
    if not states:
        return None
    factors = list(dict.fromkeys(name for scatter in states.values() for name in scatter.labels))
    columns = min(_COLUMNS, len(states))
    blocks = -(-len(states) // columns)
    left, top, gap = 0.35, 0.42, 0.34
    block = len(factors) * (_PANEL + gap)
    width, height = 9.6, top + blocks * block
    figure = canvas.new_figure(width, height)
    panel = min(2.6, (width - left - 0.1) / columns)
    for i, (name, scatter) in enumerate(states.items()):
        row, column = divmod(i, columns)
        for j, factor in enumerate(factors):
            bottom = height - top - row * block - j * (_PANEL + gap) - _PANEL
            place = ((left + column * panel) / width, bottom / height, (panel - 0.25) / width, _PANEL / height)
            axes = figure.add_axes(place)
            if j == 0:
                depth = f", layer {scatter.layer}" if scatter.layer else ""
                axes.set_title(canvas.label(f"{name}{depth}"), fontweight="bold", pad=14)
            _panel(axes, scatter, scatter.labels.get(factor, ()), (panel - 0.25, _PANEL))
            if column == 0:
                axes.set_ylabel(canvas.label(factor))
    return figure


def _panel(axes: Axes, scatter: Scatter, labels: Sequence[str], size: tuple[float, float]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    points = scatter.coordinates[:_MOST_ROWS, :2]
    lows, highs = points.min(axis=0), points.max(axis=0)
    spans = [float(span) or 1.0 for span in highs - lows]
    axes.set_xlim(float(lows[0]) - 0.04 * spans[0], float(highs[0]) + 0.04 * spans[0])
    axes.set_ylim(float(lows[1]) - 0.04 * spans[1], float(highs[1]) + 0.04 * spans[1])
    wide, high = (1.08 * span * _DOT / inches for span, inches in zip(spans, size, strict=True))
    shown = labels[:_MOST_ROWS]
    at = 0.0
    for k, label in enumerate(sorted(set(shown))):
        chosen = [point for point, other in zip(points.tolist(), shown, strict=False) if other == label]
        color = canvas.class_color(k)
        canvas.boxes(axes, [(x - wide, y - high, x + wide, y + high) for x, y in chosen], color, 0.7)
        name = canvas.label(label, 14)
        axes.text(at, 1.015, name, transform=axes.transAxes, color=color, fontsize=7, va="bottom")
        at += 0.06 + 0.035 * len(name)


def scatters(states: pl.DataFrame) -> dict[str, Scatter]:
    """The rows of states.parquet by condition."""
    from harness.analyses.geometry.measures import COORDINATES, FACTOR

    result = {}
    for (name,), rows in states.group_by("condition", maintain_order=True):
        factors = [column for column in rows.columns if column.startswith(FACTOR) and rows[column].null_count() == 0]
        result[str(name)] = Scatter(
            coordinates=np.stack([rows[column].to_numpy() for column in COORDINATES], axis=1),
            labels={column.removeprefix(FACTOR): rows[column].to_list() for column in factors},
            layer=rows["layer"][0],
        )
    return result
