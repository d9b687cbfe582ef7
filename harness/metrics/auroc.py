"""Area under the ROC curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured
from harness.metrics._classes import class_evidence, present
from harness.metrics._placement import placements

if TYPE_CHECKING:
    import numpy as np


class Auroc(Metric, frozen=True, kw_only=True):
    """Chance that a row of answers[1] scores above a row of answers[0]; ties count half, a constant score has ½.

    It asks nothing of the threshold. Its sign is the one resolved on training rows by accuracy, so that it can lie
    below ½. The variance is that of the placements (DeLong, DeLong & Clarke-Pearson 1988), summed by group (Obuchowski
    1997), with degrees of freedom after Welch; the interval is that of a share (`harness.maths.shares`). Of several classes it is the
    mean over the classes, each against the rest by its log-probability.
    """

    source: ClassVar[str] = "DeLong et al. 1988; for clustered rows Obuchowski 1997 (Biometrics 53)"
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes")
    chance: ClassVar[float | None] = 0.5

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.outputs is not None:
            return self._macro(answers.outputs, labels, group)
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
        return Measured(value, influence, group, 0.0, 1.0, *_evidence(positive, group))

    def _macro(self, outputs: np.ndarray, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        """The mean over the classes that rows have, of `outputs` (seed, layer, row, class)."""
        import numpy as np

        there = present(labels)
        if len(there) < 2:
            return None
        each = [
            self.measure(Answers(np.ascontiguousarray(outputs[..., label])), (labels == label).astype(np.int64), group)
            for label in there
        ]
        parts = [one for one in each if one is not None]
        value = np.mean([one.value for one in parts], axis=0)
        influence = np.mean([one.influence for one in parts], axis=0)
        return Measured(value, influence, group, 0.0, 1.0, *class_evidence(labels, group))


def _evidence(positive: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """`pieces` and `degrees` of `Measured`, from how both classes lie in the groups.

    A group whose rows are all on the wrong side of all others takes its share of either class away from an AUROC of 1.
    """
    import numpy as np

    _, place = np.unique(group, return_inverse=True)
    count = int(place.max()) + 1
    shares = [np.bincount(place[side], minlength=count) / side.sum() for side in (positive, ~positive)]
    taken = shares[0] + shares[1]
    pieces = 1 / max(float(share @ taken) for share in shares)
    groups = [int(np.count_nonzero(share)) for share in shares]
    if min(groups) < 2:
        return pieces, 0.0
    # Welch and Satterthwaite, as if groups of one class varied alike.
    degrees = sum(1 / size for size in groups) ** 2 / sum(1 / (size**2 * (size - 1)) for size in groups)
    return pieces, min(degrees, count - 1.0)
