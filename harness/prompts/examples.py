"""The examples of a condition: labels decoded, balanced, sampled, split by group. Numbers are divided by quantiles instead.

Everything is ordered by hashes of the seed and the example's id. So the order of a file means nothing, every machine
draws the same, and a larger limit keeps the examples of a smaller one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.contracts import BINARY, Factor, Source, TargetKind
from harness.contracts.kind import names
from harness.errors import DataError, did_you_mean
from harness.maths.draws import keys
from harness.prompts.division import GROUP_KEY, check_members, check_parts, split_of
from harness.prompts.statement_labels import labelled, readable
from harness.prompts.where import rows_where
from harness.spec import Condition, Data, StatesFolder
from harness.spec.plain import plain, source_content
from harness.store import content_key
from harness.untrusted.spellings import TRUTH, spelled_all

if TYPE_CHECKING:
    import polars as pl

_KEY, _TURN = f"{GROUP_KEY}of row", f"{GROUP_KEY}turn"
"""Columns by which rows are ordered, under names that no data set has: it may have a `key` of its own."""

_ORDER = (GROUP_KEY, "group", _KEY, "example")

PART = "\x1fpart"
"""Column of a split that was made before rows were chosen; no data set has one of this name."""

_ROW = f"{PART}row"
"""Column of the number of a row, from 0, among all rows."""


class Sampled(NamedTuple):
    """The examples of a condition, and what their label is."""

    examples: pl.DataFrame
    truth: Factor


def sampled(data: Data, answers: tuple[str, ...], folder: Path) -> Sampled:
    """The examples of a condition as `sample` has them, with what `data.target` says that their label is. Raises DataError."""
    if data.target is None:
        return Sampled(sample(data, answers, folder), Factor("truth", answers))
    source = source_of(data)
    whole = source.load(data.seed, folder, data.limit if data.where is None else None)
    table, truth = aimed(with_text(whole, source), data, source)
    return Sampled(arrange(table, data, source.title, kind=truth.target, names=truth.values), truth)


def aimed(table: pl.DataFrame, data: Data, source: Source, *, whole: bool = True) -> tuple[pl.DataFrame, Factor]:
    """The rows of the source's table that `data.where` keeps, with `label` as `data.target` says, and what it is. Raises DataError; of the
    first rows only, which are not the `whole`, not for what others may have."""
    target, own = data.target, data.source
    assert target is not None and own is not None
    # A set that was told to read the column has it as its label.
    column = "label" if target.column is None or own.labelled_by(target.column) is not own else target.column
    named, known = target.column or own.label_column, shown_values(source)
    if data.where is not None:
        return aimed_rows(table, data, column, source.title, known, named)
    return labelled(table, target, column, source.title, known, whole=whole, named=named)


def aimed_rows(
    table: pl.DataFrame,
    data: Data,
    column: str,
    place: str,
    known: Mapping[str, Sequence[str]],
    named: str | None = None,
) -> tuple[pl.DataFrame, Factor]:
    """The rows that `data.where` keeps, each with its part of the split of all groups, unless it has one; with `label` as `data.target` says of
    their `column`, and what it is. The rest is as in `labelled`. Those that are left out may have anything there."""

    assert data.where is not None and data.target is not None
    labels, target = readable(table, data.target, column, place, known)
    given = table.with_row_index(_ROW)
    if PART not in table.columns:
        rows = table.select("example", "group").with_columns(labels.alias("label"))
        parts = with_parts(rows, data, place, (), target.factor.target)
        given = _once(given).join(parts.select("example", PART), on="example", how="left", maintain_order="left")
    kept = rows_where(given, data.where, known, place)
    return labelled(kept.drop(_ROW), target, column, place, known, named=named, rows=kept[_ROW])


def shown_values(source: Source) -> dict[str, tuple[str, ...]]:
    """By column, the names of the classes of a known factor, index = value."""
    return {factor.name: factor.values for factor in source.factors if factor.values}


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
        decoded = chosen_rows(table, data, answers, place, shown_values(source), source.labels_as_written)
    else:
        decoded = decode(table, answers, place, source.labels_as_written)
    return arrange(decoded, data, place, None if data.half is None else answers.index(data.half), names=answers)


def with_text(table: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The table with the field `text`, under which every template finds the example in words."""
    if "text" in table.columns or source.text_from not in table.columns:
        return table
    return table.with_columns(table[source.text_from].alias("text"))


