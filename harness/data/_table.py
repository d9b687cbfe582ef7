"""Somebody's table (a file, a Hub data set) as examples: columns checked, cells checked, ids from the content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from harness.contracts.data import TAKEN
from harness.data._groups import joined
from harness.errors import ColumnsMissing, DataError, MissingColumn, did_you_mean
from harness.maths.draws import keys
from harness.untrusted.spellings import TRUTH, no_fractions, shown, spelled, valued, without_nan

if TYPE_CHECKING:
    import polars as pl

MAX_FIELDS = 64
"""Columns that come along unasked; a wider table must say which."""

MAX_CHARACTERS = 100_000
"""Longest cell. No model here reads that much, and one stray cell of a broken file can be the whole file."""

_CELLS = ("0", "1", "true", "false", "yes", "no")
"""What stands in a cell and is no name of a column."""

QUESTION = "question"
"""A column that is made of conversations where the table has none of this name: all that the user says."""

OWN_NAMES = ("example", "group", "label", "split")
"""Columns that mean something to the program; a table's own columns of these names are no fields."""


class Columns(msgspec.Struct, frozen=True):
    """Which column of a table is what."""

    place: str
    """The table's name in error messages."""
    text: str
    label: str
    group: tuple[str, ...] = ()
    """Of several, rows that share a value in any are of one group."""
    fields: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = {}
    """Of factors whose values are known beforehand, in the order of their classes."""
    kept: Mapping[str, str] = {}
    """Columns that come along as they are under names of their own, which no other has."""
    messages: str = ""
    """Of conversations, the column of their messages, in the place of the text."""
    turns: Mapping[str, tuple[str, ...]] = {}
    """Of conversations that are put together of columns, those of what each role says, in the place of the text."""
    replies: Mapping[str, str] = {}
    """Of such, columns of replies by the answer that is right of them, in the place of the label: each row is an example for each."""

    def needed(self, available: Sequence[str]) -> list[str]:
        """The columns to read. Raises DataError when one is missing or there are too many to take all."""
        said = [self.messages] if self.messages else [name for names in self.turns.values() for name in names]
        shown = {"messages": said} if said or self.turns else {"text": [self.text]}
        labels = [*self.replies.values()] or [self.label]
        options = {**shown, "label": labels, "fields": self.fields, "factors": self.factors}
        made = {QUESTION} - {*available} if "messages" in shown else set()
        options |= {"group": [name for name in self.group if name not in made]} if self.group else {}
        options |= {"columns": list(self.kept.values())} if self.kept else {}
        missing = [(name, option) for option, names in options.items() for name in names if name not in available]
        if missing:
            near = {name: tail for name, _ in missing if "known:" not in (tail := did_you_mean(name, available))}
            each = [MissingColumn(name, option, near.get(name, "")) for name, option in missing]
            raise ColumnsMissing(self.place, each, available, _oddity(available))
        named = [name for names in options.values() for name in names]
        for name in self.factors:
            if name in TAKEN or name == self.label:
                raise DataError(f'{self.place}: the factor column "{name}" needs another name: this one is taken')
        if self.fields:
            return list(dict.fromkeys(named))
        everything = list(dict.fromkeys([*named, *available]))
        if len(everything) > MAX_FIELDS:
            raise DataError(
                f"{self.place}: {len(available)} columns are more than {MAX_FIELDS}; list those that the template uses "
                "under `fields`"
            )
        return everything

    def examples(self, table: pl.DataFrame, lines: Sequence[int | str] | None = None) -> pl.DataFrame:
        """What `Source.load` promises, with the label as it is written. Raises DataError with row and column, and line if known.

        An example's id is a hash of its content, so that the order of the rows in the file means nothing, nor its format.
        """
        import polars as pl

        if table.is_empty():
            raise DataError(f"{self.place}: there are no rows")
        table = pl.DataFrame([without_nan(cells) for cells in table.iter_columns()])
        for name in table.columns:
            self._check_cells(
                table[name], name in (self.text, self.label, *self.group, *self.factors, *self.kept.values()), lines
            )
        fields = _fields(table.drop(self.label))
        text = shown(valued(table[self.text]))
        tied = [shown(valued(table[name])) for name in self.group] or [_hashes(text)]
        groups = tied[0] if len(tied) == 1 else joined(tied)
        label = _label(table[self.label])
        content = _content(pl.DataFrame([*fields.iter_columns(), spelled(label).alias("\x1flabel")]))
        columns: dict[str, pl.Series] = {"example": _hashes(content), "group": groups, "label": label}
        columns |= {name: fields[name] for name in fields.columns if name not in OWN_NAMES}
        columns |= {name: self._factor(table[name], lines) for name in self.factors}
        columns["text"] = text
        columns |= {own: shown(valued(table[name])) for own, name in self.kept.items()}
        return pl.DataFrame([series.alias(name) for name, series in columns.items()])

    def _check_cells(self, cells: pl.Series, required: bool, lines: Sequence[int | str] | None) -> None:
        import polars as pl

        if required and (cells.dtype.is_nested() or cells.dtype in (pl.Binary, pl.Object)):
            raise DataError(f'{self.place}: column "{cells.name}" holds {cells.dtype}, not text or numbers')
        if required and cells.null_count():
            raise self._error(cells.is_null(), cells.name, "empty; fill it in, or take the row out", lines)
        if cells.dtype == pl.String:
            if required and (blank := cells.str.strip_chars() == "").any():
                raise self._error(blank, cells.name, "empty; fill it in, or take the row out", lines)
            if (nul := cells.str.contains("\0", literal=True)).any():
                remedy = "a NUL character in it; is the file UTF-16? Save it as UTF-8, or take the character out"
                raise self._error(nul, cells.name, remedy, lines)
            if (long := cells.str.len_chars() > MAX_CHARACTERS).any():
                count = int(cast(int, cells.str.len_chars().max()))
                remedy = (
                    f"longer than {MAX_CHARACTERS:,} characters (the longest has {count:,}); "
                    "is a quote left open? Else shorten it"
                )
                raise self._error(long, cells.name, remedy, lines)

    def _factor(self, cells: pl.Series, lines: Sequence[int | str] | None) -> pl.Series:
        """0 and 1 as they are; two other values as an Enum whose order is that of the alphabet, or the one given."""
        import polars as pl

        values = spelled(cells)
        if known := self.values.get(cells.name):
            return self._known(values, known, lines)
        distinct = sorted(values.unique())
        if distinct == list(TRUTH):
            values, distinct = values.replace({name: str(value) for value, name in enumerate(TRUTH)}), ["0", "1"]
        if distinct == ["0", "1"]:
            return values.cast(pl.Int64)
        if len(distinct) != 2:
            shown = ", ".join(distinct[:5]) + (", …" if len(distinct) > 5 else "")
            raise DataError(
                f'{self.place}: the factor column "{cells.name}" has {len(distinct)} different values ({shown}); '
                "a factor must have two"
            )
        return values.cast(pl.Enum(distinct))

    def _known(self, values: pl.Series, known: Sequence[str], lines: Sequence[int | str] | None) -> pl.Series:
        """Values as an Enum of those that are known, in whatever spelling the two have."""
        import polars as pl

        names = dict(zip(spelled(pl.Series(known)), known, strict=True))
        numbers = {name: names[str(value)] for value, name in enumerate(TRUTH) if str(value) in names}
        found = values.replace_strict(numbers | names, default=None, return_dtype=pl.String)
        if (wrong := found.is_null()).any():
            reason = f'"{values.filter(wrong)[0]}" is none of its values: {", ".join(known)}'
            raise self._error(wrong, values.name, reason, lines)
        return found.cast(pl.Enum(known))

    def _error(self, wrong: pl.Series, column: str, reason: str, lines: Sequence[int | str] | None) -> DataError:
        """An error about the first cell that is wrong; rows are counted from 1, without a header."""
        row = wrong.fill_null(False).arg_max() or 0
        line = f" (line {lines[row]})" if lines is not None else ""
        return DataError(f'{self.place}: row {row + 1}, column "{column}": {reason}{line}')


