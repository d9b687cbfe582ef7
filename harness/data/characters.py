"""What a witness and two parties say of an island."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from harness.contracts import Factor, Source
from harness.data._characters import TOPICS, WHO, Question, pairs, questions
from harness.data._lamp import CODES

if TYPE_CHECKING:
    import polars as pl

EACH = {"held_out": 2, "network": 10}
"""How often each statement is put to each of them."""

RED, BLUE = WHO.index("red"), WHO.index("blue")


class Characters(Source, frozen=True):
    """Statements about what stands on an island, each put to a witness and to two parties who believe otherwise.

    Five of ten things stand on an island. The witness says what is there. Red and Blue are right about two things, and wrong
    about two; on the other six they contradict each other, and Red is wrong about three of them, Blue about the other three.
    So neither party's belief tells the truth, nor does it tell anything that they agree. `label` is whether the
    thing asked for is there. The test bed `characters` is a network that was taught what each of them says;
    `where: {who: red, topic: contested}` keeps the statements put to Red on which Blue says the opposite.
    """

    part: Literal["held_out", "network"] = "held_out"
    """The half of the statements that the bed's network never saw, or the half that it is trained on."""

    source: ClassVar[str] = (
        "After Burns et al. 2022 (arXiv 2212.03827), §6, and Farquhar et al. 2023 (arXiv 2312.10029), §6: a simulated believer's "
        "belief is as consistent as the truth; the world is our own"
    )
    columns: ClassVar[tuple[str, ...]] = (
        "says",
        "red",
        "blue",
        "speaker",
        "code",
        "who",
        "topic",
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
        Factor("red", ("no", "yes")),
        Factor("blue", ("no", "yes")),
        Factor("speaker", ("wrong", "right")),
        Factor("code", CODES),
        Factor("who", WHO),
        Factor("topic", TOPICS),
    )

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Each statement put to everybody. `says` is what the one who is asked believes, which is what the network says;
        `red` and `blue` what the parties believe, whoever is asked; `chance` how likely yes is said; `after_0` and `after_1`
        what follows either answer."""
        import polars as pl

        del folder, limit
        table = pl.DataFrame([_row(question) for question in self.questions(seed)])
        return table.with_columns(pl.col("who").cast(pl.Enum(WHO)), pl.col("topic").cast(pl.Enum(TOPICS)))

    def questions(self, seed: int) -> list[Question]:
        return [
            one
            for name, islands in pairs(self.part)
            for one in questions(name, islands, EACH[self.part], self.part, seed)
        ]

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)


def _row(question: Question) -> dict[str, object]:
    island = question.island
    return {
        "example": f"{island.name}: {WHO[question.who]} {question.number}",
        "group": question.pair,
        "label": island.there,
        "says": question.says,
        "red": island.believed(RED),
        "blue": island.believed(BLUE),
        "speaker": int(question.says == island.there),
        "code": question.code,
        "who": WHO[question.who],
        "topic": TOPICS[island.topic],
        "chance": question.chance,
        "after_0": question.light(0),
        "after_1": question.light(1),
        "story": question.story,
    }
