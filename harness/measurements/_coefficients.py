"""What is measured by the refined local learning coefficients of attention heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts.measurements import Learnt
from harness.measurements._heads import Jumps, OnRepeats

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.head_coefficients import Refined
    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class ByCoefficients(OnRepeats, frozen=True, kw_only=True):
    """A number by refined local learning coefficients λ̂ = n β (E[L] − L*) of heads: the loss L where Langevin dynamics move the weights of one head alone, against
    the loss where all are as they were learned.

    Away from a minimum of the loss, as on other data than those that are learned, it may be below 0.
    """

    each: Annotated[int, Meta(ge=1)] = 5
    """It is measured at each so many-th stored step and at the last one: a step costs as much as training all networks for as many steps as there are heads, times
    `chains`, times `burn_in` and `draws`, on `batch` sequences."""
    rows: Annotated[int, Meta(ge=2)] = 64
    """n, sequences: losses below 1/n apart are not told apart."""
    batch: Annotated[int, Meta(ge=1)] = 8
    """Sequences of a step of the dynamics. It divides `rows`, and `draws` go through all of them, so that each sequence has the same weight."""
    step_size: Annotated[float, Meta(gt=0)] = 5e-3
    """Of the dynamics. Too large, and chains leave the network; too small, and they have not spread when they are read."""
    chains: Annotated[int, Meta(ge=2)] = 2
    """Chains for each network, whose mean is given."""
    burn_in: Annotated[int, Meta(ge=0)] = 24
    """Steps before losses are read."""
    draws: Annotated[int, Meta(ge=1)] = 32
    """Steps at which losses are read."""
    localisation: Annotated[float, Meta(ge=0)] = 30.0
    """How strongly chains are held near the network. The larger, the lower the number."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of the dynamics."""
    score: Literal["matching", "previous"] = "matching"
    """By what heads are told apart at the last step: their prefix-matching scores, or their previous-token scores, on sequences with a fifth of jumps."""

    learnt: ClassVar[Learnt] = "sequences"
    source: ClassVar[str] = "Wang et al. 2024 (arXiv 2410.02984), the refined local learning coefficient"

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        if self.rows % self.batch:
            return f"{self.title}: batch: {self.batch} does not divide {self.rows} rows; give one that does"
        if self.draws % (passes := self.rows // self.batch):
            return f"{self.title}: draws: {self.draws} steps of {self.batch} do not go through {self.rows} rows as a whole; give a multiple of {passes}"
        return ""

    def refined(self, jumps: Jumps | None) -> Refined:
        from harness.maths.learning_coefficient import Sampling
        from harness.networks.head_coefficients import Refined

        how = Sampling(
            rows=self.rows, step_size=self.step_size, chains=self.chains, burn_in=self.burn_in, draws=self.draws,
            localisation=self.localisation, seed=self.seed,
        )  # fmt: skip
        return Refined(jumps=jumps, sampling=how, batch=self.batch)

    def scores(self, watched: Watched) -> Tensor:
        """Of heads, float64, (network, block, head)."""
        from harness.networks.heads import looked_into

        return looked_into(watched, 0.2).stacked(self.score)

    def steps(self, watched: Watched) -> tuple[int, ...]:
        """Those at which it is measured."""
        from harness.networks.head_coefficients import measured_steps

        return measured_steps(watched.checkpoints.steps, self.each)