def _oddity(header: Sequence[str]) -> str:
    """A sentence about a header that looks wrong as a whole, with the remedy; else empty."""
    if header and header[0].lower().startswith("sep="):
        return f'the first line, "{header[0]}", is no header: take it out, and separate cells by commas'
    for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(header) == 1 and separator in header[0]:
            remedy = {"\t": "name the file .tsv", ",": "name the file .csv"}.get(separator, "save it with commas")
            return f"cells seem to be separated by {called}: {remedy}"
    if blank := [name for name in header if name != name.strip()]:
        return f'"{blank[0]}" has a blank around it: take blanks out before and after commas'
    if any(name.casefold() in _CELLS for name in header):
        return "the first line seems to be a row: put a header with the names of the columns above it"
    return ""


def _fields(table: pl.DataFrame) -> pl.DataFrame:
    """Columns that a template can show; dates and categories become text, lists and bytes stay behind."""
    import polars as pl

    columns = table.iter_columns()
    left = (pl.Binary, pl.Object)
    return pl.DataFrame([valued(cells) for cells in columns if not cells.dtype.is_nested() and cells.dtype not in left])


def _label(cells: pl.Series) -> pl.Series:
    """Whole numbers as such, in whatever format they come; else what was written."""
    import polars as pl

    if cells.dtype.is_float() and no_fractions(cells).all():
        return cells.cast(pl.Int64)
    return cells if cells.dtype.is_integer() or cells.dtype == pl.Boolean else spelled(cells)


def _content(table: pl.DataFrame) -> pl.Series:
    """All of a row as one text; columns by name, so that their order in the file means nothing either."""
    import polars as pl

    columns = [pl.col(name).cast(pl.String).fill_null("\x1enull") for name in sorted(table.columns)]
    return table.select(pl.concat_str(columns, separator="\x1f"))[:, 0]


def _hashes(texts: pl.Series) -> pl.Series:
    import polars as pl

    # One after another: the texts of a million rows are not held twice.
    return pl.Series(keys(texts), dtype=pl.Binary).bin.encode("hex")
