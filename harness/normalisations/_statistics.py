"""Statistics of training rows per layer, template and answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.contracts import Normaliser, Pairs
from harness.errors import NumericalError
from harness.readouts.normalisers import ShiftScaleByTemplate

if TYPE_CHECKING:
    from torch import Tensor

Statistic = Callable[["Tensor"], "tuple[Tensor, Tensor]"]
"""Rows of one layer, template and view, (row, d_model), to shift and scale, both (d_model,)."""


def learn(pairs: Pairs, statistic: Statistic) -> Normaliser:
    """Applies `statistic` to the training rows of every layer, template and view."""
    import torch

    refuse_none(pairs)
    layers, _, views, width = pairs.states.shape
    templates = pairs.template.unique().tolist()
    shape = (layers, max(templates) + 1, views, width)
    shift = torch.full(shape, torch.nan, device=pairs.states.device)
    scale = torch.full(shape, torch.nan, device=pairs.states.device)
    for template in templates:
        rows = (pairs.template == template).nonzero()[:, 0]
        whole = len(rows) == len(pairs.template)
        for layer, states in enumerate(pairs.states):
            own = states if whole else states[rows]
            for view in range(views):
                shift[layer, template, view], scale[layer, template, view] = statistic(own[:, view])
    return ShiftScaleByTemplate(shift, scale)


def refuse_none(pairs: Pairs) -> None:
    """Raises NumericalError where there are no rows."""
    if len(pairs.template) == 0:
        raise NumericalError("there are no training rows to take normalisation statistics from")


def mean_of(rows: Tensor) -> Tensor:
    """Mean over rows in float64, rounded once to float32.

    Rows that are all the same then give exactly their value, so that a layer whose states do not vary (the embedding
    of one and the same last token) becomes exactly zero and not rounding noise, which a scale would blow up.
    """
    import torch

    return rows.mean(dim=0, dtype=torch.float64).to(rows.dtype)
