"""Local outlier factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Readout
from harness.errors import NumericalError
from harness.machine.threads import each
from harness.probes._contrast import per_seed
from harness.probes._detector import OfStates, sides_of
from harness.readouts.detectors import NeighbourReadout

if TYPE_CHECKING:
    from torch import Tensor


class LocalOutlier(OfStates, frozen=True, kw_only=True):
    """How much sparser a row's neighbourhood is than those of the training rows next to it: needs no labels and no Gaussian.

    An anomaly detector, scikit-learn's: it follows normal rows that come in clumps, and asks for many of them. Larger is more
    unusual against every column: no sign is ever resolved.
    """

    neighbours: Annotated[int, Meta(ge=1, le=1000)] = 20
    """How many training rows are looked at. Few follow small clumps and noise; many see only what lies far from everything."""

    source: ClassVar[str] = "Breunig et al. 2000 (LOF); scikit-learn's LocalOutlierFactor; Mallen & Belrose 2023"

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        rows = self.rows(pairs)
        if len(rows[0]) <= self.neighbours:
            raise NumericalError(
                f"local_outlier_factor: {self.neighbours} neighbours of {len(rows[0])} training pairs; a probe needs more than "
                "two training pairs, and more than `neighbours`"
            )
        fits = each(self._layer, rows)
        reach, density, bias = (
            torch.stack([fit[part] for fit in fits]).float() for part in ("reach", "density", "bias")
        )
        return NeighbourReadout(
            sides_of(self.features),
            torch.stack(rows).float(),
            reach,
            density,
            torch.tensor([self.neighbours]),
            per_seed(bias[None], len(seeds)),
        )

    def _layer(self, rows: Tensor) -> dict[str, Tensor]:
        """What the readout needs of one layer; rows (pair, feature) in float64."""
        import torch
        from sklearn.neighbors import LocalOutlierFactor

        if not bool(rows.any()):
            # Of no density, so that no row's neighbourhood is sparser than another's: the score is 0.
            ones = torch.ones(len(rows), dtype=torch.float64)
            return {"reach": ones, "density": 0 * ones, "bias": ones.new_ones(())}
        found = LocalOutlierFactor(n_neighbors=self.neighbours, novelty=True).fit(rows.float().cpu().numpy())
        # No training row is its own neighbour here, as if each were new.
        reach, density, factor = (
            torch.from_numpy(part).double()
            for part in (found._distances_fit_X_[:, -1], found._lrd, -found.negative_outlier_factor_ - 1)
        )
        return {"reach": reach, "density": density, "bias": -self.threshold(factor)}
