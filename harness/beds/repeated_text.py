"""Small networks of attention alone that learn film reviews with stretches that come again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Factor
from harness.networks.attention_bed import AttentionBed, OnDrawnSequences
from harness.networks.trained_bed import Steps
from harness.worlds import repeated_text
from harness.worlds.repeated_tokens import last_copy

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor


class OnText(OnDrawnSequences, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many networks are trained, and how: with AdamW, on texts that are drawn for each step, to tell each next word."""

    steps: Steps = 1200
    """Steps of training."""
    every: Annotated[int, Meta(ge=1)] = 100
    """The networks are stored at step 0, after so many steps each, and at the last one: the steps that measurements and `step` can name."""


class RepeatedText(AttentionBed, frozen=True, kw_only=True):
    """Small networks of attention alone that tell the next word of film reviews, of their most frequent words, in which stretches come again. What follows a word in
    English tells something, and what followed it before in the same text tells more, where a stretch comes again.

    A row is the beginning of a text up to a word that stood before, read there. Its truth is whether the word that comes next is the one that came after
    the last copy; `back` is how many words before the copy stands. Heads are looked at on words at random, which English does not foretell.
    """

    words: Annotated[int, Meta(ge=2, le=repeated_text.MOST_WORDS)] = 256
    """Different words, the most frequent ones; all others are left out of the reviews."""
    stretch: Annotated[int, Meta(ge=2, le=512)] = 8
    """Words of a stretch."""
    again: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """The probability that a stretch is one that stood anywhere before in the text. With 0 texts are reviews alone, one after the other: a control."""
    length: Annotated[int, Meta(ge=3, le=512)] = 64
    """Words of a text."""
    train: OnText = OnText()
    """How the networks are trained."""

    answers: ClassVar[tuple[str, ...]] = ("other", "again")
    factors: ClassVar[tuple[Factor, ...]] = (Factor("back", kind="number"),)
    source: ClassVar[str] = (
        "Olsson et al. 2022 (arXiv 2209.11895); Hutto & Gilbert 2014 (VADER), the snippets of rotten.imdb; MIT licence"
    )

    @property
    def world(self) -> repeated_text.RepeatedText:
        return repeated_text.RepeatedText(words=self.words, stretch=self.stretch, again=self.again, length=self.length)

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """Beginnings of texts in an order drawn from the seed, one of each text; a larger count keeps those of a smaller one."""
        return self.beginnings(count, seed, _stood_before, _told)


def _stood_before(texts: Tensor) -> Tensor:
    """Positions whose word stood before and after which the text goes on, bool, (row, position)."""
    found = last_copy(texts) >= 0
    found[:, -1] = False
    return found


def _told(texts: Tensor, ends: Tensor) -> Mapping[str, Tensor]:
    """Whether what comes next is what came after the last copy, and how far back that stands."""
    import torch

    rows = torch.arange(len(texts))
    copy = last_copy(texts)[rows, ends]
    return {"label": (texts[rows, ends + 1] == texts[rows, copy + 1]).long(), "back": (ends - copy).double()}
