"""Old and new in one figure: every row of the summary layers that moved, as two marks and the line between them."""

from __future__ import annotations

from harness.report.compare.moves import Difference
from harness.report.figures import canvas
from harness.report.scores import Transfer
from harness.untrusted import text as plain

MOST = 40
"""Rows; of more, the most important."""
_OLD, _BEYOND, _WITHIN = "#8c959f", "#D55E00", "#0072B2"


def as_svg(difference: Difference) -> bytes:
    """The figure; where nothing moved, it says so."""
    from matplotlib.lines import Line2D

    shown = difference.moved[:MOST]
    with canvas.styled():
        figure = canvas.new_figure(9.6, 0.9 + 0.2 * max(len(shown), 1))
        axes = figure.add_axes((0.42, 0.45 / figure.get_figheight(), 0.56, 1 - 0.95 / figure.get_figheight()))
        for place, row in enumerate(shown):
            color = _BEYOND if row.beyond else _WITHIN
            axes.plot([row.old.value, row.new.value], [place, place], color=color, linewidth=1.2)
            axes.plot([row.old.value], [place], marker="o", markersize=4, color=_OLD)
            axes.plot([row.new.value], [place], marker="D" if row.beyond else "o", markersize=4, color=color)
        names = [
            f"{plain.line(row.key[2], 24)}, {plain.line(Transfer(*row.key[:2]).title, 24)}: {plain.line(row.key[4], 16)} {plain.line(row.key[5], 16)}"
            for row in shown
        ]
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
        beyond = sum(row.beyond is True for row in difference.moved)
        axes.set_title(
            f"{len(difference.moved):,} rows at summary layers moved, {beyond:,} beyond their interval"
            if shown
            else "No row at a summary layer moved"
        )
        handles = [
            Line2D([], [], marker=marker, color=color, linestyle="", label=label)
            for marker, color, label in (("o", _OLD, "was"), ("o", _WITHIN, "is, within"), ("D", _BEYOND, "is, beyond"))
        ]
        figure.legend(handles=handles, loc="upper left", ncols=3, fontsize=7.5)
        return canvas.to_svg(figure)
