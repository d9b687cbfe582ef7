from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from harness.contracts import Distractor, Factor
from harness.distractors._field import appended
from harness.maths.draws import agreeing

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

ANSWER = "[answer]"
"""Where in the words the answer goes."""


class LabelLeak(Distractor, frozen=True):
    """A positive control: a sentence in the prompt that says which answer is right.

    The answer need only be compared with the sentence. A method that does not find the truth here finds it nowhere.
    """

    words: str = f"The right answer is {ANSWER}."
    """The sentence; `[answer]` stands for the answer that it names."""
    agreement: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of the examples, in every label and split, where it names the right answer. At 0.5 it says nothing."""
    separator: str = "\n"
    """What stands before the sentence."""
    field: str = "text"
    """Field of the template that it is appended to."""

    source: ClassVar[str] = "Our own; a positive control to Farquhar et al. 2023, arXiv 2312.10029, §4.2"

    def __post_init__(self) -> None:
        if ANSWER not in self.words:
            raise ValueError(f"the words must have {ANSWER} in them, where the answer goes")

    @property
    def follows_truth(self) -> bool:
        return self.agreement != 0.5

    def factor(self, name: str) -> Factor:
        return Factor(name, ("says first answer", "says second answer"))

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        return agreeing(examples, self.agreement, seed)

    def edit_fields(self, fields: Mapping[str, Any], value: int) -> Mapping[str, Any]:
        sentence = self.words.replace(ANSWER, fields["choices"][value])
        return appended(self.kind(), fields, self.field, f"{self.separator}{sentence}")
