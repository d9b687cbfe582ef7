"""Random tokens that are repeated, and what the heads of a loaded network do with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.network import Network

AT_ONCE = 2**25
"""Attention weights that one pass shows, at most: 128 MiB."""


class Sequences(msgspec.Struct, frozen=True):
    """Tokens to be forwarded."""

    repeated: np.ndarray
    """int64, (row, position): what every text begins with, random tokens, and the same again."""
    control: np.ndarray
    """The same without a repetition: as many other random tokens stand in place of the second copy."""
    begun: int
    """Tokens that every text begins with."""
    period: int


class Scored(msgspec.Struct, frozen=True):
    """What is found, float64."""

    matching: np.ndarray
    """(block, head, row)."""
    control: np.ndarray
    """(block, head, row)."""
    previous: np.ndarray
    """(block, head, row), on sequences without a repetition."""
    losses: np.ndarray
    """Nats, of each token of the repeated sequences but the first, (row, position)."""


def drawn(of: Collection[int], begins: Sequence[int], period: int, rows: int, seed: int) -> Sequences:
    """Sequences of some tokens, none of which comes twice in either half. Raises DataError for too few of them."""
    possible = np.array(sorted(of), dtype=np.int64)
    if len(possible) < 2 * period:
        raise DataError(f"period: {period} tokens cannot be drawn twice of a vocabulary of {len(possible)}; give fewer")
    random = np.random.default_rng([0x4EAD, seed])
    tokens = np.stack([random.choice(possible, 2 * period, replace=False) for _ in range(rows)])
    before = np.tile(np.array(begins, dtype=np.int64), (rows, 1))
    first = tokens[:, :period]
    return Sequences(
        repeated=np.hstack([before, first, first]),
        control=np.hstack([before, tokens]),
        begun=len(begins),
        period=period,
    )


def scored(network: Network, sequences: Sequences, tell: Callable[[int], None]) -> Scored:
    """Forwards all; `tell` is called with the number of rows that are done. Raises HarnessError where a network does not show its heads."""
    import torch

    from harness.models.attention_patterns import attended, check_same, said_alone, showing_attention

    repeated, control = (torch.from_numpy(part) for part in (sequences.repeated, sequences.control))
    otherwise = said_alone(network, repeated[:1])
    matching, baseline, previous, losses = [], [], [], []
    with showing_attention(network):
        first = attended(network, repeated[:1])
        check_same(network, first.log_probabilities, otherwise)
        blocks, _, heads, length, _ = first.patterns.shape
        count = max(1, AT_ONCE // (blocks * heads * length * length))
        for start in range(0, len(repeated), count):
            twice, once = (attended(network, part[start : start + count]) for part in (repeated, control))
            matching.append(_to_copies(twice.patterns, sequences))
            baseline.append(_to_copies(once.patterns, sequences))
            previous.append(once.patterns.double().diagonal(-1, 3, 4)[..., sequences.begun :].mean(3).transpose(1, 2))
            following = repeated[start : start + count, 1:, None]
            losses.append(-twice.log_probabilities[:, :-1].gather(-1, following)[..., 0].double())
            tell(min(start + count, len(repeated)))
    own, other, before = (torch.cat(part, dim=2).numpy() for part in (matching, baseline, previous))
    return Scored(own, other, before, torch.cat(losses).numpy())


def _to_copies(patterns: Tensor, sequences: Sequences) -> Tensor:
    """Mean attention from the second half to what comes after the same place of the first, float64, (block, head, row)."""
    import torch

    ends = torch.arange(sequences.begun + sequences.period, patterns.shape[3])
    return patterns[:, :, :, ends, ends - sequences.period + 1].double().mean(3).transpose(1, 2)
