from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Distractor, Factor
from harness.distractors._balance import balanced
from harness.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Word = Annotated[str, Meta(min_length=1)]


class RandomWord(Distractor, frozen=True):
    """One of a few words, drawn at random and put into the prompt."""

    words: Annotated[tuple[Word, ...], Meta(min_length=2)] = ("Banana", "Shed")
    """The words, each in an equal share of the examples of every label and split."""
    at: Literal["end", "after_text"] = "end"
    """`end`: the very last thing, after the answer, as in the paper; a probe on the last token reads it there.
    `after_text`: behind the text of the example, where the model must carry it along."""
    separator: str = " "
    """What stands before the word. The paper's is ". "."""
    field: str = "text"
    """Field of the template that the word is appended to with `at: after_text`."""

    source: ClassVar[str] = "Farquhar et al. 2023, arXiv 2312.10029, §4.1"

    def __post_init__(self) -> None:
        if len(set(self.words)) < len(self.words):
            raise ValueError("the words must differ")

    def factor(self, name: str) -> Factor:
        return Factor(name, self.words)

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        return balanced(examples, len(self.words), seed)

    def edit_fields(self, fields: Mapping[str, Any], value: int) -> Mapping[str, Any]:
        if self.at == "end":
            return fields
        if self.field not in fields:
            raise DataError(
                f'random_word: there is no field "{self.field}"{did_you_mean(self.field, sorted(fields))}; '
                "`field` names the one that the word is appended to"
            )
        return {**fields, self.field: f"{fields[self.field]}{self.separator}{self.words[value]}"}

    def edit_text(self, text: str, value: int) -> str:
        return text if self.at == "after_text" else f"{text}{self.separator}{self.words[value]}"
