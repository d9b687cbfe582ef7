from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.distractors._words import OneOfWords, Word
from harness.maths.draws import agreeing

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class TokenCue(OneOfWords, frozen=True):
    """A positive control: one of two words that says which answer is right, as easy to read as a word can be.

    A method that does not find the truth here finds it nowhere, or was not run properly.
    """

    words: Annotated[tuple[Word, ...], Meta(min_length=2, max_length=2)] = ("Circle", "Square")
    """The word where the first answer is right, and the word where the second is."""
    agreement: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of the examples, in every label and split, whose word is that of the right answer. At 0.5 it says nothing."""

    source: ClassVar[str] = "Our own; a positive control to Farquhar et al. 2023, arXiv 2312.10029, §4.1"

    @property
    def follows_truth(self) -> bool:
        return self.agreement != 0.5

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        return agreeing(examples, self.agreement, seed)
