"""What metrics of several classes have in common: who is right, and evidence of a mean over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contracts import Answers
from harness.maths.right import right

if TYPE_CHECKING:
    import numpy as np


def hits(answers: Answers, labels: np.ndarray) -> np.ndarray:
    """1 where the likeliest class is the row's, 0 where it is not, float32, (seed, layer, row); k classes equally likely share it.

    Of a binary target as `harness.maths.right` counts. NaN stays.
    """
    import numpy as np

    if answers.outputs is None:
        return right(answers.score, labels)
    outputs = answers.outputs
    best = outputs.max(axis=-1, keepdims=True)
    tied = outputs == best
    own = np.take_along_axis(tied, np.broadcast_to(labels[:, None], (*outputs.shape[:-1], 1)), axis=-1)[..., 0]
    found: np.ndarray = (own / np.maximum(tied.sum(axis=-1), 1)).astype(np.float32)
    found[np.isnan(best[..., 0])] = np.nan
    return found


def present(labels: np.ndarray) -> np.ndarray:
    """The classes that rows have, sorted."""
    import numpy as np

    return np.unique(labels)


def class_evidence(labels: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """`pieces` and `degrees` of `harness.maths.estimate.Measured`, of a mean over classes of means over their rows.

    A group takes its share of each class away from a value at its bound. Degrees of freedom after Welch and Satterthwaite, as if groups
    of one class varied alike; 0 where a class is in one group.
    """
    import numpy as np

    _, place = np.unique(group, return_inverse=True)
    count = int(place.max()) + 1
    sides = [labels == label for label in present(labels)]
    shares = [np.bincount(place[side], minlength=count) / side.sum() for side in sides]
    taken = np.mean(shares, axis=0)
    pieces = 1 / float(max(share @ taken for share in shares))
    groups = [int(np.count_nonzero(share)) for share in shares]
    if min(groups) < 2:
        return pieces, 0.0
    degrees = sum(1 / size for size in groups) ** 2 / sum(1 / (size**2 * (size - 1)) for size in groups)
    return pieces, min(degrees, count - 1.0)
