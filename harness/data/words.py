from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from harness.contracts import Factor, Source

if TYPE_CHECKING:
    import polars as pl

TABLE = Path(__file__).with_name("translations.csv")
LANGUAGES = ("English", "Spanish", "French")


class Words(Source, frozen=True):
    """Words of everyday English, Spanish and French by themselves; the label is the language.

    Words that are spelled alike in two of the languages are left out. A word and its translations stand in one split.
    """

    source: ClassVar[str] = "Our own table, that of `translations`"
    columns: ClassVar[tuple[str, ...]] = ("part", "meaning", "word")
    text_from: ClassVar[str] = "word"
    answers: ClassVar[tuple[str, ...]] = LANGUAGES
    template: ClassVar[str] = "{{ word }}"
    factors: ClassVar[tuple[Factor, ...]] = (Factor("part", ("noun", "verb", "adjective", "number")),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Each word of each language once."""
        import polars as pl

        del seed, folder, limit
        table = pl.read_csv(TABLE)
        rows = [
            {
                "example": f"{language}: {row[language.lower()]}",
                "group": row["english"],
                "label": number,
                "part": row["part"],
                "meaning": row["english"],
                "word": row[language.lower()],
            }
            for row in table.iter_rows(named=True)
            for number, language in enumerate(LANGUAGES)
        ]
        frame = pl.DataFrame(rows).filter(pl.len().over("word") == 1)
        parts = type(self).factors[0].values
        return frame.with_columns(pl.col("part").replace_strict(dict(zip(parts, range(len(parts)), strict=True))))

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del seed, folder
        return content_key(code_of(type(self)), TABLE.read_text(encoding="utf-8"), msgspec.to_builtins(self))
