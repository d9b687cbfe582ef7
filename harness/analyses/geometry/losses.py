"""Loss against accuracy, a point for every fit: is the lowest loss the truest?"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from harness.report.figures import canvas, selection
from harness.report.outline import TRUTH
from harness.report.scores import Scores
from harness.report.wording import listed, number

if TYPE_CHECKING:
    import polars as pl

_COLUMNS, _MOST_PANELS = 4, 8
_HEIGHT, _GAP = 110.0, 78.0
_MOST = 1500
"""Points of a figure; more would only lie on top of each other."""

Points = dict[str, list[canvas.Point]]


def caption(scores: Scores) -> str:
    return (
        f"Training loss (across) and test accuracy (up) of every fit, all restarts of all seeds, on {listed(scores.targets)}, "
        "at the summary layer. Over each panel: the mean accuracy on the truth of the half with the lower loss, and of the other half."
    )


def draw(scores: Scores, fits: pl.DataFrame | None) -> canvas.Surface | None:
    """A panel for each condition and method with a loss; None if there is none."""
    if fits is None or fits.is_empty():
        return None
    found = {key: points for key, rows in _panels(fits) if (points := _points(scores, rows))}
    if not found:
        return None
    shown = dict(list(found.items())[:_MOST_PANELS])
    columns = min(_COLUMNS, len(shown))
    left, top, lines = 44.0, 66.0, -(-len(shown) // columns)
    halves = {key: _halves(points.get(TRUTH, [])) for key, points in found.items()}
    truer = sum(lower > upper for lower, upper in halves.values())
    title = f"Fits with a lower loss are truer in {truer} of {len(found)} cases"
    surface = canvas.Surface(top + lines * (_HEIGHT + _GAP) - _GAP + 34, title)
    x = left
    for target in dict.fromkeys(target for points in shown.values() for target in points):
        x = canvas.key(surface, x, 33, canvas.label(target), canvas.factor_of(scores, target))
    wide = (canvas.WIDTH - left) / columns
    most = max(20, _MOST // sum(map(len, shown.values())))
    for i, ((condition, probe), points) in enumerate(shown.items()):
        line, column = divmod(i, columns)
        limits = [_limits([point[axis] for of in points.values() for point in of]) for axis in (0, 1)]
        place = (left + column * wide, top + line * (_HEIGHT + _GAP), wide - 34, _HEIGHT)
        panel = canvas.Panel(surface, *place, limits[0], limits[1])
        surface.text(
            panel.left, panel.top - 18, canvas.label(f"{probe} on {condition}", int(wide / canvas.LETTER) - 2), "b s"
        )
        lower, upper = map(number, halves[condition, probe])
        told = f"truth {lower} at lower losses, {upper} at higher"
        surface.text(panel.left, panel.top - 5, told, "s q")
        panel.scale_left(canvas.ticks(*panel.ys, 3), "accuracy" if column == 0 else "")
        panel.scale_below(canvas.ticks(*panel.xs, 3), "loss")
        for target, of in points.items():
            panel.dots(of[:most], canvas.look_of(canvas.factor_of(scores, target)))
    return surface


def _panels(fits: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    parts = fits.partition_by("condition", "probe", maintain_order=True, as_dict=True)
    return [((str(condition), str(probe)), rows) for (condition, probe), rows in parts.items()]


def _points(scores: Scores, rows: pl.DataFrame) -> Points:
    """(loss, accuracy) of every fit that has both, by factor."""
    points = {
        str(target): [(x, y) for x, y in of.select("loss", "accuracy").rows() if _finite(x) and _finite(y)]
        for (target,), of in rows.group_by("target", maintain_order=True)
    }
    most = scores.targets[: selection.MOST_FACTORS]
    return {target: of for target, of in points.items() if of and target in most}


def _halves(points: list[canvas.Point]) -> tuple[float, float]:
    ordered = [accuracy for _, accuracy in sorted(points)]
    half = len(ordered) // 2
    return (fmean(ordered[:half]), fmean(ordered[half:])) if half else (math.nan, math.nan)


def _limits(values: list[float]) -> tuple[float, float]:
    air = 0.05 * (max(values) - min(values)) or 0.05
    return min(values) - air, max(values) + air


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
