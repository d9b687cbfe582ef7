"""The examples of a condition: labels decoded, balanced, sampled, split by group.

Everything is ordered by hashes of the seed and the example's id. So the order of a file means nothing, every machine
draws the same, and a larger limit keeps the examples of a smaller one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contracts import Source
from harness.contracts.kind import names
from harness.errors import DataError, did_you_mean
from harness.maths.draws import keys
from harness.prompts.where import rows_where
from harness.spec import Condition, Data
from harness.spec.plain import plain
from harness.store import content_key
from harness.untrusted.spellings import TRUTH, spelled_all

if TYPE_CHECKING:
    import polars as pl

PARTS = ("train", "validation", "test")
_ORDER = ("group_key", "group", "key", "example")

PART = "\x1fpart"
"""Column of a split that was made before rows were chosen; no data set has one of this name."""


def sample(data: Data, answers: tuple[str, ...], folder: Path) -> pl.DataFrame:
    """The examples of a condition: `example`, `group`, `label`, `split`, then fields and factors as the source has them.

    Rows are in the order of their groups' hashes, then of their own. Raises DataError.
    """
    source = source_of(data)
    # With `where`, a limit is one on what is kept.
    table = with_text(source.load(data.seed, folder, data.limit if data.where is None else None), source)
    place = source.title
    if data.half is not None and data.half not in answers:
        raise DataError(f'data.half: "{data.half}" is none of the answers: {", ".join(answers)}')
    if data.where is not None:
        decoded = chosen_rows(table, data, answers, source, place)
    else:
        decoded = decode(table, answers, place, source.labels_as_written)
    return arrange(decoded, data, place, None if data.half is None else answers.index(data.half))


def with_text(table: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The table with the field `text`, under which every template finds the example in words."""
    if "text" in table.columns or source.text_from not in table.columns:
        return table
    return table.with_columns(table[source.text_from].alias("text"))


def chosen_rows(table: pl.DataFrame, data: Data, answers: tuple[str, ...], source: Source, place: str) -> pl.DataFrame:
    """The rows that `data.where` keeps, each with its part of the split of all groups, and `label` an index. Raises DataError where one
    that is kept has a label that is none of the answers; all others can be left out.
    """
    import polars as pl

    assert data.where is not None
    codes, written = _codes(table, answers, place, source.labels_as_written), table["label"].cast(pl.String)
    others = sorted(written.filter(codes.is_null()).unique().drop_nulls())
    numbered = written.replace_strict(
        {name: len(answers) + k for k, name in enumerate(others)}, default=None, return_dtype=pl.Int64
    )
    spellings = {
        f"{PART}index": codes.cast(pl.String),
        f"{PART}answer": codes.replace_strict(dict(enumerate(answers)), default=None, return_dtype=pl.String),
        f"{PART}written": written,
    }
    given = table.with_columns(codes.fill_null(numbered).alias("label"), **spellings).with_row_index(f"{PART}row")
    shown = {factor.name: factor.values for factor in source.factors if factor.values}
    divided = with_parts(given, data, place, range(len(answers)))
    kept = rows_where(divided, data.where, shown, place, {"label": tuple(spellings)})
    for row in kept.filter(pl.col("label") >= len(answers))[f"{PART}row"].head(1):
        _refuse(table, row, answers, place, source.labels_as_written)
    return kept.drop(f"{PART}row", *spellings)


def fingerprint(data: Data, folder: Path) -> str:
    """A hash that changes when the source's examples do. What is sampled of them is a matter of the other options of `data`."""
    return source_of(data).fingerprint(data.seed, folder)


def data_set(condition: Condition, folder: Path) -> str:
    """A hash that tells the groups of a condition's data set from groups of the same name in another.

    Of what is in files, and not of their names: a copy of a file is the same data set.
    """
    source, bed = condition.data.source, condition.bed
    named = None if source is None else {**plain(source), **source.contents(folder)}
    # A bed's own rows are known by the bed; those of a file are the file's, wherever the bed lies.
    return content_key(named, plain(condition.own_rows), *([bed.name, bed.revision] if bed and source is None else []))


def source_of(data: Data) -> Source:
    """The source, which only a test bed can do without. Raises DataError."""
    if data.source is None:
        raise DataError(f"data.source is missing; name a file, or one of: {', '.join(names('data'))}")
    return data.source


