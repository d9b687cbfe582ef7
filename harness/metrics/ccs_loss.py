"""CCS loss on the rows that are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np


class CcsLoss(Metric, frozen=True, kw_only=True):
    """How far a probe is from consistent and confident: mean of [p(x⁺) − (1 − p(x⁻))]² + min(p(x⁺), p(x⁻))².

    It knows no labels: it is measured on the probe as it was fitted, sign unresolved, and reported once, under `truth`.
    Always saying 0.4 scores 0.2. Only for probes that judge each member of a pair by itself.
    """

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §2.2"
    chance: ClassVar[float | None] = 0.2
    higher_is_better: ClassVar[bool] = False
    labelled: ClassVar[bool] = False

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.members is None or not answers.score.shape[-1]:
            return None
        no, yes = answers.members[..., 0], answers.members[..., 1]
        return row_mean(np.square(yes + no - 1) + np.square(np.minimum(no, yes)), group, 0.0, 2.0)
