"""The report's pictures: deterministic SVG, one module each, all drawn from `Scores`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import msgspec

from harness.contracts.analysis import Drawn
from harness.report.content import Look
from harness.report.scores import Scores


class Picture(msgspec.Struct, frozen=True):
    """A rendered figure and what it shows, in one sentence or two."""

    svg: bytes
    caption: str


def render(scores: Scores, looks: Sequence[Look] = ()) -> dict[str, Picture]:
    """File name → picture, in the order of the report; empty if nothing was measured."""
    from harness.report.figures import by_layer, canvas, overview, seeds

    if not scores.transfers:
        return {}
    with canvas.styled(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawn = [
            Drawn("overview", overview.draw(scores), overview.caption(scores)),
            Drawn("layers", by_layer.draw(scores), by_layer.caption(scores)),
        ]
        if (figure := seeds.draw(scores)) is not None:
            drawn.append(Drawn("seeds", figure, seeds.caption(scores)))
        for look in looks:
            drawn += look.analysis.figures(look.tables, scores)
        return {f"{one.name}.svg": Picture(canvas.to_svg(one.figure), one.caption) for one in drawn}
