"""Loss against accuracy, a point for every fit: is the lowest loss the truest?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.figures import canvas
from harness.report.scores import Scores
from harness.report.wording import listed

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL = 1.5
"""Height of a panel, inches."""
_DOT = 0.017
"""Half of a point's side, inches."""
_MOST = 1000
"""Points of a panel and factor; more would only lie on top of each other."""


def caption(scores: Scores) -> str:
    return (
        f"Training loss (across) and test accuracy (up) of every fit, all restarts of all seeds, on {listed(scores.targets)}, "
        "at the summary layer. A cloud that falls says that a lower loss is truer."
    )


def draw(scores: Scores, fits: pl.DataFrame | None) -> Figure | None:
    """A panel for each condition and method with a loss; None if there is none."""
    if fits is None or fits.is_empty():
        return None
    panels = list(fits.partition_by("condition", "probe", maintain_order=True, as_dict=True).items())
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    left, top, gap = 0.55, 0.5, 0.62
    width, height = 9.6, top + lines * (_PANEL + gap)
    figure = canvas.new_figure(width, height)
    panel = min(3.0, (width - left - 0.1) / columns)
    for i, ((condition, probe), rows) in enumerate(panels):
        line, column = divmod(i, columns)
        bottom = height - top - line * (_PANEL + gap) - _PANEL
        size = (panel - 0.35, _PANEL)
        axes = figure.add_axes(((left + column * panel) / width, bottom / height, size[0] / width, size[1] / height))
        axes.set_title(canvas.label(f"{probe} on {condition}"), fontweight="bold", pad=5)
        axes.set_xlabel("loss")
        axes.locator_params(axis="x", nbins=4)
        if column == 0:
            axes.set_ylabel("accuracy")
        _panel(axes, scores, rows, size)
    _legend(figure, scores, left / width)
    return figure


def _panel(axes: Axes, scores: Scores, rows: pl.DataFrame, size: tuple[float, float]) -> None:
    import math

    points = {
        str(target): [(x, y) for x, y in of.select("loss", "accuracy").rows() if _finite(x) and _finite(y)][:_MOST]
        for (target,), of in rows.group_by("target", maintain_order=True)
    }
    every = [point for several in points.values() for point in several]
    if not every:
        return
    xs, ys = [x for x, _ in every], [y for _, y in every] + [0.5]
    limits = [(min(v), max(v)) for v in (xs, ys)]
    spans = [high - low if high > low and math.isfinite(high - low) else 0.1 for low, high in limits]
    axes.set_xlim(limits[0][0] - 0.05 * spans[0], limits[0][1] + 0.05 * spans[0])
    axes.set_ylim(limits[1][0] - 0.05 * spans[1], limits[1][1] + 0.05 * spans[1])
    canvas.mark_chance(axes, scores)
    wide, high = (1.1 * span * _DOT / inches for span, inches in zip(spans, size, strict=True))
    for target, chosen in points.items():
        if target in scores.targets:
            corners = [(x - wide, y - high, x + wide, y + high) for x, y in chosen]
            canvas.boxes(axes, corners, canvas.target_color(scores, target), 0.6)


def _finite(value: float | None) -> bool:
    return value is not None and value == value and abs(value) != float("inf")


def _legend(figure: Figure, scores: Scores, left: float) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=canvas.target_color(scores, t), label=canvas.label(t)) for t in scores.targets]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(left - 0.01, 1.0), ncols=len(handles), handlelength=1.0
    )
