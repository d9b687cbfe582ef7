"""Log loss in bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Metric, TargetKind
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np

LEAST = 2.0**-40
"""The least probability that counts: what says that something cannot be is taken by its word no further than this."""


class LogLoss(Metric, frozen=True, kw_only=True):
    """Mean surprise at the right answer, −log₂ of its probability: 0 is perfect, and sure errors cost most.

    Chance is the entropy of the labels: what always saying the shares of the classes scores, 1 bit for two equal ones. Only for probes
    that claim probabilities, of which none counts for less than 2⁻⁴⁰.
    """

    source: ClassVar[str] = "Good 1952 (JRSS B 14), Rational decisions"
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary", "classes")
    unit: ClassVar[str] = "bits"
    chance: ClassVar[float | None] = 1.0
    higher_is_better: ClassVar[bool] = False

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        import numpy as np

        count = np.unique(labels, return_counts=True)[1]
        share = count / count.sum()
        return float((share * -np.log2(share)).sum()) + 0.0

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if not len(labels) or (answers.outputs is None and answers.probability is None):
            return None
        if answers.outputs is not None:
            at = np.broadcast_to(labels[:, None], (*answers.outputs.shape[:-1], 1))
            bits = -np.take_along_axis(answers.outputs, at, axis=-1)[..., 0] / np.float32(np.log(2))
        else:
            assert answers.probability is not None, "one of both is there"
            p = np.where(labels == 1, answers.probability, 1 - answers.probability)
            bits = -np.log2(np.maximum(p, np.float32(LEAST)))
        return row_mean(np.minimum(bits, np.float32(-np.log2(LEAST))), group, 0.0)
