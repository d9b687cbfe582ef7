"""Kinds of target: what can be true of a row. Each knows how its values are stored, which rows are alike, and how a score becomes a guess.

Values of a class are indices, int64, (row,). Numbers and vectors are float32, (row, component); a number has one component.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

TargetKindName = Literal["binary", "classes", "number", "vector"]

MOST_CLASSES = 1000
"""Classes of a target or a factor: a fit of so many has as many weights for each dimension, in several copies."""

QUANTILES = 10
"""Strata of numbers: rows of one tenth are taken for alike when rows are divided."""


class TargetKind:
    """One kind of target. `KINDS` has one of each."""

    name: TargetKindName
    words: str
    """What it is, as in a sentence: a number, one of several classes."""
    metric: str
    """Name of the metric by which layers are chosen."""
    probe: str
    """Kind of a linear probe that can be fitted on it, for messages."""
    in_classes: bool
    """Whether its values are indices of classes."""

    def __init__(self, name: TargetKindName, words: str, metric: str, probe: str):
        self.name, self.words, self.metric, self.probe = name, words, metric, probe

    def values(self, column: pl.Series) -> np.ndarray:
        """The values of a column of a table of prompts."""
        raise NotImplementedError

    def strata(self, values: np.ndarray) -> np.ndarray:
        """A number for each row, int64, (row,): rows of one number are alike, and are divided evenly."""
        raise NotImplementedError

    def guessed(self, train: np.ndarray, values: np.ndarray, score: np.ndarray, classes: int) -> np.ndarray:
        """What a score of one number says of this target, once training rows tell its scale: outputs, (seed, layer, row, output).

        `train` and `score` are (seed, layer, row); `values` are those of the training rows. It stands to this kind as the resolved sign
        stands to a binary target.
        """
        raise NotImplementedError


class _Classes(TargetKind):
    in_classes = True

    def values(self, column: pl.Series) -> np.ndarray:
        import numpy as np

        return column.to_numpy().astype(np.int64)

    def strata(self, values: np.ndarray) -> np.ndarray:
        return values

    def guessed(self, train: np.ndarray, values: np.ndarray, score: np.ndarray, classes: int) -> np.ndarray:
        """Log-probabilities of Gaussian classes of one variance along the score."""
        import numpy as np

        member = np.eye(classes)[values]
        count = member.sum(axis=0)
        mean = train.astype(np.float64) @ member / np.maximum(count, 1)
        spread = np.square(train - mean[..., values]).mean(axis=-1)[..., None, None]
        far = np.square(score[..., None] - mean[..., None, :]) / np.where(spread > 0, 2 * spread, np.inf)
        with np.errstate(divide="ignore"):
            logit = np.log(count / count.sum()) - far
        found: np.ndarray = logit - np.logaddexp.reduce(logit, axis=-1, keepdims=True)
        return found.astype(np.float32)


class _Numbers(TargetKind):
    in_classes = False

    def values(self, column: pl.Series) -> np.ndarray:
        import numpy as np

        if self.name == "number":
            return column.to_numpy().astype(np.float32)[:, None]
        rows = column.to_list()
        return np.array(rows, dtype=np.float32).reshape(len(rows), len(rows[0]) if rows else 1)

    def strata(self, values: np.ndarray) -> np.ndarray:
        """Quantiles along the direction in which values vary most; equal values are in one."""
        import numpy as np

        centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
        axis = np.linalg.svd(centred.T @ centred)[0][:, 0]
        along = centred @ axis
        inner = np.quantile(along, np.arange(1, QUANTILES) / QUANTILES)
        found: np.ndarray = np.searchsorted(inner, along, side="right").astype(np.int64)
        return found

    def guessed(self, train: np.ndarray, values: np.ndarray, score: np.ndarray, classes: int) -> np.ndarray:
        """The least-squares line of each component over the score."""
        import numpy as np

        middle, centre = train.mean(axis=-1, dtype=np.float64, keepdims=True), values.mean(axis=0, dtype=np.float64)
        centred = train - middle
        size = np.square(centred).sum(axis=-1)[..., None]
        slope = centred @ (values - centre) / np.where(size > 0, size, np.inf)
        found: np.ndarray = centre + (score - middle)[..., None] * slope[..., None, :]
        return found.astype(np.float32)


BINARY: TargetKind = _Classes("binary", "one of two", "auroc", "logistic_regression")
CLASSES: TargetKind = _Classes("classes", "one of several classes", "auroc", "logistic_regression")
NUMBER: TargetKind = _Numbers("number", "a number", "r2", "ridge")
VECTOR: TargetKind = _Numbers("vector", "a vector", "r2", "ridge")
KINDS: Mapping[TargetKindName, TargetKind] = {kind.name: kind for kind in (BINARY, CLASSES, NUMBER, VECTOR)}
