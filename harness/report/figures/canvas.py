"""The canvas that all figures share: a small SVG whose bytes depend on nothing but the numbers.

Text is text: it takes the reader's own font, so that names in every script can be read, found and copied; room is left for the
widest of the usual fonts. Colours are classes with a value for light paper and one for dark, and the paper is transparent. Places
are kept to half a pixel (the units of the file), which keeps files small and diffs still when the last digit of a number moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from harness.report.figures import palette
from harness.report.scores import Scores, Transfer
from harness.untrusted import text as plain

WIDTH = 860.0
"""Of a figure, pixels: what a page of Markdown gives it."""
LETTER = 6.4
"""Room for one character of a name, pixels; at 11 pixels a wide font such as DejaVu Sans takes that."""
LINE = 14.0
"""Height of a line of text, pixels."""

_UNITS = 2
"""To the pixel."""

Point = tuple[float, float]


class Surface:
    """A figure that is being drawn. Places are pixels from the upper left corner."""

    def __init__(self, height: float, title: str = "", width: float = WIDTH):
        self.width, self.height = width, height
        self.title = title
        self.parts: list[str] = []
        if title:
            self.text(0, 13, title, "b")

    def text(self, x: float, y: float, words: str, look: str = "", anchor: str = "", turned: bool = False) -> None:
        """Words with their base line at a place. `look` names classes: b is bold, q quiet, k0, k1 … the colours of factors."""
        turn = f' transform="rotate(-90 {_unit(x)} {_unit(y)})"' if turned else ""
        to = f' text-anchor="{anchor}"' if anchor else ""
        name = f' class="{look}"' if look else ""
        self.parts.append(f'<text x="{_unit(x)}" y="{_unit(y)}"{name}{to}{turn}>{escape(words, quote=False)}</text>')

    def path(self, data: str, look: str) -> None:
        """A path by its data, nothing where that is empty. Of `look`, l is a line, f is filled, a is a pale area, i a stout line, g the grid."""
        if data:
            self.parts.append(f'<path class="{look}" d="{data}"/>')

    def dots(self, places: Iterable[Point], colour: str, width: int) -> None:
        """Round dots of a colour that is no factor's, the same on light paper and on dark; `width` is in half pixels."""
        data, (x, y) = [], (0, 0)
        for new_x, new_y in sorted({(_unit(x), _unit(y)) for x, y in places}):
            data.append(f"m{new_x - x}{'' if new_y < y else ' '}{new_y - y}h0")
            x, y = new_x, new_y
        if data:
            drawn = f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-linecap="round"'
            self.parts.append(f'<path {drawn} d="{"".join(data)}"/>')


def _style() -> str:
    def colours(dark: bool) -> str:
        found = {name.removeprefix("--"): value for name, value in palette.variables(dark).items()}
        rules = [f"svg,.ink{{color:{found.pop('ink')}}}", f".q{{color:{found.pop('quiet')}}}"]
        rules += [f".{'g' if name == 'grid' else name}{{color:{value}}}" for name, value in found.items()]
        return "".join(rules)

    return (
        "text{font:22px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:currentColor}"
        "text.s{font-size:19px}text.b{font-weight:600}path{stroke-linejoin:round}.l,.i,.g,.c{fill:none;stroke:currentColor;stroke-width:3}"
        ".g,.c{stroke-width:1.2}.c,.d{stroke-dasharray:5 5}.i{stroke-width:4}.f,.a{fill:currentColor}.a{opacity:.15}.p{opacity:.6}"
        f"{colours(False)}@media(prefers-color-scheme:dark){{{colours(True)}}}"
    )


