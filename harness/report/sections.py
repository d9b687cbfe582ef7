"""What the page shows in words and tables besides its charts: everything for which report.md has no place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from harness.contracts.analysis import Analysis
from harness.report import depths, leaderboard
from harness.report.content import Look
from harness.report.markup import folded, table
from harness.report.scores import Scores, Transfer
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl


class Beside(msgspec.Struct, frozen=True):
    """Tables of a report besides results, seeds and checks."""

    restarts: pl.DataFrame | None = None
    depth: pl.DataFrame | None = None
    looks: tuple[Look, ...] = ()


def sections(scores: Scores, beside: Beside, drawn: tuple[type[Analysis], ...] = ()) -> str:
    """Markdown; the analyses that are `drawn` have parts of their own in the page."""
    parts = [
        *leaderboard.section(scores),
        *(part for look in beside.looks if not isinstance(look.analysis, drawn) for part in look.analysis.section(look.tables, scores)),
        *_other_metrics(scores),
        *depths.section(beside.depth, scores),
        *_restarts(beside.restarts, scores),
    ]
    return "\n\n".join(parts)


def _other_metrics(scores: Scores) -> Iterable[str]:
    if len(scores.metrics) < 2:
        return
    yield "## All metrics at the summary layer"
    for transfer in scores.transfers:
        for target in scores.targets:
            rows = []
            for summary in scores.summaries(transfer):
                cells = [scores.by_layer(transfer, summary.probe, target, m).get(summary.layer) for m in scores.metrics]
                if any(cells):
                    rows.append((plain.code(summary.probe), *("–" if c is None else evidence(c) for c in cells)))
            if rows:
                title = f"{plain.markdown(transfer.title)}: {plain.markdown(target)}"
                yield folded(title, table(("method", *map(plain.markdown, scores.metrics)), rows))


def _restarts(restarts: pl.DataFrame | None, scores: Scores) -> Iterable[str]:
    rows = []
    for row in () if restarts is None else restarts.iter_rows(named=True):
        transfer = Transfer(row["fit_on"], row["tested_on"])
        if str(row["layer"]) != scores.summary_layer(transfer, row["probe"]):
            continue
        names = (
            plain.markdown(transfer.title),
            plain.code(row["probe"]),
            plain.markdown(row["target"]),
            str(row["layer"]),
        )
        accuracy = [
            number(math.nan if row[name] is None else row[name])
            for name in ("picked", "min", "p10", "p50", "p90", "max")
        ]
        losses = ["–" if row[name] is None else f"{row[name]:.4f}" for name in ("loss_min", "loss_p50", "loss_max")]
        rows.append((*names, f"{row['seeds']} × {row['restarts']}", *accuracy, *losses))
    if rows:
        yield "## Restarts"
        yield (
            "Accuracy of the restart that each seed keeps (the one with the lowest training loss, mean over seeds) beside "
            "that of all restarts, and their losses, at the summary layer; all layers are in `restarts.parquet`. A wide spread "
            "says that what is found depends on where the search begins."
        )
        head = (
            "transfer",
            "method",
            "target",
            "layer",
            "seeds × restarts",
            "kept",
            "least",
            "10 %",
            "median",
            "90 %",
            "most",
        )
        yield table((*head, "lowest loss", "median loss", "highest loss"), rows, numbers=9)
