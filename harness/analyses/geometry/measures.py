"""The geometry's tables: geometry.parquet, states.parquet and fits.parquet.

geometry.parquet has, for each condition, layer and measure, the mean and the spread over seeds:

    cosine            |cos| of the directions of `a` and `b` in the space of raw x⁺ − x⁻; of a probe with itself, of every
                      two seeds; `mean of FACTOR` is the difference of class means by that factor, on training rows
    confidence        share of the variance of the score of `a` that is Var(wᵀx⁺) + Var(wᵀx⁻), test rows
    consistency       the rest, −2 Cov(wᵀx⁺, wᵀx⁻)
    loss_accuracy     rank correlation of training loss with test accuracy on the factor `b` over all fits of `a`

states.parquet has the first three principal components of x⁺ − x⁻ for each test row at the judged layer, and its factors.
fits.parquet has the loss and the test accuracy of every fit at its probe's judged layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from harness.scoring.tables import DECIMALS

_SPREAD = ("mean", "min", "p10", "p50", "p90", "max")
MEASURES: Mapping[str, type[pl.DataType]] = {
    "layer": pl.String,
    "measure": pl.String,
    "a": pl.String,
    "b": pl.String,
    **dict.fromkeys(_SPREAD, pl.Float64),
    "n": pl.Int64,
}
COORDINATES = ("pc1", "pc2", "pc3")
FACTOR = "factor_"
"""Before the name of a factor, which could otherwise be that of another column."""
FITS: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("probe", "layer", "target"), pl.String),
    **dict.fromkeys(("seed", "restart"), pl.Int64),
    **dict.fromkeys(("loss", "accuracy"), pl.Float64),
}
TABLES = ("measures", "states", "fits")


def measured(measure: str, a: str, b: str, values: np.ndarray, layers: Sequence[str]) -> Iterable[dict[str, object]]:
    """A row for each layer, from values (draw, layer); layers without any value are left out."""
    for place, layer in enumerate(layers):
        column = values[:, place]
        column = column[np.isfinite(column)]
        if not len(column):
            continue
        quantiles = np.quantile(column, [0, 0.1, 0.5, 0.9, 1])
        spread = dict(zip(_SPREAD, [float(column.mean()), *map(float, quantiles)], strict=True))
        yield {"layer": layer, "measure": measure, "a": a, "b": b or None, **spread, "n": len(column)}


def frame(rows: Iterable[dict[str, object]]) -> pl.DataFrame:
    """The rows by measure, probes and layer."""
    depth = pl.col("layer").cast(pl.Int64, strict=False)
    made = pl.DataFrame(list(rows), schema=dict(MEASURES), orient="row")
    return made.sort("measure", "a", "b", depth, nulls_last=True, maintain_order=True).pipe(rounded)


def rounded(made: pl.DataFrame) -> pl.DataFrame:
    """Numbers as they are printed, so that a page made from the files shows the same; no minus before a zero."""
    numbers = pl.col(pl.Float64)
    made = made.with_columns(numbers.fill_nan(None).round(DECIMALS))
    return made.with_columns(pl.when(numbers == 0).then(0.0).otherwise(numbers).name.keep())


def assembled(of: Mapping[str, Mapping[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """The tables of all conditions by name, sorted."""
    return {
        table: pl.concat(
            [
                tables[table].select(pl.lit(name, dtype=pl.String).alias("condition"), pl.all())
                for name, tables in sorted(of.items())
            ],
            how="diagonal",
        )
        for table in TABLES
    }
