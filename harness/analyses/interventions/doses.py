"""Dose and response: the network's own log-odds against how far its states were moved along a direction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.report.figures import canvas
from harness.report.scores import Transfer

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Dose and response: mean log-odds of the second answer (up) against how far the states were moved along a probe's direction "
    "(across, in standard deviations), with intervals. Dashed: along the difference of the class means of the very states that are "
    "moved. Grey: the range of random directions of the same length. A line that stays within the grey is a direction that does not act."
)
PROBE, THERE = "probe", "there"
_COLUMNS = 4
_PANEL = 1.5
"""Height of a panel, inches."""


def draw(frame: pl.DataFrame | None) -> Figure | None:
    """A panel for each place and token, a line for each probe; None if nothing was steered."""
    import polars as pl

    if frame is None or (steered := frame.filter(pl.col("by") == "steer", pl.col("measure") == "log_odds")).is_empty():
        return None
    places = ("fit_on", "tested_on", "probe", "layer", "token")
    panels = list(steered.group_by(*places, maintain_order=True))
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    left, top, gap = 0.6, 0.45, 0.8
    width, height = 9.6, top + lines * (_PANEL + gap) - 0.2
    figure = canvas.new_figure(width, height)
    panel = min(3.0, (width - left - 0.1) / columns)
    for i, (key, rows) in enumerate(panels):
        fit_on, tested_on, probe, layer, token = map(str, key)
        line, column = divmod(i, columns)
        bottom = height - top - line * (_PANEL + gap) - _PANEL
        axes = figure.add_axes(
            ((left + column * panel) / width, bottom / height, (panel - 0.4) / width, _PANEL / height)
        )
        tokens = "" if token == "question" else ", all tokens"
        title = (
            f"{canvas.label(Transfer(fit_on, tested_on).title, 30)}\n{canvas.label(probe, 20)}, layer {layer}{tokens}"
        )
        axes.set_title(title, fontweight="bold", pad=4, fontsize=7.5)
        axes.set_xlabel("standard deviations")
        if column == 0:
            axes.set_ylabel("log-odds")
        _panel(axes, rows.to_dicts())
    return figure


def _panel(axes: Axes, rows: list[dict[str, Any]]) -> None:
    axes.grid(axis="y", color=canvas.GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.axhline(0, color=canvas.QUIET, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0.5)
    untouched = [row["value"] for row in rows if row["direction"] == "none"]
    chance: dict[float, list[float]] = {0.0: untouched}
    for row in rows:
        if str(row["direction"]).startswith("random"):
            chance.setdefault(row["strength"], []).append(row["value"])
    xs = sorted(chance)
    axes.fill_between(
        xs, [min(chance[x]) for x in xs], [max(chance[x]) for x in xs], color=canvas.QUIET, alpha=0.35, linewidth=0
    )
    for number, direction in enumerate((PROBE, THERE)):
        own = sorted((row for row in rows if row["direction"] in (direction, "none")), key=lambda row: row["strength"])
        if len(own) > 1:
            _line(axes, own, canvas.class_color(number), "-" if direction == PROBE else (0, (3, 1.5)))


def _line(axes: Axes, own: list[dict[str, Any]], color: str, dash: Any) -> None:
    strengths = [row["strength"] for row in own]
    if all(row["low"] is not None and math.isfinite(row["low"]) for row in own):
        low, high = [row["low"] for row in own], [row["high"] for row in own]
        axes.fill_between(strengths, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(
        strengths, [row["value"] for row in own], color=color, linestyle=dash, linewidth=1.2, marker="o", markersize=2.5
    )
