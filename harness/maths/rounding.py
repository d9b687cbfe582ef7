"""Rounding: how much of the states may be an accident of the arithmetic, and what is too small to be anything else.

The same prompts give states that differ by about a millionth of their size from processor to processor, with another number of
threads, or in other batches (float32, thirty layers). A fit to differences of that size is another one everywhere, and no score
shows it, because an AUROC does not mind how small a number is. So each method asks here first.

`grain` is the norm of that accident in one state, (layer,), in the space that a probe is fitted in: a normalisation that divides by
what varies makes it larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

RELATIVE = 1e-6
"""Share of a state's size that differs between two computations of it."""
TIMES = 4
"""Whatever is no larger than so many grains is taken for rounding. What varies or differs by chance alone is thousands of them."""


def grain_of(states: Tensor) -> Tensor:
    """The grain of states that nothing was done to, (layer, row, view, d_model)."""
    import torch

    return RELATIVE * torch.stack([layer.norm(dim=-1).median() for layer in states])


def varies(rows: Tensor, grain: float | Tensor) -> bool:
    """Whether rows (row, feature) differ from their mean by more than rounding, as a root mean square."""
    rows = rows.double()
    spread = (rows - rows.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    return bool(spread > TIMES * grain)


def told_apart(rows: Tensor, labels: Tensor, grain: float | Tensor) -> Tensor:
    """Whether the means of the two classes differ by more than rounding, for each labelling, (labelling,).

    Where they do not, a linear probe has nothing to find: the weights of a logistic regression are zero, and so is the direction of
    a discriminant. `rows` are (row, feature), `labels` 0 or 1, (labelling, row).
    """
    rows, labels = rows.double(), labels.double()
    ones = labels.sum(dim=1, keepdim=True)
    zeros = labels.shape[1] - ones
    gap = (labels / ones - (1 - labels) / zeros) @ rows
    # Rows round each by itself, so that of their means less is left; what all rows share cancels. But float32 ends somewhere.
    accident = (1 / ones + 1 / zeros).sqrt()[:, 0] * grain
    least = 2.0**-22 * rows.norm(dim=1).mean()
    found: Tensor = gap.norm(dim=1) > (TIMES * accident).clamp_min(least)
    return found
