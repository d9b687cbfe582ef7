"""Variance, invariance, negative covariance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import linear
from harness.probes._invariance import Weights, invariant_directions

Weight = Annotated[float, Meta(ge=0)]


class InvariantContrast(Probe, frozen=True, kw_only=True):
    """The direction that varies between examples, turns round with the answer and is the same in all templates: VINC.

    The top eigenvector of α A_conf + β A_inv + γ A_cons: variance of x⁺ and of x⁻ over examples, minus their variance
    over the templates of one example, minus the covariance of x⁺ and x⁻; closed form, no seeds. What tells the answers
    or the templates apart is erased first (LEACE). With one template and α = γ it is `crc_tpc`. Its authors call the
    method largely unsuccessful.
    """

    normalise: str = "none"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`.
    None is needed: erasure makes the means of answers and templates equal. One that divides by standard deviations
    changes which directions vary most."""
    confidence: Weight = 1.0
    """α, of the variance over examples: a direction along which examples differ."""
    invariance: Weight = 1.0
    """β, of the variance over the templates of one example, which counts against a direction. Of no effect with one
    template; a feature that is the same in all templates, as a distractor mostly is, is not held back by it."""
    consistency: Weight = 1.0
    """γ, of the covariance of x⁺ and x⁻, which counts against a direction: it should say no to the one where it says
    yes to the other."""
    leace: bool = True
    """Erase answer and template first, by the affine map that changes the states least. Off, only the other terms hold a
    direction back that tells templates apart. A normalisation that centres per template and answer leaves nothing to
    erase."""

    source: ClassVar[str] = (
        "VINC (EleutherAI blog, 2024), https://blog.eleuther.ai/vincs/; Belrose et al. 2023 (arXiv 2306.03819)"
    )

    def __post_init__(self) -> None:
        if not any((self.confidence, self.invariance, self.consistency)):
            raise ValueError("all weights are 0, so that every direction is as good as any other; give one of them")

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        weights = Weights(self.confidence, self.invariance, self.consistency)
        found = invariant_directions(pairs, weights, self.leace, None)
        return linear(found.weight, found.bias, len(seeds), calibrated=False)
