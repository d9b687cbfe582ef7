"""The figure of scores over seeds, by layer and at the summary layer: two clouds are a finding that a mean would hide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.contracts import ALL_LAYERS
from harness.report.figures import canvas
from harness.report.scores import Scores, Transfer
from harness.report.wording import listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Where the seeds of each method lie: by layer (the darker, the more seeds) and, to the right of each panel, at "
    "the summary layer. {targets}. Dashed: chance."
)
_COLUMNS = 4
_PANEL = 1.3
"""Height of a panel, inches."""
_BINS = 30
_SHADES = (0.18, 0.4, 0.7, 1.0)
"""Opacity for up to 1/4, 1/2, 3/4 and all of the seeds in a cell: few shades make few paths."""


def caption(scores: Scores) -> str:
    colors = ("blue", "orange", "green", "pink", "yellow", "light blue")
    named = [f"{color} is {target}" for target, color in zip(scores.targets, colors, strict=False)]
    return CAPTION.format(targets=listed(named).capitalize() if named else "")


def draw(scores: Scores) -> Figure | None:
    """Rows are methods with seeds, columns are transfers; None if no method has seeds."""
    probes = scores.seeded
    if not probes:
        return None
    columns = min(_COLUMNS, len(scores.transfers))
    blocks = -(-len(scores.transfers) // columns)
    left, top, gap, foot = 0.62, 0.5, 0.22, 0.5
    block = len(probes) * (_PANEL + gap) + foot
    width, height = 9.6, top + blocks * block - 0.2
    figure = canvas.new_figure(width, height)
    panel = (width - left - 0.1) / columns
    side = 0.14 * len(scores.targets) + 0.12
    limits = canvas.value_range(scores, _extremes(scores))
    for i, transfer in enumerate(scores.transfers):
        row, column = divmod(i, columns)
        for j, probe in enumerate(probes):
            bottom = (height - top - row * block - j * (_PANEL + gap) - _PANEL) / height
            x = (left + column * panel) / width
            main = figure.add_axes((x, bottom, (panel - 0.2 - side) / width, _PANEL / height))
            beside = figure.add_axes((x + (panel - 0.2 - side) / width, bottom, side / width, _PANEL / height))
            _by_layer(main, scores, transfer, probe, limits)
            _at_summary(beside, scores, transfer, probe, limits)
            if j == 0:
                main.set_title(canvas.label(transfer.title), fontweight="bold", pad=5)
            if j == len(probes) - 1:
                main.set_xlabel("layer")
            else:
                main.set_xticklabels([])
            if column == 0:
                main.set_ylabel(f"{canvas.label(probe)}\n{canvas.axis_label(scores.headline)}")
            else:
                main.set_yticklabels([])
    _legend(figure, scores, left / width)
    return figure


def _by_layer(axes: Axes, scores: Scores, transfer: Transfer, probe: str, limits: tuple[float, float]) -> None:
    canvas.mark_chance(axes, scores)
    slot = 0.9 / max(1, len(scores.targets))
    deepest = 1
    for k, target in enumerate(scores.targets):
        shaded: dict[float, list[tuple[float, float, float, float]]] = {shade: [] for shade in _SHADES}
        for layer, seeds in scores.seeds_by_layer(transfer, probe, target).items():
            if layer == ALL_LAYERS:
                continue
            deepest = max(deepest, int(layer))
            left = int(layer) - 0.45 + k * slot
            for first, last, shade in _runs([seed.value for seed in seeds], limits):
                shaded[shade].append((left, _edge(first, limits), left + slot, _edge(last + 1, limits)))
        for shade, corners in shaded.items():
            canvas.boxes(axes, corners, canvas.target_color(scores, target), shade)
    axes.set_xlim(-0.8, deepest + 0.8)
    axes.set_ylim(*limits)


def _at_summary(axes: Axes, scores: Scores, transfer: Transfer, probe: str, limits: tuple[float, float]) -> None:
    """A violin of bars for each factor: as wide as the share of seeds in the bin."""
    axes.set_ylim(*limits)
    axes.set_xlim(-0.6, len(scores.targets) - 0.4)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    canvas.mark_chance(axes, scores)
    chosen = scores.summary_layer(transfer, probe)
    if chosen is None:
        return
    for k, target in enumerate(scores.targets):
        seeds = scores.seeds_by_layer(transfer, probe, target).get(chosen, [])
        counts = _binned([seed.value for seed in seeds], limits)
        most = max(counts.values(), default=1)
        halves = {b: max(0.06, 0.42 * count / most) for b, count in sorted(counts.items())}
        corners = [(k - half, _edge(b, limits), k + half, _edge(b + 1, limits)) for b, half in halves.items()]
        canvas.boxes(axes, corners, canvas.target_color(scores, target))
    axes.set_xlabel(f"at {chosen}", fontsize=6.5, color=canvas.QUIET, labelpad=2)


def _runs(values: Sequence[float], limits: tuple[float, float]) -> Iterator[tuple[int, int, float]]:
    """(first bin, last bin, shade) of each run of neighbouring bins that have the same shade."""
    counts = _binned(values, limits)
    shades = {b: _SHADES[int(len(_SHADES) * (count - 1) / len(values))] for b, count in counts.items()}
    for b in sorted(shades):
        if shades.get(b - 1) != shades[b]:
            last = b
            while shades.get(last + 1) == shades[b]:
                last += 1
            yield b, last, shades[b]


def _binned(values: Sequence[float], limits: tuple[float, float]) -> Counter[int]:
    low, high = limits
    return Counter(min(_BINS - 1, int(_BINS * (v - low) / (high - low))) for v in values if low <= v <= high)


def _edge(b: int, limits: tuple[float, float]) -> float:
    """Lower end of a bin."""
    low, high = limits
    return low + b * (high - low) / _BINS


def _extremes(scores: Scores) -> list[float]:
    return [
        seed.value
        for transfer in scores.transfers
        for probe in scores.seeded
        for target in scores.targets
        for seeds in scores.seeds_by_layer(transfer, probe, target).values()
        for seed in seeds
    ]


def _legend(figure: Figure, scores: Scores, left: float) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=canvas.target_color(scores, t), label=canvas.label(t)) for t in scores.targets]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(left - 0.01, 1.0), ncols=len(handles), handlelength=1.0
    )
