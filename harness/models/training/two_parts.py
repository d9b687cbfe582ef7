"""A network in two parts: the lower blocks are forwarded once, and what is trained is a network of the blocks above.

The states that go into the upper blocks are the same in every step of training, because nothing below them changes. Computing
them once for each text halves the time, and leaves what the lower blocks know as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.network import Network

AT_ONCE = 64
SAME = 1e-3
"""Largest difference of logits between the whole network and its two parts. Another architecture may do more between them."""

Text = Sequence[int]
"""A text in token ids."""


class Upper:
    """The upper part of a network: the blocks that learn, with the norm and the head after them."""

    def __init__(self, network: Network, blocks: Mapping[str, nn.Module]):
        self.network = network
        self.blocks = blocks
        """By their names in the whole network."""

    def logits(self, states: Tensor, row: Tensor, place: Tensor) -> Tensor:
        """Logits at some places of some rows, (place, vocabulary). `states` go into the first block, (row, token, d_model)."""
        body: Any = self.network.model.base_model
        out = body(inputs_embeds=states, use_cache=False).last_hidden_state
        assert self.network.head is not None
        found: Tensor = self.network.head(out[row, place])
        return found


def lower_states(network: Network, texts: Sequence[Text], block: int) -> list[Tensor]:
    """The states that go into a block: for each text (token, d_model), in float32, on the network's device."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    found: list[Tensor] = [torch.empty(0)] * len(order)
    for start in range(0, len(order), AT_ONCE):
        numbers = order[start : start + AT_ONCE]
        rows = [torch.tensor(texts[number]) for number in numbers]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(network.device)
        read = network.read({"input_ids": tokens}, (block,), lambda states: states)
        for number, states, row in zip(numbers, read.found[block], rows, strict=True):
            # A clone, for what inference mode made cannot be trained on.
            found[number] = states[: len(row)].clone()
    return found


def upper_part(network: Network, block: int, texts: Sequence[Text], states: Sequence[Tensor]) -> Upper:
    """The network without its lower blocks, tried on some texts.

    `network` has lost its lower blocks afterwards. Raises HarnessError where the two parts one after the other are not the whole.
    """
    model: Any = network.model
    prefix = next(name for name, module in model.named_modules() if module is network.blocks)
    inputs = nn.utils.rnn.pad_sequence(list(states), batch_first=True)
    row, last = torch.arange(len(texts)), torch.tensor([len(text) - 1 for text in texts])
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True).to(network.device)
    with torch.no_grad():
        whole = model(input_ids=tokens, use_cache=False).logits[row, last]
    blocks = nn.ModuleList(network.blocks[block:])
    owner, _, own = prefix.rpartition(".")
    setattr(model.get_submodule(owner), own, blocks)
    model.config.num_hidden_layers = len(blocks)
    upper = Upper(network, {f"{prefix}.{block + number}": own for number, own in enumerate(blocks)})
    with torch.no_grad():
        difference = float((upper.logits(inputs.clone(), row, last) - whole).abs().max())
    if not difference < SAME:
        raise HarnessError(
            f"{network.card.name}: its upper blocks by themselves give other logits (by {difference:.2g}); this architecture "
            f"({network.card.family}) cannot be trained in two parts"
        )
    return upper
