"""The principal components of x⁺ − x⁻: what varies most, whatever it is."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.contracts import Pairs

COUNT = 3


class Components(msgspec.Struct, frozen=True):
    coordinates: np.ndarray
    """Of the test rows, (row, 3)."""
    share: np.ndarray
    """Of the training rows' variance that each component has, (3,)."""


def components(train: Pairs, test: Pairs) -> Components:
    """Three components of the raw differences at the only layer of the pairs: axes and mean of training rows, coordinates of
    test rows. Each axis points to where its entry of largest size is positive."""
    fitted, shown = ((p.states[0, :, 1] - p.states[0, :, 0]).double().numpy() for p in (train, test))
    mean = fitted.mean(axis=0)
    _, sizes, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    axes, sizes = _three(axes), _three(sizes[:, None])[:, 0]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    total = ((fitted - mean) ** 2).sum()
    return Components((shown - mean) @ axes.T, sizes**2 / (total if total > 0 else 1))


def _three(rows: np.ndarray) -> np.ndarray:
    """The first three rows; zeros where there are fewer."""
    short = max(0, COUNT - len(rows))
    return np.concatenate([rows[:COUNT], np.zeros((short, rows.shape[1]))])
