from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.contracts import Factor, Source
from harness.data._numbers import number_pairs
from harness.maths.draws import draw

if TYPE_CHECKING:
    import polars as pl


class Arithmetic(Source, frozen=True):
    """Sums such as "34 + 58 = 92", right or a little off."""

    size: Annotated[int, Meta(ge=4, le=1_000_000)] = 2000
    """Number of statements, half of them true. `limit` samples from these."""
    low: Annotated[int, Meta(ge=0)] = 10
    """Smallest summand."""
    high: Annotated[int, Meta(le=10**12)] = 99
    """Largest summand. Each digit more is much harder for a small model."""
    near: Annotated[int, Meta(ge=1, le=10**6)] = 10
    """A wrong result is off by at most so much. Nearer results cannot be told by their size alone."""

    source: ClassVar[str] = "After the sums of Mallen & Belrose 2023, arXiv 2312.01037"
    columns: ClassVar[tuple[str, ...]] = ("smaller_summand", "a", "b", "c", "statement")
    text_from: ClassVar[str] = "statement"
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    template: ClassVar[str] = "{{ a }} + {{ b }} = {{ c }}. This statement is {{ answer }}."
    factors: ClassVar[tuple[Factor, ...]] = (Factor("smaller_summand", kind="number"),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """The right and the wrong result of one sum are one group, and no sum comes twice, summands exchanged or not."""
        import polars as pl

        del folder, limit
        rows = []
        for low, high in number_pairs(self.size // 2, self.low, self.high, seed):
            a, b = (low, high) if draw(seed, "order", low, high) % 2 else (high, low)
            for c in (a + b, self._wrong(a, b, seed)):
                rows.append(
                    {
                        "example": f"{a} + {b} = {c}",
                        "group": f"{low} + {high}",
                        "label": int(a + b == c),
                        "smaller_summand": low,
                        "a": a,
                        "b": b,
                        "c": c,
                        "statement": f"{a} + {b} = {c}",
                    }
                )
        return pl.DataFrame(rows)

    def fingerprint(self, seed: int, folder: Path) -> str:
        from harness.code.code_version import code_of
        from harness.store import content_key

        del folder
        return content_key(code_of(type(self)), msgspec.to_builtins(self), seed)

    def _wrong(self, a: int, b: int, seed: int) -> int:
        total = a + b
        offset = 1 + draw(seed, "offset", a, b) % self.near
        # Below zero would give the wrong ones away by their sign.
        down = draw(seed, "side", a, b) % 2 and offset <= total
        return total - offset if down else total + offset
