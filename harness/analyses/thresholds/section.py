"""The report's section on thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from harness.report.intervals import Score
from harness.report.markup import folded, table
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = Mapping[str, Any]
SHOWN = {
    "threshold": "threshold",
    "recall": "recall",
    "false_alarms": "false alarms",
    "precision": "precision",
    "balanced_accuracy": "balanced accuracy",
}
"""Numbers of the table, by their column."""


def section(alarms: pl.DataFrame) -> Iterable[str]:
    """What a monitor does at each threshold, and what another control set changes; nothing where none was tried."""
    if alarms.is_empty():
        return
    rate = alarms["rate"][0]
    yield "## Thresholds"
    yield (
        f"Each control set sets a threshold that {100 * rate:g} % of its honest rows pass. *Recall*: the share of lies above it; *false alarms*: the share of honest rows above it, in "
        "the control set itself what the rate makes it; *precision*: the share of alarms that are lies, at the share of lies among these rows. Intervals of 95 % hold what the threshold is uncertain by, and "
        "are missing where too few rows set it. Curves are in `roc.parquet`, probabilities in `calibration.parquet`."
    )
    yield from _changes(alarms)
    head = ("monitor", "tried in", "control set", *SHOWN.values())
    rows = [[*_names(row), *(_told(row, name) for name in SHOWN)] for row in alarms.iter_rows(named=True)]
    yield folded("At the threshold of each control set", table(head, rows, numbers=len(SHOWN)))
    missing = dict.fromkeys((row["control"], row["why"]) for row in alarms.iter_rows(named=True) if row["why"])
    for control, why in missing:
        yield f"{plain.markdown(control)}: {why}."


def _changes(alarms: pl.DataFrame) -> Iterable[str]:
    """For each monitor, how far its recall and its false alarms move with the control set; nothing of one control set."""
    if alarms["control"].n_unique() < 2:
        return
    for (probe,), own in alarms.group_by("probe", maintain_order=True):
        said = []
        for name in ("recall", "false_alarms"):
            for (condition,), tried in own.group_by("condition", maintain_order=True):
                # What a control set does on itself is what the rate makes it.
                there = tried.filter(pl.col(name).is_not_null() & (pl.col("control") != pl.col("condition")))
                if there.height > 1 and (name == "recall" or not tried["recall"].is_not_null().any()):
                    said.append(_change(str(condition), SHOWN[name], there.sort(name).to_dicts(), name))
        if said:
            yield f"Another control set, of {plain.code(str(probe))}: {'; '.join(said)}."


def _change(condition: str, words: str, ordered: Sequence[Row], name: str) -> str:
    least, most = ordered[0], ordered[-1]
    return (
        f"{words} in {plain.markdown(condition)} {number(least[name])} by {plain.markdown(least['control'])}, "
        f"{number(most[name])} by {plain.markdown(most['control'])}"
    )


def _names(row: Row) -> tuple[str, str, str]:
    return plain.code(row["probe"]), plain.markdown(row["condition"]), plain.markdown(row["control"])


def _told(row: Row, name: str) -> str:
    if row[name] is None:
        return "–"
    ends = (float("nan") if row[f"{name}{end}"] is None else row[f"{name}{end}"] for end in ("_low", "_high"))
    return evidence(Score(row[name], *ends))
