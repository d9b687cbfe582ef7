"""Difference of the class medians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout


class MedianDifference(Probe, frozen=True, kw_only=True):
    """The line between the median x⁺ − x⁻ of both classes, which a few odd rows cannot turn.

    The score is a distance from the threshold, not a probability.
    """

    quantile: Annotated[float, Meta(ge=0.1, le=0.9)] = 0.5
    """The quantile of each dimension that stands for a class; 0.5 is the median."""

    source: ClassVar[str] = "Our own, after mean_difference"
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        from harness.errors import NumericalError
        from harness.readouts.fitted_probes import LinearReadout

        assert pairs.labels is not None
        if not bool(pairs.states.isfinite().all()):
            raise NumericalError("a state is not finite; use model.precision: exact, or leave the layer out")
        difference = pairs.states[:, :, 1] - pairs.states[:, :, 0]
        weights, biases = [], []
        # One labelling, or one for each seed of a control.
        for labels in pairs.labels.reshape(-1, pairs.labels.shape[-1]):
            if len(labels.unique()) < 2:
                raise NumericalError("the training labels are all the same: a supervised probe needs both classes")
            zero, one = (self.middle(difference[:, labels == label]) for label in (0, 1))
            weight = one - zero
            weight = weight / weight.norm(dim=-1, keepdim=True).clamp_min(1e-30)
            weights.append(torch.stack([-weight, weight], dim=-2))
            biases.append(-(weight * (one + zero)).sum(dim=-1) / 2)
        count = len(seeds) if len(weights) == 1 else 1
        weight, bias = torch.stack(weights * count), torch.stack(biases * count)
        return LinearReadout(weight, bias, calibrated=False)

    def middle(self, rows):  # type: ignore[no-untyped-def]
        """(layer, row, d_model) to (layer, d_model)."""
        rank = 1 + round(self.quantile * (rows.shape[1] - 1))
        return rows.kthvalue(rank, dim=1).values
