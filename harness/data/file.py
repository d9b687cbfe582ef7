from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from harness.contracts import Factor, Head, Source
from harness.data._conversations import TEMPLATE, factors_with_turn
from harness.data._examples import examples_of_file
from harness.data._first_lines import WHOLE_BYTES, as_file, first_lines
from harness.data._labels import labels_of_file
from harness.data._reading import existing, within
from harness.data._records import Quote
from harness.data._table import Columns
from harness.data._turns import ANSWER, Turns, checked, columns_of

if TYPE_CHECKING:
    import polars as pl


class File(Source, frozen=True):
    """Your own examples: a csv, tsv, jsonl or parquet file below the folder of the spec.

    Every column with text or numbers is a field of the template, except the label. A column of numbers, or of true and false, has
    such values in a template, whatever the format: `{% if loud %}`; written otherwise (007, 2.50) they are text. Rows that are the
    same in every column are one example.
    """

    file: str
    """The file, by its path from the spec. Nothing outside the spec's folder can be named: a spec may come from a stranger."""
    text: str = "text"
    """Column of the text; the template may call it `text`, too."""
    messages: str | Turns | None = None
    """Column of conversations, in the place of the text: a list of `{role, content}` in each row, of roles system, user and assistant, with
    the assistant's reply last, as jsonl and parquet have it. The model's chat template renders them, and the label is about the reply. `text` is the reply's words,
    `question` all that the user says. Where each role has columns of its own, a mapping names them: `{system: persona, user: [instruction,
    input], assistant: output}`; of several, what is not empty stands below each other."""
    label: str | dict[str, str] = "label"
    """Column of the right answer: its index (0, 1, …) or its text as in `answers`. Where the assistant's replies are in columns by what
    they are, a mapping names these in the place of `assistant`: `{honest: truthful, deceptive: lie}` makes two conversations of each row,
    `{honest: output}` one, all of them honest."""
    group: str | tuple[str, ...] | None = None
    """Column that tells what belongs together (one author, one topic) and must not straddle a split; of several, rows that share a
    value in any. If empty, only rows of the same text are kept together, and conversations in which the user says the same."""
    fields: tuple[str, ...] = ()
    """Columns to read for the template, besides the text; all if empty. A table of more than 64 columns must say which."""
    quote: Quote | None = None
    """What a `"` is in csv and tsv: with `double`, cells may stand in quotes; with `none`, quotes are text. If empty, it is
    `double`, and a file that a stray quote may have glued rows of is refused."""
    factor_columns: tuple[str, ...] | dict[str, tuple[str, ...]] = msgspec.field(default=(), name="factors")
    """Columns of two values that are known of each row, to score the probes against. As a mapping, `{who: [Alice, Bob]}`, it says
    which values a column has, and their order; any other value in the file is then an error."""

    source: ClassVar[str] = "Your own"
    labels_as_written: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked(self.messages, self.label)
        if isinstance(self.factor_columns, dict):
            for name, values in self.factor_columns.items():
                if len(set(values)) < max(len(values), 2):
                    raise ValueError(f"the factor {name} needs two different values at least, each named once")

    @property
    def title(self) -> str:
        """What error messages call it."""
        return self.file

    @property
    def conversations(self) -> bool:  # type: ignore[override]
        return self.messages is not None

    @property
    def template(self) -> str:  # type: ignore[override]
        """Of conversations, which need none."""
        return TEMPLATE if self.conversations else ""

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        """The columns named under `factors`; the names of their values are known once it is loaded."""
        if isinstance(self.factor_columns, dict):
            own = tuple(Factor(name, values) for name, values in self.factor_columns.items())
        else:
            own = tuple(Factor(name) for name in self.factor_columns)
        return factors_with_turn(own) if self.conversations else own

    @property
    def label_column(self) -> str:
        return self.label if isinstance(self.label, str) else "label"

    def labelled_by(self, column: str) -> Source:
        """The same rows with another column as label; itself where columns of replies say what is right, and any column can be taken."""
        return self if isinstance(self.label, dict) else msgspec.structs.replace(self, label=column)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """All rows in the order of the file. Raises DataError that names file, row and column."""
        del seed, limit
        return self.load_with(folder, {})

    def load_with(self, folder: Path, kept: Mapping[str, str]) -> pl.DataFrame:
        """The same with some columns, as text, under names of their own."""
        path = within(folder, self.file)
        known, names = self.factor_columns, tuple(self.factor_columns)
        group = (self.group,) if isinstance(self.group, str) else self.group or ()
        columns = Columns(
            self.file,
            self.text,
            self.label if isinstance(self.label, str) else ANSWER,
            group,
            self.fields,
            names,
            kept=kept,
            messages=self.messages if isinstance(self.messages, str) else "",
            turns=columns_of(self.messages),
            replies=self.label if isinstance(self.label, dict) else {},
        )
        if isinstance(known, dict):
            columns = msgspec.structs.replace(columns, values=known)
        return examples_of_file(path, columns, self.quote)

    def head(self, seed: int, folder: Path) -> Head | None:
        """All rows of a small file, the first of a large one; nothing of a large parquet file."""
        path = existing(within(folder, self.file), self.file)
        if path.stat().st_size <= WHOLE_BYTES:
            return Head(self.load(seed, folder), whole=True)
        if not (content := first_lines(path, quotes=self.quote != "none")):
            return None
        # Further down a factor may have a value that the first rows have not.
        source = msgspec.structs.replace(self, factor_columns=())
        with as_file(content, self.file) as copied:
            return Head(source.load(seed, copied), whole=False)

    def fingerprint(self, seed: int, folder: Path) -> str:
        """Of the content: a file that is moved or renamed is the same."""
        from harness.code.code_version import code_of
        from harness.store import content_key

        del seed
        known = self.factor_columns
        # The order of factors is that of the report.
        order = list(known.items()) if isinstance(known, dict) else known
        options = msgspec.to_builtins(self) | {"file": Path(self.file).suffix.lower(), "factors": order}
        return content_key(code_of(type(self)), self.contents(folder)["file"], options)

    def contents(self, folder: Path) -> dict[str, str]:
        from hashlib import file_digest

        with existing(within(folder, self.file), self.file).open("rb") as opened:
            return {"file": file_digest(opened, "sha256").hexdigest()}


def labels_of(source: File, folder: Path) -> pl.DataFrame | None:
    """The labels of a small file, see `harness.data._labels`; None of a larger one. Raises DataError."""
    path = existing(within(folder, source.file), source.file)
    if path.stat().st_size > WHOLE_BYTES or not isinstance(source.label, str):
        return None
    return labels_of_file(path, source.file, source.label, source.quote)
