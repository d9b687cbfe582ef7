"""The tables of the geometry, made from the rows of geometry.parquet; the same for report.md and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.report.wording import number

HOW_TO_READ = (
    "Mean |cos| over seeds of the directions on raw x⁺ − x⁻, normalisations folded in; of a method with itself, over every "
    "two seeds, with the 10 % and 90 % quantiles. “mean of” a factor is the difference of its class means on training "
    "rows. In d dimensions, unrelated directions have a |cos| of about 0.8/√d. Confidence and consistency are the shares of a "
    "score's variance (medians over seeds) that come from each member by itself and from both varying against each "
    "other: one half each where they are exact opposites. The last columns are rank correlations of loss with accuracy over all fits: below zero "
    "where a lower loss is more accurate. All layers are in geometry.parquet."
)

Row = Mapping[str, Any]


class ConditionTables(msgspec.Struct, frozen=True):
    """The tables of one condition at one layer: each a head and then rows, as text."""

    title: str
    cosines: Sequence[Sequence[str]]
    scores: Sequence[Sequence[str]]


def tables_of(rows: Sequence[Row], layers: Mapping[str, str]) -> list[ConditionTables]:
    """The tables of every condition that has one of the `layers`, which are by condition."""
    by_place = _by_place(rows)
    result = []
    for condition, layer in layers.items():
        mine = by_place.get((condition, layer), [])
        result.append(ConditionTables(f"{condition}, layer {layer}", _cosines(mine), _scores(mine)))
    return result


def count_cells(rows: Sequence[Row], layers: Mapping[str, str]) -> int:
    """At most so many cells have the tables of `layers`: each name in them with each other."""
    by_place = _by_place(rows)
    shown = (by_place.get(place, []) for place in layers.items())
    return sum(len({name for row in rows for name in (row["a"], row["b"])}) ** 2 for rows in shown)


def _by_place(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["condition"], row["layer"]), []).append(row)
    return found


def _cosines(rows: Sequence[Row]) -> list[list[str]]:
    found = {(row["a"], row["b"]): row for row in rows if row["measure"] == "cosine"}
    names = list(dict.fromkeys(name for pair in found for name in pair))
    # Differences of class means stand last, as columns to compare with.
    names.sort(key=lambda name: name.startswith("mean of "))
    return [["", *names], *([a, *(_cell(found, a, b) for b in names)] for a in names)]


def _cell(found: Mapping[tuple[str, str], Row], a: str, b: str) -> str:
    row = found.get((a, b)) or found.get((b, a))
    if row is None:
        return "–"
    spread = f" [{number(row['p10'])}, {number(row['p90'])}]" if a == b and row["n"] > 1 else ""
    return number(row["mean"]) + spread


def _scores(rows: Sequence[Row]) -> list[list[str]]:
    found = {(row["measure"], row["a"], row["b"] or ""): row["p50"] for row in rows}
    probes = list(dict.fromkeys(row["a"] for row in rows if row["measure"] == "confidence"))
    targets = list(dict.fromkeys(row["b"] for row in rows if row["measure"] == "loss_accuracy"))
    columns = [("confidence", ""), ("consistency", ""), *(("loss_accuracy", target) for target in targets)]
    head = ["", "confidence", "consistency", *(f"loss with accuracy on {target}" for target in targets)]
    return [
        head,
        *([probe, *(_shown(found.get((measure, probe, b))) for measure, b in columns)] for probe in probes),
    ]


def _shown(value: float | None) -> str:
    return "–" if value is None else number(value)
