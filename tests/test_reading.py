"""Tables of strangers: every row is read, or the line that stands in the way is named; the format means nothing."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import random
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pytest

from harness.contracts import kind
from harness.data import _reading
from harness.errors import DataError
from harness.prompts.examples import decode
from harness.prompts.where import rows_where
from harness.untrusted.template import Template

from .worker_here import worker_here

FORMATS = ("csv", "tsv", "jsonl", "parquet")
TABLES = int(os.environ.get("HARNESS_RANDOM_TABLES", "300"))
"""Random tables; HARNESS_RANDOM_TABLES=10000 tries more."""


def load(folder: Path, name: str, **options: object) -> pl.DataFrame:
    return msgspec.convert({"file": name} | options, kind.find("data", "file")).load(0, folder)  # type: ignore[attr-defined]


def written(folder: Path, name: str, content: str | bytes) -> str:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def said(folder: Path, name: str, **options: object) -> str:
    with pytest.raises(DataError) as raised:
        load(folder, name, **options)
    return str(raised.value)


# Quotes


def rows_of(count: int) -> list[tuple[str, int]]:
    return [(f"place {number} is far", number % 2) for number in range(count)]


@pytest.mark.parametrize("fields", [["text"], []])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_quote_inside_a_cell_loses_no_row(ending: str, fields: list[str], tmp_path: Path) -> None:
    separator = {"csv": ",", "tsv": "\t"}[ending]
    notes = ['a screen of 5" wide' if number in (9, 37) else "plain" for number in range(60)]
    lines = [separator.join(("text", "label", "note"))]
    lines += [separator.join((text, str(label), note)) for (text, label), note in zip(rows_of(60), notes, strict=True)]
    rows = load(tmp_path, written(tmp_path, f"a.{ending}", "\n".join(lines)), fields=fields)
    assert rows["text"].to_list() == [text for text, _ in rows_of(60)]
    if not fields:
        assert rows["note"].to_list() == notes


def glued(first: int, last: int, columns: str = "text,label", separator: str = ",") -> str:
    """Twelve rows, with a quote at the beginning of one text and one at the end of another."""
    lines = [columns.replace(",", separator)]
    for number, (text, label) in enumerate(rows_of(12)):
        marked = '"' * (number == first) + text + '"' * (number == last)
        cells = {"text": marked, "label": str(label), "note": "plain"}
        lines.append(separator.join(cells[column] for column in columns.split(",")))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("last", [5, 9])
@pytest.mark.parametrize("columns", ["text,label", "label,text", "label,text,note"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_rows_that_a_quote_glues_together_are_refused(ending: str, columns: str, last: int, tmp_path: Path) -> None:
    name = written(tmp_path, f"a.{ending}", glued(4, last, columns, {"csv": ",", "tsv": "\t"}[ending]))
    message = said(tmp_path, name)
    assert message.startswith(
        f"{name}:6: a cell in quotes goes on until line {last + 2}, and {last - 3} of these lines"
    )
    assert message.endswith("if quotes are text, say `quote: none` in the source, else `quote: double`")
    as_text = load(tmp_path, name, quote="none")["text"].to_list()
    assert [text.strip('"') for text in as_text] == [text for text, _ in rows_of(12)]
    assert as_text[4] == '"place 4 is far'
    assert len(load(tmp_path, name, quote="double")) == 12 - (last - 4)


def test_a_text_of_several_lines_is_one_text(tmp_path: Path) -> None:
    texts = ["one\n\ntwo", "Dear all,\nit is 1, or 0\nbye", 'he said "0",\nand "1"', "1, 0\r\n"]
    frame = pl.DataFrame({"text": texts, "label": [0, 1, 0, 1]})
    for ending, separator in (("csv", ","), ("tsv", "\t")):
        frame.write_csv(tmp_path / f"a.{ending}", separator=separator)
        assert load(tmp_path, f"a.{ending}")["text"].to_list() == texts
    name = written(tmp_path, "b.csv", 'text,label\n"a table:\nx,0\ny,1\n",1\nb,0\n')
    assert said(tmp_path, name).startswith(
        "b.csv:2: a cell in quotes goes on until line 5, and 3 of these lines are rows"
    )
    assert load(tmp_path, name, quote="double")["text"][0] == "a table:\nx,0\ny,1\n"


QUOTES = {
    "words after a quote": ('text,label\na,1\n"b" c,0\n', r"a\.csv:3: .* expected after .* \(line 3\); check for"),
    "a quote that is open": ('text,label\na,1\n"b,0\nc,1\n', r"a\.csv:3: unexpected end of data \(line 4\); check for"),
    "a text in half quotes": ('text,label\n"a,1\n"b,0\n', r"a\.csv:2: .* \(line 3\)"),
    "rows after an open quote": (
        'text,label\n"a,1\nb,0",0\nc,1\n',
        r"a\.csv:2: a cell in quotes goes on until line 3, and 2",
    ),
}


@pytest.mark.parametrize("case", QUOTES)
def test_quotes_that_csv_does_not_allow(case: str, tmp_path: Path) -> None:
    content, message = QUOTES[case]
    found = said(tmp_path, written(tmp_path, "a.csv", content))
    assert re.match(message, found), found
    assert "`quote: none`" in found


def test_quotes_are_a_matter_of_csv(tmp_path: Path) -> None:
    name = written(tmp_path, "a.jsonl", '{"text": "a", "label": 1}\n')
    assert said(tmp_path, name, quote="none") == "a.jsonl: `quote` is for csv and tsv; take it out"


def test_an_empty_text_is_not_an_empty_cell(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"text": ["a", "b", "c"], "label": [0, 1, 0], "note": ["", None, 'x,"'], "more": [None, "", ""]}
    )
    tables = [load(tmp_path, name) for name in in_every_format(frame, tmp_path)]
    for rows in tables:
        assert rows.select("note", "more").rows() == frame.select("note", "more").rows()
        assert rows["example"].equals(tables[0]["example"])


# Lines


def test_rows_whose_needed_cells_are_empty_are_not_dropped(tmp_path: Path) -> None:
    name = written(tmp_path, "a.csv", "text,label,note\na,1,x\nb,0,y\n,,forgotten\n")
    assert said(tmp_path, name, fields=["text"]).endswith(
        'row 3, column "text": empty; fill it in, or take the row out (line 4)'
    )


@pytest.mark.parametrize("line", ["", "  "])
def test_empty_lines_are_the_same_in_every_format(line: str, tmp_path: Path) -> None:
    for ending, header, one, other in (
        ("csv", "text,label\n", "a,1", "b,0"),
        ("tsv", "text\tlabel\n", "a\t1", "b\t0"),
        ("jsonl", "", '{"text": "a", "label": 1}', '{"text": "b", "label": 0}'),
    ):
        name = written(tmp_path, f"a.{ending}", f"{header}{one}\n{line}\n{other}\n")
        at = 2 + bool(header)
        expected = f'{name}: row 2, column "text": empty; fill it in, or take the row out (line {at})'
        assert said(tmp_path, name) == expected
        assert len(load(tmp_path, written(tmp_path, name, f"{header}{one}\r\n{other}\r\n{line}\r\n{line}"))) == 2


def test_a_parser_that_leaves_lines_out_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = written(tmp_path, "a.csv", "text,label\na,1\nb,0\nc,1\n")
    assert len(load(tmp_path, name)) == 3
    whole = _reading.read_records

    def partial(*given: object) -> object:
        cells = whole(*given)  # type: ignore[arg-type]
        cells.last_line -= 1
        return cells

    monkeypatch.setattr(_reading, "read_records", partial)
    with worker_here():
        assert "4 lines, and 3 were read" in said(tmp_path, name)


JSON = {
    "NaN of a text": ('{"text": NaN, "label": 1}\n', r'a\.jsonl: row 1, column "text": empty; .* \(line 1\)'),
    "a key that stands twice": ('{"text": "a", "label": 1, "label": 0}\n', r'a\.jsonl:1: .*"label" stands twice'),
    "half a character": ('\n{"text": "\\ud83d", "label": 1}\n', r"a\.jsonl:2: not JSON .*surrogates"),
    "a raw NUL": ('{"text": "a\0", "label": 1}\n', r"a\.jsonl:1: not JSON \(Invalid control character"),
    "a mark in a later line": ('{"text": "a", "label": 1}\n\ufeff{}\n', r"a\.jsonl:2: not JSON"),
}


@pytest.mark.parametrize("case", JSON)
def test_lines_of_json_are_explained_by_their_reader(case: str, tmp_path: Path) -> None:
    content, message = JSON[case]
    found = said(tmp_path, written(tmp_path, "a.jsonl", content))
    assert re.match(message, found), found


# The same table in every format


def in_every_format(frame: pl.DataFrame, folder: Path, spellings: dict[str, list[str]] | None = None) -> list[str]:
    """Files of the table; in csv and tsv, columns as somebody's program spells them."""
    texts = frame.with_columns([pl.Series(name, cells) for name, cells in (spellings or {}).items()])
    texts.write_csv(folder / "a.csv", include_bom=True)
    texts.write_csv(folder / "a.tsv", separator="\t", line_terminator="\r\n")
    lines = [json.dumps(row) for row in frame.iter_rows(named=True)]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    frame.write_parquet(folder / "a.parquet")
    return [f"a.{ending}" for ending in FORMATS]


