"""Contrast-consistent search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._components import descend_from_components
from harness.probes._consistency import Consistency
from harness.probes._contrast import check
from harness.probes._descent import LBFGS, AdamW, Objective, descend
from harness.probes._start import Init, starts
from harness.probes._symmetrised import SymmetrisedConsistency
from harness.readouts.fitted_probes import ConsistentReadout

if TYPE_CHECKING:
    from torch import Tensor


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
    optimizer: Literal["adamw", "lbfgs"] = "adamw"
    """`adamw` is the papers' recipe. `lbfgs` follows the loss's curvature: ten times faster, it also leaves the plateau of
    saturated probabilities (loss 1.5) on which AdamW stays where states are large, and mostly ends at lower losses; but
    weights grow without bound where a loss of zero can be reached, so that more epochs fit more noise."""
    epochs: Annotated[int, Meta(ge=1)] | None = None
    """Full-batch evaluations of the loss; if empty, 1000 for `adamw` and 100 for `lbfgs`, where losses are about alike."""
    learning_rate: Annotated[float, Meta(gt=0)] = 0.01
    """AdamW's. Smaller ones need more epochs."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    """AdamW's, PyTorch's default, which the recipe uses; Farquhar et al. have 0."""
    init: Literal[Init, "pca"] = "sphere"
    """`sphere`: direction and bias uniform with norm one (Burns et al.). `truncated_normal`: standard deviation 1/√d,
    cut at two of them, bias 0 (Farquhar et al.). `normal`: the same, not cut. `uniform`: direction and bias within ±1/√d
    (PyTorch's default, which the public repository leaves in place). `pca`: restart k begins at the k-th principal component
    of x⁺ − x⁻, bias 0, whatever the seed, which shows whether the loss moves away from what varies most."""
    bias: bool = True
    """Fit a bias. Without one the probe is forced through the origin, where the normalised states are centred."""
    confidence: Literal["min", "symmetrised"] = "min"
    """The term that keeps p(x⁺) = p(x⁻) = ½ from being the answer. `min` is min(p⁺, p⁻)² (Burns et al.). `symmetrised` is
    min(p⁺, p⁻, 1 − p⁺, 1 − p⁻)², for which theorem 2 of Farquhar et al. holds: whatever answers a probe gives, another has the
    same loss and gives any others. Where answers are consistent both are the same."""
    tolerance: Annotated[float, Meta(ge=0)] = 1e-6
    """A fit stops before `epochs` when its loss moved by less than this over 200 steps, which leaves the loss where it
    would have been to about as many digits; 0 runs all epochs. `lbfgs` stops at a loss of 0.001."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §2.2 and §3.1"
    seeded: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        return self._search(pairs, seeds, self._contrast)

    def _contrast(self, states: Tensor) -> Objective:
        """Consistency and confidence."""
        return (Consistency if self.confidence == "min" else SymmetrisedConsistency)(states, self.bias)

    def _search(self, pairs: Pairs, seeds: Sequence[int], objective: Callable[[Tensor], Objective]) -> Readout:
        """The lowest loss of all restarts, for any objective of some layers' states."""
        import torch

        check(pairs)
        states = pairs.states.float()
        width = states.shape[-1]
        if self.init == "pca":
            fits = descend_from_components(pairs, objective, len(seeds), self.restarts, self.bias, self._rule())
        else:
            start = starts(seeds, self.restarts, width, self.init, self.bias).flatten(0, 1).to(states.device)
            fits = descend(states, objective, start, self._rule())
        split = (len(seeds), self.restarts)
        theta = fits.theta.unflatten(1, split).permute(1, 2, 0, 3)
        loss = fits.loss.unflatten(1, split).permute(1, 2, 0).contiguous()
        return ConsistentReadout(
            restart_direction=theta[..., :width].contiguous(),
            restart_bias=theta[..., width].contiguous() if self.bias else torch.zeros_like(loss),
            restart_loss=loss,
            chosen=loss.argmin(dim=1).contiguous(),
        )

    def _rule(self) -> AdamW | LBFGS:
        if self.optimizer == "lbfgs":
            return LBFGS(self.epochs or 100, solved=1e-3)
        return AdamW(self.learning_rate, self.weight_decay, self.epochs or 1000, self.tolerance)
