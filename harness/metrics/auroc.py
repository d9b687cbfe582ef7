"""Area under the ROC curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured, cluster_count
from harness.metrics._placement import placements

if TYPE_CHECKING:
    import numpy as np


class Auroc(Metric, frozen=True, kw_only=True):
    """Chance that a row of answers[1] scores above a row of answers[0]; ties count half, a constant score has ½.

    It asks nothing of the threshold. Its sign is the one resolved on training rows by accuracy, so that it can lie
    below ½. The variance is that of the placements (DeLong, DeLong & Clarke-Pearson 1988), summed by group (Obuchowski
    1997).
    """

    source: ClassVar[str] = "DeLong et al. 1988; for clustered rows Obuchowski 1997 (Biometrics 53)"
    chance: ClassVar[float | None] = 0.5

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        positive = labels == 1
        ones = int(positive.sum())
        zeros = len(labels) - ones
        if not ones or not zeros:
            return None
        placed = placements(answers.score, positive)
        value = placed[..., positive].sum(axis=-1, dtype=np.float64) / (ones * zeros)
        broken = np.isnan(answers.score).any(axis=-1)
        value[broken] = np.nan
        # Both classes' placements have the AUROC as their mean: influence is n/n_class · (share − AUROC).
        rows = len(labels)
        weight = np.where(positive, rows / ones, rows / zeros).astype(np.float32)
        influence = placed * np.float32(rows / (ones * zeros)) - value[..., None].astype(np.float32) * weight
        weakest = min(cluster_count(group[positive]), cluster_count(group[~positive]))
        return Measured(value, influence, group, 0.0, 1.0, weakest)
