from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.distractors._words import OneOfWords, Word
from harness.maths.draws import balanced

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class RandomWord(OneOfWords, frozen=True):
    """One of a few words, drawn at random and put into the prompt."""

    words: Annotated[tuple[Word, ...], Meta(min_length=2)] = ("Banana", "Shed")
    """The words, each in an equal share of the examples of every label and split."""

    source: ClassVar[str] = "Farquhar et al. 2023, arXiv 2312.10029, §4.1"

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        return balanced(examples, len(self.words), seed)
