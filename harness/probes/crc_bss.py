"""Bimodal salience search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import differences, oriented
from harness.probes._descent import AdamW, descend
from harness.probes._start import starts
from harness.readouts.fitted_probes import ContrastReadout

if TYPE_CHECKING:
    from torch import Tensor

GAUSSIAN = 2 * (1 - 2 / 3.141592653589793)
"""Loss of a normal distribution, 0.727: a fit near that has found no two modes."""


class BimodalSalienceSearch(Probe, frozen=True, kw_only=True):
    """The direction on which x⁺ − x⁻ falls into two tight heaps, left and right of the mean: bimodal salience search.

    Minimises [Var(s | s < 0) + Var(s | s > 0)] / Var(s) of the centred projection s. Two points score 0, a normal
    distribution 0.73. The restart with the lowest loss answers; all are kept. Where there are more dimensions than rows,
    some direction always has two points: what is found then owes to where the search begins and how soon it stops.
    """

    restarts: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Random starts for each seed, of which the lowest loss answers (the paper's 20)."""
    epochs: Annotated[int, Meta(ge=1)] = 500
    """Full-batch steps of AdamW. More lower the loss, by fitting noise where rows are few."""
    learning_rate: Annotated[float, Meta(gt=0)] = 0.01
    """AdamW's. The scale of the states has no effect on it, because the loss has none."""
    tolerance: Annotated[float, Meta(ge=0)] = 1e-5
    """A fit stops before `epochs` when its loss moved by less than this over 200 steps; 0 runs all."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), appendix, CRC-BSS"
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        difference = differences(pairs)
        mean = difference.mean(dim=1, dtype=torch.float64)
        centred = (difference - mean.float()[:, None])[:, :, None]
        start = starts(seeds, self.restarts, difference.shape[2], "sphere", bias=False).flatten(0, 1)
        rule = AdamW(self.learning_rate, 0.0, self.epochs, self.tolerance)
        fits = descend(centred, Salience, start.to(centred.device), rule)
        weight = oriented(fits.theta / fits.theta.norm(dim=-1, keepdim=True))
        weight = weight * difference.flatten(1).any(dim=1)[:, None, None]
        bias = -(weight.double() @ mean[..., None])[..., 0].float()
        split = (len(seeds), self.restarts)
        loss = fits.loss.unflatten(1, split).permute(1, 2, 0).contiguous()
        return ContrastReadout(
            restart_direction=weight.unflatten(1, split).permute(1, 2, 0, 3).contiguous(),
            restart_bias=bias.unflatten(1, split).permute(1, 2, 0).contiguous(),
            restart_loss=loss,
            chosen=loss.argmin(dim=1).contiguous(),
        )


class Salience:
    """The loss and its gradient at some layers; directions are `theta`, (layer, fit, d_model)."""

    def __init__(self, states: Tensor):
        """`states` is (layer, pair, 1, d_model): centred differences."""
        self.rows = states[:, :, 0]

    def only(self, layers: Tensor) -> Salience:
        """The same for some of the layers."""
        return Salience(self.rows[layers][:, :, None])

    def loss(self, theta: Tensor) -> Tensor:
        """(layer, fit)."""
        return self.loss_and_gradient(theta)[0]

    def gradient(self, theta: Tensor) -> Tensor:
        """By theta, sides held fixed: a row that changes its side makes the loss jump."""
        return self.loss_and_gradient(theta)[1]

    def loss_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both for one forward product."""
        import torch

        value = torch.bmm(theta, self.rows.transpose(1, 2))
        total = value.square().mean(dim=-1, keepdim=True).clamp_min(torch.finfo(value.dtype).tiny)
        within = torch.zeros_like(total)
        by_value = torch.zeros_like(value)
        for side in (value > 0, value < 0):
            count = side.sum(dim=-1, keepdim=True).clamp_min(1)
            mean = (value * side).sum(dim=-1, keepdim=True) / count
            off = (value - mean) * side
            within = within + off.square().sum(dim=-1, keepdim=True) / count
            by_value = by_value + 2 * off / count
        loss = within / total
        # The rows are centred, so that the mean of `value` is zero whatever theta.
        by_value = (by_value - loss * 2 * value / value.shape[-1]) / total
        return loss[..., 0], torch.bmm(by_value, self.rows)
