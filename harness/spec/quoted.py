"""What is said in another condition's conversations, as a data set that a template may quote from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Factor, Source
from harness.errors import DataError

if TYPE_CHECKING:
    import polars as pl

REPLY, QUESTION, SYSTEM, TRANSCRIPT = "reply", "question", "system", "transcript"
"""Fields of a template: the reply, all that the user says last, what the system says, and the whole of it with who says what."""


class Quoted(Source, frozen=True):
    """The rows of another condition in words, with its labels. They are known once that condition's are: see `harness.prompts.quoting`."""

    of: str
    """The condition."""
    labels: tuple[str, ...]
    """Names of its labels."""
    known: tuple[Factor, ...] = ()
    """What else is known of its rows, as far as the spec tells."""

    template: ClassVar[str] = f"{{{{ {REPLY} }}}}"
    columns: ClassVar[tuple[str, ...]] = (REPLY, QUESTION, SYSTEM, TRANSCRIPT)
    text_from: ClassVar[str] = REPLY

    @property
    def answers(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.labels

    @property
    def factors(self) -> tuple[Factor, ...]:  # type: ignore[override]
        return self.known

    @property
    def title(self) -> str:
        return f"what is said in {self.of}"

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        raise DataError(f"what is said in {self.of} is known once its prompts are there; name that condition itself")

    def fingerprint(self, seed: int, folder: Path) -> str:
        return ""
