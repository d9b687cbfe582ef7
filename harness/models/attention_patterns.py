"""How the attention heads of a loaded language model attend: the weights themselves, which fused kernels never show.

For these passes attention is computed plainly, as transformers' `eager`. What a network says then must be what it says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import torch

from harness.errors import HarnessError
from harness.models.architecture import reason
from harness.models.quiet import quiet_transformers
from harness.models.unchanged import unchanged

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.network import Network

ROUNDING = 0.02
"""Largest difference of log-probabilities, nats, that counts as rounding in float32."""


class Attended(msgspec.Struct, frozen=True):
    """What comes of one pass."""

    log_probabilities: Tensor
    """Of each next token, float32, (row, position, token)."""
    patterns: Tensor
    """How much each position attends to each, float32, (block, row, head, position, attended position)."""


@contextmanager
def showing_attention(network: Network) -> Iterator[None]:
    """The network computes attention plainly until the end. Raises HarnessError for one that cannot."""
    model = network.model
    before = model.config._attn_implementation
    try:
        with quiet_transformers():
            model.set_attn_implementation("eager")
    except Exception as error:
        raise _unsupported(network, reason(error)) from error
    try:
        yield
    finally:
        with quiet_transformers():
            model.set_attn_implementation(before)


def attended(network: Network, tokens: Tensor) -> Attended:
    """One pass of rows of tokens, int64, (row, position), inside of `showing_attention`. Raises HarnessError where a network does not show how all its heads
    attend to each token."""
    card = network.card
    try:
        with quiet_transformers(), network.arithmetic(), torch.inference_mode(), unchanged(network.model):
            said = network.model(tokens.to(network.device), use_cache=False, output_attentions=True)
    except Exception as error:
        raise _unsupported(network, reason(error)) from error
    found = getattr(said, "attentions", None) or ()
    rows, length = tokens.shape
    shapes = {tuple(one.shape) for one in found if one is not None}
    if len(found) != card.blocks or any(one is None for one in found) or len(shapes) != 1:
        raise _unsupported(network, f"attention of {len(found)} blocks, of {len(shapes)} shapes")
    (shape,) = shapes
    if (shape[0], *shape[2:]) != (rows, length, length):
        raise _unsupported(network, f"attention of shape {shape} for {rows} rows of {length} tokens")
    patterns = torch.stack([one.float().cpu() for one in found])
    if float((patterns.sum(-1) - 1).abs().max()) > 1e-2 or float(patterns.triu(1).abs().max()) > 0:
        raise _unsupported(network, "attention that is no distribution over the tokens so far")
    return Attended(said.logits.float().log_softmax(-1).cpu(), patterns)


def said_alone(network: Network, tokens: Tensor) -> Tensor:
    """Log-probabilities of each next token as the network computes them otherwise, float32, (row, position, token)."""
    with quiet_transformers(), network.arithmetic(), torch.inference_mode(), unchanged(network.model):
        said = network.model(tokens.to(network.device), use_cache=False)
    return said.logits.float().log_softmax(-1).cpu()


def check_same(network: Network, plain: Tensor, otherwise: Tensor) -> None:
    """Raises HarnessError where a network says something else when its attention is computed plainly, beyond rounding."""
    apart = float((plain - otherwise).abs().max())
    if network.exact and not apart <= ROUNDING:
        raise _unsupported(network, f"what it says changes by {apart:.2g} nats when attention is computed plainly")


def _unsupported(network: Network, why: str) -> HarnessError:
    card = network.card
    return HarnessError(
        f"{card.name}: its heads cannot be looked into ({why}); this architecture ({card.family}) is not supported by `attention_heads`"
    )
