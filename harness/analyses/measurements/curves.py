"""Curves over training: a column for each condition, losses above and shares below, a line for each network, phases marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.analyses.measurements.section import counted, watches
from harness.contracts import Watch
from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

CAPTION = (
    "Training from inside: a line for each network, by step, in the first three conditions that are watched. Upper panels: losses, nats; lower ones: shares, "
    "such as accuracies; the first five of each. Losses above 2.5 times that of guessing are cut. Dashed: halfway between guessing and knowing all, and upright the median step from which on each stays there."
)
_CONDITIONS, _LINES = 3, 5
_NAMED = 3
"""Measurements in the title."""
_TOP, _HIGH, _GAP, _LEFT = 52.0, 120.0, 44.0, 44.0
_SEEN = 0.004
"""Of an axis: half a pixel."""
_MOST_LOSS = 2.5
"""Times the loss of guessing: what is above it is cut."""


def draw(measured: pl.DataFrame) -> canvas.Surface | None:
    """None where nothing was measured on a scale from guessing to knowing all."""
    found = {name: watch for name, watch in watches(measured).items() if watch.halfway}
    shown = dict(list(found.items())[:_CONDITIONS])
    if not shown:
        return None
    titles = list(dict.fromkeys(title for watch in shown.values() for title in watch.halfway))
    axes = {title: watch.halfway[title].axis for watch in shown.values() for title in watch.halfway}
    kinds = [[title for title in titles if axes[title] == axis] for axis in ("loss", "share")]
    rows = [own[:_LINES] for own in kinds if own]
    looks = _looks([title for own in rows for title in own])
    beside = 24 + canvas.LETTER * max(len(canvas.label(title, 20)) for own in rows for title in own)
    wide = (canvas.WIDTH - _LEFT - beside) / len(shown)
    surface = canvas.Surface(_TOP + len(rows) * (_HIGH + _GAP), _title(shown))
    for column, (name, watch) in enumerate(shown.items()):
        left = _LEFT + column * wide
        surface.text(left, 33, canvas.label(f"{name}: {counted(watch.networks)}", int(wide / canvas.LETTER)), "b s")
        for row, own in enumerate(rows):
            own = [title for title in own if title in watch.halfway]
            panel = canvas.Panel(
                surface,
                left,
                _TOP + row * (_HIGH + _GAP),
                wide - 22,
                _HIGH,
                (watch.steps[0], watch.steps[-1]),
                _limits(shown, own),
            )
            _panel(panel, watch, {title: looks[title] for title in own}, first=column == 0, below=row == len(rows) - 1)
            if column == len(shown) - 1:
                panel.ends([(_at_end(panel, watch, title), canvas.label(title, 20), looks[title]) for title in own])
            _phases(panel, watch, own)
    return surface


def _title(shown: Mapping[str, Watch]) -> str:
    """What gets halfway in the first condition, and when, in this order."""
    name, watch = next(iter(shown.items()))
    medians = {title: float(np.median(at)) for title in watch.halfway if np.isfinite(at := watch.moved(title)).all()}
    said = [f"{title} at step {step:,.0f}" for title, step in sorted(medians.items(), key=lambda one: one[1])]
    return (
        f"{name}: halfway are {', '.join(said[:_NAMED])}"
        if said
        else f"{name}: no measurement gets halfway in all networks"
    )


def _looks(titles: Sequence[str]) -> dict[str, int]:
    """The colour and mark of each measurement; a loss and an accuracy on the same questions have the same."""
    about = {title: title.removesuffix("_loss").removesuffix("_accuracy") for title in titles}
    order = list(dict.fromkeys(about.values()))
    return {title: order.index(one) for title, one in about.items()}


def _limits(shown: Mapping[str, Watch], titles: Sequence[str]) -> tuple[float, float]:
    bars = [watch.halfway[title] for watch in shown.values() for title in titles if title in watch.halfway]
    return (0.0, 1.0) if not bars or bars[0].axis == "share" else (0.0, 2 * _MOST_LOSS * max(bar.value for bar in bars))


def _panel(panel: canvas.Panel, watch: Watch, looks: Mapping[str, int], *, first: bool, below: bool) -> None:
    panel.scale_left(canvas.ticks(*panel.ys, 3), named=first)
    panel.scale_below(canvas.ticks(*panel.xs, 3), "step" if below else "")
    for title in list(looks)[:1]:
        panel.across(watch.halfway[title].value)
    for title, look in looks.items():
        for values in watch.values[title]:
            cut = np.clip(values, *panel.ys)
            points = [(x, y) for x, y in zip(watch.steps, cut.tolist(), strict=True) if y == y]
            panel.line(bends(points, _SEEN * (panel.ys[1] - panel.ys[0])), canvas.look_of(look))


def bends(points: Sequence[canvas.Point], seen: float) -> list[canvas.Point]:
    """Those of a line's points without which it would be another line, by more than `seen` somewhere: networks that stay where they are take two."""
    kept, at = list(points[:1]), 0
    while at < len(points) - 1:
        to = at + 1
        while to + 1 < len(points) and _straight(points[at : to + 2], seen):
            to += 1
        kept.append(points[to])
        at = to
    return kept


def _straight(points: Sequence[canvas.Point], seen: float) -> bool:
    """Whether all points are within `seen` of the straight line from the first to the last."""
    (x, y), (end, top) = points[0], points[-1]
    return all(abs(y + (top - y) * (at - x) / (end - x) - value) <= seen for at, value in points)


def _phases(panel: canvas.Panel, watch: Watch, titles: Sequence[str]) -> None:
    for title in titles:
        moved = watch.moved(title)
        there = moved[np.isfinite(moved)]
        if len(there):
            panel.upright(float(np.median(there)))


def _at_end(panel: canvas.Panel, watch: Watch, title: str) -> float:
    return float(np.clip(np.nanmedian(watch.values[title][:, -1]), *panel.ys))
