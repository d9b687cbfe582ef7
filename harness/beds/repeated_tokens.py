"""Small networks of attention alone that learn sequences in which tokens come again, for which induction heads form in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Factor
from harness.networks.attention_only import AttentionOnly
from harness.networks.drawn_bed import DrawnBed
from harness.networks.trained_bed import Decay, Rate, Steps
from harness.worlds import repeated_tokens

if TYPE_CHECKING:
    import polars as pl


class OnRepeatedTokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, and how: with AdamW, on sequences that are drawn for each step, to tell each next token."""

    networks: Annotated[int, Meta(ge=1, le=512)] = 6
    """Networks, trained together. They differ in their seed, which draws what they begin with and their sequences; intervals of measurements are over
    them, and fewer than six say nothing of others."""
    steps: Steps = 800
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 40
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""
    batch: Annotated[int, Meta(ge=1, le=65536)] = 32
    """Sequences of a step."""
    learning_rate: Rate = 5e-3
    """Of AdamW. It rises over the first steps, and stays."""
    warm_up: Annotated[int, Meta(ge=0)] = 100
    """Steps over which it rises."""
    weight_decay: Decay = 0.01
    """Of AdamW."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the first network; the next one has the next."""

    then: ClassVar[None] = None


class RepeatedTokens(DrawnBed, frozen=True, kw_only=True):
    """Small networks of attention alone that tell the next token of sequences in which the same few tokens follow each other again and again, in an order that
    each sequence has of its own. With two layers they come to look for an earlier copy of a token and to say what followed it: induction heads.

    A row is the beginning of a sequence up to a token that stood before, read there. Its truth is the token that followed the last copy, which an
    induction head finds; `previous`, the token before, is what a previous-token head finds.
    """

    tokens: Annotated[int, Meta(ge=2, le=1024)] = 32
    """Tokens that there are."""
    used: Annotated[int, Meta(ge=2, le=1024)] = 12
    """Tokens of a sequence, in an order that is drawn for each."""
    jumps: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    """The probability that any token of the sequence comes next, in place of the one that is next in the order. With 0 sequences are periodic, all with the same
    period: repeats can then be told by position, without induction heads, a control."""
    length: Annotated[int, Meta(ge=3, le=512)] = 40
    """Tokens of a sequence."""
    network: Literal["transformer"] = "transformer"
    """Blocks of attention alone, without biases, which answer at each position; layer 0 is the embedding."""
    blocks: Annotated[int, Meta(ge=1, le=32)] = 2
    """Blocks, each of which is a layer. With one there are no induction heads."""
    d_model: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Width of the residual stream."""
    heads: Annotated[int, Meta(ge=1, le=64)] = 4
    """Attention heads of a block, which share the width."""
    d_mlp: Literal[0] = 0
    """Rectified units: none."""
    positions: Literal["relative", "absolute"] = "relative"
    """`relative`: each head learns a number for each distance, which it adds to its scores. `absolute`: a vector is learned for each position."""
    layer_norm: bool = False
    """Whether what a block reads is normalised. With it induction heads form later."""
    train: OnRepeatedTokens = OnRepeatedTokens()  # type: ignore[assignment]
    """How the networks are trained."""

    falls: ClassVar[bool] = False
    source: ClassVar[str] = "Olsson et al. 2022 (arXiv 2209.11895); the sequences are our own"

    @property
    def world(self) -> repeated_tokens.RepeatedTokens:
        return repeated_tokens.RepeatedTokens(tokens=self.tokens, used=self.used, jumps=self.jumps, length=self.length)

    @property
    def made(self) -> AttentionOnly:
        return AttentionOnly(
            blocks=self.blocks,
            d_model=self.d_model,
            heads=self.heads,
            positions=self.positions,
            layer_norm=self.layer_norm,
        )

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(map(str, range(self.tokens)))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The token before."""
        return (Factor("previous", self.answers),)

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Beginnings of sequences in an order drawn from the seed, one of each sequence; a larger count keeps those of a smaller one."""
        import polars as pl
        import torch

        generator = torch.Generator().manual_seed(seed)
        sequences = self.world.questions()
        sequences = sequences[torch.randperm(len(sequences), generator=generator)]
        last = repeated_tokens.last_copy(sequences)
        # In each sequence one of the positions whose token stood before, of which there is one at least: it is longer than a round.
        chance = torch.rand(last.shape, generator=generator)
        ends = torch.where(last >= 0, chance, -1.0).argmax(1)
        asked = list(zip(sequences[:count].tolist(), ends.tolist(), last.tolist(), strict=False))
        names = ["-".join(map(str, tokens[: end + 1])) for tokens, end, _ in asked]
        return pl.DataFrame(
            {
                "example": names,
                "group": names,
                "label": [tokens[copy[end] + 1] for tokens, end, copy in asked],
                "previous": [tokens[end - 1] for tokens, end, _ in asked],
                "tokens_0": pl.Series([tokens[: end + 1] for tokens, end, _ in asked], dtype=pl.List(pl.UInt32)),
            }
        )
