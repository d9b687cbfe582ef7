"""Contrast-consistent search in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.machine.threads import each
from harness.probes._contrast import differences, linear, oriented

if TYPE_CHECKING:
    from torch import Tensor


class ContrastiveEigenproblem(Probe, frozen=True, kw_only=True):
    """The direction whose projections of x⁺ and x⁻ are most opposite for their size: CCS as an eigenproblem, no restarts.

    A linear probe wᵀx without sigmoid is consistent where wᵀx⁺ + wᵀx⁻ = 0 and confident where both are large. With
    centred states, D = Cov(x⁺ − x⁻) and S = Cov(x⁺ + x⁻), inconsistency is wᵀSw. Made small by itself it has the useless
    answer w = 0, so it is put in relation to the contrast wᵀDw:

    `ratio` maximises wᵀDw / wᵀ(S + ρI)w, the generalised eigenproblem D w = λ (S + ρI) w, of which the largest λ answers.
    With A = Cov(x⁺) + Cov(x⁻) (confidence) and B = Cov(x⁺, x⁻) + Cov(x⁻, x⁺), D = A − B and S = A + B, so that without ρ
    λ = (1 + μ) / (1 − μ) for μ = −wᵀBw / wᵀAw: the same direction has consistency most negative against confidence,
    −B w = μ A w, and μ = 1 is perfect.

    `difference` maximises wᵀDw − wᵀSw = −2 wᵀBw for ‖w‖ = 1, the top eigenvector of −B: no ratio, so that it favours
    directions that vary much; nothing has to be inverted.

    The formulas are derived here from the paper's principle that contrast consistency must be relative; its own
    normalisation and regularisation may differ in detail.
    """

    contrast: Literal["ratio", "difference"] = "ratio"
    """`ratio` finds consistent features that are small beside others; `difference` wants them large as well, like `crc_tpc`."""
    ridge: Annotated[float, Meta(gt=0)] | None = None
    """ρ of `ratio`; if empty, 0.1, in units of the mean variance of x⁺ + x⁻ per dimension. Without one the answer is noise where rows are few:
    some direction has no inconsistency by chance. The larger, the more the answer is `crc_tpc`'s, its limit. `difference` inverts nothing and refuses it."""

    source: ClassVar[str] = "after Schouten & Bloem 2025 (arXiv 2511.02089), relative contrast; Emmons 2023"

    def __post_init__(self) -> None:
        if self.contrast == "difference" and self.ridge is not None:
            raise ValueError("ridge is of `contrast: ratio`, and means nothing with `difference`; take it out")

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        difference = differences(pairs)
        mean = difference.mean(dim=1, dtype=torch.float64)
        total = pairs.states.sum(dim=2)
        weight = torch.stack(each(lambda rows: self._top(*rows), zip(difference, total, strict=True)))
        bias = -(weight * mean).sum(dim=-1)
        return linear(weight.float()[None], bias.float()[None], len(seeds), calibrated=False)

    def _top(self, difference: Tensor, total: Tensor) -> Tensor:
        """The unit-norm direction of one layer from x⁺ − x⁻ and x⁺ + x⁻, (pair, d_model), in float64; zero where x⁺ − x⁻
        does not vary."""
        import torch

        contrast, inconsistency = (_covariance(rows) for rows in (difference, total))
        if not bool(contrast.any()):
            return contrast.new_zeros(len(contrast))
        if self.contrast == "difference":
            return oriented(torch.linalg.eigh(contrast - inconsistency).eigenvectors[:, -1])
        size = inconsistency.diagonal().mean()
        if not float(size) > 0:
            return oriented(torch.linalg.eigh(contrast).eigenvectors[:, -1])
        inconsistency.diagonal().add_((0.1 if self.ridge is None else self.ridge) * size)
        factor = torch.linalg.cholesky(inconsistency)
        # L⁻¹ D L⁻ᵀ is symmetric with the same λ; w = L⁻ᵀ u.
        half = torch.linalg.solve_triangular(factor, contrast, upper=False)
        whole = torch.linalg.solve_triangular(factor, half.T, upper=False)
        top = torch.linalg.eigh((whole + whole.T) / 2).eigenvectors[:, -1:]
        weight = torch.linalg.solve_triangular(factor.T, top, upper=True)[:, 0]
        return oriented(weight / weight.norm())


def _covariance(rows: Tensor) -> Tensor:
    rows = rows.double()
    rows = rows - rows.mean(dim=0)
    return rows.T @ rows / len(rows)
