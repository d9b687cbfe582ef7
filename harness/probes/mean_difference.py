"""Difference of the class means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.probes._contrast import differences, label_rows, linear, told_apart
from harness.probes._shrunk_spectrum import shrunk_spectrum

if TYPE_CHECKING:
    from torch import Tensor


class MeanDifference(Probe, frozen=True, kw_only=True):
    """The line between the mean x⁺ − x⁻ of both classes, threshold half-way: the simplest use of labels.

    It has nothing to tune and hardly overfits, but ignores how dimensions vary together. The score is a distance from
    the threshold, not a probability, unless it is whitened.
    """

    whitened: bool = False
    """Multiply by the inverse of the covariance within classes, θᵀΣ⁻¹x, which is right for rows like those that it was fitted on, and may
    not be for others; the plain direction is the one to steer along (Marks & Tegmark). Σ is shrunk as a whole by Ledoit and Wolf's
    quadratic formula, dimensions as they are: there may be fewer rows than dimensions. The score is then a log-odds."""

    source: ClassVar[str] = "Marks & Tegmark 2023 (arXiv 2310.06824), mass-mean probing; Mallen & Belrose 2023"
    views: ClassVar[tuple[int, ...]] = (1, 2)
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
        if self.whitened:
            weight = torch.stack([_whitened(*one, labels) for one in zip(difference, weight, strict=True)])
        else:
            weight = weight / weight.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        bias = -(weight * (mean_one + mean_zero)).sum(dim=-1) / 2
        found = told_apart(difference, labels, pairs).T
        return linear(
            (weight * found[..., None]).transpose(0, 1).float(), (bias * found).T.float(), len(seeds), calibrated=self.whitened,
            views=pairs.states.shape[2],
        )  # fmt: skip


def _whitened(rows: Tensor, gaps: Tensor, labels: Tensor) -> Tensor:
    """Σ⁻¹ θ for each labelling, (labelling, d_model); rows (row, d_model), labels 0 or 1, (labelling, row). Zero where Σ is."""
    import torch

    rows, found = rows.double(), torch.zeros_like(gaps)
    for number, (own, gap) in enumerate(zip(labels, gaps, strict=True)):
        residual = rows.clone()
        for label in (0, 1):
            residual[own == label] -= rows[own == label].mean(dim=0)
        spectrum = shrunk_spectrum(residual)
        if spectrum is None:
            continue
        along = spectrum.axes @ gap
        found[number] = spectrum.axes.T @ (along / spectrum.value)
        if spectrum.rest > 0:
            found[number] += (gap - spectrum.axes.T @ along) / spectrum.rest
    return found