def decode(table: pl.DataFrame, answers: Sequence[str], place: str, as_written: bool = False) -> pl.DataFrame:
    """The same with `label` as an index into `answers`. Raises DataError with the row of the first that is none.

    `as_written`: integers, too, may be answers, as the same labels in a file of text may be.
    """
    codes = _codes(table, answers, place, as_written)
    if codes.null_count():
        _refuse(table, codes.is_null().arg_max() or 0, answers, place, as_written)
    return table.with_columns(codes.alias("label"))


def _refuse(table: pl.DataFrame, row: int, answers: Sequence[str], place: str, as_written: bool) -> None:
    """Raises DataError for a row of which the label is none of the answers."""
    import polars as pl

    label, names = str(table["label"].cast(pl.String)[row]), [name.strip() for name in answers]
    made = table["label"].dtype.is_integer() and not as_written
    known = [f"{index} ({name})" for index, name in enumerate(names)]
    present = sorted(table["label"].cast(pl.String).unique().drop_nulls())
    remedy = ""
    if as_written and len(present) == len(answers):
        remedy = (
            f"; write prompt.answers: {json.dumps(present, ensure_ascii=False)}, index = label, or change the column"
        )
    raise DataError(
        f'{place}: row {row + 1}: the label "{label}" is neither an answer nor its index'
        f"{'' if made else _near(label, names)}; labels are {', '.join(known)}{remedy}",
        about="prompt.answers",
    )


def _codes(table: pl.DataFrame, answers: Sequence[str], place: str, as_written: bool) -> pl.Series:
    """The index of each label among the answers, null for one that is none of them. Raises DataError as `_meaning`."""
    import polars as pl

    labels = table["label"]
    indices = {str(index): index for index in range(len(answers))}
    names = {name.strip(): index for index, name in enumerate(answers)}
    made = labels.dtype.is_integer() and not as_written
    meaning = indices if made else _meaning(set(labels.cast(pl.String)), names, indices, place)
    return labels.cast(pl.String).replace_strict(meaning, default=None, return_dtype=pl.Int64)


def _meaning(present: set[str], names: dict[str, int], indices: dict[str, int], place: str) -> dict[str, int]:
    """The index of each label that can be read. Raises DataError where names and indices contradict each other."""
    plain = dict(zip(spelled_all(names), names.values(), strict=True)) | names
    both = present <= set(plain) and present <= set(indices)
    if both and any(plain[value] != indices[value] for value in present):
        raise DataError(
            f"{place}: the labels {', '.join(sorted(present))} can be read as answers or as their indices, and the two "
            "differ; name the answers otherwise"
        )
    if present <= set(plain) or present <= set(indices):
        return plain if present <= set(plain) else indices
    if {label.casefold() for label in present} <= set(TRUTH):
        # Where the answers are True and False, booleans say so by name.
        folded = {name.casefold(): index for name, index in names.items()}
        by_name = set(TRUTH) <= set(folded)
        return {label: folded[low] if by_name else TRUTH.index(low) for label in present for low in [label.casefold()]}
    return indices | plain


def _near(label: str, names: Sequence[str]) -> str:
    same = [name for name in names if name.casefold() == label.casefold()]
    near = f'; did you mean "{same[0]}"?' if same else did_you_mean(label, names)
    # All of them stand in the message already.
    return near if "known:" not in near else ""