YES_NO, BY_NAME, TURNED, NUMBERS = ("No", "Yes"), ("false", "true"), ("True", "False"), ("1", "2")
BOOLEANS: list[object] = [True, False, True]
SPELLINGS: dict[str, tuple[list[object], list[str], tuple[str, ...], list[int] | str]] = {
    "True": (BOOLEANS, ["True", "False", "True"], BY_NAME, [1, 0, 1]),
    "true": (BOOLEANS, ["true", "false", "true"], BY_NAME, [1, 0, 1]),
    "TRUE": (BOOLEANS, ["TRUE", "FALSE", "TRUE"], YES_NO, [1, 0, 1]),
    "True where the answers are turned": (BOOLEANS, ["True", "False", "True"], TURNED, [0, 1, 0]),
    "1": ([1, 0, 1], ["1", "0", "1"], YES_NO, [1, 0, 1]),
    "1.0": ([1.0, 0.0, 1.0], ["1.0", "0.0", "1.0"], BY_NAME, [1, 0, 1]),
    "1.": ([1.0, 0.0, 1.0], ["1.", "0.", " 1"], BY_NAME, [1, 0, 1]),
    "numbers that are answers": ([1, 2, 1], ["1", "2", "1"], NUMBERS, [0, 1, 0]),
    "1.0 that is an answer": ([1.0, 2.0, 1.0], ["1.0", "2.0", "1.0"], NUMBERS, [0, 1, 0]),
    "names": (["Yes", "No", "Yes"], ["Yes", "No", "Yes"], YES_NO, [1, 0, 1]),
    "blanks around": ([" Yes", "No ", "Yes"], [" Yes", "No ", "Yes"], YES_NO, [1, 0, 1]),
    "names and indices": ([1, 0, 1], ["1", "0", "1"], ("1", "0"), "can be read as answers or as their indices"),
    "YES": (["YES", "NO", "YES"], ["YES", "NO", "YES"], YES_NO, 'row 1: the label "YES" .*; did you mean "Yes"'),
    "too large": (
        [1, 0, 2],
        ["1", "0", "2"],
        YES_NO,
        r'row 3: the label "2" is neither .* labels are 0 \(No\), 1 \(Yes\)',
    ),
    "half": (
        [1.0, 0.0, 0.5],
        ["1.0", "0.0", "0.5"],
        YES_NO,
        'row 3: the label "0.5" is neither an answer nor its index',
    ),
    "infinite": (
        [1.0, 0.0, float("inf")],
        ["1", "0", "inf"],
        YES_NO,
        'row 3: the label "inf" is neither an answer nor its index',
    ),
    "NaN": ([1.0, 0.0, float("nan")], ["1.0", "0.0", "NaN"], YES_NO, 'row 3, column "label": empty; fill it in'),
    "none": ([1, 0, None], ["1", "0", ""], YES_NO, 'row 3, column "label": empty; fill it in'),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_labels_mean_the_same_in_every_format(case: str, tmp_path: Path) -> None:
    values, texts, answers, expected = SPELLINGS[case]
    frame = pl.DataFrame({"text": ["a", "b", "c"], "label": values})
    outcomes, messages = [], []
    for name in in_every_format(frame, tmp_path, {"label": texts}):
        try:
            rows = decode(load(tmp_path, name), answers, name, as_written=True)
            outcomes.append((rows["label"].to_list(), rows["example"].to_list()))
        except DataError as error:
            messages.append(re.sub(r"^a\.\w+| \(line \d\)$", "", str(error)))
    if isinstance(expected, str):
        assert len(messages) == len(FORMATS), outcomes
        assert len(set(messages)) == 1
        assert re.search(expected, messages[0]), messages[0]
    else:
        assert not messages
        assert outcomes == [(expected, outcomes[0][1])] * len(FORMATS)


FACTORS: dict[str, tuple[list[object], list[str], list[int]]] = {
    "booleans": ([True, False, True], ["True", "False", "True"], [1, 0, 1]),
    "whole numbers": ([1.0, 0.0, 1.0], ["1.0", "0.0", "1.0"], [1, 0, 1]),
    "names": (["b", "a", "b"], ["b", "a", "b"], [1, 0, 1]),
}


@pytest.mark.parametrize("case", FACTORS)
def test_factors_mean_the_same_in_every_format(case: str, tmp_path: Path) -> None:
    values, texts, expected = FACTORS[case]
    frame = pl.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 0], "loud": values})
    for name in in_every_format(frame, tmp_path, {"loud": texts}):
        assert load(tmp_path, name, factors=["loud"])["loud"].to_physical().to_list() == expected
        if case == "booleans":
            given = load(tmp_path, name, factors={"loud": ["True", "False"]})["loud"]
            assert given.to_list() == ["True", "False", "True"]


