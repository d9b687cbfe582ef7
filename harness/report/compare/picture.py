"""Old and new in one figure: every row of the summary layers that moved, as two marks and the line between them."""

from __future__ import annotations

from harness.report.compare.moves import Difference
from harness.report.figures import canvas, palette
from harness.report.scores import Transfer
from harness.untrusted import text as plain

MOST = 40
"""Rows; of more, the most important."""
_ROW = 18.0
"""Height of a row, pixels."""
_DISC, _DIAMOND = palette.MARKS[0], palette.MARKS[3]


def as_svg(difference: Difference) -> bytes:
    """The figure; where nothing moved, it says so."""
    shown = difference.moved[:MOST]
    beyond = sum(row.beyond is True for row in difference.moved)
    title = (
        f"{len(difference.moved):,} rows at summary layers moved, {beyond:,} beyond their interval"
        if shown
        else "No row at a summary layer moved"
    )
    surface = canvas.Surface(74 + _ROW * max(len(shown), 1), title)
    if not shown:
        return canvas.to_svg(surface)
    surface.text(0, 31, "short stroke: was; disc: is, within its interval; diamond: is, beyond it", "s q")
    names = [
        f"{plain.line(row.key[2], 24)}, {plain.line(Transfer(*row.key[:2]).title, 24)}: {plain.line(row.key[4], 16)} {plain.line(row.key[5], 16)}"
        for row in shown
    ]
    left = 14 + canvas.LETTER * max(map(len, names))
    values = [value for row in shown for value in (row.old.value, row.new.value)]
    air = 0.04 * (max(values) - min(values)) or 0.05
    limits = (min(values) - air, max(values) + air)
    panel = canvas.Panel(surface, left, 40, canvas.WIDTH - left - 10, _ROW * len(shown), limits, (len(shown), 0))
    for place, row in enumerate(shown):
        y, look = place + 0.5, "ink" if row.beyond else "q"
        panel.line([(row.old.value, y), (row.new.value, y)], look)
        panel.line([(row.old.value, y - 0.3), (row.old.value, y + 0.3)], look)
        (at,) = panel.at([(row.new.value, y)])
        surface.path(canvas.mark(at, _DIAMOND if row.beyond else _DISC), f"f {look}")
        surface.text(left - 8, at[1] + 4, names[place], "s", "end")
    panel.scale_below(canvas.ticks(*limits))
    return canvas.to_svg(surface)
