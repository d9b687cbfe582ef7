"""What networks come to by how many questions they are trained on, and the critical size by weight decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.analyses.measurements.section import watches
from harness.maths.critical_size import crossing
from harness.maths.over_networks import over_networks
from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts import Watch

CAPTION = (
    "By the number of training questions: what networks come to at the last step, a line for each network, a look for each weight decay and kind of training. "
    "Last: the critical size by weight decay, at which the first share is halfway to knowing all, a line for each network, with the mean's 95 % interval."
)
_MOST = 3
"""Measurements."""
_SERIES = 6
_TOP, _HIGH, _LEFT, _KEY = 52.0, 150.0, 44.0, 20.0


class _Series(msgspec.Struct, frozen=True):
    """Trainings that differ in the number of questions alone."""

    name: str
    decay: float
    further: bool
    sizes: tuple[int, ...]
    watches: tuple[Watch, ...]

    def ends(self, title: str) -> np.ndarray:
        """The measurement at the last step, (size, network)."""
        return np.stack([watch.values[title][:, -1] for watch in self.watches])


def draw(measured: pl.DataFrame) -> canvas.Surface | None:
    """None where no three trainings differ in the number of questions alone."""
    series = _series(measured)[:_SERIES]
    if not any(len(one.sizes) > 2 for one in series):
        return None
    first = series[0].watches[0]
    losses = {title for title, bar in first.halfway.items() if bar.axis == "loss"}
    titles = [title for title in first.values if title not in losses][:_MOST]
    shares = [title for title in titles if title in first.halfway]
    critical = _critical(series, shares[0]) if shares else {}
    if not titles:
        return None
    panels = len(titles) + bool(critical)
    wide = (canvas.WIDTH - _LEFT) / panels
    lines = _lines([one.name for one in series])
    surface = canvas.Surface(_TOP + _HIGH + 36 + _KEY * len(lines), _title(titles, critical))
    for row, names in enumerate(lines):
        at = _LEFT
        for name in names:
            look = next(place for place, one in enumerate(series) if one.name == name)
            at = canvas.key(surface, at, _TOP + _HIGH + 32 + _KEY * (row + 1), name, look)
    for column, title in enumerate(titles):
        panel = _panel(surface, column, wide, title, series, title in shares)
        if title in shares:
            panel.across(first.halfway[title].value)
        for look, one in enumerate(series):
            for ends in one.ends(title).T:
                panel.line(
                    [(x, y) for x, y in zip(one.sizes, ends.tolist(), strict=True) if y == y], canvas.look_of(look)
                )
    if critical:
        _sizes_by_decay(surface, len(titles), wide, critical)
    return surface


def _lines(names: Sequence[str]) -> list[list[str]]:
    """Names of looks, so many on a line as have place."""
    found: list[list[str]] = [[]]
    for name in names:
        if (
            found[-1]
            and canvas.LETTER * len("".join((*found[-1], name))) + 26 * (len(found[-1]) + 1) > canvas.WIDTH - _LEFT
        ):
            found.append([])
        found[-1].append(name)
    return found


def _title(titles: Sequence[str], critical: Mapping[float, np.ndarray]) -> str:
    if not critical:
        return f"{', '.join(titles)} by the number of training questions"
    means = [f"{2 ** over_networks(own).value:,.0f} with weight decay {decay:g}" for decay, own in critical.items()]
    return f"{titles[0]} is halfway at so many questions: {', '.join(means)}"


def _series(measured: pl.DataFrame) -> list[_Series]:
    """In the order of the spec, those of two sizes or more."""
    seen = watches(measured)
    grouped: dict[tuple[float, float, str, bool], dict[int, Watch]] = {}
    columns = ("weight_decay", "initial_scale", "labels", "further")
    for row in measured.unique("condition", keep="first", maintain_order=True).iter_rows(named=True):
        own = grouped.setdefault(tuple(row[name] for name in columns), {})
        own.setdefault(row["questions"], seen[row["condition"]])
    several = {key: own for key, own in grouped.items() if len(own) > 1}
    scales, kinds = {key[1] for key in several}, {key[3] for key in several}
    found = []
    for (decay, scale, labels, further), own in several.items():
        said = [
            f"weight decay {decay:g}",
            *([f"initial scale {scale:g}"] if len(scales) > 1 else ()),
            *(["shuffled answers"] if labels == "shuffled" else ()),
            *(["further" if further else "from nothing"] if len(kinds) > 1 else ()),
        ]
        sizes = tuple(sorted(own))
        found.append(_Series(", ".join(said), decay, further, sizes, tuple(own[size] for size in sizes)))
    return found


def _critical(series: Sequence[_Series], title: str) -> dict[float, np.ndarray]:
    """log2 of the critical size of each network, (network,), by weight decay, of networks that are trained on; empty for fewer than two decays."""
    found = {}
    for one in sorted((one for one in series if one.further), key=lambda one: one.decay):
        level = one.watches[0].halfway[title].value
        sizes = np.array([crossing(one.sizes, ends, level) for ends in one.ends(title).T])
        if np.isfinite(sizes).any():
            found[one.decay] = sizes
    return found if len(found) > 1 else {}


def _panel(
    surface: canvas.Surface, column: int, wide: float, title: str, series: Sequence[_Series], share: bool
) -> canvas.Panel:
    sizes = [size for one in series for size in one.sizes]
    values = np.concatenate([one.ends(title).ravel() for one in series])
    ys = (0.0, 1.0) if share else (0.0, float(np.nanmax(values)) or 1.0)
    left = _LEFT + column * wide
    panel = canvas.Panel(surface, left, _TOP, wide - 54, _HIGH, (min(sizes), max(sizes)), ys)
    surface.text(left, _TOP - 12, canvas.label(title, int(wide / canvas.LETTER)), "b s")
    panel.scale_left(canvas.ticks(*ys, 4))
    panel.scale_below(canvas.ticks(*panel.xs, 4), "training questions")
    return panel


def _sizes_by_decay(surface: canvas.Surface, column: int, wide: float, critical: Mapping[float, np.ndarray]) -> None:
    decays, each = list(critical), np.stack(list(critical.values()))
    highest = float(2 ** np.nanmax(each))
    places = list(range(len(decays)))
    left = _LEFT + column * wide
    panel = canvas.Panel(surface, left, _TOP, wide - 54, _HIGH, (-0.3, places[-1] + 0.3), (0.0, 1.1 * highest))
    surface.text(left, _TOP - 12, "critical size, questions", "b s")
    panel.scale_left(canvas.ticks(*panel.ys, 4))
    panel.scale_below([], "weight decay")
    for place, decay in zip(places, decays, strict=True):
        surface.text(panel.x(place), _TOP + _HIGH + 14, f"{decay:g}", "s q", "middle")
    for own in (2**each).T:
        panel.line([(x, y) for x, y in zip(places, own.tolist(), strict=True) if y == y], "q")
    for place, one in zip(places, map(over_networks, each), strict=True):
        panel.marks([(place, 2**one.value)], 0)
        if not one.why:
            panel.line([(place, 2**one.low), (place, 2**one.high)], "k0")
