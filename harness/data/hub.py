from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from harness.contracts import Factor, Source
from harness.data._conversations import TEMPLATE, examples_of, factors_with_turn, with_conversations
from harness.data._data_files import files_of
from harness.data._examples import examples_of_folder
from harness.data._local_folder import check_folder
from harness.data._reading import within
from harness.data._replies import IS_RIGHT, check_columns, one_by_one
from harness.data._table import Columns
from harness.data._turns import ANSWER, Turns, checked, columns_of, composed
from harness.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

_READERS = ("arrow", "csv", "json", "parquet", "text")
"""Those of the library whose files name no others: HDF5, for one, may link to any file."""


class Hub(Source, frozen=True):
    """A data set of the Hugging Face Hub, through the library `datasets`; nothing that comes with it is run.

    `pip install 'elk-harness[hub]'` brings the library.
    """

    hub: str
    """Its name, such as `stanfordnlp/imdb`; or a folder of csv, tsv, jsonl or parquet files, by its path from the spec."""
    split: str = "train"
    """The Hub's own split to take examples from. The harness splits them again."""
    config: str | None = None
    """Configuration, where a data set has several."""
    revision: str = "main"
    """Branch, tag or commit. Only a commit is sure to stay the same; stored results are kept by this name."""
    text: str = "text"
    """Column of the text; the template may call it `text`, too."""
    messages: str | Turns | None = None
    """Column of conversations, in the place of the text: a list of `{role, content}` in each row, of roles system, user and assistant, with
    the assistant's reply last. The model's chat template renders them, and the label is about the reply. `text` is the reply's words,
    `question` all that the user says. Where each role has columns of its own, a mapping names them: `{system: persona, user: [instruction,
    input], assistant: output}`; of several, what is not empty stands below each other."""
    label: str | dict[str, str] = "label"
    """Column of the right answer: its index (0, 1, …) or its text as in `answers`. Where the assistant's replies are in columns by what
    they are, a mapping names these in the place of `assistant`: `{honest: truthful, deceptive: lie}` makes two conversations of each row,
    `{honest: output}` one, all of them honest."""
    group: str | tuple[str, ...] | None = None
    """Column that tells what belongs together and must not straddle a split; of several, rows that share a value in any. If empty, only
    rows of the same text are, and conversations in which the user says the same."""
    fields: tuple[str, ...] = ()
    """Columns to read for the template, besides the text; all if empty."""
    right: str | None = None
    """Column with a right answer, instead of a label. With `wrong`, each row becomes two examples: the field `reply` has the
    right answer in one (label 1) and the wrong one in the other (label 0)."""
    wrong: str | None = None
    """Column with a wrong answer, or a list of them, of which the first is taken."""
    factor_columns: tuple[str, ...] = msgspec.field(default=(), name="factors")
    """Columns of two values that are known of each row, to score the probes against."""

    source: ClassVar[str] = "huggingface.co/datasets"

    def __post_init__(self) -> None:
        if (self.right is None) != (self.wrong is None):
            raise ValueError("`right` and `wrong` go together: give both, or a label")
        if self.right is not None and self.messages is not None:
            raise ValueError("conversations have their replies in them; take `right` and `wrong` out, and name a label")
        checked(self.messages, self.label)

    @property
    def title(self) -> str:
        """What error messages call it."""
        return f"{self.hub} ({self.split})"

    @property
    def labels_as_written(self) -> bool:  # type: ignore[override]
        """Unless they are of right and wrong answers."""
        return self.right is None

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
        own = tuple(Factor(name) for name in self.factor_columns)
        return factors_with_turn(own) if self.conversations else own

    @property
    def label_column(self) -> str:
        return self.label if isinstance(self.label, str) else "label"

    def labelled_by(self, column: str) -> Source:
        """The same rows with another column as label; itself where columns of replies say what is right, and any column can be taken."""
        told = self.right is not None or isinstance(self.label, dict)
        return self if told else msgspec.structs.replace(self, label=column)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """All rows of the split. Raises DataError for what is wrong with the data, UsageError without the library."""
        del seed, limit
        named = self.label if isinstance(self.label, str) else ANSWER
        group = (self.group,) if isinstance(self.group, str) else self.group or ()
        messages = self.messages if isinstance(self.messages, str) else ""
        columns = Columns(
            self.title,
            self.text,
            named if self.right is None else IS_RIGHT,
            group,
            self.fields,
            self.factor_columns,
            messages=messages,
            turns=columns_of(self.messages),
            replies=self.label if isinstance(self.label, dict) else {},
        )
        replies = None if self.right is None or self.wrong is None else (self.right, self.wrong)
        local = self._local(folder)
        if local is not None:
            files = self._asked(lambda library: files_of(library, local, self.hub, self.config, self.split))
            return examples_of_folder(files, local, self.hub, columns, partial(self._needed, columns), replies)
        dataset = self._dataset()
        # Pictures and sound would be decoded; a template cannot show them.
        plain = [
            name
            for name, feature in dataset.features.items()
            if getattr(feature, "_type", None) in ("Value", "ClassLabel")
            or name in (self.right, self.wrong, messages, *columns.replies.values())
        ]
        table = dataset.select_columns(self._needed(columns, plain)).to_polars()
        if columns.turns:
            return examples_of(columns, composed(columns, table))
        if messages:
            told = with_conversations(table, table[messages].to_list(), messages, self.title, None)
            return examples_of(columns, told)
        return columns.examples(table if replies is None else one_by_one(table, *replies))

    def _needed(self, columns: Columns, available: list[str]) -> list[str]:
        """The columns to read, of those that there are."""
        if self.right is None or self.wrong is None:
            return columns.needed(available)
        check_columns(self.title, self.right, self.wrong, available)
        chosen = [name for name in columns.needed([*available, IS_RIGHT]) if name != IS_RIGHT]
        return list(dict.fromkeys([*chosen, self.right, self.wrong]))

    def fingerprint(self, seed: int, folder: Path) -> str:
        """Of the name and revision; of the files' content where it is a local folder."""
        from harness.code.code_version import code_of
        from harness.store import content_key

        del seed
        return content_key(code_of(type(self)), msgspec.to_builtins(self) | self.contents(folder))

    def contents(self, folder: Path) -> dict[str, str]:
        from hashlib import file_digest, sha256

        if (local := self._local(folder)) is None:
            return {}
        digest = sha256()
        for path in sorted(p for p in local.rglob("*") if p.is_file()):
            digest.update(path.relative_to(local).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(file_digest(file, "sha256").digest())
        return {"hub": digest.hexdigest()}

    def _local(self, folder: Path) -> Path | None:
        """The folder beside the spec, if there is one of that name."""
        path = within(folder, self.hub)
        if not path.is_dir():
            return None
        check_folder(path, self.hub)
        return path

    def _dataset(self) -> Any:
        """What the library downloads and reads, which are files of plain tables alone. Raises as `load`."""
        asked = {"path": self.hub, "name": self.config, "revision": self.revision}
        builder = self._asked(lambda library: library.load_dataset_builder(**asked))
        reader = type(builder).__module__.rpartition(".")[2]
        if reader not in _READERS:
            raise DataError(
                f"data.source: {self.title}: `datasets` would read it as {reader}, and only {', '.join(_READERS)} are read; name another "
                "data set, or save this one as .parquet in a folder beside the spec"
            )
        return self._asked(lambda library: library.load_dataset(**asked, split=self.split))

    def _asked(self, ask: Callable[[Any], T]) -> T:
        """What the library answers. Raises DataError where it refuses, UsageError where it is not installed."""
        try:
            import datasets
        except ImportError as error:
            raise UsageError(
                f"data.source: {self.hub} needs the library `datasets`; install it with: pip install 'elk-harness[hub]'"
            ) from error
        try:
            return ask(datasets)
        except DataError:
            raise
        # The library raises its own errors, those of its HTTP client, plain ValueErrors for a wrong split or config, and, where a
        # stranger's files make it stumble, anything.
        except Exception as error:
            reason = " ".join(str(error).split())[:400]
            raise DataError(
                f"data.source: {self.title}: {type(error).__name__}: {reason}; check `hub`, `split`, `config` and "
                "`revision`, and that the Hub can be reached"
            ) from error
