from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source
from harness.data._numbers import number_pairs

if TYPE_CHECKING:
    import polars as pl


class Comparisons(Source, frozen=True):
    """Statements such as "61 is larger than 47.", both ways round.

    The first number tends to be large where the statement is true: that is the task itself, not a leak.
    """

    size: Annotated[int, Meta(ge=4, le=1_000_000)] = 2000
    """Number of statements, half of them true. `limit` samples from these."""
    low: Annotated[int, Meta(ge=0)] = 1
    """Smallest number."""
    high: Annotated[int, Meta(le=10**12)] = 999
    """Largest number. Long numbers fall into several tokens and are harder."""

    source: ClassVar[str] = "After Marks & Tegmark 2023, arXiv 2310.06824, §2 (their set `larger_than`)"
    columns: ClassVar[tuple[str, ...]] = ("difference", "a", "b", "statement")
    text_from: ClassVar[str] = "statement"
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    template: ClassVar[str] = "{{ a }} is larger than {{ b }}. This statement is {{ answer }}."
    factors: ClassVar[tuple[Factor, ...]] = (Factor("difference", kind="number"),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """The two statements about a pair of numbers are one group."""
        import polars as pl

        del folder, limit
        rows = []
        for low, high in number_pairs(self.size // 2, self.low, self.high, seed):
            for a, b in ((high, low), (low, high)):
                rows.append(
                    {
                        "example": f"{a} > {b}",
                        "group": f"{low}, {high}",
                        "label": int(a > b),
                        "difference": high - low,
                        "a": a,
                        "b": b,
                        "statement": f"{a} is larger than {b}.",
                    }
                )
        return pl.DataFrame(rows)

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)
