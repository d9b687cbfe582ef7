"""Statistics of training rows per layer, template and answer, and the normaliser that is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.contracts import Normaliser, Pairs
from harness.errors import DataError, NumericalError

if TYPE_CHECKING:
    from torch import Tensor

Statistic = Callable[["Tensor"], "tuple[Tensor, Tensor]"]
"""Rows of one layer, template and answer, (row, d_model), to shift and scale, both (d_model,)."""


class TemplateNormaliser(Normaliser, frozen=True):
    """A normaliser that refuses templates it has not seen; their statistics are NaN."""

    def __call__(self, pairs: Pairs) -> Pairs:
        from msgspec.structs import replace

        known = self.shift[0, :, 0, 0].isfinite()
        for template in pairs.template.unique().tolist():
            if template >= len(known) or not known[template]:
                raise DataError(
                    f"template {template} has no training rows, so its states cannot be normalised; use the same "
                    "templates in all splits, or `normalise: none`"
                )
        if len(known) == 1:
            shift, scale = self.shift, self.scale
        else:
            shift, scale = self.shift[:, pairs.template], self.scale[:, pairs.template]
        # In place on the new tensor: states are the largest thing in memory.
        return replace(pairs, states=(pairs.states - shift).mul_(scale))


def learn(pairs: Pairs, statistic: Statistic) -> Normaliser:
    """Applies `statistic` to the training rows of every layer, template and answer."""
    import torch

    if len(pairs.template) == 0:
        raise NumericalError("there are no training rows to take normalisation statistics from")
    layers, _, _, width = pairs.states.shape
    templates = pairs.template.unique().tolist()
    shape = (layers, max(templates) + 1, 2, width)
    shift = torch.full(shape, torch.nan, device=pairs.states.device)
    scale = torch.full(shape, torch.nan, device=pairs.states.device)
    for template in templates:
        rows = (pairs.template == template).nonzero()[:, 0]
        whole = len(rows) == len(pairs.template)
        for layer, states in enumerate(pairs.states):
            own = states if whole else states[rows]
            for answer in (0, 1):
                shift[layer, template, answer], scale[layer, template, answer] = statistic(own[:, answer])
    return TemplateNormaliser(shift, scale)


def mean_of(rows: Tensor) -> Tensor:
    """Mean over rows in float64, rounded once to float32.

    Rows that are all the same then give exactly their value, so that a layer whose states do not vary (the embedding
    of one and the same last token) becomes exactly zero and not rounding noise, which a scale would blow up.
    """
    import torch

    return rows.mean(dim=0, dtype=torch.float64).to(rows.dtype)
