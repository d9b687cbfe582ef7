"""Data sets, distractors and test beds, and what they give: examples, factors, tables of prompts, states of a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from harness.contracts.kind import Kind
from harness.contracts.targets import BINARY, CLASSES, NUMBER, VECTOR, TargetKind

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from torch import Tensor


class Factor(msgspec.Struct, frozen=True):
    """Something that is true of each row and that a probe may have found: the truth, or a distractor."""

    name: str
    values: tuple[str, ...] = ()
    """Names of the classes, index = label; of the components of a vector; empty for a number, and where only the data tell."""
    kind: Literal["class", "number", "vector"] = "class"
    unit: str = ""
    """Unit of a number or of a vector's components, for axes."""

    @property
    def target(self) -> TargetKind:
        """Its kind as a target: a class of two values is binary."""
        if self.kind == "class":
            return BINARY if len(self.values) == 2 else CLASSES
        return NUMBER if self.kind == "number" else VECTOR

    def told(self, value: Any) -> str:
        """One of its values in words, of a cell of a table of prompts."""
        if self.kind == "class":
            return self.values[value] if value < len(self.values) else str(value)
        numbers = " ".join(f"{number:.4g}" for number in (value if self.kind == "vector" else [value]))
        return f"{numbers} {self.unit}".strip()


class Head(msgspec.Struct, frozen=True):
    """The first examples of a data set, for looking a spec over."""

    table: pl.DataFrame
    """As `Source.load` gives them."""
    whole: bool
    """Whether these are all there are."""


class Source(Kind, frozen=True):
    """A data set: examples with fields for the template and a label.

    `load` returns a table with the columns `example` (text, unique), `group` (text: rows that must not straddle a
    split), `label` (integer, an index into `answers`), further columns of known factors (see `factors`), and
    whatever fields the template may use. Every data set offers the field `text`.
    """

    folder: ClassVar[str] = "data"

    answers: ClassVar[tuple[str, ...]] = ()
    """Default answers, index = label."""
    template: ClassVar[str] = ""
    """Default template."""
    factors: ClassVar[tuple[Factor, ...]] = ()
    """Columns of the table, besides the label, whose value is known by construction."""
    columns: ClassVar[tuple[str, ...]] = ()
    """Fields that its table has for the template, known factors included; empty where only the data can tell."""
    text_from: ClassVar[str] = "text"
    """Field that holds the example in words; a template may call it `text`, too."""
    labels_as_written: ClassVar[bool] = False
    """Whether `load` gives labels as somebody wrote them: indices, answers, or booleans. Otherwise an integer is an index."""
    conversations: ClassVar[bool] = False
    """Whether its examples are conversations, which have the columns CONVERSATION and PLACE and which the model's chat template renders; may
    be a property."""
    lawful: ClassVar[bool] = False
    """Whether laws of probability tie its statements together. The table then has `law` and `parts`: see harness.maths.laws."""

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """All examples in an order that is the same everywhere. `folder` is the spec's, for relative paths.

        `limit` is a hint: a generated set may stop there; the caller samples. Raises DataError.
        """
        raise NotImplementedError

    def labelled_by(self, column: str) -> Source:
        """The set with another column as its label, where it must be told to read it; else itself, of which any column can be taken."""
        del column
        return self

    @property
    def label_column(self) -> str:
        """What messages call the column of the labels."""
        return "label"

    def head(self, seed: int, folder: Path) -> Head | None:
        """The examples that can be read in a moment; None where there is no such way. Raises DataError."""
        return None

    def fingerprint(self, seed: int, folder: Path) -> str:
        """A string that changes when the examples would, computed without loading them where possible."""
        raise NotImplementedError

    def contents(self, folder: Path) -> Mapping[str, str]:
        """The options that name files, each with a hash of what is in them. `folder` is the spec's."""
        return {}


