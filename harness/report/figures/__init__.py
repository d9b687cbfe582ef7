"""The report's pictures: deterministic SVG, one module each, all drawn from `Scores`."""

from __future__ import annotations

import msgspec

from harness.report.scores import Scores


class Picture(msgspec.Struct, frozen=True):
    """A rendered figure and what it shows, in one sentence or two."""

    svg: bytes
    caption: str


def render(scores: Scores) -> dict[str, Picture]:
    """File name → picture, in the order of the report; empty if nothing was measured."""
    from harness.report.figures import canvas, layers, overview, seeds

    if not scores.transfers:
        return {}
    pictures = {}
    with canvas.styled():
        for module in (overview, layers, seeds):
            figure = module.draw(scores)
            if figure is not None:
                name = module.__name__.rsplit(".", 1)[-1]
                pictures[f"{name}.svg"] = Picture(canvas.to_svg(figure), module.caption(scores))
    return pictures
