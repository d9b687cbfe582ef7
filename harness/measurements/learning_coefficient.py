"""How many directions around a network's parameters its loss minds: the local learning coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class LearningCoefficient(Measurement, frozen=True, kw_only=True):
    """The local learning coefficient λ̂ = n β (E[L] − L*), of the loss L on n questions, by Langevin dynamics around the network: half the number of
    parameters where each of them counts, less where many choices of them do the same.

    Whether chains have spread is for the author to see: with twice the draws, or half the step size, it should be the same.
    """

    on: Literal["train", "test"] = "train"
    """The questions of the loss: those that a network is trained on, or all others."""
    weights: str = ""
    """Only parameters whose name begins so vary, such as `1.in` or `unembed`; all if empty."""
    each: Annotated[int, Meta(ge=1)] = 10
    """It is measured at each so many-th stored step and at the last one: a step costs as much as training all networks for `chains` times `burn_in` and
    `draws` steps."""
    step_size: Annotated[float, Meta(gt=0)] = 1e-5
    """Of the dynamics. Too large, and chains leave the network; too small, and they have not spread when they are read."""
    chains: Annotated[int, Meta(ge=2)] = 4
    """Chains for each network, whose mean is given."""
    burn_in: Annotated[int, Meta(ge=0)] = 200
    """Steps before losses are read."""
    draws: Annotated[int, Meta(ge=1)] = 400
    """Steps at which losses are read."""
    localisation: Annotated[float, Meta(ge=0)] = 100.0
    """How strongly chains are held near the network. The larger, the lower the number."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of the dynamics; each network has its own noise."""

    source: ClassVar[str] = "Lau et al. 2023 (arXiv 2308.12108); Wang et al. 2024 (arXiv 2410.02984)"

    def problem(self, bed: TrainedBed) -> str:
        names = bed.made.layout(bed.recipes[0].sizes).shapes
        if not any(name.startswith(self.weights) for name in names):
            return f"weights: no parameter of this {bed.network} begins with {self.weights!r}; there are {', '.join(names)}"
        return super().problem(bed)

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np
        import torch

        from harness.maths.learning_coefficient import Sampling, learning_coefficients
        from harness.networks.stacked import losses

        steps = watched.checkpoints.steps
        if steps.index(watched.step) % self.each and watched.step != steps[-1]:
            return np.full(len(watched.recipes), np.nan)
        first = watched.recipes[0]
        network, layout = first.network, first.network.layout(first.sizes)
        moving = torch.zeros(1, layout.size)
        for name, view in layout.views(moving).items():
            view[:] = float(name.startswith(self.weights))
        asked = watched.trained_on if self.on == "train" else ~watched.trained_on
        found = []
        for flat, recipe, answers, rows in zip(watched.flat, watched.recipes, watched.answers, asked, strict=True):
            questions, own = recipe.world.questions()[rows][None], answers[rows][None]
            weights = torch.full((1, len(own[0])), 1 / len(own[0]))

            def loss(
                place: Tensor, step: int, questions: Tensor = questions, own: Tensor = own, weights: Tensor = weights
            ) -> Tensor:
                del step
                chains = (len(place), -1)
                return losses(
                    network.logits(layout.views(place), questions), own.expand(chains), weights.expand(chains)
                )

            how = Sampling(
                rows=len(own[0]), step_size=self.step_size, chains=self.chains, burn_in=self.burn_in, draws=self.draws,
                localisation=self.localisation, seed=1_000_003 * self.seed + recipe.seed,
            )  # fmt: skip
            (estimate,) = learning_coefficients(loss, flat[None], how, moving[0].bool())
            found.append(estimate.value)
        return np.array(found)
