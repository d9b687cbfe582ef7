"""Difference of the class means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import differences, label_rows, linear, told_apart


class MeanDifference(Probe, frozen=True, kw_only=True):
    """The line between the mean x⁺ − x⁻ of both classes, threshold half-way: the simplest use of labels.

    It has nothing to tune and hardly overfits, but ignores how dimensions vary together. The score is a distance from
    the threshold, not a probability.
    """

    source: ClassVar[str] = "Marks & Tegmark 2023 (arXiv 2310.06824), mass-mean probing; Mallen & Belrose 2023"
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        difference, labels = differences(pairs), label_rows(pairs).double()
        ones = labels.sum(dim=1, keepdim=True)
        # One layer after another: a product of many layers may round otherwise than each by itself.
        mean_one = torch.stack([labels / ones @ layer.double() for layer in difference])
        mean_zero = torch.stack([(1 - labels) / (labels.shape[1] - ones) @ layer.double() for layer in difference])
        # (layer, labelling, d_model) from here; a class mean is of the size of the states, so the norm is safe.
        weight = mean_one - mean_zero
        weight = weight / weight.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        bias = -(weight * (mean_one + mean_zero)).sum(dim=-1) / 2
        found = told_apart(difference, labels, pairs).T
        return linear(
            (weight * found[..., None]).transpose(0, 1).float(), (bias * found).T.float(), len(seeds), calibrated=False
        )
