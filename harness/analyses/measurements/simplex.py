"""Beliefs about three hidden states in a triangle: the true ones, and what is read off a network after training and before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.maths.held_out import held_out, r2
from harness.report.figures import canvas, palette

if TYPE_CHECKING:
    import polars as pl

    from harness.networks.watched import Watched

CAPTION = (
    "Beliefs about the hidden state in the triangle whose corners are certainty, coloured by the true belief: left as an ideal reader has them, beside it as a linear "
    "map reads them off the last layer of the first network after training, right before training; each belief by a fit on other sequences. Of the first condition with three hidden states."
)
MOST = 1300
"""Beliefs that are drawn."""
_SHADES = 5
"""Steps from one corner's colour to another's."""
_TOP, _GAP, _ROOM = 70.0, 24.0, 0.06
_DOT = 4
"""Width of a dot, in half pixels."""


class Seen(msgspec.Struct, frozen=True):
    """A beginning's belief and what is read of it at one step."""

    step: int
    beginning: int
    true: list[float]
    read: list[float]


def seen(first: Watched, last: Watched) -> list[Seen]:
    """Beliefs of the first network before and after training, read off its last layer."""
    found = []
    for watched in dict.fromkeys((first, last)):
        at = watched.beginnings
        values = at.values["belief"]
        read = held_out(at.states[0, -1], values, at.fold)
        found += [
            Seen(watched.step, number, *pair)
            for number, pair in enumerate(zip(values.tolist(), read.tolist(), strict=True))
        ]
    return found


def draw(beliefs: pl.DataFrame) -> canvas.Surface | None:
    """None where no process has three hidden states."""
    import polars as pl

    three = beliefs.filter(pl.col("true").list.len() == 3)
    if three.is_empty():
        return None
    own = three.filter(condition=three["condition"][0]).sort("step", "beginning")
    steps = own["step"].unique().sort().to_list()
    ending, start = own.filter(step=steps[-1]), own.filter(step=steps[0])
    true, read, before = (
        np.array(frame[name].to_list()) for frame, name in ((ending, "true"), (ending, "read"), (start, "read"))
    )
    shares = [_r2(said, true) for said in (read, before)]
    panels = [
        (f"{own['condition'][0]}: true beliefs", true),
        (f"read after step {steps[-1]:,}: R² {shares[0]:.3f}", read),
        (f"before training: R² {shares[1]:.3f}", before),
    ]
    wide = (canvas.WIDTH - 2 * _GAP) / len(panels)
    high = wide * math.sqrt(3) / 2
    title = f"A linear map reads beliefs off the network with R² {shares[0]:.3f}, {shares[1]:.3f} before training"
    surface = canvas.Surface(_TOP + high + 10, title)
    for column, (name, points) in enumerate(panels):
        left = column * (wide + _GAP)
        surface.text(left, 42, canvas.label(name, int(wide / canvas.LETTER)), "b s")
        _triangle(surface, (left, _TOP, wide, high), points[:MOST], true[:MOST])
    return surface


def _r2(said: np.ndarray, true: np.ndarray) -> float:
    import torch

    return r2(torch.from_numpy(said), torch.from_numpy(true))


def _triangle(
    surface: canvas.Surface, box: tuple[float, float, float, float], points: np.ndarray, true: np.ndarray
) -> None:
    """Points (row, corner) whose numbers sum to one in a box (left, top, width, height), coloured by the true ones; what lies outside is at the edge of the box."""
    left, top, wide, high = box
    corners = np.array([[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]])
    inner = _ROOM + (1 - 2 * _ROOM) * corners
    places = np.clip(points @ inner, 0.0, 1.0) * [wide, high] + [left, top]
    edge = [(left + x * wide, top + y * high) for x, y in [*inner, inner[0]]]
    surface.path(canvas.through(edge), "g q")
    shades = np.round(true * _SHADES).astype(int)
    for shade in sorted(set(map(tuple, shades.tolist()))):
        chosen = places[(shades == shade).all(1)]
        surface.dots(map(tuple, chosen.tolist()), mixed(shade), _DOT)


def mixed(parts: Sequence[int]) -> str:
    """The colour that the first factors' colours make in these parts."""
    channels = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour, _ in palette.FACTORS[:3]])
    mean = np.array(parts) @ channels[: len(parts)] / max(1, sum(parts))
    return "#" + "".join(f"{round(channel):02x}" for channel in mean.tolist())
