"""Mean squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric, TargetKind
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np


class MeanSquaredError(Metric, frozen=True, kw_only=True):
    """Mean squared distance of the predicted number from the true one; of a vector, the mean over its components.

    Its unit is the number's, squared. Chance is the variance of the rows' numbers: what always saying their mean scores.
    """

    source: ClassVar[str] = "Gauss 1821, Theoria combinationis observationum, §6"
    targets: ClassVar[tuple[TargetKindName, ...]] = ("number", "vector")
    higher_is_better: ClassVar[bool] = False

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        import numpy as np

        return float(labels.var(axis=0, dtype=np.float64).mean())

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.outputs is None or not len(labels):
            return None
        return row_mean(np.square(answers.outputs.astype(np.float64) - labels).mean(axis=-1), group, 0.0)
