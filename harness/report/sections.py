"""What the page shows in words and tables besides its charts: everything for which report.md has no place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
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

    headline: pl.DataFrame | None = None
    restarts: pl.DataFrame | None = None
    depth: pl.DataFrame | None = None
    looks: tuple[Look, ...] = ()


def sections(scores: Scores, beside: Beside) -> str:
    """Markdown. Raises UsageError for tables that no run of this program has made."""
    try:
        return "\n\n".join(_sections(scores, beside))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, StopIteration) as error:
        raise UsageError(
            f"the tables beside the report are not of one run ({type(error).__name__}: {error}); make them again with harness report --full"
        ) from error


def _sections(scores: Scores, beside: Beside) -> Iterable[str]:
    yield from leaderboard.section(scores)
    for look in beside.looks:
        yield from look.analysis.section(look.tables, scores)
    yield from _other_metrics(scores)
    yield from depths.section(beside.depth, scores)
    yield from _restarts(beside.restarts, scores)


def _other_metrics(scores: Scores) -> Iterable[str]:
    if len(scores.metrics) < 2:
        return
    yield "## All metrics at the summary layer"
    for transfer in scores.transfers:
        for target in scores.targets:
            rows = []
            for summary in scores.summaries(transfer):
                cells = [
                    scores.headline_score(transfer, summary.probe, target, summary.layer, m) for m in scores.metrics
                ]
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
