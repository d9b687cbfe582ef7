from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source
from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl

ASSET = "movie-reviews"
MEMBER = "movieReviewSnippets_GroundTruth.txt"


class MovieReviews(Source, frozen=True):
    """Sentences from film reviews with the mean rating of about twenty people, −4 to 4.

    Nothing tells which sentences come from one review, so each is a group of its own; two of the same review may
    stand in training and test.
    """

    threshold: Annotated[float, Meta(ge=0, lt=4)] = 1.5
    """Positive above it, negative below minus it, and what lies between is left out. Higher is clearer and fewer."""
    min_words: Annotated[int, Meta(ge=1)] = 9
    """Shorter sentences are left out: they seldom say enough to tell."""

    source: ClassVar[str] = "Hutto & Gilbert 2014 (VADER), the snippets of rotten.imdb; MIT licence"
    columns: ClassVar[tuple[str, ...]] = ("rating", "text")
    answers: ClassVar[tuple[str, ...]] = ("negative", "positive")
    template: ClassVar[str] = (
        "Consider the following example:\n{{ text }}\n"
        "Between positive and negative, the sentiment of this example is {{ answer }}"
    )
    factors: ClassVar[tuple[Factor, ...]] = (Factor("rating", kind="number"),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Identical sentences are kept once. Raises DataError when the options leave nothing."""
        import polars as pl

        from harness.assets import bring

        del seed, folder, limit
        path = bring(ASSET) / MEMBER
        columns = {"example": pl.String, "rating": pl.Float64, "text": pl.String}
        everything = pl.read_csv(
            path, separator="\t", has_header=False, schema=columns, quote_char=None, eol_char="\n", encoding="utf8"
        )
        chosen = (
            everything.with_columns(pl.col("text").str.strip_chars())
            .filter(pl.col("text").str.count_matches(r"\S+") >= self.min_words)
            .filter(pl.col("rating").abs() > self.threshold)
            .unique("text", keep="first", maintain_order=True)
        )
        if chosen.is_empty():
            raise DataError(
                f"data.source: no review has {self.min_words} words and a rating beyond ±{self.threshold}; lower one of them"
            )
        return chosen.select(
            "example",
            group=pl.col("example"),
            label=(pl.col("rating") > 0).cast(pl.Int64),
            rating="rating",
            text="text",
        )

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.assets.catalog import CATALOG
        from harness.code.code_version import code_of
        from harness.store import content_key

        del seed, folder
        return content_key(code_of(type(self)), CATALOG[ASSET].sha256, msgspec.to_builtins(self))
