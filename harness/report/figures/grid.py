"""Small multiples of one kind: a row for each method, a column for each pair of conditions, a line for each factor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from harness.report.figures import canvas, noise_strip
from harness.report.intervals import Score
from harness.report.scores import Scores, Transfer

Line = Mapping[float, Score]
"""By the place across."""


class Grid(msgspec.Struct, frozen=True):
    """The lines of each panel, and what stands around them."""

    title: str
    across: str
    """What the places across are."""
    ticks: Callable[[Sequence[float]], Mapping[float, str]]
    """The places that are named, of all there are."""
    panels: Mapping[tuple[str, Transfer], Mapping[str, Line]]
    """By method and transfer, then by factor; only those that have something to show."""
    told: Mapping[tuple[str, Transfer], str]
    """What each shows, in words."""
    height: float = 66.0
    """Of a panel, pixels."""
    bands: bool = True
    """Whether intervals are drawn."""
    noise: Mapping[Transfer, Mapping[float, float]] = {}
    """By transfer and place, what is drawn as a strip under the lowest panel of its column; see `noise_strip`."""


_GAP, _LEFT = 36.0, 44.0


def draw(scores: Scores, grid: Grid) -> canvas.Surface:
    methods = [probe for probe in scores.probes if any(probe == one for one, _ in grid.panels)]
    transfers = [transfer for transfer in scores.transfers if any(transfer == one for _, one in grid.panels)]
    targets = list(dict.fromkeys(target for lines in grid.panels.values() for target in lines))
    beside = 24 + canvas.LETTER * max(len(canvas.label(target, 20)) for target in targets)
    top, wide = 52.0, (canvas.WIDTH - _LEFT - beside) / len(transfers)
    strip = noise_strip.HEIGHT if any(grid.noise.values()) else 0.0
    surface = canvas.Surface(top + len(methods) * (grid.height + _GAP) + 6 + strip, grid.title)
    scored = [score for lines in grid.panels.values() for line in lines.values() for score in line.values()]
    limits = canvas.value_range(
        scores, (v for s in scored for v in ((s.low, s.value, s.high) if grid.bands else (s.value,)))
    )
    lasting = {
        transfer: max(i for i, probe in enumerate(methods) if (probe, transfer) in grid.panels)
        for transfer in transfers
    }
    ending = {
        probe: max(j for j, transfer in enumerate(transfers) if (probe, transfer) in grid.panels) for probe in methods
    }
    for j, transfer in enumerate(transfers):
        places = sorted(
            {x for (_, one), lines in grid.panels.items() if one == transfer for line in lines.values() for x in line}
        )
        named = grid.ticks(places)
        ends = (places[0], places[-1])
        left = _LEFT + j * wide
        surface.text(left, 33, canvas.heading(transfer, wide - 8), "b s")
        for i, probe in enumerate(methods):
            lines = grid.panels.get((probe, transfer))
            if lines is None:
                continue
            panel = canvas.Panel(surface, left, top + i * (grid.height + _GAP), wide - 22, grid.height, ends, limits)
            first = all((probe, one) not in grid.panels for one in transfers[:j])
            _panel(panel, scores, transfer, lines, grid, first=first)
            told = grid.told[probe, transfer]
            room = int((wide - 6) / (canvas.LETTER - 0.4)) - len(told) - 2
            surface.text(left, panel.top - 5, f"{canvas.label(probe, max(8, room))}: {told}", "s q")
            if noise := grid.noise.get(transfer) if i == lasting[transfer] else None:
                noise_strip.draw(panel, noise, named=not any(grid.noise.get(one) for one in transfers[:j]))
            _below(panel, named, grid.across if i == lasting[transfer] else "", strip)
            if j == ending[probe]:
                last = [
                    (line[max(line)].value, canvas.label(t, 20), canvas.factor_of(scores, t))
                    for t, line in lines.items()
                ]
                panel.ends(last)
    return surface


def _panel(
    panel: canvas.Panel, scores: Scores, transfer: Transfer, lines: Mapping[str, Line], grid: Grid, *, first: bool
) -> None:
    panel.scale_left(canvas.ticks(*panel.ys, 3), named=first)
    for chance in scores.chances(transfer.tested_on, lines):
        panel.across(chance)
    for target, line in lines.items():
        look = canvas.look_of(canvas.factor_of(scores, target))
        if grid.bands and all(score.bounded for score in line.values()):
            panel.band([(x, s.low) for x, s in line.items()], [(x, s.high) for x, s in line.items()], look)
    for target, line in lines.items():
        panel.line([(x, s.value) for x, s in line.items()], canvas.look_of(canvas.factor_of(scores, target)))


def _below(panel: canvas.Panel, named: Mapping[float, str], across: str, strip: float) -> None:
    """The axis across; its names stand under a strip of so many pixels."""
    panel.scale_below(list(named), named=False)
    if across:
        bottom = panel.top + panel.height + strip
        for value, name in named.items():
            panel.surface.text(panel.x(value), bottom + 14, name, "s q", "middle")
        panel.surface.text(panel.left + panel.width / 2, bottom + 28, across, "s q", "middle")