def arrange(table: pl.DataFrame, data: Data, place: str, half: int | None = None) -> pl.DataFrame:
    """Examples once each, in hash order, balanced, limited and split. `label` is an integer. Raises DataError.

    With `half`, that label has as many examples as the others together, which share evenly.
    """
    import polars as pl

    table = _once(table)
    counts = dict(table["label"].value_counts().sort("label").iter_rows())
    if len(counts) < 2:
        only = next(iter(counts), None)
        raise DataError(
            f"{place}: all {len(table)} examples have the label {only}; at least two labels are needed"
            if counts
            else f"{place}: there are no examples"
        )
    keyed = _keyed(table, data.seed)
    if data.balance:
        weights = {label: len(counts) - 1 if label == half else 1 for label in counts}
        units = [count // weights[label] for label, count in counts.items()]
        share = min(units) if data.limit is None else min(*units, data.limit // sum(weights.values()))
        if share == 0:
            raise DataError(
                f"{place}: a limit of {data.limit} leaves no example for each of the {len(counts)} labels; raise `limit`"
            )
        sizes = {label: share * weight for label, weight in weights.items()}
        ordered = _sorted(_first_groups(keyed, sizes))
        # First one example of each label from every group, then a second: pairs stay whole, and many groups are heard.
        turn = pl.int_range(pl.len()).over("group", "label").alias("turn")
        chosen = ordered.with_columns(turn).sort("turn", "group_key", "group", "key", "example")
        chosen = chosen.filter(pl.int_range(pl.len()).over("label") < pl.col("label").replace_strict(sizes))
    else:
        chosen = _sorted(keyed) if data.limit is None else _sorted(keyed.bottom_k(data.limit, by=list(_ORDER)))
    if PART in table.columns:
        divided = chosen.rename({PART: "split"})
        _check_parts(divided, data, sorted(counts), place)
    else:
        divided = _split(chosen, data, place)
    divided = divided.sort("group_key", "group", "key", "example")
    columns = ["example", "group", "label", "split"]
    rest = [name for name in table.columns if name not in (*columns, PART)]
    return divided.select(*columns, *rest)


def _once(table: pl.DataFrame) -> pl.DataFrame:
    return table.unique("example", keep="first", maintain_order=True)


def with_parts(table: pl.DataFrame, data: Data, place: str, answers: Sequence[int]) -> pl.DataFrame:
    """All examples, with the split of their groups: which depends on the data set, its seed and the shares only.

    Every part must have all of `answers`, which are some of the labels.
    """
    # In another order than that in which groups are chosen: a small limit would else take training rows only.
    keyed = _keyed(_once(table), f"parts of {data.seed}")
    return _split(keyed, data, place, answers).rename({"split": PART}).drop("key", "group_key")


def _first_groups(keyed: pl.DataFrame, sizes: Mapping[int, int]) -> pl.DataFrame:
    """The examples without the groups that come too late for any of their examples to be among the so many of its label.

    What is chosen is the same without this, but a million rows need not be sorted for the sake of a thousand.
    """
    import polars as pl

    last = []
    for label, size in sizes.items():
        groups = (
            keyed.filter(label=label).select(pl.col("group_key").unique()).bottom_k(size, by="group_key")["group_key"]
        )
        if len(groups) < size:
            return keyed
        last += groups.to_list()
    return keyed.filter(pl.col("group_key") <= max(last))


def _sorted(keyed: pl.DataFrame) -> pl.DataFrame:
    return keyed.sort(_ORDER)


def _keyed(table: pl.DataFrame, seed: int | str) -> pl.DataFrame:
    """The examples with `key` and `group_key`, by which groups, and examples in them, are ordered."""
    import polars as pl

    group = table["group"]
    names = group.unique(maintain_order=True)
    of_groups = keys(names.to_list(), seed, "group")
    if len(names) == len(group):
        # A million rows: where every row is a group of its own, one hash will do.
        group_key = key = pl.Series(of_groups, dtype=pl.Binary)
    else:
        by_name = dict(zip(names, of_groups, strict=True))
        group_key = pl.Series([by_name[name] for name in group], dtype=pl.Binary)
        key = pl.Series(keys(table["example"], seed, "example"), dtype=pl.Binary)
    return table.with_columns(key.alias("key"), group_key.alias("group_key"))


def _split(chosen: pl.DataFrame, data: Data, place: str, answers: Sequence[int] | None = None) -> pl.DataFrame:
    """The examples with `split`; each part has each of the labels, or of those that are `answers`. Groups of the same make-up are divided in proportion; what is left over goes where it lacks most."""
    import polars as pl

    shares = [data.split.train, data.split.validation, data.split.test]
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise DataError(f"data.split: {' + '.join(map(str, shares))} is {sum(shares):g}; the shares must sum to one")
    labels = sorted(chosen["label"].unique())
    # A group's make-up: how many examples of each label it has.
    made_of = [pl.col("label").eq(label).sum().alias(f"n{label}") for label in labels]
    groups = chosen.group_by("group", "group_key").agg(made_of).sort("group_key", "group")
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
    groups = _place_leftovers(groups, make_up, shares)
    divided = chosen.join(groups.select("group", "split"), on="group", how="left")
    _check_parts(divided, data, [label for label in labels if answers is None or label in answers], place)
    return divided


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


def _check_parts(divided: pl.DataFrame, data: Data, labels: list[int], place: str) -> None:
    import polars as pl

    wanted = [name for name in PARTS if getattr(data.split, name) > 0]
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
