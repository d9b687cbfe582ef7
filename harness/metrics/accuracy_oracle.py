"""Share of right answers under whichever sign suits the test rows better."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured, row_mean
from harness.maths.right import right

if TYPE_CHECKING:
    import numpy as np


class OracleAccuracy(Metric, frozen=True, kw_only=True):
    """max(accuracy, 1 − accuracy) on the test rows, for each seed and layer: the *oracle* sign, as first published.

    Nobody who uses a probe has this sign, and taking the better of two favours chance: an uninformed probe scores
    ½ + 0.4/√n on n rows. The interval is that of the accuracy under the sign taken, as if it had been given; near ½ it
    lies too high, and more seeds do not mend that. It is shown for comparison, and no check is decided by it.
    """

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §3.1"
    chance: ClassVar[float | None] = 0.5

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if not len(labels):
            return None
        rows = right(answers.score, labels)
        turned = rows.mean(axis=-1, dtype=np.float64) < 0.5
        rows[turned] = 1 - rows[turned]
        return row_mean(rows, group, 0.0, 1.0)
