"""The figure of what was said beside what is true: classes as a square of squares, numbers and components of vectors as clouds of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from harness.report.figures import canvas
from harness.report.scores import Scores, Transfer
from harness.scoring.said_and_true import Outcome, Points

_COLUMNS, _MOST_PANELS = 3, 6
_HEIGHT, _GAP, _TOP = 190.0, 76.0, 62.0
_LEAST_LETTERS, _MOST_LETTERS = 3, 12


class _Shown(NamedTuple):
    """A panel: an outcome, and which of its components."""

    outcome: Outcome
    points: Points | None


def caption(scores: Scores) -> str:
    every = list(_every(scores))
    parts: list[str] = []
    if any(one.points is None for one in every):
        parts.append(
            "of classes, the larger a square, the more of a class's test rows (a line each) are said to be of the class below; blue where "
            "that is right"
        )
    if any(one.points is not None for one in every):
        parts.append(
            "of numbers, each square is a test row, by what is true of it (across) and what is said (up); dashed: where both are one"
        )
    left = f" {len(every) - _MOST_PANELS} more are not shown." if len(every) > _MOST_PANELS else ""
    return f"What was said, beside what is true: {'; '.join(parts)}.{left}"


def draw(scores: Scores) -> canvas.Surface | None:
    """A panel for each outcome, or for each component of a vector; None where every target is binary."""
    every = list(_every(scores))
    panels = every[:_MOST_PANELS]
    if not panels:
        return None
    lines = -(-len(panels) // _COLUMNS)
    surface = canvas.Surface(_TOP + lines * (_HEIGHT + _GAP) - _GAP + 40, "What was said, beside what is true")
    wide = canvas.WIDTH / _COLUMNS
    for number, one in enumerate(panels):
        line, column = divmod(number, _COLUMNS)
        left, top = column * wide, _TOP + line * (_HEIGHT + _GAP)
        fit_on, tested_on, probe = one.outcome.place
        component = "" if one.points is None or not one.points.name else f", {one.points.name}"
        room = int((wide - 12) / canvas.LETTER)
        surface.text(left, top - 22, canvas.heading(Transfer(fit_on, tested_on), wide - 12), "b s")
        surface.text(left, top - 8, canvas.label(f"{probe}, layer {one.outcome.layer}{component}", room), "s q")
        if one.points is None:
            _classes(surface, one.outcome, left, top, wide - 22)
        else:
            _cloud(surface, one.points, left, top, wide - 22)
    return surface


def _every(scores: Scores) -> Iterator[_Shown]:
    for outcome in scores.outcomes:
        if outcome.counts:
            yield _Shown(outcome, None)
        for points in outcome.points:
            yield _Shown(outcome, points)


def _classes(surface: canvas.Surface, outcome: Outcome, left: float, top: float, wide: float) -> None:
    """A square for each two classes, its side the root of the share, so that its area is the share."""
    count = len(outcome.classes)
    longest = max(map(len, outcome.classes))
    letters = max(_LEAST_LETTERS, min(longest, _MOST_LETTERS))
    side = min((wide - canvas.LETTER * letters - 8) / count, (_HEIGHT - 16) / count)
    first = left + canvas.LETTER * letters + 8
    right: list[str] = []
    wrong: list[str] = []
    for true, row in enumerate(outcome.counts):
        surface.text(
            first - 6, top + side * (true + 0.5) + 4, canvas.label(outcome.classes[true], letters), "s q", "end"
        )
        whole = sum(row) or 1.0
        for said, rows in enumerate(row):
            length = (side - 3) * (rows / whole) ** 0.5
            x, y = first + side * (said + 0.5) - length / 2, top + side * (true + 0.5) - length / 2
            if length > 0:
                (right if said == true else wrong).append(canvas.box(x, y, length, length))
    edges = [
        canvas.box(first + side * said, top + side * true, side, side) for true in range(count) for said in range(count)
    ]
    surface.path("".join(edges), "g")
    surface.path("".join(right), f"f {canvas.look_of(0)}")
    surface.path("".join(wrong), f"f {canvas.look_of(1)}")
    for said, name in enumerate(outcome.classes):
        shown = canvas.label(name, max(1, int(side / canvas.LETTER)))
        surface.text(first + side * (said + 0.5), top + side * count + 14, shown, "s q", "middle")
    surface.text(first + side * count / 2, top + side * count + 28, "said", "s q", "middle")


def _cloud(surface: canvas.Surface, points: Points, left: float, top: float, wide: float) -> None:
    """One scale for both axes' ends, so that the dashed line is where what is said is true."""
    numbers = (*points.true, *points.said)
    air = 0.04 * (max(numbers) - min(numbers)) or 0.05
    limits = (min(numbers) - air, max(numbers) + air)
    panel = canvas.Panel(surface, left + 44, top, wide - 44, _HEIGHT - 30, limits, limits)
    panel.scale_left(canvas.ticks(*limits, 4), "said")
    panel.scale_below(canvas.ticks(*limits, 4), "true")
    surface.path(canvas.through(panel.at([(limits[0], limits[0]), (limits[1], limits[1])])), "c q")
    panel.dots(zip(points.true, points.said, strict=True), canvas.look_of(0))
