"""The report's pictures: deterministic SVG, one module each, all drawn from `Scores`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from harness.report.content import Scatter
from harness.report.scores import Scores

if TYPE_CHECKING:
    import polars as pl


class Picture(msgspec.Struct, frozen=True):
    """A rendered figure and what it shows, in one sentence or two."""

    svg: bytes
    caption: str


def render(
    scores: Scores,
    states: Mapping[str, Scatter],
    fits: pl.DataFrame | None = None,
    curves: pl.DataFrame | None = None,
    interventions: pl.DataFrame | None = None,
) -> dict[str, Picture]:
    """File name → picture, in the order of the report; empty if nothing was measured. `fits` are the rows of fits.csv, `curves`
    those of samples.csv, `interventions` those of interventions.csv."""
    from harness.report.figures import canvas, doses, layers, losses, overview, samples, seeds
    from harness.report.figures import states as rows

    if not scores.transfers:
        return {}
    pictures = {}
    with canvas.styled(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawn = {
            "overview.svg": (overview.draw(scores), overview.caption(scores)),
            "layers.svg": (layers.draw(scores), layers.caption(scores)),
            "seeds.svg": (seeds.draw(scores), seeds.caption(scores)),
            "losses.svg": (losses.draw(scores, fits), losses.caption(scores)),
            "samples.svg": (samples.draw(scores, curves), samples.caption(scores)),
            "states.svg": (rows.draw(states), rows.caption(states)),
            "doses.svg": (doses.draw(interventions), doses.CAPTION),
        }
        for name, (figure, caption) in drawn.items():
            if figure is not None:
                pictures[name] = Picture(canvas.to_svg(figure), caption)
    return pictures
