"""Attention heads come apart by how much the loss minds them, and those that come apart do the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, last
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class HeadSpecialises(OfNetworks, frozen=True, kw_only=True):
    """Two clusters of heads by their refined local learning coefficients over training are heads that do something, such as to match prefixes, and heads that do not.

    Statistic: the share of networks in which the mean scores of the two clusters are `least` apart or more at the last step, and `beyond` or more
    further apart than those of clusters of the same sizes at random. Test: the 95 % interval of that share. Threshold: `most`. The first part alone is met by chance where
    clusters are of one head and the rest, the second one is what the coefficients add. Simulated with 6, 8 and 10 networks of eight heads, two of which do it: where clusters
    of any sizes have nothing to do with that, both hold in 19 to 20 % of networks, and it passes in 0.03, 0 and 0 % of 4,000 runs.
    """

    clusters: MeasurementName = "coefficient_clusters"
    """How far apart the scores of the clusters are."""
    chance: MeasurementName
    """The same of clusters at random: `coefficient_clusters` with `by_chance: true`."""
    least: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """How far apart they are, at least."""
    beyond: Annotated[float, Meta(ge=0, le=1)] = 0.1
    """How much further than by chance, at least."""

    source: ClassVar[str] = "Wang et al. 2024 (arXiv 2410.02984), heads clustered by their refined coefficients"
    claim: ClassVar[str] = (
        "heads of {condition} that their coefficients over training put apart are those that do the same ({clusters})"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        found, chance = (last(watch, title) for title in (self.clusters, self.chance))
        each = (found >= self.least) & (found - chance >= self.beyond)
        said = (
            f"the scores of the clusters are {np.median(found):.2f} apart (median; {self.least:g} or more), and {np.median(chance):.2f} by chance "
            f"({self.beyond:g} or more below that)"
        )
        return each, said
