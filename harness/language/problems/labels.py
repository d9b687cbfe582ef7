"""What is wrong with the labels of a data file: every value that is no answer, at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contracts import Source
from harness.data.file import File, labels_of
from harness.errors import DataError, did_you_mean
from harness.spec import Condition

if TYPE_CHECKING:
    import polars as pl

HANDFUL = 5
"""Values of which each has a message."""

_RARE = 0.05
"""A value of a smaller share of the rows is a slip rather than an answer that the spec forgot."""


def label_faults(condition: Condition, answers: Sequence[str], home: Path) -> list[DataError]:
    """Each wrong label of a small file, with its first row and line; none where something else is wrong. Relative paths start at `home`."""
    source = condition.data.source
    if not isinstance(source, File) or condition.data.target is not None or condition.data.where is not None:
        return []
    try:
        table = labels_of(source, home)
        return [] if table is None else list(_faults(table, source, answers))
    except DataError:
        return []


def is_of_label(error: DataError, source: Source) -> bool:
    """Whether a data set's error is one of those that `label_faults` finds."""
    own = isinstance(source, File) and f'column "{source.label}": empty' in str(error)
    return own or (error.about == "prompt.answers" and ": row " in str(error))


def _faults(table: pl.DataFrame, source: File, answers: Sequence[str]) -> Iterator[DataError]:
    import polars as pl

    from harness.prompts.examples import no_answers

    rows = table.with_row_index("row", offset=1)
    written = rows.drop_nulls("label")
    if answers and len(written):
        wrong = written.filter(no_answers(written, answers, source.title, source.labels_as_written))
    else:
        wrong = written.clear()
    empty = rows.filter(pl.col("label").is_null())
    found = pl.concat([empty, wrong]).group_by("label", maintain_order=True)
    values = found.agg(pl.col("row").first(), pl.col("line").first(), pl.len().alias("count")).sort("row")
    known = written["label"].value_counts()
    for value in values.head(HANDFUL).iter_rows(named=True):
        yield _fault(value, source, [name.strip() for name in answers], dict(known.iter_rows()))
    if rest := int(values["count"][HANDFUL:].sum()):
        more, about = len(values) - HANDFUL, "prompt.answers" if len(wrong) else ""
        yield DataError(f'{source.title}: and {more:,} more labels of column "{source.label}", in {rest:,} rows', about)


def _fault(value: dict[str, object], source: File, answers: Sequence[str], counts: dict[str, int]) -> DataError:
    label, more = value["label"], int(str(value["count"])) - 1
    tail = [f"line {value['line']}"] if value["line"] is not None else []
    tail += [f"so {'is' if more == 1 else 'are'} {more:,} more row{'s' * (more > 1)}"] if more else []
    where = f'{source.title}: row {value["row"]}, column "{source.label}"'
    after = f" ({'; '.join(tail)})" if tail else ""
    if label is None:
        return DataError(f"{where}: empty; fill it in, or take the row out{after}")
    known = ", ".join(f"{index} ({name})" for index, name in enumerate(answers))
    said = f'the label "{label}" is neither an answer nor its index{_near(str(label), answers)}; labels are {known}'
    return DataError(f"{where}: {said}{_remedy(answers, counts)}{after}", "prompt.answers")


def _near(label: str, answers: Sequence[str]) -> str:
    same = [name for name in answers if name.casefold() == label.casefold()]
    near = f'; did you mean "{same[0]}"?' if same else did_you_mean(label, answers)
    # All of them stand in the message already.
    return near if "known:" not in near else ""


def _remedy(answers: Sequence[str], counts: dict[str, int]) -> str:
    """Other answers, where the file has as many labels as there are answers and none of them looks like a slip."""
    if len(counts) != len(answers) or min(counts.values()) < _RARE * sum(counts.values()):
        return ""
    return (
        f"; write prompt.answers: {json.dumps(sorted(counts), ensure_ascii=False)}, index = label, or change the column"
    )
