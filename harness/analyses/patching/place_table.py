"""patching.parquet: which share of the difference between two prompts each place makes by itself.

site, layer, head   where; `head` is empty but for single heads
back                tokens between the place and the last one before the answer; empty for all tokens that matter
metric              what is measured of the answer; `attribution` is what slopes foretell of the log-odds
value, low, high    the share, with its 95 % interval: 0 nothing, 1 all; empty ends where there is no interval, and `why` says so
base, source        means of what is measured, as the patched prompts are and as those are whose states are put there
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.maths.estimate import Measured, over_seeds

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts.patched import Patched

ATTRIBUTION = "attribution"


def framed(outcomes: Sequence[Patched]) -> pl.DataFrame:
    """The table of all outcomes, in the order of the places."""
    import polars as pl

    schema = {
        **dict.fromkeys(("asked", "site"), pl.String),
        **dict.fromkeys(("layer", "head", "back"), pl.Int64),
        "metric": pl.String,
        **dict.fromkeys(("value", "low", "high", "base", "source"), pl.Float64),
        "n": pl.Int64,
        "why": pl.String,
    }
    return pl.DataFrame([row for one in outcomes for row in _rows(one)], schema=schema, orient="row")


def _rows(outcome: Patched) -> Iterator[dict[str, Any]]:
    for metric in outcome.at:
        yield from _of(outcome, metric, outcome.effects(metric), metric)
    if (foretold := outcome.foretold_effects()) is not None:
        yield from _of(outcome, ATTRIBUTION, foretold, "log_odds")


def _of(outcome: Patched, metric: str, effects: Measured, of: str) -> Iterator[dict[str, Any]]:
    estimates = over_seeds(effects)
    ends = {name: float(getattr(outcome, name)[of].mean()) for name in ("base", "source")}
    places = zip(outcome.sites, outcome.layers, outcome.heads, outcome.backs, strict=True)
    for number, (site, layer, head, back) in enumerate(places):
        own = estimates.one(number)
        shown = {
            name: value if math.isfinite(value := getattr(own, name)) else None for name in ("value", "low", "high")
        }
        where = {"asked": outcome.asked, "site": site, "layer": layer, "head": head, "back": back, "metric": metric}
        yield {**where, **shown, **ends, "n": own.n, "why": own.why}
