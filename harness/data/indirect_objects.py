from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source

if TYPE_CHECKING:
    import polars as pl

PLACES = (
    "store", "park", "school", "office", "beach", "station", "garden", "library", "hospital", "restaurant",
    "market", "museum", "church", "farm", "hotel", "theater", "kitchen", "airport", "bank", "pool",
)  # fmt: skip
THINGS = ("book", "ring", "drink", "letter", "ball", "key", "gift", "hat")

Name = Annotated[str, Meta(min_length=1, max_length=40)]


class IndirectObjects(Source, frozen=True, kw_only=True):
    """Two people go somewhere, and one of them gives something to the other one, whose name is asked for.

    Every place with every thing, in both orders of the names and with each of the two as the giver. Rows of a place stand in one split. A template that
    says `{{ receiver }}` in place of `{{ giver }}` names the other one as the giver, and leads to the wrong answer.
    """

    names: tuple[Name, Name] = ("Mary", "John")
    """The two people. To be compared at one token their names must be one token each."""

    source: ClassVar[str] = "Our own sentences, after the task of Wang et al. 2023 (arXiv 2211.00593)"
    columns: ClassVar[tuple[str, ...]] = (
        "answer_first",
        "first",
        "second",
        "giver",
        "receiver",
        "place",
        "thing",
        "text",
    )
    template: ClassVar[str] = (
        "When {{ first }} and {{ second }} went to the {{ place }}, {{ giver }} gave a {{ thing }} to {{ answer }}"
    )
    factors: ClassVar[tuple[Factor, ...]] = (Factor("answer_first", ("giver", "receiver")),)

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.names

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """All sentences in the order of places and things."""
        import polars as pl

        del seed, folder, limit
        return pl.DataFrame(
            [
                _row(self.names, place, thing, first, receiver)
                for place, thing, first, receiver in product(PLACES, THINGS, (0, 1), (0, 1))
            ]
        )

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del seed, folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self))


def _row(names: tuple[str, str], place: str, thing: str, first: int, receiver: int) -> dict[str, object]:
    fields = {
        "first": names[first],
        "second": names[1 - first],
        "giver": names[1 - receiver],
        "receiver": names[receiver],
        "place": place,
        "thing": thing,
    }
    text = f"When {fields['first']} and {fields['second']} went to the {place}, {fields['giver']} gave a {thing} to"
    return {
        "example": text,
        "group": place,
        "label": receiver,
        "answer_first": int(first == receiver),
        **fields,
        "text": text,
    }
