"""Dimensions by how much each alone tells of two labels: larger is more. All take rows of one layer, float64 (row, d_model), and labels 0 or 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import NumericalError

if TYPE_CHECKING:
    from torch import Tensor

BINS = 10
"""Bins of equally many rows into which a dimension is divided for mutual information."""
WEAKER = 10
"""How many times smaller the L1 penalty is than the least one with which all weights are zero."""
STEPS = 20_000
"""Most steps of the L1 regression."""
EXACT = 1e-4
"""How near the slopes of the log-loss must come to what the penalty asks for, as a share of the penalty."""


def by_mean_difference(rows: Tensor, labels: Tensor) -> Tensor:
    """|mean of the rows labelled 1 − mean of the others|, (labelling, d_model); labels (labelling, row)."""
    ones = labels.sum(dim=1, keepdim=True)
    return (labels / ones @ rows - (1 - labels) / (labels.shape[1] - ones) @ rows).abs()


def by_f_statistic(rows: Tensor, labels: Tensor) -> Tensor:
    """The F statistic of a one-way analysis of variance, (labelling, d_model): variance between the classes over variance within. 0 where nothing varies."""
    import torch

    centred = rows - rows.mean(dim=0)
    ones = labels.sum(dim=1, keepdim=True)
    zeros = labels.shape[1] - ones
    between = (labels @ centred).square() * (1 / ones + 1 / zeros)
    within = (centred.square().sum(dim=0) - between).clamp_min(0)
    # Of a dimension that tells the classes apart without a remainder, the largest number there is.
    found = between * (labels.shape[1] - 2) / within.clamp_min(torch.finfo(rows.dtype).tiny)
    return torch.where(between > 0, found.nan_to_num(posinf=torch.finfo(rows.dtype).max), 0.0)


def by_mutual_information(rows: Tensor, labels: Tensor) -> Tensor:
    """Mutual information of the label and the tenth of the rows that a dimension puts a row into, nats, (labelling, d_model).

    Equal numbers are in one tenth. Of few rows the estimate is too large, by about as much for every dimension, which leaves the order as it is.
    """
    import torch

    count = len(rows)
    places = torch.arange(1, BINS) * count // BINS
    edges = rows.sort(dim=0).values[places]
    member = (rows[None] >= edges[:, None]).sum(dim=0)
    bins = torch.nn.functional.one_hot(member, BINS).to(rows)
    found = rows.new_zeros(len(labels), rows.shape[1])
    share = bins.mean(dim=0)
    for side in (labels, 1 - labels):
        joint = torch.einsum("lr,rdb->ldb", side, bins) / count
        alone = share * side.mean(dim=1)[:, None, None]
        found += torch.where(joint > 0, joint * (joint.clamp_min(1e-30) / alone.clamp_min(1e-30)).log(), 0.0).sum(dim=2)
    return found


def by_l1(rows: Tensor, labels: Tensor) -> Tensor:
    """|weight| in an L1-penalised logistic regression on dimensions with one standard deviation, (labelling, d_model).

    The penalty is a tenth of the least with which all weights are zero. Dimensions without a weight come behind those that have one, in the order
    in which the slope of the log-loss brings them near to one: they have that slope's share of the penalty less 1, which is below 0.
    """
    import torch

    centred = rows - rows.mean(dim=0)
    deviation = centred.square().mean(dim=0).sqrt()
    scaled = torch.where(deviation > 0, centred / deviation.clamp_min(1e-300), 0.0)
    found = []
    for own in labels:
        weight, slope, penalty = _l1_minimum(scaled, own)
        found.append(torch.where(weight != 0, weight.abs(), slope.abs() / max(penalty, 1e-300) - 1 - EXACT))
    return torch.stack(found)


def _l1_minimum(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float]:
    """The weights that minimise mean log-loss + penalty · ‖w‖₁ with a free intercept, the log-loss's slopes there, and the penalty.

    Accelerated proximal steps, begun anew where they lead uphill (Beck & Teboulle 2009; O'Donoghue & Candès 2015). Raises NumericalError where
    they do not converge.
    """
    import torch

    count, width = rows.shape
    wide = torch.cat([rows, rows.new_ones(count, 1)], dim=1)
    share = labels.mean()
    penalty = float((rows.T @ (labels - share) / count).abs().max()) / WEAKER
    # The log-loss bends at most a quarter as much as squares do.
    step = 4 * count / float(torch.linalg.matrix_norm(wide, 2).square() if min(wide.shape) else 1)
    shrink = rows.new_full((width + 1,), step * penalty)
    shrink[-1] = 0
    at = rows.new_zeros(width + 1)
    at[-1] = torch.logit(share)
    ahead, momentum = at, 1.0
    for number in range(STEPS):
        moved = ahead - step * (wide.T @ ((wide @ ahead).sigmoid() - labels)) / count
        new = moved.sign() * (moved.abs() - shrink).clamp_min(0)
        if bool(torch.dot(ahead - new, new - at) > 0):
            momentum = 1.0
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = new + (momentum - 1) / grown * (new - at)
        at, momentum = new, grown
        if number % 20 == 19:
            slope = wide.T @ ((wide @ at).sigmoid() - labels) / count
            own = slope[:-1]
            wrong = torch.where(
                at[:-1] != 0, (own + penalty * at[:-1].sign()).abs(), (own.abs() - penalty).clamp_min(0)
            )
            if float(wrong.max()) <= EXACT * penalty and abs(float(slope[-1])) <= EXACT * penalty:
                return at[:-1], own, penalty
    raise NumericalError(
        f"k_sparse: the L1 regression did not converge in {STEPS:,} steps; rank by another: `rank_by: f_statistic`"
    )
