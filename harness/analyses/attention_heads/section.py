"""The report's section on attention heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from harness.report.intervals import Score
from harness.report.markup import table
from harness.report.wording import evidence
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

SHOWN = 6
"""Heads of each condition in a table."""
MATCHES = 0.3
"""From which score on heads are counted."""


def section(heads: pl.DataFrame, losses: pl.DataFrame) -> Iterable[str]:
    """What heads do, a table for each network."""
    import polars as pl

    yield "## Attention heads"
    yield (
        "On random tokens that are repeated once. *Prefix matching*: mean attention from each token of the second copy to the one after its first copy; *not repeated*: the same "
        "between the same positions where the second half is other tokens, which a head that only looks so far back has as well; *previous token*: mean attention to the position "
        "before, where nothing is repeated. Intervals of 95 % over sequences. All heads are in `heads.parquet`, losses by position in `repeats.parquet`."
    )
    for (condition,), own in heads.group_by("condition", maintain_order=True):
        lost = losses.filter(condition=condition)
        first, second = (float(np.mean(lost.filter(second=which)["loss"].to_numpy())) for which in (False, True))
        apart = own.filter(pl.col("matching_low") > pl.col("control_high"))
        count = apart.filter(pl.col("matching") >= MATCHES).height
        yield f"### {plain.markdown(str(condition))}"
        yield (
            f"{count} of {own.height} heads have a prefix-matching score of {MATCHES:g} or above that is clear of the control; {own.filter(pl.col('previous') >= MATCHES).height} a "
            f"previous-token score of {MATCHES:g} or above. Loss of the first copy {first:.2f} nats a token, of the second {second:.2f}."
        )
        best = own.sort("matching", descending=True).head(SHOWN)
        before = own.sort("previous", descending=True).head(2)
        shown = {(row["block"], row["head"]): row for row in (*best.to_dicts(), *before.to_dicts())}
        yield table(
            ("block", "head", "prefix matching", "not repeated", "previous token"),
            [
                [
                    f"{row['block']}",
                    f"{row['head']}",
                    *(_told(row, name) for name in ("matching", "control", "previous")),
                ]
                for row in shown.values()
            ],
            numbers=5,
        )


def _told(row: dict[str, float], name: str) -> str:
    return evidence(Score(row[name], row[f"{name}_low"], row[f"{name}_high"]))