def chosen_rows(
    table: pl.DataFrame,
    data: Data,
    answers: tuple[str, ...],
    place: str,
    shown: Mapping[str, Sequence[str]],
    as_written: bool,
    named: str = "prompt.answers",
) -> pl.DataFrame:
    """The rows that `data.where` keeps, each with its part of the split of all groups, unless it has one, and `label` an index. `shown` are as
    in `rows_where`, the rest as in `decode`. Raises DataError where one that is kept has a label that is none of the answers; all others can
    be left out.
    """
    import polars as pl

    assert data.where is not None
    codes, written = _codes(table, answers, place, as_written), table["label"].cast(pl.String)
    others = sorted(written.filter(codes.is_null()).unique().drop_nulls())
    numbered = written.replace_strict(
        {name: len(answers) + k for k, name in enumerate(others)}, default=None, return_dtype=pl.Int64
    )
    spellings = {
        f"{PART}index": codes.cast(pl.String),
        f"{PART}answer": codes.replace_strict(dict(enumerate(answers)), default=None, return_dtype=pl.String),
        f"{PART}written": written,
    }
    given = table.with_columns(codes.fill_null(numbered).alias("label"), **spellings).with_row_index(_ROW)
    divided = given if PART in table.columns else with_parts(given, data, place, range(len(answers)))
    kept = rows_where(divided, data.where, shown, place, {"label": tuple(spellings)})
    for row in kept.filter(pl.col("label") >= len(answers))[_ROW].head(1):
        _refuse(table, row, answers, place, as_written, named)
    return kept.drop(_ROW, *spellings)


def fingerprint(data: Data, folder: Path) -> str:
    """A hash that changes when the source's examples do. What is sampled of them is a matter of the other options of `data`."""
    return source_of(data).fingerprint(data.seed, folder)


def data_set(condition: Condition, folder: Path) -> str:
    """A hash that tells the groups of a condition's data set from groups of the same name in another.

    Of what is in files, and not of their names: a copy of a file is the same data set.
    """
    source, bed = condition.data.source, condition.bed
    own = condition.model if isinstance(condition.model, StatesFolder) else condition.own_rows
    named = None if source is None else {**source_content(source), **source.contents(folder)}
    # A bed's own rows are known by the bed; those of a file are the file's, wherever the bed lies.
    return content_key(named, plain(own), *([bed.name, bed.revision] if bed and source is None else []))


def source_of(data: Data) -> Source:
    """The source, which only a test bed can do without. Raises DataError."""
    if data.source is None:
        raise DataError(f"data.source is missing; name a file, or one of: {', '.join(names('data'))}")
    column = None if data.target is None else data.target.column
    return data.source if column is None else data.source.labelled_by(column)


def decode(
    table: pl.DataFrame, answers: Sequence[str], place: str, as_written: bool = False, named: str = "prompt.answers"
) -> pl.DataFrame:
    """The same with `label` as an index into `answers`. Raises DataError with the row of the first that is none.

    `as_written`: integers, too, may be answers, as the same labels in a file of text may be. `named` is where the answers are named.
    """
    codes = _codes(table, answers, place, as_written)
    if codes.null_count():
        _refuse(table, codes.is_null().arg_max() or 0, answers, place, as_written, named)
    return table.with_columns(codes.alias("label"))


def no_answers(table: pl.DataFrame, answers: Sequence[str], place: str, as_written: bool = False) -> pl.Series:
    """Which labels are none of the answers. Raises DataError as `decode`, but not for these."""
    return _codes(table, answers, place, as_written).is_null()


def _refuse(
    table: pl.DataFrame, row: int, answers: Sequence[str], place: str, as_written: bool, named: str = "prompt.answers"
) -> None:
    """Raises DataError for a row of which the label is none of the answers."""
    import polars as pl

    label, names = str(table["label"].cast(pl.String)[row]), [name.strip() for name in answers]
    made = table["label"].dtype.is_integer() and not as_written
    known = [f"{index} ({name})" for index, name in enumerate(names)]
    present = sorted(table["label"].cast(pl.String).unique().drop_nulls())
    remedy = ""
    if as_written and len(present) == len(answers):
        remedy = f"; write {named}: {json.dumps(present, ensure_ascii=False)}, index = label, or change the column"
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


