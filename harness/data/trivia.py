from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from harness.contracts import Factor, Source

if TYPE_CHECKING:
    import polars as pl

TABLE = Path(__file__).with_suffix(".csv")


class Trivia(Source, frozen=True):
    """Questions of general knowledge with a right or a wrong answer; in many, the wrong one is a common misconception.

    Written by hand for this program, in the manner of TruthfulQA, with the paper's template for it. The two answers of a
    question stand in one split.
    """

    questions: Literal["all", "myths", "plain"] = "all"
    """All, or those only that many people get wrong (80), or those that few do (101)."""

    source: ClassVar[str] = "Our own table; after Lin et al. 2021, arXiv 2109.07958 (TruthfulQA)"
    columns: ClassVar[tuple[str, ...]] = ("is_myth", "question", "reply", "text")
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    template: ClassVar[str] = (
        "Question: {{ question }}\nAnswer: {{ reply }}\nIs this answer true or false?\n{{ answer }}"
    )
    factors: ClassVar[tuple[Factor, ...]] = (Factor("is_myth", ("plain", "myth")),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Each question stands with its right and with its wrong answer."""
        import polars as pl

        del seed, folder, limit
        table = pl.read_csv(TABLE)
        if self.questions != "all":
            table = table.filter(kind=self.questions.removesuffix("s"))
        return pl.DataFrame(
            [
                _row(row["kind"], row["question"], row[column], column == "right")
                for row in table.iter_rows(named=True)
                for column in ("right", "wrong")
            ]
        )

    def fingerprint(self, seed: int, folder: Path) -> str:

        from harness.code.code_version import code_of
        from harness.store import content_key

        del seed, folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self))


def _row(kind: str, question: str, reply: str, right: bool) -> dict[str, object]:
    return {
        "example": f"{question} {reply}",
        "group": question,
        "label": int(right),
        "is_myth": int(kind == "myth"),
        "question": question,
        "reply": reply,
        "text": f"Question: {question}\nAnswer: {reply}",
    }
