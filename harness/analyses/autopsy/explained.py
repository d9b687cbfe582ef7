"""How much of a score is explained by features together, on rows that the explanation was not fitted on."""

from __future__ import annotations

import numpy as np

from harness.analyses.autopsy.going_together import centred_ranks

FOLDS = 5
_RIDGE = 1.0
"""Pull towards zero, in rows' worth of evidence: keeps features that say nearly the same from cancelling each other."""


def explained(score: np.ndarray, features: np.ndarray, group: np.ndarray) -> float:
    """Share of the variance of `score`, (row,), that a linear map of the features' ranks, (feature, row), predicts.

    Five-fold cross-validated R²; groups are never split, and their folds are by turns in the order of their ids. It is
    below zero where the mean would have done better, and NaN where the score does not vary or groups are too few.
    """
    _, number = np.unique(group, return_inverse=True)
    variance = float(((score - score.mean()) ** 2).sum())
    if number.max() + 1 < FOLDS or variance <= 0 or len(features) == 0:
        return float("nan")
    ranks = centred_ranks(features)
    columns = ranks.T / np.sqrt((ranks**2).mean(axis=1))
    left = np.empty_like(score, dtype=np.float64)
    for fold in range(FOLDS):
        out = number % FOLDS == fold
        inside, mean = columns[~out], score[~out].mean()
        square = inside.T @ inside + _RIDGE * np.eye(inside.shape[1])
        weight = np.linalg.solve(square, inside.T @ (score[~out] - mean))
        left[out] = score[out] - mean - columns[out] @ weight
    return 1 - float((left**2).sum()) / variance