def arrange(
    table: pl.DataFrame,
    data: Data,
    place: str,
    half: int | None = None,
    kind: TargetKind = BINARY,
    names: Sequence[str] = (),
) -> pl.DataFrame:
    """Examples once each, in hash order, balanced, limited and split. `label` is of that kind, `names` are those of its classes. Raises
    DataError.

    With `half`, that label has as many examples as the others together, which share evenly. Only classes are balanced.
    """
    import polars as pl

    table = _once(table)
    counts = dict(table["label"].value_counts().sort("label").iter_rows()) if kind.in_classes else {}
    if kind.in_classes and not counts:
        raise DataError(f"{place}: there are no examples")
    if kind.in_classes and data.balance and len(counts) < 2:
        raise DataError(
            f"{place}: all {len(table)} examples have the label {next(iter(counts))}; at least two labels are needed, or `balance: false`, for rows of which "
            "none teaches anything, such as a control set"
        )
    if kind.in_classes:
        check_members(table, data, place, names)
    keyed = _keyed(table, data.seed)
    if data.balance and kind.in_classes:
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
        turn = pl.int_range(pl.len()).over("group", "label").alias(_TURN)
        chosen = ordered.with_columns(turn).sort(_TURN, *_ORDER)
        chosen = chosen.filter(pl.int_range(pl.len()).over("label") < pl.col("label").replace_strict(sizes))
    else:
        chosen = _sorted(keyed) if data.limit is None else _sorted(keyed.bottom_k(data.limit, by=list(_ORDER)))
    if PART in table.columns:
        divided = chosen.rename({PART: "split"})
        check_parts(divided, data, sorted(counts), place)
    else:
        divided = split_of(chosen, data, place, kind)
    divided = divided.sort(_ORDER)
    columns = ["example", "group", "label", "split"]
    rest = [name for name in table.columns if name not in (*columns, PART)]
    return divided.select(*columns, *rest)


def _once(table: pl.DataFrame) -> pl.DataFrame:
    return table.unique("example", keep="first", maintain_order=True)


def with_parts(
    table: pl.DataFrame, data: Data, place: str, answers: Sequence[int], kind: TargetKind = BINARY
) -> pl.DataFrame:
    """All examples, with the split of their groups: which depends on the data set, its seed and the shares only.

    Every part must have all of `answers`, which are some of the labels.
    """
    # In another order than that in which groups are chosen: a small limit would else take training rows only.
    keyed = _keyed(_once(table), f"parts of {data.seed}")
    return split_of(keyed, data, place, kind, answers).rename({"split": PART}).drop(_KEY, GROUP_KEY)


def _first_groups(keyed: pl.DataFrame, sizes: Mapping[int, int]) -> pl.DataFrame:
    """The examples without the groups that come too late for any of their examples to be among the so many of its label.

    What is chosen is the same without this, but a million rows need not be sorted for the sake of a thousand.
    """
    import polars as pl

    last = []
    for label, size in sizes.items():
        groups = keyed.filter(label=label).select(pl.col(GROUP_KEY).unique()).bottom_k(size, by=GROUP_KEY)[GROUP_KEY]
        if len(groups) < size:
            return keyed
        last += groups.to_list()
    return keyed.filter(pl.col(GROUP_KEY) <= max(last))


def _sorted(keyed: pl.DataFrame) -> pl.DataFrame:
    return keyed.sort(_ORDER)


def _keyed(table: pl.DataFrame, seed: int | str) -> pl.DataFrame:
    """The examples with the keys by which groups, and examples in them, are ordered."""
    import polars as pl

    group = table["group"]
    names = group.unique(maintain_order=True)
    of_groups = keys(names, seed, "group")
    if len(names) == len(group):
        # A million rows: where every row is a group of its own, one hash will do.
        group_key = key = pl.Series(of_groups, dtype=pl.Binary)
    else:
        by_name = dict(zip(names, of_groups, strict=True))
        group_key = pl.Series([by_name[name] for name in group], dtype=pl.Binary)
        key = pl.Series(keys(table["example"], seed, "example"), dtype=pl.Binary)
    return table.with_columns(key.alias(_KEY), group_key.alias(GROUP_KEY))
