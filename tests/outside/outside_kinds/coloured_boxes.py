"""Statements about the colour of what is in a box."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Factor, Source

if TYPE_CHECKING:
    import polars as pl

COLOURS = ("blue", "green", "red", "orange")


class ColouredBoxes(Source, frozen=True, kw_only=True):
    """Boxes whose content has a colour, and statements that name it or another one."""

    size: Annotated[int, Meta(ge=4, le=100_000)] = 400
    """Number of statements, half of them true. `limit` samples from these."""

    source: ClassVar[str] = "Our own"
    answers: ClassVar[tuple[str, ...]] = ("false", "true")
    template: ClassVar[str] = "Box {{ box }} holds a {{ colour }} ball. It is {{ said }}. This is {{ answer }}."
    factors: ClassVar[tuple[Factor, ...]] = (Factor("warm", ("cold", "warm")),)

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        import polars as pl

        random = Random(seed)
        rows = []
        for box in range(self.size // 2):
            colour, other = random.sample(COLOURS, 2)
            for said in (colour, other):
                rows.append(
                    {
                        "example": f"box {box} is {said}",
                        "group": f"box {box}",
                        "label": int(said == colour),
                        "warm": int(COLOURS.index(colour) >= 2),
                        "box": box,
                        "colour": colour,
                        "said": said,
                    }
                )
        return pl.DataFrame(rows)

    def fingerprint(self, seed: int, folder: Path) -> str:
        # The code that makes them is part of every key already; what else they depend on stands here.
        return f"{self.size} {seed}"
