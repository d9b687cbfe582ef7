"""What all figures share: fonts, colours by role, and an SVG whose bytes depend on nothing but the numbers.

Text is drawn as outlines: GitHub shows an SVG without the reader's fonts, and a fall-back font would run into its
neighbours. Coordinates are rounded to a hundredth of a point, which halves the file and keeps diffs still when the
last digit of a number moves.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.report import plain
from harness.report.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2328"
QUIET = "#6e7781"
GRID = "#d8dee4"

# Okabe and Ito's palette, which colour-blind readers can tell apart; truth is always blue.
_TARGETS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_TARGET_MARKERS = ("o", "s", "^", "D", "v", "P")

# Blue sees labels, orange does not, grey is a baseline: one look tells the families apart, shade and dash the members.
_FAMILIES: Mapping[str, Sequence[str]] = {
    "labels": ("#0072B2", "#56B4E9", "#08306b", "#4292c6"),
    "no labels": ("#D55E00", "#E69F00", "#8c2d04", "#f4a261"),
    "baseline": ("#57606a", "#8c959f", "#24292f", "#afb8c1"),
}
_DASHES: Sequence[str | tuple[int, tuple[float, ...]]] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.grid": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "harness",
}


class Stroke(msgspec.Struct, frozen=True):
    """How the line of one method is drawn."""

    color: str
    dash: str | tuple[int, tuple[float, ...]]


def strokes(scores: Scores) -> dict[str, Stroke]:
    """A stroke for every method, by what it learns from."""
    used = dict.fromkeys(_FAMILIES, 0)
    chosen = {}
    for probe in scores.probes:
        role = scores.role(probe)
        i = used[role]
        used[role] += 1
        shades = _FAMILIES[role]
        chosen[probe] = Stroke(shades[i % len(shades)], _DASHES[i % len(_DASHES)])
    return chosen


def target_color(scores: Scores, target: str) -> str:
    return _TARGETS[scores.targets.index(target) % len(_TARGETS)]


def target_marker(scores: Scores, target: str) -> str:
    return _TARGET_MARKERS[scores.targets.index(target) % len(_TARGET_MARKERS)]


def label(text: str, width: int = 28) -> str:
    """A name as it stands in a figure: harmless, on one line, cut to fit."""
    return plain.line(text, width)


def axis_label(metric: str) -> str:
    return label(metric.replace("_", " "))


def value_range(scores: Scores, values: Sequence[float]) -> tuple[float, float]:
    """The axis that holds the values, chance included, with a little air; the same for all panels of a figure."""
    import math

    finite = [v for v in values if math.isfinite(v)]
    if scores.chance is not None:
        finite.append(scores.chance)
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    air = 0.04 * (high - low) or 0.05
    return low - air, high + air


def mark_chance(axes: Axes, scores: Scores, *, vertical: bool = False) -> None:
    if scores.chance is not None:
        draw = axes.axvline if vertical else axes.axhline
        draw(scores.chance, color=QUIET, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0.5)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def styled() -> object:
    """The context in which figures are made and saved."""
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


def to_svg(figure: Figure) -> bytes:
    """The same bytes for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r'(?<= d=")[^"]*', lambda path: _rounded(path[0]), buffer.getvalue())
    text = re.sub(r'(?<= (?:x|y)=")[^"]*', lambda place: _rounded(place[0]), text)
    return "\n".join(line.rstrip() for line in text.splitlines()).encode() + b"\n"


def _rounded(numbers: str) -> str:
    text = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), numbers)
    return " ".join(text.split())
