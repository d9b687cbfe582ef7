"""VINC with some supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import label_rows, linear
from harness.probes._invariance import Weights, invariant_directions

Weight = Annotated[float, Meta(ge=0)]


class SupervisedInvariantContrast(Probe, frozen=True, kw_only=True):
    """VINC with a fourth term from labels, σ A_sup, the variance of x⁺ − x⁻ between true and false: VINC-S.

    With σ alone it is the difference of the class means; with σ = 0 it is `vinc`, labels deciding the sign only. A kind
    of its own, because a method that is handed labels must be seen to be.
    """

    normalise: str = "none"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`."""
    confidence: Weight = 1.0
    """α, of the variance over examples."""
    invariance: Weight = 1.0
    """β, of the variance over the templates of one example, which counts against a direction."""
    consistency: Weight = 1.0
    """γ, of the covariance of x⁺ and x⁻, which counts against a direction."""
    supervision: Weight = 1.0
    """σ, of the variance between the classes. The larger, the nearer to a supervised probe."""
    leace: bool = True
    """Erase answer and template first, by the affine map that changes the states least."""

    source: ClassVar[str] = "VINC-S (EleutherAI blog, 2024), https://blog.eleuther.ai/vincs/"
    supervised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not any((self.confidence, self.invariance, self.consistency, self.supervision)):
            raise ValueError("all weights are 0, so that every direction is as good as any other; give one of them")

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        weights = Weights(self.confidence, self.invariance, self.consistency, self.supervision)
        found = invariant_directions(pairs, weights, self.leace, label_rows(pairs))
        return linear(found.weight, found.bias, len(seeds), calibrated=False)
