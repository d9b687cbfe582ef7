"""How efficient what a network computes is: the logit that it gives its answers for the norm of its parameters.

Of a network trained on shuffled answers it is the efficiency of memorising, of one trained on all questions that of generalising (Varma
et al. 2023, arXiv 2309.02390, §4). The former falls with the number of questions, the latter does not; where they cross, a network
under weight decay changes from one to the other. Logits grow as a power of the norm that is far above one, so that efficiencies are
compared at an equal logit: with all parameters made larger or smaller until it is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_FACTOR = 30.0
"""By which parameters are made larger, or smaller, at most."""
HALVINGS = 20
"""Of the interval of the factor's logarithm: 1e-5 of the factor is left."""


def answer_logits(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean over rows of the answer's logit less the mean of the question's logits, float64, (network,), which no constant changes.

    `logits` is (network, row, class), `answers` (row,) or (network, row).
    """
    centred = logits.double() - logits.double().mean(-1, keepdim=True)
    return centred.gather(-1, answers.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1).mean(-1)


def efficiencies(logits: Tensor, answers: Tensor, parameters: Tensor) -> Tensor:
    """Logit of the answers for each unit of the parameters' norm, float64, (network,); `parameters` is (network, size)."""
    return answer_logits(logits, answers) / parameters.double().norm(dim=1)


def norms_at(logit: float, answered: Callable[[Tensor], Tensor], parameters: Tensor) -> Tensor:
    """The norm that each network's parameters have when all are multiplied by what makes its answers' logit `logit`, float64, (network,).

    `answered` gives the logit, (network,), of parameters (network, size). NaN where no factor up to `LARGEST_FACTOR` makes it.
    """
    import torch

    high = torch.full((len(parameters),), math.log(LARGEST_FACTOR), dtype=torch.float64)
    low = -high

    def enough(power: Tensor) -> Tensor:
        return answered(power.exp()[:, None].to(parameters.dtype) * parameters) >= logit

    reached = enough(high) & ~enough(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        there = enough(middle)
        low, high = torch.where(there, low, middle), torch.where(there, middle, high)
    norms = ((low + high) / 2).exp() * parameters.double().norm(dim=1)
    return torch.where(reached, norms, math.nan)
