"""Dose and response: the network's own log-odds against how far its states were moved along a direction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.report.figures import canvas
from harness.report.scores import Transfer

if TYPE_CHECKING:
    import polars as pl

CAPTION = (
    "Dose and response: mean log-odds of the second answer (up) against how far the states were moved along a probe's direction "
    "(across, in standard deviations), with intervals. Dashed: along the difference of the class means of the very states that are "
    "moved. Grey: the range of random directions of the same length. A line that stays within the grey is a direction that does not act."
)
PROBE, THERE = "probe", "there"
_COLUMNS, _MOST_PANELS = 4, 12
_HEIGHT, _GAP = 100.0, 74.0

Rows = list[dict[str, Any]]


def draw(frame: pl.DataFrame | None) -> canvas.Surface | None:
    """A panel for each place and token, a line for each probe; None if nothing was steered."""
    import polars as pl

    if frame is None or (steered := frame.filter(pl.col("by") == "steer", pl.col("measure") == "log_odds")).is_empty():
        return None
    places = ("fit_on", "tested_on", "probe", "layer", "token")
    every = [(tuple(map(str, key)), rows.to_dicts()) for key, rows in steered.group_by(*places, maintain_order=True)]
    panels = every[:_MOST_PANELS]
    columns = min(_COLUMNS, len(panels))
    left, top, lines = 44.0, 56.0, -(-len(panels) // columns)
    acting = sum(_acts(rows) for _, rows in every)
    title = f"Moving states along a probe's direction does more than chance in {acting} of {len(every)} cases"
    surface = canvas.Surface(top + lines * (_HEIGHT + _GAP) - _GAP + 34, title)
    wide = (canvas.WIDTH - left) / columns
    for i, ((fit_on, tested_on, probe, layer, token), rows) in enumerate(panels):
        line, column = divmod(i, columns)
        values = [row[name] for row in rows for name in ("low", "value", "high") if _finite(row[name])]
        strengths = [row["strength"] for row in rows if _finite(row["strength"])]
        air = 0.05 * (max(values, default=1) - min(values, default=0)) or 0.05
        limits = (min([0, *values]) - air, max([0, *values]) + air)
        place = (left + column * wide, top + line * (_HEIGHT + _GAP), wide - 34, _HEIGHT)
        panel = canvas.Panel(surface, *place, (min([0, *strengths]), max([0, *strengths])), limits)
        where = f", layer {layer}" + ("" if token == "question" else ", all tokens")
        room = int((wide - 6) / canvas.LETTER)
        surface.text(panel.left, panel.top - 18, canvas.heading(Transfer(fit_on, tested_on), wide - 6), "b s")
        surface.text(panel.left, panel.top - 5, canvas.label(probe, room - len(where)) + where, "s q")
        panel.scale_left(canvas.ticks(*limits, 3), "log-odds" if column == 0 else "")
        last = i + columns >= len(panels)
        panel.scale_below(canvas.ticks(*panel.xs), "standard deviations" if last else "")
        _panel(panel, rows)
    return surface


def _panel(panel: canvas.Panel, rows: Rows) -> None:
    panel.across(0)
    chance = _chance(rows)
    xs = sorted(chance)
    panel.band([(x, min(chance[x])) for x in xs], [(x, max(chance[x])) for x in xs], "q")
    for direction, look in ((PROBE, "ink"), (THERE, "d q")):
        own = sorted((row for row in rows if row["direction"] in (direction, "none")), key=lambda row: row["strength"])
        if len(own) > 1:
            if all(_finite(row["low"]) for row in own):
                panel.band([(r["strength"], r["low"]) for r in own], [(r["strength"], r["high"]) for r in own], look)
            panel.line([(row["strength"], row["value"]) for row in own], look)


def _chance(rows: Rows) -> dict[float, list[float]]:
    """By strength, what random directions give; at none, what the untouched network says."""
    chance: dict[float, list[float]] = {0.0: [row["value"] for row in rows if row["direction"] == "none"] or [0.0]}
    for row in rows:
        if str(row["direction"]).startswith("random"):
            chance.setdefault(row["strength"], []).append(row["value"])
    return chance


def _acts(rows: Rows) -> bool:
    """Whether the strongest push along the probe's direction lies, with its interval, beyond what random directions do."""
    own = [row for row in rows if row["direction"] == PROBE]
    strongest = max(own, key=lambda row: row["strength"], default=None)
    if strongest is None or not _finite(strongest["low"]) or strongest["strength"] not in (chance := _chance(rows)):
        return False
    there = chance[strongest["strength"]]
    return bool(strongest["low"] > max(there) or strongest["high"] < min(there))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
