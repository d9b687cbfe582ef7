"""Figures of monitors: ROC curves with the false-positive rate on a scale of its logarithm, and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

OF_ROC = (
    "Recall by the rate of false alarms among the rows of a control set, on a scale of its logarithm, a line for each control set with its interval from the rate on at which that is known. Dashed: chance, and the "
    "rate that was asked for. Of the first three monitors and conditions with lies."
)
OF_CALIBRATION = "Share of lies by the probability that a monitor claims for them, in ten bins, all seeds together, with intervals of rows. Dashed: where both are the same. Of the first three monitors and conditions."
_MOST, _LINES = 3, 5
_TOP, _HIGH, _LEFT, _GAP = 58.0, 130.0, 44.0, 60.0


def roc(curves: pl.DataFrame) -> canvas.Surface:
    """A row of panels for each monitor, a panel for each condition."""
    controls = curves["control"].unique(maintain_order=True).to_list()[:_LINES]
    least = math.floor(math.log10(min(curves["rate"].to_list())))
    named = [float(power) for power in range(least, 1)]
    surface, panels = _panels(curves, _most(curves), controls, (named[0], 0.0))
    for (probe, condition), panel in panels.items():
        panel.scale_left(canvas.ticks(0.0, 1.0, 3))
        panel.scale_below(named, named=False)
        for power in named:
            surface.text(panel.x(power), panel.top + _HIGH + 14, f"{10**power:g}", "s q", "middle")
        surface.text(panel.left + panel.width / 2, panel.top + _HIGH + 28, "false alarms", "s q", "middle")
        steps = [named[0] + (0.0 - named[0]) * part / 40 for part in range(41)]
        surface.path(canvas.through(panel.at((step, 10**step) for step in steps)), "c q")
        for rate in curves.filter("asked")["rate"].unique().to_list():
            panel.upright(math.log10(rate))
        for number, control in enumerate(controls):
            own = curves.filter(probe=probe, condition=condition, control=control).sort("rate").to_dicts()
            _line(panel, [(math.log10(one["rate"]), one) for one in own], "recall", canvas.look_of(number))
    return surface


def _most(curves: pl.DataFrame) -> str:
    """The most that is caught at the rate that was asked for, in words."""
    at = curves.filter("asked").sort("recall", descending=True, maintain_order=True).to_dicts()
    if not at:
        return "Recall at small rates of false alarms; no control set has rows enough for the one that was asked for"
    names = [canvas.label(at[0][name], 20) for name in ("probe", "condition", "control")]
    return f"Most at {100 * at[0]['rate']:g} % false alarms: {names[0]} catches {at[0]['recall']:.2f} of {names[1]}, by {names[2]}"


def calibration(bins: pl.DataFrame) -> canvas.Surface:
    """A row of panels for each monitor, a panel for each condition."""
    surface, panels = _panels(bins, "Share of lies by the probability that is claimed", (), (0.0, 1.0))
    for (probe, condition), panel in panels.items():
        panel.scale_left(canvas.ticks(0.0, 1.0, 3))
        panel.scale_below(canvas.ticks(0.0, 1.0, 3), "claimed")
        surface.path(canvas.through(panel.at([(0.0, 0.0), (1.0, 1.0)])), "c q")
        own = bins.filter(probe=probe, condition=condition).sort("bin").to_dicts()
        _line(panel, [(one["claimed"], one) for one in own], "share", canvas.look_of(0))
        panel.marks([(one["claimed"], one["share"]) for one in own], 0)
    return surface


def _panels(
    frame: pl.DataFrame, title: str, keys: Sequence[str], xs: tuple[float, float]
) -> tuple[canvas.Surface, dict[tuple[str, str], canvas.Panel]]:
    """The figure with its title, a key for each line, and empty panels by monitor and condition."""
    probes, conditions = (frame[name].unique(maintain_order=True).to_list()[:_MOST] for name in ("probe", "condition"))
    surface = canvas.Surface(_TOP + len(probes) * (_HIGH + _GAP) + 4, title)
    place = _LEFT
    for number, name in enumerate(keys):
        place = canvas.key(surface, place, 33, canvas.label(name, 24), number)
    wide, found = (canvas.WIDTH - _LEFT) / max(len(conditions), 1), {}
    for row, probe in enumerate(probes):
        for column, condition in enumerate(conditions):
            top = _TOP + row * (_HIGH + _GAP)
            panel = canvas.Panel(surface, _LEFT + column * wide, top, wide - 40, _HIGH, xs, (0.0, 1.0))
            words = f"{canvas.label(probe, 22)}: {canvas.label(condition, 22)}"
            surface.text(panel.left, top - 7, canvas.label(words, int(panel.width / canvas.LETTER)), "b s")
            found[probe, condition] = panel
    return surface, found


def _line(panel: canvas.Panel, points: Sequence[tuple[float, dict[str, Any]]], name: str, look: str) -> None:
    """A line, and its band over the places next to each other that have an interval."""
    bounded = [(x, one) for x, one in points if one[f"{name}_low"] is not None]
    panel.band([(x, one[f"{name}_low"]) for x, one in bounded], [(x, one[f"{name}_high"]) for x, one in bounded], look)
    panel.line([(x, one[name]) for x, one in points], look)