class Panel(msgspec.Struct, frozen=True):
    """A part of a figure in which numbers are places."""

    surface: Surface
    left: float
    top: float
    width: float
    height: float
    xs: tuple[float, float]
    """What the left and the right edge stand for."""
    ys: tuple[float, float]
    """What the lower and the upper edge stand for."""

    def x(self, value: float) -> float:
        return self.left + self.width * _share(value, self.xs)

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - _share(value, self.ys))

    def at(self, values: Iterable[Point]) -> list[Point]:
        return [(self.x(x), self.y(y)) for x, y in values]

    def line(self, values: Iterable[Point], look: str) -> None:
        self.surface.path(through(self.at(values)), f"l {look}")

    def band(self, lower: Iterable[Point], upper: Iterable[Point], look: str) -> None:
        around = [*self.at(upper), *reversed(self.at(lower))]
        self.surface.path(through(around) + "z" if around else "", f"a {look}")

    def marks(self, values: Iterable[Point], factor: int) -> None:
        """A factor's mark at each place."""
        shape = palette.MARKS[factor % len(palette.MARKS)]
        self.surface.path("".join(mark(place, shape) for place in self.at(values)), f"f {look_of(factor)}")

    def dots(self, values: Iterable[Point], look: str) -> None:
        """Small squares, of which many lie on top of each other."""
        places = dict.fromkeys(f"M{_unit(x) - 3} {_unit(y) - 3}h6v6h-6z" for x, y in self.at(values))
        self.surface.path("".join(places), f"f p {look}")

    def across(self, value: float) -> None:
        """A dashed line at a height, such as chance."""
        self.surface.path(f"M{_unit(self.left)} {_unit(self.y(value))}h{_unit(self.width)}", "c q")

    def upright(self, value: float, ys: tuple[float, float] | None = None) -> None:
        """A dashed line upright at a value, from one height to another."""
        start, end = map(self.y, self.ys[::-1] if ys is None else ys)
        self.surface.path(f"M{_unit(self.x(value))} {_unit(start)}V{_unit(end)}", "c q")

    def scale_below(self, values: Sequence[float], title: str = "", named: bool = True) -> None:
        """The axis across: its line, a stroke at each value, the values and what they are."""
        bottom = self.top + self.height
        strokes = "".join(f"M{_unit(self.x(v))} {_unit(bottom)}v6" for v in values)
        self.surface.path(f"M{_unit(self.left)} {_unit(bottom)}h{_unit(self.width)}{strokes}", "g q")
        if named:
            for value in values:
                self.surface.text(self.x(value), bottom + 14, tick(value), "s q", "middle")
            self.surface.text(self.left + self.width / 2, bottom + 28, title, "s q", "middle")

    def scale_left(self, values: Sequence[float], title: str = "", named: bool = True) -> None:
        """The axis up: a line over the panel at each value, the values and what they are."""
        lines = "".join(f"M{_unit(self.left)} {_unit(self.y(v))}h{_unit(self.width)}" for v in values)
        self.surface.path(lines, "g")
        if named:
            for value in values:
                self.surface.text(self.left - 5, self.y(value) + 4, tick(value), "s q", "end")
            if title:
                self.surface.text(self.left - 34, self.top + self.height / 2, title, "s q", "middle", turned=True)

    def ends(self, labels: Iterable[tuple[float, str, int]]) -> None:
        """Names to the right of lines that end at these heights, with the factor's mark, moved apart where they would touch."""
        wanted = sorted((self.y(value), name, factor) for value, name, factor in labels)
        room, low, high = LINE - 1, self.top + 4, self.top + self.height + 4
        ys: list[float] = []
        for y, _, _ in wanted:
            ys.append(max(y, ys[-1] + room) if ys else max(y, low))
        for k in range(len(ys) - 1, -1, -1):
            ys[k] = min(ys[k], ys[k + 1] - room if k + 1 < len(ys) else high)
        for y, (_, name, factor) in zip(ys, wanted, strict=True):
            key(self.surface, self.left + self.width + 10, y + 4, name, factor)


def mark(place: Point, shape: str) -> str:
    """Path data of a mark at a place; `shape` is one of `palette.MARKS`."""
    return f"M{_unit(place[0])} {_unit(place[1])}{shape}"


