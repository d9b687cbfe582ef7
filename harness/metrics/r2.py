"""Share of variance explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured, cluster_sums

if TYPE_CHECKING:
    import numpy as np


class DeterminationCoefficient(Metric, frozen=True, kw_only=True):
    """R²: one less the squared error as a share of the variance of the test rows' own numbers.

    1 is perfect; 0 is what always saying the mean scores, and worse predictions are below. Of a vector, squares of all components are
    added up, so that those that vary more count more. Of numbers that spread over orders of magnitude, such as populations, a few rows make it
    up, and its interval is wide and reaches further down: take their logarithm, unless it is the sizes that matter.
    """

    source: ClassVar[str] = "Wright 1921 (J. Agricultural Research 20), coefficient of determination"
    targets: ClassVar[tuple[TargetKindName, ...]] = ("number", "vector")
    chance: ClassVar[float | None] = 0.0

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.outputs is None or not len(labels):
            return None
        far = np.square(labels - labels.mean(axis=0, dtype=np.float64)).sum(axis=-1)
        variance = float(far.mean())
        if not variance > 0:
            return None
        off = np.square(answers.outputs.astype(np.float64) - labels).sum(axis=-1)
        share = off.mean(axis=-1) / variance
        # The influence of a ratio of two means; that of the mean of the numbers is of second order.
        influence = (share[..., None] * far - off) / variance
        influence += _beyond_linear(influence, labels, off, share, group)
        return Measured(1 - share, influence, group, high_bound=1.0, skewed=True)


def _beyond_linear(
    influence: np.ndarray, labels: np.ndarray, off: np.ndarray, share: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """What is to be added to rows' linear influence, so that groups have that of leaving them out, on log(1 − R²): where a few rows hold
    much of the variance, what is divided by depends on them, and the linear influence is too small (Efron & Stein 1981, Annals of
    Statistics 9)."""
    import numpy as np

    own = np.unique(group, return_inverse=True)[1]
    size, rows = np.bincount(own), len(group)
    groups = len(size)
    if groups < 2:
        return np.zeros_like(influence)
    linear = _sums(influence, own)
    centred = (labels - labels.mean(axis=0, dtype=np.float64)).T
    left = rows - size
    mean = -_sums(centred, own) / left
    squares = np.square(centred)
    variance = ((squares.sum(axis=-1, keepdims=True) - _sums(squares, own)) / left - np.square(mean)).sum(axis=0)
    without = (off.sum(axis=-1, keepdims=True) - _sums(off, own)) / left
    with np.errstate(divide="ignore", invalid="ignore"):
        knowing = np.log(np.maximum(variance, 0)) - np.log(np.maximum(without, 0))
        left_out = rows * (groups - 1) / groups * (knowing.mean(axis=-1, keepdims=True) - knowing) * share[..., None]
    # Where the others do not vary, or are told without an error, nothing can be left out.
    sound = np.isfinite(left_out).all(axis=-1, keepdims=True)
    added: np.ndarray = np.where(sound, left_out - linear, 0.0) / size
    return added[..., own]


def _sums(rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The sums of rows by group, in the order of the groups' numbers."""
    import numpy as np

    ids, sums = cluster_sums(rows, own)
    return sums[..., np.argsort(ids)]