class Distractor(Kind, frozen=True):
    """Something that is added to a prompt and has a label of its own, drawn independently of the truth."""

    folder: ClassVar[str] = "distractors"

    def factor(self, name: str) -> Factor:
        """The factor under the name that the spec gives to this distractor."""
        raise NotImplementedError

    @property
    def follows_truth(self) -> bool:
        """Whether its value goes together with the truth on purpose; the linter then does not take it for a leaked label."""
        return False

    @property
    def leaves_prompts_alone(self) -> bool:
        """Whether it leaves prompts as they are on purpose; that it changes nothing is then no mistake."""
        return False

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        """A value per example (an index into the factor's values), balanced within each label and split.

        `examples` has the data's columns, `split`, `truth` (which member of the pair is right, 0 or 1) and `right` (the
        right answer in words).
        """
        raise NotImplementedError

    def edit_fields(self, fields: Mapping[str, Any], value: int) -> Mapping[str, Any]:
        """The template's fields with the distractor in them; unchanged by default. `choices` are the pair's answers."""
        return fields

    def edit_text(self, text: str, value: int) -> str:
        """The rendered prompt, answer included, with the distractor in it; unchanged by default."""
        return text


CONVERSATION = "\x1fmessages"
"""Column of examples that are conversations: their messages, as the JSON of a list of role and content each. No data set has one of this name."""

PLACE = "\x1fplace"
"""Column beside it: which row of which file an example is, in words."""

STRETCH = "read_at"
"""Column of a prompt table with the tokens that `activations.read` names: first and one past the last of each run, one after the other."""


TOKEN = "read_token"
"""Column of a prompt table in which every token of a stretch is a row: which token of the prompt it is."""


PROMPT_COLUMNS = (
    *("pair", "example", "group", "split", "template", "answer", "text"),
    *("tokens", "answer_start", "answer_end", "truth"),
)
"""Columns that every prompt table has."""

TAKEN = frozenset(
    {
        *(*PROMPT_COLUMNS, STRETCH, TOKEN, "law", "parts", "label"),
        *("choice", "start", "end", "own", "stretch", "characters", "foreign", "unclosed"),
        *("tokens_0", "tokens_1", PLACE),
    }
)
"""Names that no factor can have: columns that prompt tables have, or have while they are made."""


class PromptTable(msgspec.Struct, frozen=True):
    """All prompts of one condition.

    `frame` has one row per (example, template, view), sorted by `pair` then `answer`, with the columns: `pair`
    (u32, the number of its (example, template)), `example`, `group`, `split` (train, validation, test), `template`
    (name), `answer` (which view: 0 or 1, the members of a contrast pair; 0 for a statement), `text`, `tokens` (list of u32),
    `answer_start` and `answer_end` (token span of the answer, end exclusive; of the last token in a statement, of the reply in a conversation), and one column
    per factor, the same in all views of a row: `truth` (of a pair, which member is right, 0 or 1; of a statement, its label) and
    every other factor by name: an index of its values, a number, or a list of numbers. Where each token of a stretch is a row, `read_token`
    tells those of a prompt apart, and `text` has it between ⟦ and ⟧.
    """

    frame: pl.DataFrame
    factors: tuple[Factor, ...]
    templates: tuple[str, ...]
    findings: tuple[str, ...] = ()
    """What linting found that is no error but belongs in the report: one sentence each."""
    data_set: str = ""
    """A hash that tells its groups from groups of the same name in another data set."""
    views: int = 2
    """Prompts of a row: two are a contrast pair, one is a statement."""


class Bed(Kind, frozen=True):
    """A test bed: a network whose latent knowledge is known to be there, with its own data.

    Its prompts are token ids, not text, and what is true of each row stands in factor columns by construction.
    """

    folder: ClassVar[str] = "beds"

    answers: ClassVar[tuple[str, ...]] = ("no", "yes")
    """Names of the two members of a pair; of statements, of their labels."""
    views: ClassVar[int] = 2
    """Prompts of a row: two are a contrast pair, one is a statement; may be a property."""
    factors: ClassVar[tuple[Factor, ...]] = ()
    """Columns of `load`'s table, besides the label, that are true of each row by construction."""
    untrained: ClassVar[bool] = False
    """Whether it is a network before training, a control; may be a property."""
    shape: ClassVar[tuple[int, int]]
    """(layers including layer 0, d_model), known before anything is loaded; may be a property."""

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """`count` examples with `example`, `group`, `label`, the factors' columns, and `tokens_0`, `tokens_1`: the token
        ids of the two members of the pair, or of the statement alone."""
        raise NotImplementedError

    def states(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """States at the last token of each prompt, float32, (layer, row, d_model)."""
        raise NotImplementedError
