"""Right answers, as accuracy counts them, and answers by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def right(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the answer is right, 0 where it is wrong, ½ where the score is exactly 0, which is no answer; NaN stays.

    `score` is (…, row); `labels`, 0 or 1, has its last axes. Counting no answer half makes turning a probe round turn
    its accuracy round, a ↦ 1 − a, and gives a constant ½, as the AUROC does.
    """
    import numpy as np

    side = np.where(labels == 1, np.float32(0.5), np.float32(-0.5))
    rows: np.ndarray = np.sign(score).astype(np.float32, copy=False) * side
    rows += np.float32(0.5)
    return rows


def said(score: np.ndarray) -> np.ndarray:
    """1 where the answer is answers[1], 0 where it is answers[0], ½ where the score is exactly 0, which is no answer; NaN stays."""
    import numpy as np

    found: np.ndarray = (np.sign(score) + 1) / 2
    return found
