"""The report's section on sparse autoencoders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.report.markup import table
from harness.report.wording import number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

COLUMNS = {
    "explained": "explained",
    "l0": "active",
    "shrinkage": "γ",
    "alive": "alive",
    "loss_recovered": "loss recovered",
    "l1": "L1",
    "recovered": "recovered",
    "by_chance": "by chance",
    "angle": "angle",
    "l1_planted": "L1 of planted",
}


def section(measured: pl.DataFrame) -> Iterable[str]:
    """A table for each condition and layer."""
    yield "## Sparse autoencoders"
    yield (
        "On test rows, the mean over seeds, with the least and the greatest; where no feature is ever active there is no γ and no angle. *Explained*: share of the states' variance. *Active*: features of a state. *γ*: E‖x̂‖² / E[x̂ · x], below 1 where what is "
        "given back is shrunk. *Alive*: share of features that are ever active. *Loss recovered*: of what a language model loses in predicting next tokens without the states, where that was measured. *L1*: sum of activations. *Recovered*: share of the planted directions that "
        "some feature has at a cosine of 0.9 or more; *by chance*: of random features; *angle*: degrees from a feature to the nearest planted direction; *L1 of planted*: the sum of activations along those, where they are orthogonal. "
        "All of them are in `autoencoders.parquet`."
    )
    for (condition, layer), own in measured.group_by("condition", "layer", maintain_order=True):
        shown = [name for name in COLUMNS if own[name].null_count() < own.height]
        yield f"{plain.markdown(str(condition))}, layer {layer}, {own['seed'].n_unique()} seeds:"
        rows = [
            (plain.code(str(variant)), f"{sparsity:g}", *(_cell(of[name].drop_nulls().to_list()) for name in shown))
            for (variant, sparsity), of in own.group_by("variant", "sparsity", maintain_order=True)
        ]
        yield table(("variant", "sparsity", *(COLUMNS[name] for name in shown)), rows, numbers=len(shown) + 1)


def _cell(values: Sequence[float]) -> str:
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "–"
    mean, low, high = sum(values) / len(values), min(values), max(values)
    return number(mean) if number(low) == number(high) else f"{number(mean)} [{number(low)}, {number(high)}]"
