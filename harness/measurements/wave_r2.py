"""How well waves of the answer can be read off the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._frequencies import OfFrequencies

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched

PENALTY = 1e-3
"""Of ridge regression, in mean variances of a dimension of the states."""

TINY = 1e-12
"""Added to that: where nothing varies there is a penalty still."""


class WaveR2(OfFrequencies, frozen=True, kw_only=True):
    """R² of ridge regressions from the states of a layer to cos and sin of the answer's waves, the mean over the frequencies: the circuit's own
    quantities, whether the network answers with them or not.

    Fitted on a random half of all questions, tested on those of the other half that the network was not trained on.
    """

    layer: int = -1
    """The layer; negative ones count from the last."""

    scale: ClassVar[str] = "r2"

    def problem(self, bed: TrainedBed) -> str:
        return bed.no_layer(self.layer) or super().problem(bed)

    def measure(self, watched: Watched) -> np.ndarray:
        import math

        import numpy as np
        import torch

        states = watched.places[watched.recipes[0].network.layers()[self.layer]].double()
        # The place of an answer in the order of the group is what waves turn with; rows are brought into that order, too.
        places, numbers = watched.cube_answers, len(watched.group.numbers)
        found = []
        for own, answers, others, halves, frequencies in zip(
            states, places, watched.others.flatten(1), watched.halves, self.kept(watched), strict=True
        ):
            rows, fitted = watched.in_order(own[None])[0], watched.in_order(halves[None])[0]
            turn = 2 * math.pi * answers.double()[:, None] * torch.tensor(frequencies).double() / numbers
            waves = torch.cat([turn.cos(), turn.sin()], dim=1)
            mean, middle = rows[fitted].mean(0), waves[fitted].mean(0)
            centred = rows - mean
            spread = centred[fitted].T @ centred[fitted] / fitted.sum()
            penalty = PENALTY * float(spread.diagonal().mean()) + TINY
            joint = centred[fitted].T @ (waves[fitted] - middle) / fitted.sum()
            weight = torch.linalg.solve(spread + penalty * torch.eye(len(spread), dtype=torch.float64), joint)
            tested = ~fitted & others
            missed = (waves[tested] - middle - centred[tested] @ weight).square().sum(0)
            found.append(float((1 - missed / (waves[tested] - waves[tested].mean(0)).square().sum(0)).mean()))
        return np.array(found)
