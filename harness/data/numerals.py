from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source
from harness.errors import DataError
from harness.maths.draws import draw

if TYPE_CHECKING:
    import polars as pl


class Numerals(Source, frozen=True):
    """Whole numbers in digits, each once. Its size and its logarithm are numbers, its last digit is one of ten classes.

    The label is whether it is even. Numbers are drawn evenly by size, so that most have as many digits as the largest.
    """

    size: Annotated[int, Meta(ge=4, le=100_000)] = 500
    """How many numbers."""
    low: Annotated[int, Meta(ge=1)] = 1
    """Smallest number."""
    high: Annotated[int, Meta(le=10**12)] = 9999
    """Largest number. Long ones fall into several tokens."""

    columns: ClassVar[tuple[str, ...]] = ("number", "logarithm", "last_digit", "numeral")
    text_from: ClassVar[str] = "numeral"
    answers: ClassVar[tuple[str, ...]] = ("odd", "even")
    template: ClassVar[str] = "{{ numeral }}"
    factors: ClassVar[tuple[Factor, ...]] = (
        Factor("number", kind="number"),
        Factor("logarithm", kind="number", unit="(base 10)"),
        Factor("last_digit", tuple("0123456789")),
    )

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """Every number is a group of its own."""
        import polars as pl

        del folder, limit
        span = self.high - self.low + 1
        if span < self.size:
            raise DataError(
                f"data.source: {self.low} to {self.high} are {max(span, 0)} numbers, and {self.size} are needed; lower `size`, or widen "
                "`low` … `high`"
            )
        chosen: dict[int, None] = {}
        attempt = 0
        # All, where most are wanted: drawing until the last one turns up would take long.
        every = sorted(range(self.low, self.high + 1), key=lambda n: draw(seed, n)) if 2 * self.size > span else []
        while len(chosen) < self.size:
            chosen[every[attempt] if every else self.low + draw(seed, attempt) % span] = None
            attempt += 1
        return pl.DataFrame(
            [
                {
                    "example": str(number),
                    "group": str(number),
                    "label": int(number % 2 == 0),
                    "number": number,
                    "logarithm": math.log10(number),
                    "last_digit": number % 10,
                    "numeral": str(number),
                }
                for number in chosen
            ]
        )

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)
