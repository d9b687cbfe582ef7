"""Stretches: the tokens of a prompt that `activations.read` names; and a table in which each of them is a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.contracts.data import STRETCH, TOKEN
from harness.errors import DataError
from harness.spec import Stretch

if TYPE_CHECKING:
    import polars as pl

CHARACTERS = "characters"
"""Column beside that of the stretch: the characters of each of its tokens, first and one past the last, one after the other."""

_MOST_TOKENS = 50_000_000
"""Of all rows together, each with the whole prompt that its token stands in; they are held in memory."""


def tokens_of(stretch: Stretch, ends: Sequence[int], example: str) -> list[int]:
    """The tokens of a stretch by their place in the prompt, rising. `ends` are those of its runs, as a frame keeps them.

    Raises DataError where there is none.
    """
    places = {place for first, last in zip(ends[::2], ends[1::2], strict=True) for place in range(first, last)}
    kept = sorted(places)[: max(0, len(places) - stretch.drop_last)]
    if not kept:
        without = f" without the last {stretch.drop_last}" if stretch.drop_last else ""
        raise DataError(
            f'activations.read: {stretch.what} has no token{without} in a prompt of example "{example}"; name another, lower drop_last, '
            "or leave such examples out with data.where"
        )
    return kept


def each_a_row(frame: pl.DataFrame, stretch: Stretch) -> pl.DataFrame:
    """The statements with a row for each token of the stretch, in the order of the tokens. Raises DataError."""
    import polars as pl

    places, texts = [], []
    for example, text, ends, characters in frame.select("example", "text", STRETCH, CHARACTERS).iter_rows():
        runs = zip(ends[::2], ends[1::2], strict=True)
        every = [place for first, last in runs for place in range(first, last)]
        known = dict(zip(every, zip(characters[::2], characters[1::2], strict=True), strict=True))
        kept = tokens_of(stretch, ends, str(example))
        places.append(kept)
        texts.append([_marked(text, *known[place]) for place in kept])
    rows = frame.with_columns(pl.Series(TOKEN, places, dtype=pl.List(pl.UInt32)), pl.Series("text", texts))
    size = int((rows[TOKEN].list.len().cast(pl.Int64) * rows["tokens"].list.len()).sum())
    if size > _MOST_TOKENS:
        raise DataError(
            f"activations.read.pool: each: rows for {int(rows[TOKEN].list.len().sum()):,} tokens hold prompts of {size:,} tokens together, and at "
            f"most {_MOST_TOKENS:,} can be held; lower data.limit, or name a shorter stretch"
        )
    place = pl.col(TOKEN).cast(pl.Int64)
    return rows.explode(TOKEN, "text").with_columns(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("pair"), pl.concat_list(place, place + 1).alias(STRETCH)
    )


def _marked(text: str, start: int, end: int) -> str:
    return f"{text[:start]}⟦{text[start:end]}⟧{text[end:]}"
