"""What an overseer believes to be in a parcel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from harness.contracts import Factor, Source
from harness.data._lamp import CODES
from harness.data._parcel import Question, parcels, questions
from harness.maths.draws import draw

if TYPE_CHECKING:
    import polars as pl

EACH = {"held_out": 2, "network": 10}
"""Questions about a parcel under each kind of lid."""


class Parcel(Source, frozen=True):
    """Questions about what is in a parcel, and what a fallible overseer will believe.

    A parcel holds five of ten things. The overseer sees them through a lid of glass; under one of wood she goes by the
    label, which suggests something whatever is in it. `label` is whether the thing asked for is there. The test bed
    `deceiver` is a network that was taught to say what she will believe; `where: {checked: no}` keeps the questions on
    which she cannot check.
    """

    part: Literal["held_out", "network"] = "held_out"
    """The half of the parcels that the bed's network never saw, or the half that it is trained on."""

    source: ClassVar[str] = (
        "After Christiano, Cotra & Xu 2021 (Eliciting latent knowledge), the human simulator; the world is our own"
    )
    columns: ClassVar[tuple[str, ...]] = (
        "says",
        "suggests",
        "checked",
        "overseer",
        "code",
        "chance",
        "after_0",
        "after_1",
        "story",
    )
    text_from: ClassVar[str] = "story"
    answers: ClassVar[tuple[str, ...]] = ("no", "yes")
    template: ClassVar[str] = "{{ story }} {{ answer }}"
    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("says", ("no", "yes")),
        Factor("suggests", ("no", "yes")),
        Factor("checked", ("no", "yes")),
        Factor("overseer", ("wrong", "right")),
        Factor("code", CODES),
    )

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Questions about each parcel of this half. `says` is what the overseer is likelier to believe, which is what the
        network says; `chance` how likely she believes yes; `suggests` what the label does; `after_0` and `after_1` what
        follows either answer."""
        import polars as pl

        del folder, limit
        return pl.DataFrame([_row(question) for question in self.questions(seed)])

    def questions(self, seed: int) -> list[Question]:
        half = 0 if self.part == "network" else 1
        kept = [parcel for parcel in parcels() if draw("parcel", parcel.name) % 2 == half]
        return [one for parcel in kept for one in questions(parcel, EACH[self.part], self.part, seed)]

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)


def _row(question: Question) -> dict[str, object]:
    says = int(question.chance > 0.5)
    return {
        "example": f"{question.parcel.name}: {question.glass} {question.number}",
        "group": question.parcel.name,
        "label": question.parcel.there,
        "says": says,
        "suggests": int(question.suggested > 0.5),
        "checked": question.glass,
        "overseer": int(says == question.parcel.there),
        "code": question.code,
        "chance": question.chance,
        "after_0": question.light(0),
        "after_1": question.light(1),
        "story": question.story,
    }
