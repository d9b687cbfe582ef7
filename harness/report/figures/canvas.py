"""The canvas that all figures share: fonts, colours by role, and an SVG whose bytes depend on nothing but the numbers.

Text is drawn as outlines: GitHub shows an SVG without the reader's fonts, and a fall-back font would run into its
neighbours. Coordinates are rounded to a hundredth of a point, which halves the file and keeps diffs still when the
last digit of a number moves.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from harness.report.scores import Scores
from harness.untrusted import text as plain

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
_DASHES: Sequence[Any] = (
    (0, None),
    (0, (4, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.2, 1.2, 1.2)),
)

_STYLE: dict[Any, Any] = {
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
    dash: Any
    """Offset and lengths of dashes and gaps, in line widths; no lengths for a solid line."""


def strokes(scores: Scores) -> dict[str, Stroke]:
    """A stroke for every method, by what it learns from."""
    used = dict.fromkeys(_FAMILIES, 0)
    chosen = {}
    for probe in scores.probes:
        role = scores.role(probe)
        i = used[role]
        used[role] += 1
        shades = _FAMILIES[role]
        turn = i // len(shades)
        chosen[probe] = Stroke(shades[i % len(shades)], _DASHES[(i + turn) % len(_DASHES)])
    return chosen


def target_color(scores: Scores, target: str) -> str:
    return _TARGETS[scores.targets.index(target) % len(_TARGETS)]


def class_color(number: int) -> str:
    """Of a factor's classes, by their order."""
    return _TARGETS[number % len(_TARGETS)]


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


_PROGRAM = {"backend", "backend_fallback", "interactive", "toolbar"}
"""Settings of matplotlib that are about windows, which we open none of."""


def styled() -> AbstractContextManager[None]:
    """The context in which figures are made and saved."""
    import matplotlib as mpl

    # A matplotlibrc of the user's, or in the folder that we happen to be in, changes no figure.
    plain = {name: value for name, value in mpl.rcParamsDefault.items() if name not in _PROGRAM}
    return mpl.rc_context(plain | _STYLE)


def boxes(axes: Axes, corners: Iterable[tuple[float, float, float, float]], color: str, opacity: float = 1.0) -> None:
    """Filled rectangles (left, low, right, high) as one path; the axes' limits are not looked at."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    outlines = [((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)) for x0, y0, x1, y1 in corners]
    if outlines:
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(outlines)
        path = Path([point for outline in outlines for point in outline], codes)
        patch = PathPatch(path, facecolor=color, alpha=opacity, linewidth=0, transform=axes.transData)
        # add_patch would measure every corner to grow the limits, which are given.
        axes.add_artist(patch)


def to_svg(figure: Figure) -> bytes:
    """The same bytes for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r'(?<= d=")[^"]*', lambda path: _compact(path[0]), buffer.getvalue())
    text = re.sub(r'(?<= (?:x|y)=")[^"]*', lambda place: _rounded(place[0], 2), text)
    return "\n".join(line.strip() for line in text.splitlines()).encode() + b"\n"


_N = r"(-?[\d.]+)"
_BOX = re.compile(rf"M {_N} {_N} L {_N} \2 L \3 {_N} L \1 \4 z")


def _compact(path: str) -> str:
    """Path data with fewer bytes: rectangles as one corner and two lengths, lines without repeated letters."""
    path = " ".join(path.split())
    drawn = _BOX.sub(_box, path)
    if drawn == path:
        drawn = _rounded(path, 1)
    if not re.search("[^MLz0-9. -]", drawn):
        # After M or L a pair of numbers is a line anyway; after a curve it would be another curve.
        drawn = re.sub(r"(?<=\d) L (?=[-\d])", " ", drawn)
    return re.sub(r" ?([A-Za-z]) ?", r"\1", drawn)


def _box(match: re.Match[str]) -> str:
    x0, y0, x1, y1 = map(float, match.groups())
    x, y, wide, high = (_shortest(v, 2) for v in (x0, y0, x1 - x0, y1 - y0))
    return f"M{x} {y}h{wide}v{high}H{x}z"


def _rounded(numbers: str, digits: int) -> str:
    return re.sub(r"-?\d+\.\d+", lambda m: _shortest(float(m[0]), digits), numbers)


def _shortest(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
