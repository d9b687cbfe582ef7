"""Matrices of attention heads, and how much one head reads of what another writes (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits").

States are rows: x at an attending position and y at an attended one have the score x W_Q W_Kᵀ yᵀ, and y W_V W_O is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.attention_only import AttentionOnly

Reads = Literal["key", "query", "value"]
DRAWS = 20
"""Pairs of random heads whose mean is what chance gives."""


class Head(NamedTuple):
    """A head of a network."""

    block: int
    """Counted from 1."""
    head: int
    """Counted from 0."""


def best(scores: Tensor) -> list[Head]:
    """The head of each network with the highest score (network, block, head), the first of equal ones."""
    heads = scores.shape[2]
    return [Head(1 + int(at) // heads, int(at) % heads) for at in scores.flatten(1).argmax(1)]


def asked(weights: Mapping[str, Tensor], network: AttentionOnly, block: int, head: int) -> tuple[Tensor, Tensor]:
    """The query and key matrix of a head, float64, (width, width of a head)."""
    own = _own(network, head)
    query, key = (weights[f"{block}.{name}"][:, own].double() for name in ("query", "key"))
    return query, key


def written(weights: Mapping[str, Tensor], network: AttentionOnly, block: int, head: int) -> tuple[Tensor, Tensor]:
    """The value matrix of a head, float64, (width, width of a head), and its output matrix, (width of a head, width)."""
    own = _own(network, head)
    return weights[f"{block}.value"][:, own].double(), weights[f"{block}.output"][own].double()


def composition(
    weights: Mapping[str, Tensor], network: AttentionOnly, writer: Head, reader: Head, reads: Reads
) -> float:
    """How much of what one head writes another one reads as its keys, queries or values: the Frobenius norm of the product of their maps by the product of
    their norms, less what random heads of the same sizes have."""
    (value, output), (query, key) = written(weights, network, *writer), asked(weights, network, *reader)
    if reads == "value":
        own_value, own_output = written(weights, network, *reader)
        read = own_value @ own_output
    else:
        read = query @ key.T
    return _composed(value @ output, read, reads) - _by_chance(network.d_model, value.shape[1], reads)


@cache
def _by_chance(wide: int, narrow: int, reads: Reads) -> float:
    """The mean over random heads of these sizes."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def drawn() -> Tensor:
        first, second = torch.randn(2, wide, narrow, generator=generator, dtype=torch.float64)
        return first @ second.T

    return sum(_composed(drawn(), drawn(), reads) for _ in range(DRAWS)) / DRAWS


def _composed(writes: Tensor, read: Tensor, reads: Reads) -> float:
    """Of maps (width, width); `read` is that of scores, (attending, attended), or of values."""
    product = read @ writes.T if reads == "key" else writes @ read
    return float(product.norm() / (writes.norm() * read.norm()))


def _own(network: AttentionOnly, head: int) -> slice:
    width = network.d_model // network.heads
    return slice(head * width, (head + 1) * width)
