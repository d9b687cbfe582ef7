"""The card of a folder of states, `states.json`: which file is which, what the axes of the array are, and what the columns of the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness.errors import UsageError
from harness.untrusted.files import read_json
from harness.untrusted.paths import LeadsOut, below, own_path

CARD = "states.json"
LARGEST_CARD = 2**20

Axis = Literal["layer", "row", "view", "d_model"]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Columns of the table of rows, by what they are."""

    label: Name
    """The right answer: one of `answers`, or its index."""
    text: Name | None = None
    """The row in words, for people; the label where nobody has it."""
    group: Name | None = None
    """What belongs together and must not straddle a split; each row by itself if empty."""
    split: Name | None = None
    """train, validation or test; made of the groups, as of any data, if empty."""
    example: Name | None = None
    """A name of each row, no two alike; its number if empty."""
    template: Name | None = None
    """The wording in which a row was asked, for normalisation by wording; all in one if empty."""


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a folder of states holds."""

    harness_states: Literal[1]
    """Version of this form."""
    about: str = ""
    """Whose states they are, in words."""
    states: Name
    """The array: a .safetensors or .npy file, or a folder ending in .zarr (version 3)."""
    tensor: Name = "states"
    """Its name in a safetensors file."""
    axes: tuple[Axis, ...] = ("row", "layer", "d_model")
    """What each axis is. `view` is there for contrast pairs: x⁻ and x⁺."""
    layers: tuple[Annotated[int, Meta(ge=0, le=10_000)], ...] = ()
    """Numbers of the layers, rising; 0, 1, 2 … if empty."""
    site: str = "residual"
    """Where in a layer they were read, in words."""
    rows: Name
    """The table: a .csv, .tsv, .jsonl or .parquet file with a line for each row, in the order of the array."""
    columns: Columns
    answers: tuple[Name, ...] = ("no", "yes")
    """Names of the labels, index = label."""
    factors: dict[Name, tuple[Name, ...]] = {}
    """Columns of two values or more that are known of each row, with their values; none is called as a column that tables of prompts have."""
    data_set: str = ""
    """A hash by which groups of this set are known wherever they are met: a probe that was fitted on some of a group's rows is not tested on
    others. `harness export` writes that of its rows; empty for groups that are met nowhere else."""

    def __post_init__(self) -> None:
        # The command line knows cards before it needs numpy, which contracts load.
        from harness.contracts import MOST_CLASSES
        from harness.contracts.data import TAKEN

        if len(set(self.axes)) < len(self.axes) or not {"layer", "row", "d_model"} <= set(self.axes):
            raise ValueError("`axes` names layer, row and d_model once each, and maybe view")
        if list(self.layers) != sorted(set(self.layers)):
            raise ValueError("`layers` are numbers that rise")
        if len(self.answers) < 2 or len({name.strip() for name in self.answers}) < len(self.answers):
            raise ValueError("`answers` are two names at least, which differ in more than blanks around them")
        for name, values in self.factors.items():
            if name in TAKEN or name == self.columns.label or not name.isprintable():
                raise ValueError(f'`factors`: "{name}" needs another name, and so does its column: this one is taken')
            if len(set(values)) < max(len(values), 2):
                raise ValueError(
                    f'`factors`: "{name}" has two different values at least, each named once; or leave it out'
                )
        for what, names in {
            "answers": self.answers,
            **{f"factors.{name}": own for name, own in self.factors.items()},
        }.items():
            if len(names) > MOST_CLASSES:
                raise ValueError(
                    f"`{what}` are {len(names):,} names, and a probe tells at most {MOST_CLASSES:,} classes apart; leave out those that no row has"
                )

    @property
    def views(self) -> int:
        return 2 if "view" in self.axes else 1


class Opened(msgspec.Struct, frozen=True):
    """A folder of states on this machine."""

    name: str
    """As the spec has it."""
    folder: Path
    card: Card

    @property
    def array(self) -> Path:
        return self._inside(self.card.states)

    @property
    def table(self) -> Path:
        found = self._inside(self.card.rows)
        if not found.is_file():
            raise UsageError(f'{self.title}: `rows`: "{self.card.rows}" is no file; name the table')
        return found

    @property
    def title(self) -> str:
        """What error messages call it."""
        return f"{self.name}/{CARD}"

    def _inside(self, name: str) -> Path:
        """A file of the folder. Raises UsageError for one that leads out of it, or is not there."""
        try:
            found = below(self.folder, name)
        except LeadsOut as error:
            raise UsageError(f"{self.title}: {error}; name a file in the folder itself") from error
        if not found.exists():
            raise UsageError(f'{self.title}: there is no "{name}" in {self.name}; name the file that holds it')
        return found


def open_folder(name: str, base: Path) -> Opened:
    """The folder of that name; relative paths start at `base`. Nothing but the card is read. Raises UsageError."""
    folder = own_path(name)
    folder = folder if folder.is_absolute() else base / folder
    title = f"{name}/{CARD}"
    try:
        raw = read_json(folder / CARD, LARGEST_CARD)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"model.states: {name}: there is no {CARD} in it; `harness export` writes one, and specs/STATES.md says what is in it"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{title}: not a readable card: {error}") from error
    try:
        card = msgspec.convert(raw, Card)
    except msgspec.ValidationError as error:
        raise UsageError(f"{title}: {str(error).replace(' - at `$', ' (at `')}") from error
    return Opened(name, folder, card)


def may_validate(validation: float, opened: Opened | None) -> bool:
    """Whether a condition may have validation rows: by their share in its split, or by the split of the folder that its rows come from, None
    where they come from none."""
    return validation > 0 or (opened is not None and opened.card.columns.split is not None)


def as_json(card: Card) -> bytes:
    """A card as it is written."""
    plain: Mapping[str, object] = msgspec.to_builtins(card)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"
