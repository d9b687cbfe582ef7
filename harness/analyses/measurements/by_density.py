"""What toy models come to by the density of the features that they are trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analyses.measurements.section import watches
from harness.maths.over_networks import over_networks
from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts import Watch

CAPTION = (
    "By the density of features, the probability that one is active, of conditions that differ in nothing else: what networks come to at the last step, a line for each network, "
    "and the mean with its 95 % interval."
)
_MOST = 3
"""Measurements."""
_FEWEST = 3
"""Densities."""
_TOP, _HIGH, _LEFT, _GAP = 52.0, 170.0, 44.0, 54.0
_BELOW = 40.0


def draw(measured: pl.DataFrame) -> canvas.Surface | None:
    """None where no three trainings differ in the density of their features alone."""
    found = _by_density(measured)
    if len(found) < _FEWEST:
        return None
    first = next(iter(found.values()))
    titles = [title for title in first.values if title not in first.halfway][:_MOST]
    if not titles:
        return None
    densities = np.array(list(found))
    across = np.log10(densities)
    wide = (canvas.WIDTH - _LEFT) / len(titles)
    surface = canvas.Surface(_TOP + _HIGH + _BELOW, _title(titles[0], found))
    for column, title in enumerate(titles):
        # (density, network)
        ends = np.stack([watch.values[title][:, -1] for watch in found.values()])
        left = _LEFT + column * wide
        ys = (0.0, 1.05 * float(np.nanmax(ends)) or 1.0)
        panel = canvas.Panel(surface, left, _TOP, wide - _GAP, _HIGH, (float(across[0]), float(across[-1])), ys)
        surface.text(left, _TOP - 12, canvas.label(title, int((wide - _GAP / 2) / canvas.LETTER)), "b s")
        panel.scale_left(canvas.ticks(*ys, 4))
        panel.scale_below([], "density")
        for place, density in _named(densities, panel):
            surface.text(place, _TOP + _HIGH + 14, f"{density:g}", "s q", "middle")
        for network in ends.T:
            panel.line([(x, y) for x, y in zip(across.tolist(), network.tolist(), strict=True) if y == y], "q")
        for x, one in zip(across.tolist(), map(over_networks, ends), strict=True):
            if math.isfinite(one.value):
                panel.marks([(x, one.value)], 0)
            if not one.why:
                panel.line([(x, one.low), (x, one.high)], "k0")
    return surface


def _by_density(measured: pl.DataFrame) -> dict[float, Watch]:
    """The largest set of trainings that differ in the density of features alone, in order; the first one of equals."""
    own = measured.drop_nulls("density").unique("condition", keep="first", maintain_order=True)
    if own.is_empty():
        return {}
    seen = watches(measured)
    alike: dict[str, dict[float, Watch]] = {}
    for row in own.iter_rows(named=True):
        alike.setdefault(row["otherwise"], {}).setdefault(row["density"], seen[row["condition"]])
    return dict(sorted(max(alike.values(), key=len).items()))


def _title(title: str, found: dict[float, Watch]) -> str:
    ends = {density: over_networks(watch.values[title][:, -1]).value for density, watch in found.items()}
    (sparse, least), *_, (dense, most) = ends.items()
    return f"{title}: {least:.2f} at a density of {sparse:g}, {most:.2f} at {dense:g}"


def _named(densities: np.ndarray, panel: canvas.Panel) -> list[tuple[float, float]]:
    """Where densities are written, those that have room beside the one before."""
    written: list[tuple[float, float]] = []
    for density in densities.tolist():
        place = panel.x(math.log10(density))
        if not written or place - written[-1][0] > canvas.LETTER * (len(f"{density:g}") + 1):
            written.append((place, density))
    return written
