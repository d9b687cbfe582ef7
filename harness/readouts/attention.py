"""Attention pooling over the tokens of a sequence: which rows are one sequence, and the fitted form that reads them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from harness.contracts import Answers, Pairs, Readout
from harness.readouts.layerwise import same_space, stacked

if TYPE_CHECKING:
    from torch import Tensor


class Sequences(Struct, frozen=True):
    """Which rows are tokens of one sequence: those of one example under one template."""

    place: Tensor
    """The rows of each sequence in their order, int64, (sequence, token); 0 where `there` is false."""
    there: Tensor
    """Whether the sequence has so many tokens, bool, (sequence, token)."""
    of_row: Tensor
    """The sequence of each row, int64, (row,)."""

    @classmethod
    def of(cls, pairs: Pairs) -> Sequences:
        """Rows without an example are sequences of one token. Sequences come in the order of their first rows."""
        import torch

        rows = len(pairs.template)
        if pairs.example is None:
            each = torch.arange(rows, device=pairs.template.device)
            return cls(each[:, None], torch.ones_like(each[:, None], dtype=torch.bool), each)
        key = torch.stack([pairs.example.to(pairs.template), pairs.template])
        _, own, count = key.unique(dim=1, return_inverse=True, return_counts=True)
        order = own.argsort(stable=True)
        starts = count.cumsum(0) - count
        token = torch.arange(int(count.max()), device=own.device)
        there = token < count[:, None]
        place = order[(starts[:, None] + token).clamp_max(rows - 1)].where(there, 0)
        by_first = place[:, 0].argsort()
        return cls(place[by_first], there[by_first], by_first.argsort()[own])

    def weights(self, logits: Tensor) -> Tensor:
        """The softmax of each sequence's logits, (…, row) to (…, sequence, token); 0 where there is no token."""
        at = logits[..., self.place].masked_fill(~self.there, -float("inf"))
        return at.softmax(dim=-1)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over each sequence, (…, row) to (…, sequence)."""
        return (values[..., self.place] * self.there).sum(dim=-1) / self.there.sum(dim=-1)

    def on_rows(self, values: Tensor) -> Tensor:
        """What stands at each token, (…, sequence, token), by row, (…, row)."""
        found = values.new_empty(*values.shape[:-2], len(self.of_row))
        found[..., self.place[self.there]] = values[..., self.there]
        return found


class SequenceReadout(Readout, frozen=True):
    """A fitted probe that reads sequences: it has one answer for each, in the order of their first rows."""


class AttentionReadout(SequenceReadout, frozen=True):
    """score = Σ_t softmax_t(x_t · query) (x_t · value) + bias over the tokens t of a sequence, a log-odds.

    Of contrast pairs x is x⁺ − x⁻.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "query": ("seed", "layer", "d_model"),
        "value": ("seed", "layer", "d_model"),
        "bias": ("seed", "layer"),
    }

    query: Tensor
    """What tokens are weighted by, float32, (seed, layer, d_model)."""
    value: Tensor
    """What is read at each, float32, (seed, layer, d_model). All zero at a layer whose states do not vary."""
    bias: Tensor
    """Float32, (seed, layer)."""

    def answers(self, pairs: Pairs) -> Answers:
        layers, _, views, width = pairs.states.shape
        same_space(self.query.shape[1], self.query.shape[2], layers, width)
        sequences, scores = Sequences.of(pairs), []
        # Layer by layer, as in `by_layer`.
        for layer, states in enumerate(pairs.states):
            rows = states[:, 0] if views == 1 else states[:, 1] - states[:, 0]
            query, value, bias = (part[:, layer].to(rows) for part in (self.query, self.value, self.bias))
            read = (value @ rows.T)[:, sequences.place]
            scores.append((sequences.weights(query @ rows.T) * read).sum(dim=-1) + bias[:, None])
        return Answers(stacked(scores), stacked([score.sigmoid() for score in scores]))
