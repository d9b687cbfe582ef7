"""Waves in what a network answers to "a + b": frequencies of a cyclic group, and logits with or without some of them.

A network that generalises computes cos w_k(a + b − c), w_k = 2π k / n, for a few key frequencies k (Nanda et al. 2023, arXiv
2301.05217, §4). Logits are (…, a, b, class), with all three in the order of the group; `sign` is −1 where the answer is a − b.
Everything is float64: late in training losses are below float32's rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Sign = Literal[1, -1]


def frequencies(numbers: int) -> int:
    """Frequencies that waves on so many numbers can have: 1 to this. The constant is none of them."""
    return numbers // 2


def by_answer(logits: Tensor, sign: Sign = 1, asked: Tensor | None = None) -> Tensor:
    """Mean logits of the questions with the same answer, float64, (…, answer, class): of all of them, or of those that are `asked`, bool,
    (…, a, b); zero for an answer that no such question has."""
    import torch

    numbers = logits.shape[-3]
    a, b = torch.arange(numbers)[:, None], torch.arange(numbers)[None]
    # Of each answer one b for each a.
    turned = logits.double()[..., a, (sign * (b - a)) % numbers, :]
    if asked is None:
        return turned.mean(-3)
    own = asked[..., a, (sign * (b - a)) % numbers, None].double()
    return (turned * own).sum(-3) / own.sum(-3).clamp(min=1)


def sum_waves(logits: Tensor, kept: Sequence[int], sign: Sign = 1, asked: Tensor | None = None) -> Tensor:
    """The part of logits that is a wave of a ± b at these frequencies, for each class, float64, (…, a, b, class); 0 is the constant. With `asked`,
    bool, (…, a, b), it is read off those questions."""
    import torch

    numbers = logits.shape[-3]
    spectrum = torch.fft.rfft(by_answer(logits, sign, asked), dim=-2)
    chosen = torch.zeros(spectrum.shape[-2], 1, dtype=torch.bool)
    chosen[list(kept)] = True
    waves = torch.fft.irfft(spectrum * chosen, n=numbers, dim=-2)
    a, b = torch.arange(numbers)[:, None], torch.arange(numbers)[None]
    return waves[..., (a + sign * b) % numbers, :]


def restricted(logits: Tensor, kept: Sequence[int], sign: Sign = 1, asked: Tensor | None = None) -> Tensor:
    """Logits of which only the constant of each class and its waves of a ± b at the key frequencies are kept (Nanda et al., §5.1)."""
    return sum_waves(logits, (0, *kept), sign, asked)


def excluded(logits: Tensor, kept: Sequence[int], sign: Sign = 1, asked: Tensor | None = None) -> Tensor:
    """Logits without the waves of a ± b at the key frequencies: what was learned by heart is left (Nanda et al., §5.1)."""
    return logits.double() - sum_waves(logits, kept, sign, asked)


def variance_shares(logits: Tensor, sign: Sign = 1, asked: Tensor | None = None) -> Tensor:
    """Share of the logits' variance that is a multiple of cos w_k(a ± b − c), float64, (…, frequency) from frequency 1 on.

    Logits are taken without each question's mean over classes, which changes no answer. The shares of all frequencies together are at
    most 1, for the waves are orthogonal; not so of those `asked` alone, bool, (…, a, b), where they tell which waves are strong.
    """
    import torch

    numbers = logits.shape[-3]
    centred = logits.double() - logits.double().mean(-1, keepdim=True)
    answer, away = torch.arange(numbers)[None], torch.arange(numbers)[:, None]
    # Mean over all questions and classes with the same distance of the class from the answer, (…, distance).
    by_distance = by_answer(centred, sign, asked)[..., answer, (answer - away) % numbers].mean(-1)
    amplitude = torch.fft.rfft(by_distance, dim=-1).real[..., 1:] / numbers
    # A wave and its mirror image are one frequency, except for the one that changes sign from number to number.
    twice = torch.full((frequencies(numbers),), 2.0, dtype=torch.float64)
    if numbers % 2 == 0:
        twice[-1] = 1.0
    return twice * amplitude.square() / centred.square().mean((-3, -2, -1)).unsqueeze(-1)


def embedding_norms(embedding: Tensor) -> Tensor:
    """Norm of the waves of each frequency in an embedding (…, number, width), float64, (…, frequency) from frequency 1 on.

    Also of one before training, which may foretell what a network will use.
    """
    import torch

    return torch.fft.rfft(embedding.double(), dim=-2, norm="ortho").abs().square().sum(-1).sqrt()[..., 1:]


def strongest(strength: Tensor, count: int) -> tuple[int, ...]:
    """The `count` frequencies that are strongest, in rising order, of a strength for each frequency from 1 on, (frequency,)."""
    return tuple(sorted((strength.argsort(descending=True, stable=True)[:count] + 1).tolist()))


def needed(shares: Tensor, of: float = 0.95) -> tuple[int, ...]:
    """The fewest frequencies that hold this much of what all of them hold, in rising order; `shares` is (frequency,) from 1 on."""
    held = shares.sort(descending=True).values.cumsum(0) / shares.sum()
    return strongest(shares, min(len(shares), int((held < of).sum()) + 1))


def gini(strength: Tensor) -> Tensor:
    """Gini coefficient of what is not negative, (…, frequency) → (…): 0 where all are equal, 1 − 1/n where one of n has all."""
    import torch

    ordered = strength.double().sort(-1).values
    count = ordered.shape[-1]
    rank = torch.arange(1, count + 1, dtype=torch.float64)
    return ((2 * rank - count - 1) * ordered).sum(-1) / (count * ordered.sum(-1))


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """Cross entropy of each row, nats, float64, (…, row), for logits (…, row, class) and answers (row,)."""
    shares = logits.double().log_softmax(-1)
    return -shares.gather(-1, answers.expand(shares.shape[:-1]).unsqueeze(-1)).squeeze(-1)
