from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Distractor, Factor
from harness.maths.draws import balanced

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Name = Annotated[str, Meta(min_length=1)]


class Coin(Distractor, frozen=True):
    """A fair coin, tossed for every example and written nowhere: the prompt stays as it is.

    No network can know it, so that a method that finds it learnt noise. It is what `plant` puts into states: a feature that
    is there because it was planted, and for no other reason.
    """

    sides: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=2)] = ("tails", "heads")
    """What the report calls the sides, each of which falls for half of the examples of every label and split."""

    source: ClassVar[str] = "Our own"

    def __post_init__(self) -> None:
        if len(set(self.sides)) < len(self.sides):
            raise ValueError("the sides must have different names")

    @property
    def leaves_prompts_alone(self) -> bool:
        return True

    def factor(self, name: str) -> Factor:
        return Factor(name, self.sides)

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        return balanced(examples, 2, seed)
