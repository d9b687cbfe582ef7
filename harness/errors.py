"""What can go wrong for a user, and the exit code that each kind of failure has.

Our own bugs raise ordinary Python exceptions; everything here is meant to be read by a person and
says where, what, and what would work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

EXIT_EXPECTED = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_UNFINISHED = 3


LONGEST_LINE = 4000
"""Letters of a line of a message: more are nobody's to read, as where a column's name has a hundred thousand."""


class HarnessError(Exception):
    """A failure with a message for the user; the run cannot go on (exit code 3)."""

    exit_code = EXIT_UNFINISHED

    def __str__(self) -> str:
        """The message, with the middle left out of lines that are too long: the place stands before it, the remedy behind."""
        return "\n".join(map(_shortened, super().__str__().split("\n")))


def _shortened(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


class UsageError(HarnessError):
    """The command line, the spec or a file that it names is wrong (exit code 2)."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, order=True)
class Problem:
    """One fault in an input file: where it is and what would work."""

    file: str
    line: int
    """1-based; 0 when the fault has no place in a file (a `--set`, a missing file)."""
    column: int
    path: str
    """The place inside the document, such as `probes[1].kind`; empty for the whole."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class SpecError(UsageError):
    """Every fault found in a spec, all at once."""

    def __init__(self, problems: Sequence[Problem]):
        # Those of one place stay in their order, as the rows of a file.
        self.problems = tuple(
            sorted(dict.fromkeys(problems), key=lambda one: (one.file, one.line, one.column, one.path))
        )
        super().__init__("\n".join(map(str, self.problems)))


class KeyFault(UsageError):
    """A fault in what a spec says under a key, found where the key's line is not at hand, as in a plan (exit code 2)."""

    def __init__(self, key: str, message: str):
        """`key` is such as `transfer[0]` or `conditions.main.activations.layers`."""
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message

    def inside(self, key: str) -> KeyFault:
        """The same fault, of a key below another."""
        return KeyFault(f"{key}.{self.key}", self.message)


class DataError(UsageError):
    """A data set, template or prompt that cannot be used as it is (exit code 2)."""

    def __init__(self, message: str, about: str = ""):
        """`about` is the key of the spec that the remedy is written at, such as `prompt.answers`; empty for the data's own."""
        super().__init__(message)
        self.about = about
        self.within = ""
        """The condition whose rows are meant, where one is."""


class PlacedDataError(SpecError, DataError):
    """A DataError that came up while something was run, at the line of the spec that names what failed (exit code 2)."""

    def __init__(self, problem: Problem, about: str = ""):
        super().__init__([problem])
        self.about = about


@dataclass(frozen=True)
class MissingColumn:
    """A column that an option of a data set names and the table has not."""

    name: str
    option: str
    hint: str
    """The tail of the message: the nearest column, or empty."""


SHOWN_COLUMNS = 20
"""Columns that are named in an error."""


class ColumnsMissing(DataError):
    """All columns that a table lacks, at once (exit code 2)."""

    def __init__(self, place: str, missing: Sequence[MissingColumn], columns: Sequence[str], oddity: str = ""):
        """`columns` are those that there are; `oddity` is what looks wrong with all of them, with the remedy."""
        each = (f'no column "{one.name}" (option `{one.option}`){one.hint}' for one in missing)
        tail = f"; {oddity}" if oddity else ""
        shown = ", ".join(columns[:SHOWN_COLUMNS]) + (", …" if len(columns) > SHOWN_COLUMNS else "")
        super().__init__(f"{place}: {'; '.join(each)} (columns: {shown}){tail}")
        self.place = place
        self.missing = tuple(missing)
        self.columns = tuple(columns)
        self.oddity = oddity

    def parts(self) -> tuple[Any, ...]:
        """What it is made of, for another process."""
        each = [[one.name, one.option, one.hint] for one in self.missing]
        return self.place, each, list(self.columns), self.oddity

    @classmethod
    def of_parts(cls, place: str, missing: Sequence[Sequence[str]], columns: Sequence[str], oddity: str) -> Self:
        return cls(place, [MissingColumn(*one) for one in missing], columns, oddity)


class CheckError(UsageError):
    """A check asks for something that the spec does not run (exit code 2)."""


class StoreError(HarnessError):
    """The artifact store cannot be read or written (a full disk, a missing permission)."""


class MemoryRanOut(HarnessError):
    """Memory does not suffice for what was asked, and asking for less is the user's choice (exit code 3)."""


class NumericalError(HarnessError):
    """States that are not finite, or a fit that cannot be computed from them."""


class ConstantStates(NumericalError):
    """States that do not vary at any layer that was given, so that there is nothing to fit."""


_LONG_ENOUGH = 4
"""Letters of a beginning that tell which name is meant."""


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The tail of an error about a wrong name: the nearest known one, or all of them."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.6)
    begun = [name for name in known if name.startswith(word)]
    if not near and len(word) >= _LONG_ENOUGH and len(begun) == 1:
        near = begun
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(known)}" if known else ""
