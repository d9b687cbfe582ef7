"""Maps of patching: layers up, tokens or heads across, a square for the share that each place makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.analyses.patching.section import named
from harness.report.figures import canvas
from harness.report.wording import number

if TYPE_CHECKING:
    import polars as pl

CAPTION = (
    "Where the answer is made: states of one prompt put into the pass of another, one place at a time. The area of a square is the share of the difference between "
    "both prompts' log-odds that the place makes, that of the largest filling its cell; discs of the second colour go the other way. Layers up; across the tokens before the last one, or "
    "heads, whose tokens are added up."
)
_TOP, _GAP, _LEFT = 56.0, 30.0, 40.0
_CELL, _LOWEST = 14.0, 9.0
_LEAST = 0.1
"""Squares of a smaller share of the largest one's side are left out."""

Cells = Mapping[tuple[int, int], float]


def draw(frame: pl.DataFrame | None) -> canvas.Surface | None:
    """A panel for each site; None where nothing was patched."""
    if frame is None or frame.is_empty():
        return None
    asked = frame["asked"][0]
    own = frame.filter(asked=asked, metric="log_odds")
    sites = own["site"].unique(maintain_order=True).to_list()
    panels = [(site, _cells(own.filter(site=site).to_dicts())) for site in sites]
    layers = sorted(own["layer"].unique().to_list())
    most = max((abs(value) for _, cells in panels for value in cells.values()), default=0.0)
    if not most:
        return None
    first = max(own.to_dicts(), key=lambda row: abs(row["value"] or 0.0))
    title = f"By itself {named(first)} makes {number(first['value'] or 0.0)} of the difference"
    high = max(_LOWEST, min(_CELL, 330 / len(layers)))
    surface = canvas.Surface(_TOP + high * len(layers) + 40, title)
    columns = [1 + max(column for _, column in cells) for _, cells in panels]
    wide = min(_CELL * 1.6, (canvas.WIDTH - (_LEFT + _GAP) * len(panels)) / max(1, sum(columns)))
    left = _LEFT
    for (site, cells), count in zip(panels, columns, strict=True):
        _panel(surface, site, cells, (left, _TOP, wide * count, high * len(layers)), layers, most)
        left += max(wide * count, canvas.LETTER * 12) + _LEFT + _GAP
    return surface


def _cells(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], float]:
    """Shares by layer and column: heads, whose tokens are added up, or tokens from the left."""
    reach = max((row["back"] or 0) for row in rows)
    found: dict[tuple[int, int], float] = {}
    for row in rows:
        column = row["head"] if row["head"] is not None else reach - (row["back"] or 0)
        value = row["value"] if row["value"] is not None and math.isfinite(row["value"]) else 0.0
        found[row["layer"], column] = found.get((row["layer"], column), 0.0) + value
    return found


def _panel(
    surface: canvas.Surface,
    site: str,
    cells: Cells,
    box: tuple[float, float, float, float],
    layers: Sequence[int],
    most: float,
) -> None:
    left, top, wide, high = box
    columns = 1 + max(column for _, column in cells)
    panel = canvas.Panel(surface, left, top, wide, high, (-0.5, columns - 0.5), (-0.5, len(layers) - 0.5))
    surface.text(left, top - 10, "heads" if site == "head" else site, "b s")
    surface.path(canvas.box(left, top, wide, high), "g")
    at = {layer: number for number, layer in enumerate(layers)}
    size = min(wide / columns, high / len(layers))
    for look, sign in (("f k0", 1), ("f k1", -1)):
        data = ""
        for (layer, column), value in cells.items():
            side = size * math.sqrt(min(1.0, abs(value) / most))
            if value * sign > 0 and side >= _LEAST * size:
                data += _shape(panel.x(column), panel.y(at[layer]), side, sign)
        surface.path(data, look)
    for layer in layers[:: max(1, len(layers) // 6)]:
        surface.text(left - 5, panel.y(at[layer]) + 4, str(layer), "s q", "end")
    tokens = site != "head" and columns > 1
    for column in range(0, columns, max(1, columns // 4)):
        shown = column - columns + 1 if tokens else column
        if columns > 1:
            surface.text(panel.x(column), top + high + 14, canvas.tick(shown), "s q", "middle")
    surface.text(
        left + wide / 2,
        top + high + 28,
        "head" if site == "head" else "token" if tokens else "all tokens",
        "s q",
        "middle",
    )


def _shape(x: float, y: float, side: float, sign: int) -> str:
    if sign > 0:
        return canvas.box(x - side / 2, y - side / 2, side, side)
    around = [
        (x + side / 2 * math.cos(turn), y + side / 2 * math.sin(turn)) for turn in (math.pi * k / 4 for k in range(8))
    ]
    return canvas.through(around) + "z"
