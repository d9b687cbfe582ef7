"""Logistic regression on few dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.machine.threads import each_stacked
from harness.probes._contrast import differences, label_rows, linear, told_apart
from harness.probes._rankings import by_f_statistic, by_l1, by_mean_difference, by_mutual_information

if TYPE_CHECKING:
    from torch import Tensor

RANKINGS = {
    "mean_difference": by_mean_difference,
    "mutual_information": by_mutual_information,
    "f_statistic": by_f_statistic,
    "l1": by_l1,
}
PRECISION = 1e-8
"""The slope of the loss at which a fit ends, as a share of its size at weights of zero."""
STEPS = 200
"""Newton steps; few fits need ten."""


class KSparse(Probe, frozen=True, kw_only=True):
    """Balanced logistic regression on the `k` dimensions that tell most of the labels, each by itself.

    Dimensions are ranked on training rows; the weights of all others are zero. Each class counts as much as the other: Σ n / (2 n_class) · log-loss
    + ½ · l2 · ‖w‖² over the k weights, as scikit-learn does with class_weight="balanced" and C = 1 / l2. What is in superposition shows as many poor
    single dimensions and a good sum of many. Use several, one for each k.
    """

    k: Annotated[int, Meta(ge=1, le=65536)] = 1
    """Dimensions. 1 asks for a neuron that is the feature by itself; what a large number finds is any linear probe's."""
    rank_by: Literal["mean_difference", "mutual_information", "f_statistic", "l1"] = "mean_difference"
    """`mean_difference`: what the class means differ by, which prefers dimensions that vary much. `mutual_information`: of the label and the tenth
    of the rows that the dimension puts a row into, which sees other than linear relations, too. `f_statistic`: variance between the classes over
    variance within. `l1`: weights of a logistic regression with an L1 penalty, which alone sees that two dimensions say the same; it takes longest."""
    l2: Annotated[float, Meta(gt=0)] = 1.0
    """Strength of the penalty of the k weights, 1/C."""

    source: ClassVar[str] = "Gurnee et al. 2023 (arXiv 2305.01610), Finding neurons in a haystack, §3 and appendix A"
    views: ClassVar[tuple[int, ...]] = (1, 2)
    supervised: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        rows, labels = differences(pairs), label_rows(pairs).double()
        if self.k > rows.shape[2]:
            raise NumericalError(
                f"k_sparse: {self.k} dimensions of {rows.shape[2]} are more than there are; give a smaller k"
            )
        found = told_apart(rows, labels, pairs)
        numbered = zip(rows, found.T, strict=True)
        weight, bias = each_stacked(lambda layer: self._layer(layer[0].double(), labels, layer[1]), numbered)
        return linear(weight.float(), bias.float(), len(seeds), calibrated=True, views=pairs.states.shape[2])

    def _layer(self, rows: Tensor, labels: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (labelling, d_model) and biases (labelling,) of one layer; zero for labellings in which nothing was found."""
        import torch

        weight, bias = rows.new_zeros(len(labels), rows.shape[1]), rows.new_zeros(len(labels))
        some = found.nonzero()[:, 0]
        if not len(some):
            return weight, bias
        worth = RANKINGS[self.rank_by](rows, labels[some])
        # Of equals the first.
        chosen = worth.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        # (labelling, row, k)
        narrow = rows.T[chosen].transpose(1, 2)
        parameters = _balanced(narrow, labels[some], self.l2)
        weight[some] = torch.zeros_like(worth).scatter_(1, chosen, parameters[:, :-1])
        bias[some] = parameters[:, -1]
        return weight, bias


def _balanced(rows: Tensor, labels: Tensor, l2: float) -> Tensor:
    """Weights and intercept, (labelling, k + 1), of the balanced regression of each labelling on rows of its own, (labelling, row, k): Newton's method,
    with steps halved until the loss falls."""
    import torch

    count = labels.shape[1]
    ones = labels.sum(dim=1, keepdim=True)
    share = torch.where(labels > 0, count / (2 * ones), count / (2 * (count - ones)))
    mean = rows.mean(dim=1, keepdim=True)
    wide = torch.cat([rows - mean, torch.ones_like(rows[..., :1])], dim=2)
    penalty = rows.new_full((wide.shape[2],), l2)
    penalty[-1] = 0

    def loss(at: Tensor) -> Tensor:
        logits = (wide @ at[..., None])[..., 0]
        every = torch.nn.functional.softplus(logits) - labels * logits
        return (share * every).sum(dim=1) + (penalty * at.square()).sum(dim=1) / 2

    def slope_at(at: Tensor) -> tuple[Tensor, Tensor]:
        sure = (wide @ at[..., None])[..., 0].sigmoid()
        return ((share * (sure - labels))[:, None] @ wide)[:, 0] + penalty * at, share * sure * (1 - sure)

    at = rows.new_zeros(len(labels), wide.shape[2])
    slope, curvature = slope_at(at)
    first = slope.norm(dim=1).clamp_min(1e-30)
    for _ in range(STEPS):
        if bool((slope.norm(dim=1) <= PRECISION * first).all()):
            break
        hessian = (wide * curvature[..., None]).transpose(1, 2) @ wide
        # Where all rows are certain the intercept has no curvature.
        hessian.diagonal(dim1=1, dim2=2).add_(penalty + 1e-12 * count)
        step = torch.linalg.solve(hessian, slope)
        fall, before, length = (slope * step).sum(dim=1), loss(at), torch.ones_like(at[:, :1])
        for _ in range(40):
            worse = loss(at - length * step) > before - 1e-4 * length[:, 0] * fall + 1e-13 * before
            if not bool(worse.any()):
                break
            length[worse] /= 2
        at = at - length * step
        slope, curvature = slope_at(at)
    else:
        raise NumericalError("k_sparse did not converge; use a larger l2, or `normalise: mean_std`")
    # Back to rows that are not centred.
    return torch.cat([at[:, :-1], at[:, -1:] - (at[:, :-1] * mean[:, 0]).sum(dim=1, keepdim=True)], dim=1)
