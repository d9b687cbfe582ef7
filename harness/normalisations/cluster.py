"""Subtracts the mean of a row's cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Normalisation, Normaliser, Pairs
from harness.normalisations._statistics import mean_of, refuse_none
from harness.readouts.normalisers import ShiftByCluster

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 5
"""Least rows of a cluster (the paper's)."""


class Cluster(Normalisation, frozen=True, kw_only=True):
    """Clusters the training pairs without labels and subtracts their cluster's mean, for x⁺ and x⁻ apart (Cluster-Norm).

    A feature so strong that it splits the states into clusters is then no longer what varies most, whether it is a
    distractor or the truth. Pairs are clustered for each template by their midpoints ½ (x⁺ + x⁻), by HDBSCAN with at least 5
    rows to a cluster; outliers have the mean of all of the template's rows. Another row is treated as the nearest
    training row is.
    """

    by_layer: ClassVar[bool] = False
    source: ClassVar[str] = "Laurito et al. 2024 (arXiv 2407.18712), Cluster-Norm"

    def fit(self, pairs: Pairs) -> Normaliser:
        import torch

        refuse_none(pairs)
        layers, rows, views, width = pairs.states.shape
        midpoint = pairs.states.mean(dim=2)
        cluster = torch.zeros(layers, rows, dtype=torch.int64)
        shifts: list[list[Tensor]] = [[] for _ in range(layers)]
        for layer in range(layers):
            for template in pairs.template.unique().tolist():
                own = (pairs.template == template).nonzero()[:, 0]
                found = _clusters(midpoint[layer, own])
                first = len(shifts[layer])
                cluster[layer, own.cpu()] = first + 1 + found
                # Number −1 are the outliers, with the mean of all.
                for number in range(-1, int(found.max()) + 1):
                    of_cluster = own if number < 0 else own[(found == number).to(own.device)]
                    shifts[layer].append(mean_of(pairs.states[layer, of_cluster]))
        most = max(map(len, shifts))
        shift = pairs.states.new_zeros(layers, most, views, width)
        for layer, means in enumerate(shifts):
            shift[layer, : len(means)] = torch.stack(means)
        return ShiftByCluster(midpoint, pairs.template, cluster.to(pairs.states.device), shift)


def _clusters(midpoint: Tensor) -> Tensor:
    """The cluster of each of some rows, −1 for an outlier, int64, (row,)."""
    import torch
    from sklearn.cluster import HDBSCAN

    if len(midpoint) < SMALLEST or not bool((midpoint != midpoint[0]).any()):
        return torch.full((len(midpoint),), -1, dtype=torch.int64)
    found = HDBSCAN(min_cluster_size=SMALLEST, copy=True).fit_predict(midpoint.double().cpu().numpy())
    return torch.from_numpy(found.astype("int64"))