class Field(msgspec.Struct):
    """A column of three rows, and what a template shows of it."""

    values: pl.Series
    """As parquet has it."""
    texts: list[str]
    """As somebody's program spells it in csv."""
    shown: list[str] | str
    """In every format; or what is said of the first row that cannot be shown."""
    json: list[str] = []
    """As jsonl has it, where that is not what Python writes."""


DAY, HOUR = datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3, 4, 5)
EMPTY = 'template main, line 1, example "[0-9a-f]+": the field "field" is empty'
FIELDS = {
    "whole numbers": Field(pl.Series([1, 0, -3]), ["1", "0", "-3"], ["1", "0 no", "-3"]),
    "small whole numbers": Field(pl.Series([1, 0, 3], dtype=pl.UInt8), ["1", "0", "3"], ["1", "0 no", "3"]),
    "1.0": Field(pl.Series([1.0, 0.0, 3.0]), ["1.0", "0.0", "3.0"], ["1.0", "0.0 no", "3.0"]),
    "1 among fractions": Field(pl.Series([1.0, 2.5, 0.0]), ["1", "2.5", "0"], ["1.0", "2.5", "0.0 no"], ["1", "2.5", "0"]),
    "single precision": Field(
        pl.Series([0.1, 2.5, 1.0], dtype=pl.Float32), ["0.1", "2.5", "1.0"], ["0.1", "2.5", "1.0"], ["0.1", "2.5", "1.0"]
    ),
    "exponents": Field(pl.Series([1e-7, 2.5, 1e22]), ["1e-7", "2.5", "1E22"], ["1e-07", "2.5", "1e+22"]),
    "leading zeros": Field(pl.Series(["007", "1", "2"]), ["007", "1", "2"], ["007", "1", "2"]),
    "zeros at the end": Field(pl.Series(["2.50", "1.0", "3"]), ["2.50", "1.0", "3"], ["2.50", "1.0", "3"], ["2.50", "1.0", "3"]),
    "numbers in text": Field(pl.Series(["1", "0", "3"]), ["1", "0", "3"], ["1", "0 no", "3"]),
    "other digits": Field(pl.Series(["١", "٢", "٣"]), ["١", "٢", "٣"], ["١", "٢", "٣"]),
    "many digits": Field(
        pl.Series([1 << 63, 0, 1], dtype=pl.UInt64), [str(1 << 63), "0", "1"], [str(1 << 63), "0", "1"]
    ),
    "more digits than any type": Field(pl.Series(["9" * 50, "0", "1"]), ["9" * 50, "0", "1"], ["9" * 50, "0", "1"], ["9" * 50, "0", "1"]),
    "decimals": Field(
        pl.Series([Decimal("2.50"), Decimal("1.00"), Decimal("0.25")]),
        ["2.50", "1.00", "0.25"], ["2.50", "1.00", "0.25"], ["2.50", "1.00", "0.25"],
    ),
    "booleans": Field(pl.Series([True, False, True]), ["TRUE", "False", "true"], ["True", "False no", "True"]),
    "words of booleans": Field(pl.Series(["true", "False", "true"]), ["true", "False", "true"], ["True", "False no", "True"]),
    "true and a number": Field(pl.Series(["true", "0", "1"]), ["true", "0", "1"], ["true", "0", "1"], ["true", "0", "1"]),
    "days": Field(pl.Series([DAY, DAY, DAY]), ["2024-01-02"] * 3, ["2024-01-02"] * 3),
    "hours": Field(pl.Series([HOUR, HOUR, HOUR]), ["2024-01-02 03:04:05"] * 3, ["2024-01-02 03:04:05"] * 3),
    "categories": Field(pl.Series(["b", "a", "b"], dtype=pl.Categorical), ["b", "a", "b"], ["b", "a", "b"]),
    "words": Field(pl.Series(["yes", "no", "1"]), ["yes", "no", "1"], ["yes", "no", "1"]),
    "an empty cell among numbers": Field(pl.Series([1, None, 2]), ["1", "", "2"], EMPTY),
    "an empty cell among booleans": Field(pl.Series([True, None, False]), ["True", "", "False"], EMPTY),
    "empty cells only": Field(pl.Series([None, None, None]), ["", "", ""], EMPTY),
    "NaN": Field(pl.Series([0.5, float("nan"), 1.0]), ["0.5", "NaN", "1.0"], EMPTY),
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
def test_fields_are_shown_alike_in_every_format(case: str, tmp_path: Path) -> None:
    """And are the same values to a condition of the template, in examples of the same names."""
    field = FIELDS[case]
    texts = pl.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 0], "field": field.texts})
    cells = field.json or [json.dumps(value, default=str) for value in field.values]
    lines = (
        f'{{"text": "{text}", "label": {label}, "field": {cell}}}'
        for text, label, cell in zip("abc", (0, 1, 0), cells, strict=True)
    )
    texts.write_csv(tmp_path / "a.csv", quote_style="never")
    texts.write_csv(tmp_path / "a.tsv", separator="\t", quote_style="never")
    written(tmp_path, "a.jsonl", "\n".join(lines))
    texts.with_columns(field.values.alias("field")).write_parquet(tmp_path / "a.parquet")
    template = Template("main", "{{ field }}{% if not field %} no{% endif %} {{ answer }}")
    outcomes = []
    for ending in FORMATS:
        rows = load(tmp_path, f"a.{ending}")
        try:
            pairs = [template.pair(row, ("A", "B"), ("A", "B"), row["example"]) for row in rows.iter_rows(named=True)]
            found: list[str] | str = [first.text.removesuffix(" A") for first, _ in pairs]
        except DataError as error:
            found = str(error)
        outcomes.append((found, rows["example"].to_list()))
    if isinstance(field.shown, str):
        assert re.match(field.shown, str(outcomes[0][0]))
        assert outcomes == outcomes[:1] * len(FORMATS)
    else:
        assert outcomes == [(field.shown, outcomes[0][1])] * len(FORMATS)


