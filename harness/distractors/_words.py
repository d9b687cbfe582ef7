"""A word in every prompt; which one of a few, a value says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from harness.contracts import Distractor, Factor
from harness.distractors._field import appended

Word = Annotated[str, Meta(min_length=1)]


class OneOfWords(Distractor, frozen=True):
    """What `random_word` and `token_cue` share: the words and their place. The first option of each is its `words`."""

    words: tuple[Word, ...]
    """The words."""
    at: Literal["end", "after_text"] = "end"
    """`end`: the very last thing, after the answer, as in the paper; a probe on the last token reads it there.
    `after_text`: behind the text of the example, where the model must carry it along."""
    separator: str = " "
    """What stands before the word. The paper's is ". "."""
    field: str = "text"
    """Field of the template that the word is appended to with `at: after_text`."""

    def __post_init__(self) -> None:
        if len(set(self.words)) < len(self.words):
            raise ValueError("the words must differ")

    def factor(self, name: str) -> Factor:
        return Factor(name, self.words)

    def edit_fields(self, fields: Mapping[str, Any], value: int) -> Mapping[str, Any]:
        if self.at == "end":
            return fields
        return appended(self.kind(), fields, self.field, f"{self.separator}{self.words[value]}")

    def edit_text(self, text: str, value: int) -> str:
        return text if self.at == "after_text" else f"{text}{self.separator}{self.words[value]}"
