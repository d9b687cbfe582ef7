"""The rows of a folder of states: its table, read as any stranger's data file is, in the place of a bed's own examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.contracts import Factor
from harness.data.file import File
from harness.errors import ColumnsMissing, DataError, did_you_mean
from harness.imported.arrays import open_array
from harness.imported.states_card import Opened

if TYPE_CHECKING:
    import polars as pl

PARTS = ("train", "validation", "test")
OWN = "\x1f"
"""Before the names under which columns come along: no column of a file has one like it."""


class ImportedRows:
    """Rows whose states lie in a folder. Their prompts are the number of the row and of the view."""

    def __init__(self, opened: Opened, part: str, asked: Mapping[str, str] | None = None):
        """`part` is the name of the column that says which part of the split a row is in. `asked` are columns that come along, each with the
        key of the spec that names it."""
        self._opened = opened
        self._part = part
        self._asked = asked or {}
        self.views = opened.card.views
        self.answers = opened.card.answers
        self.data_set = opened.card.data_set
        self.factors = tuple(Factor(name, values) for name, values in opened.card.factors.items())

    @property
    def card(self) -> str:
        """Its card, as error messages call it."""
        return self._opened.title

    @property
    def title(self) -> str:
        return f"{self._opened.name}/{self._opened.card.rows}"

    def kind(self) -> str:
        return f"states {self._opened.name}"

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """All rows, as a bed's `load` has them, labels as they are written. Raises DataError with file, row and column."""
        import polars as pl

        del count, seed
        card, columns = self._opened.card, self._opened.card.columns
        named = {f"{OWN}{key}": getattr(columns, key) for key in ("split", "example", "template")}
        kept = {own: name for own, name in named.items() if name is not None}
        file = File(
            file=card.rows,
            text=columns.text or columns.label,
            label=columns.label,
            group=columns.group,
            fields=(columns.label, *self._asked),
            factor_columns=dict(card.factors),
        )
        assert self._opened.table, "a table that leads out, or is not there, is refused with the card's name"
        try:
            table = file.load_with(self._opened.folder, kept)
        except ColumnsMissing as error:
            known = ", ".join(error.columns)
            if key := self._asked.get(missing := error.missing[0].name):
                hint = did_you_mean(missing, error.columns)
                raise DataError(f'{key}: {self.title} has no column "{missing}"{hint}', key) from error
            raise DataError(
                f'{self._opened.title}: {card.rows} has no column "{error.missing[0].name}"; its columns: {known}'
            ) from error
        except DataError as error:
            # A file of one name may be in every folder.
            raise DataError(f"{self._opened.name}/{error}", error.about) from error
        rows = open_array(self._opened).size("row")
        if len(table) != rows:
            raise DataError(
                f"{self.title}: {len(table):,} rows, and the array has {rows:,}; each row of one is a row of the other"
            )
        numbers = pl.Series("number", range(rows), dtype=pl.UInt32)
        found = table.with_columns(
            self._names(table).alias("example"),
            *(
                pl.concat_list(numbers, pl.lit(view, dtype=pl.UInt32)).alias(f"tokens_{view}")
                for view in range(self.views)
            ),
        )
        if columns.label in self._asked:
            found = found.with_columns(pl.col("label").alias(columns.label))
        if columns.group is None:
            found = found.with_columns(found["example"].alias("group"))
        if columns.split is not None:
            found = found.with_columns(self._parts(table).alias(self._part))
        if columns.template is not None:
            found = found.with_columns(table[f"{OWN}template"].alias("template"))
        return found.drop(name for name in kept)

    def _names(self, table: pl.DataFrame) -> pl.Series:
        import polars as pl

        if (column := self._opened.card.columns.example) is None:
            return pl.Series([f"{number:09d}" for number in range(len(table))])
        names = table[f"{OWN}example"]
        if (twice := names.is_duplicated()).any():
            raise DataError(
                f'{self.title}: row {(twice.arg_max() or 0) + 1}, column "{column}": "{names.filter(twice)[0]}" names two rows; give each a '
                "name of its own"
            )
        return names

    def _parts(self, table: pl.DataFrame) -> pl.Series:
        parts = table[f"{OWN}split"]
        if (wrong := ~parts.is_in(PARTS)).any():
            row = wrong.arg_max() or 0
            column = self._opened.card.columns.split
            raise DataError(
                f'{self.title}: row {row + 1}, column "{column}": "{parts[row]}" is none of {", ".join(PARTS)}'
            )
        return parts
