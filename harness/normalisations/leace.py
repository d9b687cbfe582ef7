"""Erases which answer and which template a prompt has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Normalisation, Normaliser, Pairs
from harness.maths.leace import cells, oblique
from harness.normalisations._statistics import mean_of, refuse_none
from harness.readouts.normalisers import Erased

if TYPE_CHECKING:
    from torch import Tensor


class Leace(Normalisation, frozen=True, kw_only=True):
    """Takes out, linearly, which answer and which template a prompt has (least-squares concept erasure), and the mean.

    `mean` moves each template and answer to the origin, which it must be told for every row. Here one map for all rows
    takes out the directions themselves, along with whatever else is read from them. No labels are used.
    """

    by_layer: ClassVar[bool] = False
    source: ClassVar[str] = "Belrose et al. 2023 (arXiv 2306.03819), theorem 4.2; first step of VINC (EleutherAI)"

    def fit(self, pairs: Pairs) -> Normaliser:
        import torch

        refuse_none(pairs)
        concept = cells(pairs.template, pairs.states.shape[2])
        centre = torch.stack([mean_of(layer.flatten(0, 1)) for layer in pairs.states])
        found = [_erase(layer, middle, concept) for layer, middle in zip(pairs.states, centre, strict=True)]
        shift = centre[:, None].expand(-1, pairs.states.shape[2], -1).contiguous()
        left, right = (torch.stack(parts) for parts in zip(*found, strict=True))
        return Erased(left, right, shift, shift.clone(), pairs.template.unique())


def _erase(layer: Tensor, centre: Tensor, concept: Tensor) -> tuple[Tensor, Tensor]:
    """Of one layer, (row, view, d_model)."""
    rows = layer.flatten(0, 1).double() - centre
    return oblique(rows - rows.mean(dim=0) if bool(rows.any()) else rows, concept)
