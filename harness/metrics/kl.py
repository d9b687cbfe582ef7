"""Kullback–Leibler divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Answers, Metric, TargetKind
from harness.contracts.targets import TargetKindName
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np

WHOLE = 1e-3
"""By how much probabilities of a row may miss one."""


class Divergence(Metric, frozen=True, kw_only=True):
    """Bits that are lost when the predicted distribution is taken for the true one, Σ p log₂(p / q), mean over rows; 0 is perfect.

    Only for vectors that are distributions: none below zero, adding up to one. Chance is what always saying their mean loses.
    """

    least: Annotated[float, Meta(gt=0, lt=0.5)] = 1e-3
    """Predicted probabilities are raised to this at least, then scaled to add up to one: a linear map may give some below zero. A
    smaller one makes each of those cost more."""

    source: ClassVar[str] = (
        "Kullback & Leibler 1951 (Annals of Mathematical Statistics 22); belief states: Shai et al. 2024"
    )
    targets: ClassVar[tuple[TargetKindName, ...]] = ("vector",)
    unit: ClassVar[str] = "bits"
    higher_is_better: ClassVar[bool] = False

    def chance_on(self, labels: np.ndarray, kind: TargetKind) -> float | None:
        import numpy as np

        return float(_bits(labels, labels.mean(axis=0, dtype=np.float64)).mean()) if _distributions(labels) else None

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        import numpy as np

        if answers.outputs is None or not len(labels) or not _distributions(labels):
            return None
        raised = np.maximum(answers.outputs.astype(np.float64), self.least)
        return row_mean(_bits(labels, raised / raised.sum(axis=-1, keepdims=True)), group, 0.0)


def _distributions(labels: np.ndarray) -> bool:
    import numpy as np

    return labels.shape[1] > 1 and bool((labels >= 0).all() and (np.abs(labels.sum(axis=1) - 1) < WHOLE).all())


def _bits(true: np.ndarray, said: np.ndarray) -> np.ndarray:
    """(…, row) of distributions (…, row, component); what cannot be adds nothing."""
    import numpy as np

    there = true > 0
    found: np.ndarray = np.where(there, true * np.log2(np.where(there, true, 1) / np.where(there, said, 1)), 0).sum(-1)
    return found
