"""The rows of results.csv: those that a reviewer decides by. results.parquet has them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.report.outline import TRUTH
from harness.report.read import HEADLINE
from harness.report.scores import Scores
from harness.spec import Spec

if TYPE_CHECKING:
    import polars as pl

MOST = 300
"""Rows: about 30 KB."""


Asked = Sequence[tuple[str, str, str | None]]
"""Condition that is tested on, factor, and the probe that is asked about, if not all are."""


class SummaryRows(msgspec.Struct, frozen=True):
    """What results.csv holds."""

    frame: pl.DataFrame
    which: str
    """What is there of every method at its summary layer, in words."""


def asked_for(spec: Spec) -> Asked:
    """What the spec puts into a condition's prompts beside the truth, and what its checks ask of a probe there."""
    standing = [(one.name, factor, None) for one in spec.conditions for factor in one.distractors]
    checked = [(one.condition, factor, one.probe) for one in spec.checks for factor in one.refers()["target"]]
    return [*dict.fromkeys([*standing, *checked])]


def summary_rows(scores: Scores, results: pl.DataFrame, asked: Asked) -> SummaryRows:
    """Those of `results`, or of the headline, whose intervals are of all that varies: every metric on every factor at the summary
    layers. Where that is too much, less, by what the spec asks for and no number: the first metric only, then only on the truth and
    `asked_for`, then only on the truth."""
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
    wanted = [
        (pl.col("tested_on") == tested)
        & (pl.col("target") == factor)
        & (pl.lit(value=True) if probe is None else pl.col("probe") == probe)
        for tested, factor, probe in asked
    ]
    wanted_there = pl.any_horizontal(wanted) if wanted else pl.lit(value=False)
    metric = scores.headline
    tiers = (
        (pl.lit(value=True), "every metric on every factor"),
        (first, f"{metric} on every factor"),
        (
            first & (truth | wanted_there),
            f"{metric} on the truth, on what stands in the prompts and on what checks ask of",
        ),
        (first & truth, f"{metric} on the truth"),
    )
    found, which = next(
        ((found, which) for tier, which in tiers if (found := rows.filter(tier)).height <= MOST),
        (rows.filter(tiers[-1][0]), tiers[-1][1]),
    )
    return SummaryRows(found.select(name for name in HEADLINE if name in found.columns), which)
