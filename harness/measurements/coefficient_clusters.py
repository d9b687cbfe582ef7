"""Whether heads that the loss minds alike over training are heads that do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.measurements._coefficients import ByCoefficients
from harness.measurements._heads import Jumps
from harness.networks.attention_only import AttentionOnly

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched

ORDERS = 200
"""Random orders of heads whose mean is what chance gives."""


class CoefficientClusters(ByCoefficients, frozen=True, kw_only=True):
    """How far apart the mean scores of two clusters of heads are at the last step, where clusters are those of the heads' refined local learning coefficients over
    training, on two kinds of data: Ward's clusters of the curves, those on either kind by the root of their mean square.

    Near the score of heads that do something where these are one cluster, and all others the other one. It is measured at the last step alone.
    """

    jumps: Jumps | None = None
    """The first kind of data: the probability of a jump, or the sequences that the networks learn if empty."""
    other_jumps: Jumps | None = 0.99
    """The second kind. With nearly as many jumps as tokens the same tokens stand in a sequence again and again, in no order."""
    by_chance: bool = False
    """The mean over random orders of heads in place of what is found: what clusters of the same sizes give that have nothing to do with what heads do."""
    seed_of_orders: Annotated[int, Meta(ge=0)] = 0
    """Seed of these orders."""

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        network = bed.made
        if isinstance(network, AttentionOnly) and network.blocks * network.heads < 2:
            return f"{self.title}: one head of one block is no two clusters; give more `heads` or `blocks`"
        return ""

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.maths.two_clusters import apart, two_clusters
        from harness.networks.head_coefficients import coefficient_curves

        networks, steps = len(watched.recipes), self.steps(watched)
        if watched.step != steps[-1]:
            return np.full(networks, np.nan)
        scores = self.scores(watched).flatten(1).numpy()
        kinds = [
            coefficient_curves(watched, self.refined(jumps), steps).flatten(1, 2).numpy()
            for jumps in (self.jumps, self.other_jumps)
        ]
        random = np.random.default_rng(self.seed_of_orders)
        found = []
        for network, own in enumerate(scores):
            curves = np.hstack([kind[network] / np.sqrt(np.square(kind[network]).mean()) for kind in kinds])
            second = two_clusters(curves)
            orders = [random.permutation(len(own)) for _ in range(ORDERS)] if self.by_chance else [np.arange(len(own))]
            found.append(np.mean([apart(own[order], second) for order in orders]))
        return np.array(found)
