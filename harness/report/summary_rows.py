"""The rows of results.csv: those that a reviewer decides by. results.parquet has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.report.outline import TRUTH
from harness.report.read import HEADLINE
from harness.report.scores import Scores

if TYPE_CHECKING:
    import polars as pl

MOST = 700
"""Rows: about 80 KB."""


class SummaryRows(msgspec.Struct, frozen=True):
    """What results.csv holds."""

    frame: pl.DataFrame
    which: str
    """What is there of every method at its summary layer, in words."""


def summary_rows(scores: Scores, results: pl.DataFrame) -> SummaryRows:
    """Those of `results`, or of the headline, whose intervals are of all that varies. Every metric on every factor at the summary layers; where that is too much, less, by what the spec asks for and no number:
    the first metric only, then only on the truth and what stands in the prompts, then only on the truth."""
    import polars as pl

    chosen = pl.DataFrame(
        [
            (transfer.fit_on, transfer.tested_on, probe, layer)
            for transfer in scores.transfers
            for probe in scores.probes
            if (layer := scores.summary_layer(transfer, probe)) is not None
        ],
        schema=dict.fromkeys(("fit_on", "tested_on", "probe", "layer"), pl.String),
        orient="row",
    )
    # By what is asked first, so that the rows stay in their order.
    rows = results.join(chosen, on=["fit_on", "tested_on", "probe", "layer"], how="semi", maintain_order="left")
    first = pl.col("metric") == scores.headline
    truth = pl.col("target") == TRUTH
    standing = pl.DataFrame(
        [(tested, factor) for tested, factors in scores.outline.standing.items() for factor in factors],
        schema={"tested_on": pl.String, "target": pl.String},
        orient="row",
    )
    rows = rows.join(standing.with_columns(there=True), on=["tested_on", "target"], how="left", maintain_order="left")
    there = pl.col("there").fill_null(value=False)
    metric = scores.headline
    tiers = (
        (pl.lit(value=True), "every metric on every factor"),
        (first, f"{metric} on every factor"),
        (first & (truth | there), f"{metric} on the truth and on what stands in the prompts"),
        (first & truth, f"{metric} on the truth"),
    )
    found, which = next(
        ((found, which) for wanted, which in tiers if (found := rows.filter(wanted)).height <= MOST),
        (rows.filter(tiers[-1][0]), tiers[-1][1]),
    )
    return SummaryRows(found.select(name for name in HEADLINE if name in found.columns), which)
