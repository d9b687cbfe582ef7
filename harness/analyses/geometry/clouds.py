"""The states' first two principal components, shown by one factor at a time: what varies most, and is it the truth?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

_COLUMNS, _MOST_FACTORS = 4, 4
_HEIGHT, _GAP = 120.0, 48.0
_MOST_POINTS = 1600
"""Of a figure; more would only lie on top of each other."""


class Scatter(msgspec.Struct, frozen=True):
    """Rows in the plane of their states' first principal components, at one layer."""

    coordinates: np.ndarray
    """(row, 2) or (row, 3)."""
    labels: Mapping[str, Sequence[str]]
    """For each factor, truth first, the class of every row."""
    layer: str = ""


def caption(states: Mapping[str, Scatter]) -> str:
    factors = ", ".join(dict.fromkeys(name for scatter in states.values() for name in scatter.labels))
    return (
        f"First two principal components of the states: the same rows by {factors}. Filled and hollow: the two classes. Over each panel: "
        "which share of the variance lies between the classes."
    )


def draw(states: Mapping[str, Scatter]) -> canvas.Surface | None:
    """Columns are conditions, rows are factors; None without states."""
    names = list(dict.fromkeys(name for scatter in states.values() for name in scatter.labels))
    factors = names[:_MOST_FACTORS]
    shown = dict([(name, scatter) for name, scatter in states.items() if len(scatter.coordinates)][:_COLUMNS])
    if not shown or not factors:
        return None
    shares = {
        (name, factor): _between(scatter.coordinates[:, :2], scatter.labels[factor])
        for name, scatter in shown.items()
        for factor in factors
        if factor in scatter.labels
    }
    most = {name: max((f for n, f in shares if n == name), key=lambda f: shares[name, f]) for name in shown}
    told = ", ".join(f"{factor} in {name}" for name, factor in most.items())
    surface = canvas.Surface(52 + len(factors) * (_HEIGHT + _GAP) - 20, canvas.label(f"What varies most: {told}", 110))
    left, wide = 20.0, min(220.0, (canvas.WIDTH - 20) / len(shown))
    each = max(30, _MOST_POINTS // len(shares))
    for i, (name, scatter) in enumerate(shown.items()):
        depth = f", layer {scatter.layer}" if scatter.layer else ""
        surface.text(left + i * wide, 33, canvas.label(f"{name}{depth}", int(wide / canvas.LETTER)), "b s")
        for j, factor in enumerate(factors):
            if (name, factor) not in shares:
                continue
            points = scatter.coordinates[:each, :2]
            limits = [(float(v.min()), float(v.max())) for v in points.T]
            place = (left + i * wide, 56 + j * (_HEIGHT + _GAP), wide - 20, _HEIGHT)
            panel = canvas.Panel(surface, *place, limits[0], limits[1])
            words = f"{canvas.label(factor, 16)}: {shares[name, factor]:.0%} between classes".replace("%", " %")
            surface.text(panel.left, panel.top - 6, words, "s q")
            _panel(panel, points, scatter.labels[factor][:each], names.index(factor))
    return surface


def _panel(panel: canvas.Panel, points: np.ndarray, labels: Sequence[str], factor: int) -> None:
    """The classes of a factor have its colour: the last one is filled, those before it are paler or hollow."""
    classes = sorted(set(labels))
    for k, label in enumerate(classes):
        chosen = [(x, y) for (x, y), other in zip(points.tolist(), labels, strict=True) if other == label]
        if k == len(classes) - 1:
            panel.dots(chosen, canvas.look_of(factor))
        else:
            rings = "".join(f"M{round(2 * x) - 3} {round(2 * y) - 3}h6v6h-6z" for x, y in panel.at(chosen))
            panel.surface.path(rings, f"g {canvas.look_of(factor)}")


def _between(points: np.ndarray, labels: Sequence[str]) -> float:
    """The share of the points' variance that lies between the classes."""
    centred = points - points.mean(axis=0)
    whole = float((centred**2).sum())
    of = np.asarray(labels)
    between = sum(float((of == c).sum()) * float((centred[of == c].mean(axis=0) ** 2).sum()) for c in set(labels))
    return between / whole if whole else 0.0


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
