"""The report's section on sample efficiency: how many training pairs a method needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from harness.report.intervals import Score
from harness.report.markup import folded, table
from harness.report.scores import Scores, Transfer
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

SHARE = 0.95
"""Of what the fit on all rows is above chance: what counts as reached. A convention of ours."""

Curve = dict[int, Score]
"""By the number of training pairs, the smallest first; the last one is the fit on all."""


def curves(samples: pl.DataFrame, metric: str) -> Mapping[tuple[Transfer, str, str, str], Curve]:
    """By transfer, method, target and layer, on one metric."""
    found: dict[tuple[Transfer, str, str, str], Curve] = {}
    for row in samples.sort("rows", maintain_order=True).iter_rows(named=True):
        if row["metric"] == metric:
            key = (Transfer(row["fit_on"], row["tested_on"]), row["probe"], row["target"], row["layer"])
            score = (float("nan") if row[name] is None else row[name] for name in ("value", "low", "high"))
            found.setdefault(key, {})[row["rows"]] = Score(*score)
    return found


def needed(curve: Curve, chance: float) -> int | None:
    """The fewest pairs from which on the score stays at `SHARE` of the last one's height above chance; None where the last one is
    not above it, beyond its interval."""
    sizes = sorted(curve)
    last = curve[sizes[-1]]
    if not (last.bounded and last.low > chance):
        return None
    bar = chance + SHARE * (last.value - chance)
    reached = sizes[-1]
    for size in reversed(sizes):
        if not curve[size].value >= bar:
            break
        reached = size
    return reached


def section(samples: pl.DataFrame | None, scores: Scores) -> Iterable[str]:
    """The table; nothing where no curve was drawn."""
    if samples is None or samples.is_empty() or scores.chance is None:
        return
    found = curves(samples, scores.headline)
    yield "## Sample efficiency"
    yield (
        f"The {plain.code(scores.headline)} of methods fitted again on random subsets of their training pairs, half of each "
        "label, mean over draws; the larger subsets of a draw hold its smaller ones. A method with labels had as many labels as "
        "there are pairs; one without had them for its sign only. The layer is the one that was chosen for the fit on all pairs, "
        f"by whatever rows the spec's rule looks at. *{SHARE:.0%}*: the pairs from which on the score keeps that share of what the fit "
        "on all is above chance; `–` where that is not above it. All intervals are in `samples.parquet`."
    ).replace("95%", "95 %")
    shown = sorted({size for curve in found.values() for size in list(curve)[:-1]})
    rows = []
    for (transfer, probe, target, layer), curve in _in_order(found, scores):
        most = max(curve)
        cells = [number(curve[size].value) if size in curve and size < most else "" for size in shown]
        enough = needed(curve, scores.chance)
        names = (plain.markdown(transfer.title), plain.code(probe), plain.markdown(target), layer)
        rows.append((*names, *cells, f"{evidence(curve[most])} ({most})", "–" if enough is None else str(enough)))
    head = ("transfer", "method", "target", "layer", *map(str, shown), "all", f"{SHARE:.0%}".replace("%", " %"))
    yield folded("Score by training pairs", table(head, rows, numbers=len(shown) + 2))


def _in_order(
    found: Mapping[tuple[Transfer, str, str, str], Curve], scores: Scores
) -> list[tuple[tuple[Transfer, str, str, str], Curve]]:
    """As transfers, methods and targets stand in the spec."""
    return sorted(
        found.items(),
        key=lambda item: (
            scores.transfers.index(item[0][0]),
            scores.probes.index(item[0][1]),
            scores.targets.index(item[0][2]),
        ),
    )
