"""Small networks of attention alone that learn sequences in which tokens come again, for which induction heads form in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Factor
from harness.networks.attention_bed import AttentionBed
from harness.worlds import repeated_tokens

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor


class RepeatedTokens(AttentionBed, frozen=True, kw_only=True):
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

    source: ClassVar[str] = "Olsson et al. 2022 (arXiv 2209.11895); the sequences are our own"

    @property
    def world(self) -> repeated_tokens.RepeatedTokens:
        return repeated_tokens.RepeatedTokens(tokens=self.tokens, used=self.used, jumps=self.jumps, length=self.length)

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(map(str, range(self.tokens)))

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The token before."""
        return (Factor("previous", self.answers),)

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Beginnings of sequences in an order drawn from the seed, one of each sequence; a larger count keeps those of a smaller one."""
        return self.beginnings(count, seed, stood_before, _told)


def stood_before(sequences: Tensor) -> Tensor:
    """Positions whose token stood before, bool, (row, position). A sequence that is longer than a round has one at least."""
    return repeated_tokens.last_copy(sequences) >= 0


def _told(sequences: Tensor, ends: Tensor) -> Mapping[str, Tensor]:
    """What followed the last copy, and the token before."""
    import torch

    rows = torch.arange(len(sequences))
    copy = repeated_tokens.last_copy(sequences)[rows, ends]
    return {"label": sequences[rows, copy + 1], "previous": sequences[rows, ends - 1]}
