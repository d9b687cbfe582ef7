"""interventions.parquet: the network's own answer, for every direction and strength.

direction   `probe`, `random 1` …, or `none`: the network as it is; `there` is the difference of the
            class means, by what the probe was fitted on, of training states at the last token before the answer
strength    in standard deviations of the training states along the direction; empty where it is erased, and for slopes
log_odds    mean log-odds of answers[1]
slope       its change per standard deviation, over all strengths
accuracy    of the answer, on the truth; auroc likewise
same_answer share of rows that are answered as without the intervention
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("fit_on", "tested_on", "probe", "layer", "by", "token", "direction"), pl.String),
    "strength": pl.Float64,
    "measure": pl.String,
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    "n": pl.Int64,
}


def framed(rows: list[dict[str, object]]) -> pl.DataFrame:
    """One intervention's rows."""
    return pl.DataFrame(rows, schema=dict(SCHEMA), orient="row")


def assembled(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The table of all interventions: names by alphabet, `random 10` after `random 9`, strengths from the lowest."""
    number = pl.col("direction").str.extract(r"(\d+)$").cast(pl.Int64)
    kind = pl.col("direction").replace_strict({"none": 0, "probe": 1, "there": 2}, default=3, return_dtype=pl.Int64)
    whole = pl.concat(frames, rechunk=True) if frames else framed([])
    depth = pl.col("layer").cast(pl.Int64, strict=False)
    return whole.sort(
        "fit_on", "tested_on", "probe", depth, "by", "token", kind, number, "measure", "strength",
        nulls_last=True, maintain_order=True,
    )  # fmt: skip
