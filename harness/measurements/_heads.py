"""What is measured of attention heads and of their networks on sequences in which tokens come again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts.measurements import Learnt, Measurement
from harness.networks.attention_only import AttentionOnly
from harness.worlds.repeated_text import RepeatedText
from harness.worlds.repeated_tokens import RepeatedTokens

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.heads import Heads
    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched

Jumps = Annotated[float, Meta(ge=0, lt=1)]


class OnRepeats(Measurement, frozen=True, kw_only=True):
    """A number about networks on sequences of their world, the same 500 for all networks and steps."""

    jumps: Jumps | None = None
    """The probability of a jump in these sequences, which go round some tokens at random; those that the networks learn if empty."""

    learnt: ClassVar[Learnt] = "sequences"

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        if not isinstance(bed.world, RepeatedTokens | RepeatedText):
            return f"{self.title} is of sequences in which tokens come again, as `bed: repeated_tokens` and `bed: repeated_text` have them; measure something else"
        return ""

    def heads(self, watched: Watched) -> Heads:
        """The networks and their heads on these sequences."""
        from harness.networks.heads import looked_into

        return looked_into(watched, self.jumps)


class OfHeads(OnRepeats, frozen=True, kw_only=True):
    """A number about one attention head of each network: the best one, or the best one of a block, or one that is named."""

    jumps: Jumps | None = 0.2
    """The probability of a jump in the sequences that heads are looked at on, which go round some tokens at random, whatever the networks learn. Without jumps all
    copies are as far apart, and a head that attends to what stands so far back would seem to look for a copy. If empty, those that the networks learn."""
    block: Annotated[int, Meta(ge=1)] | None = None
    """Heads of this block alone, counted from 1; of all blocks if empty."""
    head: Annotated[int, Meta(ge=0)] | None = None
    """This head of the block alone, counted from 0; the best one if empty."""

    def problem(self, bed: TrainedBed) -> str:
        if said := super().problem(bed):
            return said
        network = bed.made
        assert isinstance(network, AttentionOnly), "sequences in which tokens come again are learned by attention alone"
        if self.head is not None and self.block is None:
            return f"{self.title}: head {self.head} of which block? Give `block` beside `head`"
        if self.block is not None and self.block > network.blocks:
            return (
                f"{self.title}: there is no block {self.block} of {network.blocks}; give one that all conditions have"
            )
        if self.head is not None and self.head >= network.heads:
            return f"{self.title}: there is no head {self.head} of {network.heads}; give 0 to {network.heads - 1}"
        return ""

    def among(self, scores: Tensor) -> Tensor:
        """Scores (network, block, head) of the heads that are meant, the others at minus infinity."""
        import torch

        if self.block is None:
            return scores
        found = torch.full_like(scores, -torch.inf)
        own = slice(None) if self.head is None else self.head
        found[:, self.block - 1, own] = scores[:, self.block - 1, own]
        return found