def box(left: float, top: float, width: float, height: float) -> str:
    """Path data of an upright rectangle."""
    return f"M{_unit(left)} {_unit(top)}h{_unit(width)}v{_unit(height)}h{-_unit(width)}z"


def key(surface: Surface, x: float, y: float, name: str, factor: int) -> float:
    """A factor's mark and its name; returns where the next one has place."""
    shape = palette.MARKS[factor % len(palette.MARKS)]
    surface.path(mark((x, y - 4), shape), f"f {look_of(factor)}")
    surface.text(x + 8, y, name, "s")
    return x + 8 + LETTER * len(name) + 18


def look_of(factor: int) -> str:
    return f"k{factor % len(palette.FACTORS)}"


def factor_of(scores: Scores, target: str) -> int:
    """Which colour and mark a factor has in all figures."""
    return scores.targets.index(target)


def label(text: str, width: int = 28) -> str:
    """A name as it stands in a figure: harmless, on one line, cut to fit."""
    return plain.line(text, width)


def heading(transfer: Transfer, wide: float) -> str:
    """The conditions of a transfer in so many pixels, each cut by itself where both have no place."""
    room = int(wide / LETTER)
    if len(transfer.title) <= room or transfer.fit_on == transfer.tested_on:
        return label(transfer.title, room)
    half = max(2, (room - 3) // 2)
    return f"{label(transfer.fit_on, half)} → {label(transfer.tested_on, half)}"


def axis_label(metric: str) -> str:
    return label(metric.replace("_", " "))


def value_range(scores: Scores, values: Iterable[float]) -> tuple[float, float]:
    """The axis that holds the values, chance included, with a little air; the same for all panels of a figure."""
    finite = [v for v in (*values, *(chance for _, _, chance in scores.outline.chances)) if math.isfinite(v)]
    if scores.chance is not None:
        finite.append(scores.chance)
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    air = 0.04 * (high - low) or 0.05
    return low - air, high + air


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round values between two, about `most` and two at least."""
    if not (math.isfinite(high - low) and high > low):
        return []
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    found: list[float] = []
    for step in (size * part for part in (10, 5, 2, 1, 0.5)):
        wider, (first, last) = found, (math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9))
        found = [round(k * step, 12) for k in range(first, last + 1)]
        if len(wider) > 1 and len(found) > most:
            return wider
    return found


def whole_ticks(last: int, most: int = 5) -> list[float]:
    """Whole numbers from 0 on."""
    step = max(1, round(ticks(0, max(last, 1), most)[1]))
    return [float(k) for k in range(0, last + 1, step)]


def tick(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def through(points: Sequence[Point]) -> str:
    """Path data of a line through places."""
    if not points:
        return ""
    (x, y), *rest = ((_unit(x), _unit(y)) for x, y in points)
    data = [f"M{x} {y}l" if rest else f"M{x} {y}h0"]
    for new_x, new_y in rest:
        step = f"{new_x - x}{new_y - y if new_y < y else f' {new_y - y}'}"
        data.append(step if step.startswith("-") or data[-1].endswith("l") else f" {step}")
        x, y = new_x, new_y
    return "".join(data)


def to_svg(figure: Surface) -> bytes:
    """The same bytes for the same figure."""
    size = f'width="{figure.width:g}" height="{figure.height:g}" viewBox="0 0 {_unit(figure.width)} {_unit(figure.height)}"'
    named = f"<title>{escape(figure.title, quote=False)}</title>" if figure.title else ""
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{named}'
    return "\n".join((start, f"<style>{_style()}</style>", *figure.parts, "</svg>", "")).encode()


def _unit(pixels: float) -> int:
    return round(pixels * _UNITS)


def _share(value: float, limits: tuple[float, float]) -> float:
    """How far along an axis a value lies; at its end where it lies beyond, or is no number."""
    low, high = limits
    share = (value - low) / (high - low) if high != low else 0.5
    return min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
