"""The noise floor as a thin strip under the panels of a figure by layer: how far arithmetic moves what stands above it.

A bar's height stands for a range of noise, so that the strip is the same on machines whose arithmetic differs in the last digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

from harness.report.figures import canvas
from harness.report.scores import Scores, Transfer
from harness.scoring.noise_floor import BOUND, VISIBLE, percent

HEIGHT = 12.0
"""What a strip takes under a panel, pixels."""
_STEPS = ((VISIBLE, 1.0), (0.01, 3.5), (BOUND, 6.0))
"""Noise of less than so much, and the height of its bar, pixels."""
_UNDECIDED = 9.0
"""Height of the bar of more, with which no check is decided."""


def of_layers(scores: Scores, transfer: Transfer) -> Mapping[float, float]:
    """Noise by layer, the larger of the two conditions'; empty where none was measured."""
    return {float(layer): noise for layer, noise in scores.noise.of((transfer.fit_on, transfer.tested_on)).items()}


def caption(scores: Scores, transfers: Sequence[Transfer]) -> str:
    """A sentence on what the strip is; empty where there is none."""
    if not any(of_layers(scores, transfer) for transfer in transfers):
        return ""
    steps = [percent(most) for most, _ in _STEPS[1:]]
    return (
        f" Strip below: the noise floor, a line {percent(0)}, a bar up to {' and '.join(steps)}, a dark one above that."
    )


def draw(panel: canvas.Panel, noise: Mapping[float, float], *, named: bool) -> None:
    """A bar for each layer of the panel under its lower edge; neighbours of one height are one bar."""
    layers = sorted(layer for layer in noise if panel.xs[0] <= layer <= panel.xs[1])
    if not layers:
        return
    edges = [panel.xs[0], *(sum(two) / 2 for two in pairwise(layers)), panel.xs[1]]
    foot, at, dark = panel.top + panel.height + HEIGHT, 0, dict[bool, str]()
    for height, alike in groupby(_height(noise[layer]) for layer in layers):
        count = len([*alike])
        left, right = (panel.x(edge) for edge in (edges[at], edges[at + count]))
        bar = canvas.box(left, foot - height, right - left, height)
        dark[height == _UNDECIDED] = dark.get(height == _UNDECIDED, "") + bar
        at += count
    for is_dark, bars in sorted(dark.items()):
        panel.surface.path(bars, "f ink" if is_dark else "f q")
    if named:
        panel.surface.text(panel.left - 5, foot, "noise", "s q", "end")


def _height(noise: float) -> float:
    return next((height for most, height in _STEPS if noise < most), _UNDECIDED)
