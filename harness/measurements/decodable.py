"""How well the answer can be read off the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched

SHRUNK = 1e-3
"""Of the mean variance of a dimension of the states, added to the covariance within classes."""

TINY = 1e-12
"""Added to that: where nothing varies there is a covariance still."""


class Decodable(Measurement, frozen=True, kw_only=True):
    """Accuracy of a linear probe for the answer on states of a layer: what the network knows, said or not.

    Linear discriminant analysis with a pooled covariance, fitted on a random half of all questions, tested on those of the other half that the
    network was not trained on. In a layer that is the same for all questions nothing can be decoded.
    """

    layer: int = -1
    """The layer; negative ones count from the last."""

    scale: ClassVar[str] = "share"

    def problem(self, bed: TrainedBed) -> str:
        return bed.no_layer(self.layer) or super().problem(bed)

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np
        import torch

        layers = watched.recipes[0].network.layers()
        states = watched.places[layers[self.layer]].double()
        found = []
        for own, answers, trained_on, fitted, recipe in zip(
            states, watched.answers, watched.trained_on, watched.halves, watched.recipes, strict=True
        ):
            centred = own - own[fitted].mean(0)
            classes = torch.eye(recipe.sizes.classes, dtype=torch.float64)[answers[fitted]]
            rows = centred[fitted]
            means = (classes.T @ rows) / classes.sum(0).clamp(min=1)[:, None]
            within = (rows - means[answers[fitted]]).T @ (rows - means[answers[fitted]]) / len(rows)
            shrunk = SHRUNK * float(rows.square().mean()) + TINY
            weight = torch.linalg.solve(within + shrunk * torch.eye(rows.shape[1], dtype=torch.float64), means.T)
            tested = ~fitted & ~trained_on
            guessed = (centred[tested] @ weight - (means.T * weight).sum(0) / 2).argmax(1)
            found.append(float((guessed == answers[tested]).double().mean()))
        return np.array(found)
