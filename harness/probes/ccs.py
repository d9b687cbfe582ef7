"""Contrast-consistent search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._components import descend_from_components
from harness.probes._consistency import FLOOR, UNDECIDED, Consistency
from harness.probes._contrast import silent
from harness.probes._descent import LBFGS, AdamW, Fits, Objective, descend, nothing
from harness.probes._start import Init, starts
from harness.probes._symmetrised import SymmetrisedConsistency
from harness.readouts.fitted_probes import ConsistentReadout

if TYPE_CHECKING:
    from torch import Tensor


class ContrastConsistentSearch(Probe, frozen=True, kw_only=True):
    """Probabilities that are consistent, p(x⁺) = 1 − p(x⁻), and confident: contrast-consistent search, no labels.

    The restart with the lowest loss answers; all restarts are kept. The best constant probe has loss 0.2. A fit that ends no better,
    as on the plateau of saturated probabilities (loss 1.5), is begun again from the same start, nearer to zero and with shorter
    steps, thrice at most; one that is still no better has found nothing, and answers 0 for all.
    """

    normalise: str = "burns"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`.
    The paper's code also divides by the mean norm, without which the learning rate means another thing at every layer
    and large states saturate the probabilities; its public repository subtracts the mean only (`mean`)."""
    restarts: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Random starts for each seed, of which the lowest loss answers. 1 shows what a single run finds (Farquhar et al.);
    more make the fit surer to be the loss's minimum, which need not be the truth."""
    optimizer: Literal["adamw", "lbfgs"] = "adamw"
    """`adamw` is the papers' recipe. `lbfgs` follows the loss's curvature: several times faster, it seldom stays on the plateau of
    saturated probabilities on which AdamW does where states are large. Without `weight_decay` it mostly ends at lower losses, but
    weights grow without bound where a loss of zero can be reached, so that more epochs fit more noise."""
    epochs: Annotated[int, Meta(ge=1)] | None = None
    """Full-batch evaluations of the loss; if empty, 1000 for `adamw` and 100 for `lbfgs`, where losses are about alike."""
    learning_rate: Annotated[float, Meta(gt=0)] | None = None
    """AdamW's; if empty, 0.01 (Burns et al.). Smaller ones need more epochs. `lbfgs` finds its steps itself and refuses it."""
    weight_decay: Annotated[float, Meta(ge=0)] = 0.01
    """λ. For `adamw` the decay of each step, decoupled from the loss: PyTorch's default, which the recipe uses; Farquhar et al. have
    0. For `lbfgs` ½ λ ‖θ‖², bias included, is added to what is minimised, as in EleutherAI's elk; the loss that is reported and
    that chooses the restart is without it. It decides whether the lowest loss is the better fit."""
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
    tolerance: Annotated[float, Meta(ge=0)] | None = None
    """AdamW's; if empty, 1e-6. A fit stops before `epochs` when its loss moved by less than this over 200 steps, which leaves the loss
    where it would have been to about as many digits; 0 runs all epochs. None stops while a constant probe would be better. `lbfgs`
    stops at a loss of 0.001, or at rest, and refuses it."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §2.2 and §3.1"
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10

    def __post_init__(self) -> None:
        given = {"learning_rate": self.learning_rate, "tolerance": self.tolerance}
        for name, value in given.items():
            if self.optimizer == "lbfgs" and value is not None:
                raise ValueError(f"{name} is AdamW's, and means nothing with `optimizer: lbfgs`; take it out")

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        return self._search(pairs, seeds, self._contrast)

    def _contrast(self, states: Tensor) -> Objective:
        """Consistency and confidence."""
        return (Consistency if self.confidence == "min" else SymmetrisedConsistency)(states, self.bias)

    def _search(self, pairs: Pairs, seeds: Sequence[int], objective: Callable[[Tensor], Objective]) -> Readout:
        """The lowest loss of all restarts, for any objective of some layers' states."""
        import torch

        still = silent(pairs)
        width = pairs.states.shape[-1]
        theta = pairs.states.new_zeros(len(still), len(seeds) * self.restarts, width + self.bias)
        # Layers with nothing to fit keep the probe that says ½ of everything.
        loss = torch.full_like(theta[..., 0], UNDECIDED)
        if not bool(still.all()):
            some = pairs if not bool(still.any()) else pairs.at(layer=(~still).nonzero()[:, 0].tolist())
            fits = self._fits(some, seeds, objective)
            theta[~still] = fits.theta * (fits.loss < nothing(FLOOR))[..., None]
            loss[~still] = fits.loss
        split = (len(seeds), self.restarts)
        theta = theta.unflatten(1, split).permute(1, 2, 0, 3)
        loss = loss.unflatten(1, split).permute(1, 2, 0).contiguous()
        return ConsistentReadout(
            restart_direction=theta[..., :width].contiguous(),
            restart_bias=theta[..., width].contiguous() if self.bias else torch.zeros_like(loss),
            restart_loss=loss,
            chosen=loss.argmin(dim=1).contiguous(),
        )

    def _fits(self, pairs: Pairs, seeds: Sequence[int], objective: Callable[[Tensor], Objective]) -> Fits:
        """Seed · restart on the fit axis."""
        if self.init == "pca":
            rule = self._rule()
            return descend_from_components(pairs, objective, len(seeds), self.restarts, self.bias, rule, FLOOR)
        start = starts(seeds, self.restarts, pairs.states.shape[-1], self.init, self.bias)
        first = start.flatten(0, 1).to(pairs.states.device)
        return descend(pairs.states.float(), objective, first, self._rule(), FLOOR, alone=pairs.alone)

    def _rule(self) -> AdamW | LBFGS:
        if self.optimizer == "lbfgs":
            return LBFGS(self.epochs or 100, self.weight_decay, solved=1e-3)
        rate = 0.01 if self.learning_rate is None else self.learning_rate
        tolerance = 1e-6 if self.tolerance is None else self.tolerance
        return AdamW(rate, self.weight_decay, self.epochs or 1000, tolerance)
