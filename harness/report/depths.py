"""The report's section on depth: from which layer on each factor can be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from harness.maths.depth import DRAWS, INFORMATIVE_SHARE
from harness.report.markup import folded, table
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

    from harness.report.scores import Scores


def section(depth: pl.DataFrame | None, scores: Scores) -> Iterable[str]:
    """One table of all transfers and methods, a column for each target; nothing where no layer is informative of any."""
    if depth is None or depth["layer"].null_count() == len(depth):
        return
    cells = {(r["fit_on"], r["tested_on"], r["probe"], r["target"]): _cell(r) for r in depth.iter_rows(named=True)}
    rows = []
    for transfer in scores.transfers:
        for probe in scores.probes:
            found = [cells.get((transfer.fit_on, transfer.tested_on, probe, target)) for target in scores.targets]
            if any(found):
                shown = (cell or "–" for cell in found)
                rows.append((plain.markdown(transfer.title), plain.code(probe), *shown))
    yield "## Depth"
    yield (
        f"The earliest informative layer: the first at which AUROC − ½ on the test rows reaches {INFORMATIVE_SHARE:.0%} of "
        f"that of the best layer, mean over seeds, with the interval of {DRAWS:,} draws of groups and seeds. `–`: no layer "
        "is above chance (intervals corrected for the number of layers). What a method with labels was not fitted on, it "
        "need not show where it first stands in the states."
    ).replace("%", " %")
    head = ("transfer", "method", *map(plain.markdown, scores.targets))
    yield folded("Earliest informative layer of each factor", table(head, rows))


def _cell(row: dict[str, Any]) -> str:
    if row["layer"] is None:
        return "–"
    return f"{row['layer']} [{row['low']}, {row['high']}]"
