"""The report's pictures: deterministic SVG, one module each, all drawn from `Scores`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from harness.contracts.analysis import Drawn
from harness.errors import UsageError
from harness.report.content import Look
from harness.report.figures import beside_true, by_layer, canvas, overview, seeds
from harness.report.folder import MOST_FIGURES
from harness.report.scores import Scores

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Picture(msgspec.Struct, frozen=True):
    """A rendered figure and what it shows, in one sentence or two."""

    svg: bytes
    caption: str


class Drawing(msgspec.Struct, frozen=True):
    """A figure that every report has, unless there is nothing to draw."""

    name: str
    """Of its file, without ending."""
    draw: Callable[[Scores], canvas.Surface | None]
    caption: Callable[[Scores], str]
    layers: bool
    """Whether it shows which layers were chosen."""
    headline: bool = False
    """Whether it shows the scores there, with intervals of all that varies."""
    noise: bool = False
    """Whether it shows the noise floor."""
    outcomes: bool = False
    """Whether it shows what was said beside what is true."""

    def drawn(self, scores: Scores) -> Iterator[Drawn]:
        if (figure := self.draw(scores)) is not None:
            yield Drawn(self.name, figure, self.caption(scores))


DRAWINGS = (
    Drawing("overview", overview.draw, overview.caption, layers=True, headline=True),
    Drawing("layers", by_layer.draw, by_layer.caption, layers=False, noise=True),
    Drawing("seeds", seeds.draw, seeds.caption, layers=True),
    Drawing("said", beside_true.draw, beside_true.caption, layers=False, outcomes=True),
)
"""In the order of the report; those of the analyses follow."""


def pictured(scores: Scores, draw: Callable[[Scores], Iterable[Drawn]]) -> dict[str, Picture]:
    """File name → picture, of what a function draws; empty if nothing was measured."""
    if not scores.transfers:
        return {}
    drawn = list(draw(scores))
    if odd := [one.name for one in drawn if not _NAME.fullmatch(one.name)]:
        raise UsageError(f'"{odd[0]}" is no name for a figure; an analysis gives it one of a-z, 0-9, - and _')
    return gathered({f"{one.name}.svg": Picture(canvas.to_svg(one.figure), one.caption)} for one in drawn)


def shown(pictures: Mapping[str, Picture]) -> dict[str, Picture]:
    """Those that stand in the report's folder: the first of all, and of those that analyses drew as many as there is place for. The
    page shows what the others would."""
    return dict(list(pictures.items())[:MOST_FIGURES])


def gathered(parts: Iterable[dict[str, Picture]]) -> dict[str, Picture]:
    """Pictures from several makers, in their order. Raises UsageError where two have a file of one name."""
    found: dict[str, Picture] = {}
    for part in parts:
        if shared := sorted({*found} & {*part}):
            raise UsageError(
                f"two figures of the report are called {shared[0]}; an analysis gives its own another name"
            )
        found |= part
    return found


def render(scores: Scores, looks: Sequence[Look] = ()) -> dict[str, Picture]:
    """All pictures of a report, in its order."""
    own = [pictured(scores, drawing.drawn) for drawing in DRAWINGS]
    theirs = [pictured(scores, lambda shown, look=look: look.analysis.figures(look.tables, shown)) for look in looks]  # type: ignore[misc]
    return gathered((*own, *theirs))
