"""The autopsies' tables: autopsy.parquet, autopsy_solutions.parquet and autopsy_rows.parquet.

autopsy_solutions.parquet has a line for every solution that a probe's seeds found: its seeds, the feature that it latched on
to (empty where none is stronger than luck), how much of the score's variance that feature and all named ones explain on
held-out rows, and what p(x) is made of. autopsy.parquet has the features by strength, autopsy_rows.parquet the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from harness.analyses.autopsy.examine import Found
from harness.scoring.tables import DECIMALS

_WHERE = {"fit_on": pl.String, "tested_on": pl.String, "probe": pl.String}
_OF = {"layer": pl.String, "solution": pl.Int64}

SCHEMAS: Mapping[str, Mapping[str, type[pl.DataType]]] = {
    "solutions": {
        **_OF,
        "seeds": pl.Int64,
        "latched_on": pl.String,
        "meaning": pl.String,
        "association": pl.Float64,
        "p": pl.Float64,
        "explained_by_it": pl.Float64,
        "explained_by_all": pl.Float64,
        "yes": pl.Float64,
        "named": pl.Int64,
        "tested": pl.Int64,
        "share_question": pl.Float64,
        "share_answer": pl.Float64,
        "share_both": pl.Float64,
        "which": pl.String,
    },
    "features": {
        **_OF,
        "feature": pl.String,
        "family": pl.String,
        "association": pl.Float64,
        "p": pl.Float64,
        "low": pl.String,
        "high": pl.String,
        "same_as": pl.String,
    },
    "rows": {
        **_OF,
        "list": pl.String,
        "place": pl.Int64,
        "score": pl.Float64,
        "answer": pl.String,
        "truth": pl.String,
        "text": pl.String,
    },
}


def framed(found: Found, layer: str) -> dict[str, pl.DataFrame]:
    """The tables of one autopsy, without the names of probe and conditions, under which the store does not keep them."""
    return {name: _frame(getattr(found, name), layer, SCHEMAS[name]) for name in SCHEMAS}


def assembled(name: str, frames: Mapping[tuple[str, str, str], pl.DataFrame]) -> pl.DataFrame:
    """One table of all autopsies, sorted, from those of each by (fit_on, tested_on, probe)."""
    named = [
        frame.select(
            *(pl.lit(value, dtype=pl.String).alias(key) for key, value in zip(_WHERE, where, strict=True)), pl.all()
        )
        for where, frame in sorted(frames.items())
    ]
    return pl.concat(named)


def _frame(rows: Sequence[dict[str, object]], layer: str, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    frame = pl.DataFrame([{"layer": layer, **row} for row in rows], schema=dict(schema), orient="row")
    # As they are printed, so that a page made from the files shows the same.
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None).round(DECIMALS))
