"""Log-probabilities of answers, from logits at the places that predict their tokens."""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor

AT_ONCE = 256
"""Places whose logits are held in float32 at a time: a vocabulary is wide."""


class Spoken(msgspec.Struct, frozen=True):
    """The places at which the tokens of some answers are predicted; answers with fewer tokens than the longest are padded."""

    place: Tensor
    """Which of the places that the head looked at predicts a token, int64, (…, token)."""
    token: Tensor
    """The answers' tokens, int64, (…, token)."""
    counts: Tensor
    """Float32, (…, token): 1 for a token that is there, 0 for padding, NaN for a token that nothing predicts."""

    def log_prob(self, logits: Tensor, normalised: bool = True) -> Tensor:
        """log P of each answer, float32, (… of the logits, … of the answers); `logits` is (…, place, vocabulary).

        Without `normalised`, less the logarithm of the sum over the vocabulary: for answers of one token that are predicted at one
        place, whose difference it leaves alone.
        """
        device = logits.device
        place, token, counts = (field.to(device) for field in (self.place, self.token, self.counts))
        if logits.requires_grad:
            # One operation whose gradient is exact where a probability is near 1; the logits are kept for it anyhow.
            return (logits.log_softmax(-1)[..., place, token] * counts).sum(-1)
        # Of each place only the normaliser and the answers' logits are needed, in float32.
        found = logits[..., place, token].float()
        if normalised:
            parts = logits.flatten(0, -2).split(AT_ONCE)
            normaliser = torch.cat([part.float().logsumexp(-1) for part in parts]).view(logits.shape[:-1])
            found = found - normaliser[..., place]
        return (found * counts).sum(-1)