@pytest.mark.parametrize("case", ["1.0", "booleans", "whole numbers", "days"])
def test_texts_groups_and_chosen_rows_are_the_same_in_every_format(case: str, tmp_path: Path) -> None:
    field = FIELDS[case]
    frame = pl.DataFrame({"t": field.values, "label": [0, 1, 0], "text": ["a", "b", "c"]})
    spelt = frame.with_columns(pl.Series("t", field.texts))
    spelt.write_csv(tmp_path / "a.csv")
    spelt.write_csv(tmp_path / "a.tsv", separator="\t")
    rows = frame.iter_rows(named=True)
    written(tmp_path, "a.jsonl", "\n".join(json.dumps(row, default=str) for row in rows))
    frame.write_parquet(tmp_path / "a.parquet")
    wanted = {"1.0": 1, "booleans": True, "whole numbers": 1, "days": "2024-01-02"}[case]
    outcomes = []
    for ending in FORMATS:
        made = load(tmp_path, f"a.{ending}", text="t", group="t")
        assert [text.removesuffix(" no") for text in field.shown] == made["text"].to_list() == made["group"].to_list()
        chosen = rows_where(made, {"t": wanted}, {}, "here")
        outcomes.append((made["example"].to_list(), len(chosen)))
    assert outcomes == [(outcomes[0][0], outcomes[0][1])] * len(FORMATS)
    assert outcomes[0][1]


