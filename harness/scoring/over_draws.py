"""Scores of several draws of sample and split, put together: their mean, with an interval of what varies between draws.

Draws from one data set share rows, and are then less than independent: the distances of both ends of the draws' own intervals are
added with the correlation of the test rows that they share. Where the draws differ by more than their own intervals say, their
spread counts instead, with Student's quantile for so few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.maths.estimate import CONFIDENCE
from harness.maths.pairing import Rows, covariance

if TYPE_CHECKING:
    import polars as pl

KEY = ("fit_on", "tested_on", "probe", "target", "metric")
ERRORS = ("se_rows", "se_seeds", "se_training")

Row = Mapping[str, Any]


def over_draws(draws: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table like that of the first draw. The columns are those of headline.parquet, and `group` and `influence` as lists.

    A row stands at the layer of the first draw; others may have chosen another one.
    """
    import polars as pl

    first = draws[0]
    if len(draws) == 1:
        return first
    others = [{tuple(row[name] for name in KEY): row for row in frame.iter_rows(named=True)} for frame in draws]
    rows = []
    for row in first.iter_rows(named=True):
        key = tuple(row[name] for name in KEY)
        rows.append(_joined([frame[key] for frame in others if key in frame]))
    return pl.DataFrame(rows, schema=first.schema)


def _joined(rows: Sequence[Row]) -> dict[str, Any]:
    """One row of those of several draws."""
    from scipy.special import stdtrit

    first, count = dict(rows[0]), len(rows)
    values = np.array([row["value"] for row in rows])
    ends = np.array([[row["low"], row["high"]] for row in rows], dtype=np.float64)
    if count == 1 or not np.isfinite(values).all():
        return first
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    correlation = _correlations(rows)
    student = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * spread / math.sqrt(count)
    half = [
        max(math.sqrt(max(float(side @ correlation @ side), 0.0)) / count, student)
        for side in (values - ends[:, 0], ends[:, 1] - values)
    ]
    low, high = mean - half[0], mean + half[1]
    if (ends >= 0).all() and (ends <= 1).all():
        low, high = max(low, 0.0), min(high, 1.0)
    errors = {name: None if any(row[name] is None for row in rows)
              else math.sqrt(sum(row[name] ** 2 for row in rows) / count) for name in ERRORS}  # fmt: skip
    return (
        first
        | errors
        | {
            "value": mean,
            "low": low,
            "high": high,
            "sd_draws": spread,
            "covers": f"{first['covers']}, {count} draws",
            "sample": " ".join(row["sample"] for row in rows),
        }
    )


def _correlations(rows: Sequence[Row]) -> np.ndarray:
    """Of the draws' scores, by the test rows that they share, (draw, draw)."""
    sides = [Rows(row["value"], np.asarray(row["group"]), np.asarray(row["influence"])) for row in rows]
    whole = [math.hypot(*(row[name] or 0.0 for name in ERRORS)) for row in rows]
    found = np.eye(len(rows))
    for a in range(len(rows)):
        for b in range(a):
            scale = whole[a] * whole[b]
            shared = covariance(sides[a], sides[b]) / scale if scale > 0 else 0.0
            found[a, b] = found[b, a] = min(max(shared, 0.0), 1.0)
    return found
