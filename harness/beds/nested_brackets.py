"""Small networks of attention alone that learn nested brackets, whose partners one layer does not find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Factor
from harness.networks.attention_bed import AttentionBed, OnDrawnSequences
from harness.networks.trained_bed import Steps
from harness.worlds import nested_brackets

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor


class OnBrackets(OnDrawnSequences, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, and how: with AdamW, on sequences that are drawn for each step, to tell each next bracket."""

    steps: Steps = 900
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 100
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""


class NestedBrackets(AttentionBed, frozen=True, kw_only=True):
    """Small networks of attention alone that tell the next of brackets that are nested. Which one may be closed is told by its partner, the last one that is still
    open: to find it one must know of each how deep it stands.

    A row is the beginning of a sequence after which a bracket is open, read at its last token. Its truth is the kind of the last one that is open, which is the one
    that may be closed; `depth` is how many are open.
    """

    kinds: Annotated[int, Meta(ge=2, le=64)] = 4
    """Kinds of brackets."""
    depth: Annotated[int, Meta(ge=2, le=64)] = 4
    """Brackets that can be open at the same time, at most."""
    length: Annotated[int, Meta(ge=5, le=512)] = 32
    """Tokens of a sequence, with the one at its beginning."""
    train: OnBrackets = OnBrackets()
    """How the networks are trained."""

    source: ClassVar[str] = (
        "Yao et al. 2021 (arXiv 2105.11115), two layers of attention for nested brackets; Hewitt et al. 2020 (arXiv 2010.07515)"
    )

    @property
    def world(self) -> nested_brackets.NestedBrackets:
        return nested_brackets.NestedBrackets(kinds=self.kinds, depth=self.depth, length=self.length)

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"kind_{kind}" for kind in range(1, self.kinds + 1))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """How many brackets are open."""
        return (Factor("depth", tuple(f"{open_}_open" for open_ in range(1, self.depth + 1))),)

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Beginnings of sequences in an order drawn from the seed, one of each sequence; a larger count keeps those of a smaller one."""
        world = self.world

        def told(sequences: Tensor, ends: Tensor) -> Mapping[str, Tensor]:
            import torch

            rows = torch.arange(len(sequences))
            depth, last = (part[rows, ends] for part in world.open_after(sequences))
            return {"label": sequences[rows, last] - 1, "depth": depth - 1}

        return self.beginnings(count, seed, lambda sequences: world.open_after(sequences)[0] > 0, told)