def test_nan_is_an_empty_cell_in_every_format(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 0], "score": [0.5, float("nan"), 2.5]})
    loaded = [load(tmp_path, name) for name in in_every_format(frame, tmp_path)]
    for rows in loaded:
        assert rows["score"].null_count() == 1
        assert rows["example"].equals(loaded[0]["example"])
    # Among names it is one.
    name = written(tmp_path, "b.csv", "text,label,who\na,0,nan\nb,1,Ann\n")
    assert load(tmp_path, name)["who"].to_list() == ["nan", "Ann"]


def test_nul_is_refused_in_every_format(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", "b\0", "c"], "label": [0, 1, 0]})
    for name in in_every_format(frame, tmp_path):
        message = said(tmp_path, name)
        assert message.startswith(f'{name}: row 2, column "text": a NUL character in it; is the file UTF-16?')
        assert name == "a.parquet" or re.search(r"\(line \d\)$", message)


# A folder of data files, which `datasets` finds


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def of_folder(folder: Path, **options: object) -> pl.DataFrame:
    return msgspec.convert({"hub": "set"} | options, kind.find("data", "hub")).load(0, folder)  # type: ignore[attr-defined]


CONTENTS = {
    "a mark and a boolean": ("csv", "\ufefftext,label,flag\na,1,True\nb,0,False\n"),
    "a quote that is open": ("csv", 'text,label\na,1\n"b,0\nc,1\n'),
    "a row too short": ("tsv", "text\tlabel\na\t1\nb\n"),
    "numbers, then words": ("csv", "text,label,n\n" + "a,1,5\n" * 3 + "b,0,x\n"),
    "numbers, then words, in jsonl": (
        "jsonl",
        '{"text": "a", "label": 1, "n": 5}\n{"text": "b", "label": 0, "n": "x"}\n',
    ),
    "NaN and a line without a column": (
        "jsonl",
        '\ufeff{"text": "a", "label": 1, "n": NaN}\n{"text": "b", "label": 0}\n',
    ),
    "no JSON": ("jsonl", '{"text": "a", "label": 1}\n{"text": }\n'),
    "a NUL": ("csv", "text,label\na,1\nb\0,0\n"),
    "an empty line": ("csv", "text,label\na,1\n\nb,0\n"),
    "not UTF-8": ("csv", b"text,label\n\xff,1\nb,0\n"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_folder_is_read_as_its_file_is(case: str, cached: None, tmp_path: Path) -> None:
    """The same rows, or the same sentence."""
    ending, content = CONTENTS[case]
    (tmp_path / "set").mkdir()
    name = written(tmp_path, f"set/train.{ending}", content)
    outcomes: list[tuple[list[tuple[object, ...]], str]] = []
    for read in (lambda: load(tmp_path, name), lambda: of_folder(tmp_path)):
        try:
            outcomes.append((read().rows(), ""))
        except DataError as error:
            message = str(error).removeprefix("data.source: ").replace("set (train)", name)
            outcomes.append(([], message.removesuffix("; that is an option of `file`, which reads one file")))
    assert outcomes[0] == outcomes[1]


def test_files_of_a_folder_are_one_table(cached: None, tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    written(
        tmp_path, "set/data/train-00000.jsonl", '{"text": "a", "label": 1, "n": 1}\n{"text": "b", "label": 0, "n": 2}\n'
    )
    second = '{"text": "c", "label": 1, "n": 2.5, "more": true}\n'
    written(tmp_path, "set/data/train-00001.jsonl", second)
    written(tmp_path, "set/data/test-00000.jsonl", '{"text": "d", "label": 1}\n')
    rows = of_folder(tmp_path)
    assert rows.select("text", "n", "more").rows() == [("a", 1.0, None), ("b", 2.0, None), ("c", 2.5, True)]
    written(tmp_path, "set/data/train-00001.jsonl", second + '{"text": "", "label": 1}\n')
    with pytest.raises(
        DataError, match=r"row 4, column \"text\": empty; .* \(line 2 of set/data/train-00001\.jsonl\)$"
    ):
        of_folder(tmp_path)


def test_a_file_of_a_folder_that_is_changed_with_its_time_kept_is_read_again(cached: None, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for text in ("a", "b"):
        written(tmp_path, "set/train.csv", f"text,label\n{text},1\nc,0\n")
        os.utime(tmp_path / "set/train.csv", (1e9, 1e9))
        assert of_folder(tmp_path)["text"].to_list() == [text, "c"]


# Random tables

PIECES = ('"', '""', ",", "\t", "\n", "\n\n", "\r\n", "\r", "\0", " ", "\ufeff", '",0\n"', "x", "\u2028", "NaN", "'")


def random_rows(chance: random.Random) -> list[tuple[str, str, str]]:
    def cell(longest: int) -> str:
        return "".join(chance.choice((*PIECES[:7], "word", "other", "é")) for _ in range(chance.randrange(longest)))

    count = chance.randrange(1, 12)
    return [(f"t{number} {cell(4)}.", chance.choice("01"), f"n{cell(3)}") for number in range(count)]


def as_bytes(rows: list[tuple[str, str, str]], ending: str, chance: random.Random) -> bytes:
    names = ("text", "label", "note")
    if ending == "parquet":
        out = io.BytesIO()
        pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").write_parquet(out)
        return out.getvalue()
    end = chance.choice(("\n", "\r\n"))
    if ending == "jsonl":
        text = "".join(json.dumps(dict(zip(names, row, strict=True))) + end for row in rows)
    else:
        made = io.StringIO()
        separator = "," if ending == "csv" else "\t"
        csv.writer(made, delimiter=separator, lineterminator=end, quoting=chance.choice((0, 1))).writerows(
            [names, *rows]
        )
        text = made.getvalue()
    return text.encode(chance.choice(("utf-8", "utf-8-sig")))


def independent(content: bytes, ending: str) -> list[list[str]]:
    """Rows as other programs read them."""
    text = content.decode("utf-8-sig")
    if ending == "jsonl":
        return [
            [row["text"], row.get("note") or ""]
            for line in text.split("\n")
            if line.strip()
            for row in [json.loads(line)]
        ]
    read = csv.reader(io.StringIO(text, newline=""), delimiter="," if ending == "csv" else "\t")
    return [[row[0], row[2]] for row in [row for row in read if "".join(row).strip(" \t") or len(row) > 1][1:]]


@pytest.mark.parametrize("ending", FORMATS)
def test_random_tables_come_whole_or_with_the_line_at_fault(ending: str, tmp_path: Path) -> None:
    chance = random.Random(f"tables {ending}")
    read = refused = 0
    for _ in range(TABLES):
        rows = random_rows(chance)
        content = as_bytes(rows, ending, chance)
        honest = ending == "parquet" or chance.random() < 0.3
        if not honest:
            text, header = content.decode(), content.find(b"\n") + 1 if ending != "jsonl" else 0
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(header, len(text) + 1)
                text = text[:at] + chance.choice(PIECES) + text[at:]
            content = text.encode()
        name = written(tmp_path, f"a.{ending}", content)
        try:
            table = (
                load(tmp_path, name, quote="double") if honest and ending in ("csv", "tsv") else load(tmp_path, name)
            )
        except DataError as error:
            message = str(error)
        else:
            message, read = "", read + 1
        if message:
            named = r"row \d+" if ending == "parquet" else r'^a\.\w+:\d+: |\(line \d+\)$|no column "'
            assert re.search(named, message), (content, message)
            assert not honest or "NUL" in message, (content, message)
            refused += 1
            continue
        notes = table["note"].to_list() if "note" in table.columns else [""] * len(table)
        found = [list(row) for row in zip(table["text"], notes, strict=True)]
        if honest:
            assert found == [[text, note] for text, _, note in rows], content
        else:
            assert [[cell or "" for cell in row] for row in found] == independent(content, ending), content
    # The control: both happen.
    assert read > TABLES / 10
    assert refused or ending == "parquet"
