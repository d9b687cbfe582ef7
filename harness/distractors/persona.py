from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Distractor, Factor
from harness.errors import DataError, did_you_mean
from harness.maths.draws import balanced

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Name = Annotated[str, Meta(min_length=1)]


class Persona(Distractor, frozen=True):
    """Who says it: a name before the statement, drawn at random."""

    names: Annotated[tuple[Name, ...], Meta(min_length=2)] = ("Alice", "Bob")
    """The names, each in an equal share of the examples of every label and split."""
    at: Literal["start", "before_text"] = "start"
    """`start`: the very first thing in the prompt. `before_text`: right before the text of the example, where the
    template has words of its own before it."""
    separator: str = ": "
    """What stands between the name and what follows."""
    field: str = "text"
    """Field of the template that the name is put before with `at: before_text`."""

    source: ClassVar[str] = "Marks 2024, What's up with LLMs representing XORs of arbitrary features?"

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("the names must differ")

    def factor(self, name: str) -> Factor:
        return Factor(name, self.names)

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        return balanced(examples, len(self.names), seed)

    def edit_fields(self, fields: Mapping[str, Any], value: int) -> Mapping[str, Any]:
        if self.at == "start":
            return fields
        if self.field not in fields:
            raise DataError(
                f'persona: there is no field "{self.field}"{did_you_mean(self.field, sorted(fields))}; '
                "`field` names the one that the name is put before"
            )
        return {**fields, self.field: f"{self.names[value]}{self.separator}{fields[self.field]}"}

    def edit_text(self, text: str, value: int) -> str:
        return text if self.at == "before_text" else f"{self.names[value]}{self.separator}{text}"
