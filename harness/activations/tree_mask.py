"""The attention mask of sequences that are trees of tokens, grown from tokens that were forwarded before. See `harness.activations.trie`."""

from __future__ import annotations

import torch
from torch import Tensor


def tree_mask(last: Tensor, before: Tensor) -> Tensor:
    """Bool, (sequence, token, past + token): a node sees what stands before the tree, its ancestors and itself.

    `last`, int64, (sequence, token), is the last descendant of each node: j is an ancestor of i where j ≤ i ≤ last[j]. `before`,
    bool, (sequence, past), are the tokens before the tree that are of its text.
    """
    place = torch.arange(last.shape[1], device=last.device)
    own = (place[None, None, :] <= place[None, :, None]) & (place[None, :, None] <= last[:, None, :])
    return torch.cat([before[:, None, :].expand(-1, last.shape[1], -1), own], dim=-1)
