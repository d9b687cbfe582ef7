"""The local learning coefficient: how fast the volume of nearly equal parameters shrinks around a network's own (Lau et al. 2023, arXiv
2308.12108, and Wang et al. 2024, arXiv 2410.02984, for some weights only or other data).

    λ̂ = n β (E_w[L(w)] − L(w*)),   w ~ exp(−n β L(w) − γ/2 |w − w*|²),   β = 1 / log n

Expectations are means over chains of stochastic gradient Langevin dynamics (Welling and Teh 2011), all chains of all networks as one
computation. A regular model with d parameters has λ = d/2, a singular one less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from harness.errors import NumericalError, UsageError
from harness.maths.estimate import Estimate

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", int], "Tensor"]
"""Mean losses, (chain,), of parameters (chain, size) on the data of a step: all of them, or a draw. The step −1 asks for all."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How parameters around a network's own are sampled."""

    rows: int
    """n, the rows that the network was trained on: losses below 1/n apart are not told apart."""
    step_size: float
    """ε of the dynamics. Too large, and chains leave; too small, and they have not yet spread when they are read."""
    chains: int = 4
    """Chains for each network. The interval is of their mean."""
    burn_in: int = 200
    """Steps before losses are read."""
    draws: int = 400
    """Steps at which losses are read."""
    localisation: float = 100.0
    """γ, which holds chains near the network. The larger it is beside the curvature of n β L, the lower the estimate."""
    seed: int = 0

    def __post_init__(self) -> None:
        for option, least in (("rows", 2), ("chains", 2), ("burn_in", 0), ("draws", 1)):
            if getattr(self, option) < least:
                raise UsageError(f"{option}: {getattr(self, option)} is less than {least}")
        if not self.step_size > 0 or not self.localisation >= 0:
            raise UsageError(
                f"step_size, localisation: {self.step_size:g}, {self.localisation:g}; the first is above 0, the other not below"
            )

    @property
    def temperature(self) -> float:
        """n β, by which losses are multiplied."""
        return self.rows / math.log(self.rows)


def learning_coefficients(loss: Loss, at: Tensor, how: Sampling, of: Tensor | None = None) -> list[Estimate]:
    """The coefficient of each network, with the interval of the mean over chains (Student's), n being draws.

    `at` is the networks' own parameters, (network, size); `loss` is handed (network × chain, size), the chains of a network together.
    `of` chooses the parameters that vary, bool, (size,): all if left out. Raises NumericalError where a chain leaves for infinity.
    """
    import torch

    generator = torch.Generator().manual_seed(how.seed)
    centre = at.detach().repeat_interleave(how.chains, dim=0)
    moves = torch.ones_like(at[0]) if of is None else of.to(at.dtype)
    place, total = centre.clone(), torch.zeros(len(centre), dtype=torch.float64)
    for step in range(how.burn_in + how.draws):
        found, slope = _slope(loss, place, step)
        if step >= how.burn_in:
            total += found.double()
        pull = how.temperature * slope + how.localisation * (place - centre)
        # One draw for all networks: an estimate does not depend on how many are made with it.
        noise = torch.randn(how.chains, at.shape[1], generator=generator, dtype=at.dtype).repeat(len(at), 1)
        place = place + moves * (math.sqrt(how.step_size) * noise - how.step_size / 2 * pull)
    with torch.no_grad():
        before = loss(at.detach(), -1).double()
    above = (total / how.draws).view(len(at), how.chains) - before[:, None]
    return [_estimate(chains, how) for chains in how.temperature * above]


def _slope(loss: Loss, place: Tensor, step: int) -> tuple[Tensor, Tensor]:
    import torch

    leaf = place.detach().requires_grad_()
    with torch.enable_grad():
        found = loss(leaf, step)
        (slope,) = torch.autograd.grad(found.sum(), leaf)
    if not bool(found.isfinite().all()):
        raise NumericalError(
            f"a chain of the learning coefficient left its network by step {step}; give a smaller step_size"
        )
    return found.detach(), slope


def _estimate(chains: Tensor, how: Sampling) -> Estimate:
    from scipy.stats import t

    count, value = len(chains), float(chains.mean())
    reach = float(t.ppf(0.975, count - 1)) * float(chains.std()) / math.sqrt(count)
    return Estimate(value, value - reach, value + reach, n=how.draws * count)
