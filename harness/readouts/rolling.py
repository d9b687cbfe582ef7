"""The largest rolling mean of what a line says of each token of a sequence: a fitted form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Pairs
from harness.readouts.attention import SequenceReadout, Sequences
from harness.readouts.layerwise import same_space, stacked

if TYPE_CHECKING:
    from torch import Tensor


class RollingReadout(SequenceReadout, frozen=True):
    """score = slope · max over runs of `window` tokens of the mean of x_t · weight + bias, a log-odds.

    Of contrast pairs x is x⁺ − x⁻.
    """

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "layer", "d_model"),
        "slope": ("seed", "layer"),
        "bias": ("seed", "layer"),
        "window": ("1",),
    }

    weight: Tensor
    """Float32, (seed, layer, d_model). All zero at a layer whose states do not vary."""
    slope: Tensor
    """Float32, (seed, layer)."""
    bias: Tensor
    """Float32, (seed, layer)."""
    window: Tensor
    """Tokens of a run, int64, (1,). A sequence of fewer is one run."""

    def answers(self, pairs: Pairs) -> Answers:
        layers, _, views, width = pairs.states.shape
        same_space(self.weight.shape[1], self.weight.shape[2], layers, width)
        sequences, scores = Sequences.of(pairs), []
        # Layer by layer, as in `by_layer`.
        for layer, states in enumerate(pairs.states):
            rows = states[:, 0] if views == 1 else states[:, 1] - states[:, 0]
            weight, slope, bias = (part[:, layer].to(rows) for part in (self.weight, self.slope, self.bias))
            most = largest_mean(weight @ rows.T, sequences, int(self.window)).to(rows)
            scores.append(slope[:, None] * most + bias[:, None])
        return Answers(stacked(scores), stacked([score.sigmoid() for score in scores]))


def largest_mean(values: Tensor, sequences: Sequences, window: int) -> Tensor:
    """The largest mean over `window` tokens that follow each other, (…, row) to (…, sequence), float64: over all where there are fewer."""
    sums = (values[..., sequences.place].double() * sequences.there).cumsum(dim=-1)
    count = sequences.there.sum(dim=-1, keepdim=True).clamp_max(window)
    before = sums.new_zeros(sums.shape)
    before[..., window:] = sums[..., :-window]
    whole = sequences.there & (sequences.there.cumsum(dim=-1) >= count)
    return ((sums - before) / count).masked_fill(~whole, -float("inf")).amax(dim=-1)
