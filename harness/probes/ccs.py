"""Contrast-consistent search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import check
from harness.probes._descent import AdamW, descend
from harness.probes._start import Init, starts
from harness.readouts import ConsistentReadout


class ContrastConsistentSearch(Probe, frozen=True, kw_only=True):
    """Probabilities that are consistent, p(x⁺) = 1 − p(x⁻), and confident: contrast-consistent search, no labels.

    The restart with the lowest loss answers; all restarts are kept. The best constant probe has loss 0.2, so a loss near
    that has learnt nothing.
    """

    normalise: str = "burns"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`.
    The paper's code also divides by the mean norm, without which the learning rate means another thing at every layer
    and large states saturate the probabilities; its public repository subtracts the mean only (`mean`)."""
    restarts: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Random starts for each seed, of which the lowest loss answers. 1 shows what a single run finds (Farquhar et al.);
    more make the fit surer to be the loss's minimum, which need not be the truth."""
    epochs: Annotated[int, Meta(ge=1)] = 1000
    """Full-batch steps."""
    learning_rate: Annotated[float, Meta(gt=0)] = 0.01
    """AdamW's. Smaller ones need more epochs."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    """AdamW's, PyTorch's default, which the recipe uses; Farquhar et al. have 0."""
    init: Init = "sphere"
    """`sphere`: direction and bias uniform with norm one (Burns et al.). `truncated_normal`: standard deviation 1/√d,
    cut at two of them, bias 0 (Farquhar et al.). `normal`: the same, not cut."""
    bias: bool = True
    """Fit a bias. Without one the probe is forced through the origin, where the normalised states are centred."""
    confidence: Literal["min"] = "min"
    """The term that keeps p(x⁺) = p(x⁻) = ½ from being the answer. `min` is min(p⁺, p⁻)²."""
    tolerance: Annotated[float, Meta(ge=0)] = 1e-5
    """A fit stops before `epochs` when its loss fell by less than this in the last 100 steps; 0 runs all epochs."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §2.2 and §3.1"
    seeded: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        check(pairs)
        states = pairs.states.float()
        width = states.shape[-1]
        direction, bias = (t.to(states.device) for t in starts(seeds, self.restarts, width, self.init, self.bias))
        rule = AdamW(self.learning_rate, self.weight_decay, self.epochs, self.tolerance, patience=100)
        fits = descend(states, direction.flatten(0, 1), bias.flatten(), self.bias, rule)
        split = (len(seeds), self.restarts)
        loss = fits.loss.unflatten(1, split).permute(1, 2, 0)
        return ConsistentReadout(
            restart_direction=fits.direction.unflatten(1, split).permute(1, 2, 0, 3).contiguous(),
            restart_bias=fits.bias.unflatten(1, split).permute(1, 2, 0).contiguous(),
            restart_loss=loss.contiguous(),
            chosen=loss.argmin(dim=1).contiguous(),
        )
