"""A test bed whose networks have attention alone and learn what a world draws for each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.networks.attention_only import AttentionOnly
from harness.networks.drawn_bed import DrawnBed
from harness.networks.trained_bed import Decay, Rate, Steps

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor


class OnDrawnSequences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class AttentionBed(DrawnBed, frozen=True, kw_only=True):
    """Small networks of attention alone, whose heads can be looked into."""

    network: Literal["transformer"] = "transformer"
    """Blocks of attention alone, without biases, which answer at each position; layer 0 is the embedding."""
    blocks: Annotated[int, Meta(ge=1, le=32)] = 2
    """Blocks, each of which is a layer. With one no head can look for what another one wrote."""
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
    train: OnDrawnSequences = OnDrawnSequences()  # type: ignore[assignment]
    """How the networks are trained."""

    falls: ClassVar[bool] = False

    @property
    def made(self) -> AttentionOnly:
        return AttentionOnly(
            blocks=self.blocks,
            d_model=self.d_model,
            heads=self.heads,
            positions=self.positions,
            layer_norm=self.layer_norm,
        )

    def beginnings(
        self,
        count: int,
        seed: int,
        where: Callable[[Tensor], Tensor],
        told: Callable[[Tensor, Tensor], Mapping[str, Tensor]],
    ) -> pl.DataFrame:
        """Rows that are beginnings of sequences in an order drawn from the seed, one of each sequence; a larger count keeps those of a smaller one.

        `where` says at which positions of sequences (row, position) a row may end, bool, (row, position); a sequence with none is left out. `told` is handed
        sequences and the position at which each ends, (row,), and gives the columns of the table, by name, (row,).
        """
        import polars as pl
        import torch

        generator = torch.Generator().manual_seed(seed)
        sequences = self.world.questions()
        sequences = sequences[torch.randperm(len(sequences), generator=generator)]
        may = where(sequences)
        ends = torch.where(may, torch.rand(may.shape, generator=generator), -1.0).argmax(1)
        some = may.any(1)
        sequences, ends = sequences[some][:count], ends[some][:count]
        begun = [tokens[: end + 1] for tokens, end in zip(sequences.tolist(), ends.tolist(), strict=True)]
        names = ["-".join(map(str, tokens)) for tokens in begun]
        columns = {name: own.tolist() for name, own in told(sequences, ends).items()}
        return pl.DataFrame(
            {"example": names, "group": names, **columns, "tokens_0": pl.Series(begun, dtype=pl.List(pl.UInt32))}
        )
