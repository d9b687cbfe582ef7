"""Division of examples into parts: groups stay whole, every part has its share of each label, or of each tenth of the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.contracts import TargetKind
from harness.errors import DataError
from harness.spec import Data

if TYPE_CHECKING:
    import polars as pl

PARTS = ("train", "validation", "test")

GROUP_KEY = "\x1fgroup key"
"""Column by which groups are ordered; no data set has one of this name."""

_STRATUM = "\x1fstratum"
"""Column of what a split must keep in proportion, where that is not the label itself."""


def split_of(
    chosen: pl.DataFrame, data: Data, place: str, kind: TargetKind, answers: Sequence[int] | None = None
) -> pl.DataFrame:
    """The examples with `split`; each part has each of the labels, or of those that are `answers`. Groups of the same make-up are divided in
    proportion; what is left over goes where it lacks most. Of numbers, make-up is a matter of quantiles. Rows without a label are alike."""
    import polars as pl

    shares = [data.split.train, data.split.validation, data.split.test]
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise DataError(f"data.split: {' + '.join(map(str, shares))} is {sum(shares):g}; the shares must sum to one")
    strata = _strata(chosen["label"], kind)
    labels = sorted(strata.unique())
    # A group's make-up: how many examples of each label it has.
    made_of = [pl.col(_STRATUM).eq(label).sum().alias(f"n{label}") for label in labels]
    groups = (
        chosen.with_columns(strata.alias(_STRATUM)).group_by("group", GROUP_KEY).agg(made_of).sort(GROUP_KEY, "group")
    )
    make_up = [f"n{label}" for label in labels]
    place_in = pl.int_range(pl.len()).over(make_up)
    size = pl.len().over(make_up)
    groups = groups.with_columns(place_in.alias("place"), size.alias("size"))
    part: pl.Expr = pl.lit(None, dtype=pl.String)
    start: pl.Expr = pl.lit(0)
    for name, share in zip(PARTS, shares, strict=True):
        # 0.29 × 100 is a little under 29 in binary fractions.
        end = start + (pl.col("size") * share + 1e-9).floor().cast(pl.Int64)
        part = pl.when((pl.col("place") >= start) & (pl.col("place") < end)).then(pl.lit(name)).otherwise(part)
        start = end
    groups = groups.with_columns(part.alias("split"))
    if not kind.in_classes:
        # How many rows a part has matters beside how many of each tenth.
        groups, make_up = groups.with_columns(pl.sum_horizontal(make_up).alias(_STRATUM)), [*make_up, _STRATUM]
    groups = _place_leftovers(groups, make_up, shares)
    divided = chosen.join(groups.select("group", "split"), on="group", how="left")
    needed = [label for label in labels if kind.in_classes and (answers is None or label in answers)]
    check_parts(divided, data, needed, place)
    return divided


def _strata(labels: pl.Series, kind: TargetKind) -> pl.Series:
    """A number for each row; −1 of those without a label."""
    import numpy as np
    import polars as pl

    there = labels.is_not_null().to_numpy()
    found = np.full(len(labels), -1, dtype=np.int64)
    if there.any():
        found[there] = kind.strata(kind.values(labels.drop_nulls()))
    return pl.Series(found)


def _place_leftovers(groups: pl.DataFrame, make_up: list[str], shares: list[float]) -> pl.DataFrame:
    """Groups that rounding left over, the largest first, each to the part that comes nearest to its share by it."""
    import numpy as np
    import polars as pl

    sizes = groups.select(make_up).to_numpy().astype(np.float64)
    parts = groups["split"].to_list()
    target = np.outer(shares, sizes.sum(0))
    filled = np.stack([sizes[np.array([part == name for part in parts], dtype=bool)].sum(0) for name in PARTS])
    open_parts = [index for index, share in enumerate(shares) if share > 0]
    leftover = [index for index, part in enumerate(parts) if part is None]
    for index in sorted(leftover, key=lambda i: (-sizes[i].sum(), i)):
        # Growth of the squared distance from the target, Σ (n + g − t)² − (n − t)².
        cost = [sizes[index] @ (sizes[index] + 2 * (filled[part] - target[part])) for part in open_parts]
        best = open_parts[int(np.argmin(np.round(cost, 6)))]
        filled[best] += sizes[index]
        parts[index] = PARTS[best]
    return groups.with_columns(pl.Series("split", parts, dtype=pl.String))


def check_whole_groups(table: pl.DataFrame, part: str, place: str) -> None:
    """Raises DataError where rows of one group stand in several parts of a split that somebody else made; `part` is its column."""
    import polars as pl

    several = table.group_by("group").agg(pl.col(part).n_unique().alias("parts")).filter(pl.col("parts") > 1)
    if len(several):
        raise DataError(
            f'{place}: the group "{several["group"].sort()[0]}" stands in several parts of the split ({len(several)} such groups), so that '
            "what is tested would have been learnt from; put each group into one part, or leave the column of the split out of the card"
        )


def check_members(table: pl.DataFrame, data: Data, place: str, names: Sequence[str]) -> None:
    """Raises DataError for a class that stands in fewer groups than there are parts, where another does not. `names` are those of the labels, as far as they have any."""
    import polars as pl

    parts = sum(getattr(data.split, name) > 0 for name in PARTS)
    groups = table.group_by("label").agg(pl.col("group").n_unique().alias("groups")).sort("label")
    lonely = groups.filter(pl.col("groups") < parts)
    if len(lonely) == len(groups):
        # That there are too few groups is no class's fault.
        return
    for label, count in lonely.iter_rows():
        name = names[label] if label < len(names) else label
        raise DataError(
            f'{place}: the class "{name}" stands in {count} group{"s" * (count != 1)}, and cannot be split so that every part has every label; '
            "leave it out with data.where, or have more rows of it"
        )


def check_parts(divided: pl.DataFrame, data: Data, labels: list[int], place: str) -> None:
    import polars as pl

    wanted = [name for name in PARTS if getattr(data.split, name) > 0]
    if not labels and (empty := [name for name in wanted if name not in divided["split"]]):
        raise DataError(
            f"{place}: {len(divided)} examples in {divided['group'].n_unique()} groups leave no row for the {empty[0]} part; raise "
            "`limit`, change `split`, or choose a finer `group`"
        )
    counts = {
        name: {label: len(divided.filter((pl.col("split") == name) & (pl.col("label") == label))) for label in labels}
        for name in wanted
    }
    if all(n for by_label in counts.values() for n in by_label.values()):
        return
    shown = "; ".join(
        f"{name}: " + ", ".join(f"{n} of label {label}" for label, n in by_label.items())
        for name, by_label in counts.items()
    )
    raise DataError(
        f"{place}: {len(divided)} examples in {divided['group'].n_unique()} groups cannot be split so that every part has "
        f"every label ({shown}); raise `limit`, change `split`, or choose a finer `group`"
    )
