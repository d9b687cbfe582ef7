from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from harness.contracts import Factor, Source
from harness.data._swap import swapped

if TYPE_CHECKING:
    import polars as pl

TABLE = Path(__file__).with_suffix(".csv")


class Translations(Source, frozen=True):
    """Statements about words of everyday English in Spanish and French; a wrong one is another word of the same part of speech."""

    language: Literal["both", "spanish", "french"] = "both"
    """One language, or both. A word's statements in both languages stand in one split."""

    source: ClassVar[str] = "Our own table; after Marks & Tegmark 2023, arXiv 2310.06824, §2 (their set `sp_en_trans`)"
    columns: ClassVar[tuple[str, ...]] = ("is_french", "word", "language", "translation", "statement")
    text_from: ClassVar[str] = "statement"
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    template: ClassVar[str] = (
        "In {{ language }}, the word for '{{ word }}' is '{{ translation }}'. This statement is {{ answer }}."
    )
    factors: ClassVar[tuple[Factor, ...]] = (Factor("is_french", ("Spanish", "French")),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Each translation stands in one true and one false statement."""
        import polars as pl

        del folder, limit
        table = pl.read_csv(TABLE)
        rows = []
        for language in ("spanish", "french") if self.language == "both" else (self.language,):
            for members in table.partition_by("part", maintain_order=True):
                words, right = members["english"].to_list(), members[language].to_list()
                wrong = swapped([f"{language} {word}" for word in words], right, seed)
                for word, own, other in zip(words, right, wrong, strict=True):
                    rows += [_row(language, word, translation, translation == own) for translation in (own, other)]
        return pl.DataFrame(rows)

    def fingerprint(self, seed: int, folder: Path) -> str:

        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)


def _row(language: str, word: str, translation: str, right: bool) -> dict[str, object]:
    name = language.title()
    return {
        "example": f"{word} / {name} / {translation}",
        "group": word,
        "label": int(right),
        "is_french": int(language == "french"),
        "word": word,
        "language": name,
        "translation": translation,
        "statement": f"In {name}, the word for '{word}' is '{translation}'.",
    }
