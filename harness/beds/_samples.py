"""Rows of beds that are samples of sparse features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.worlds.sparse_features import LEVELS, SparseFeatures

if TYPE_CHECKING:
    import polars as pl

DRAWN = 4096
"""Samples that are drawn at once."""
MOST_DRAWS = 2000


def sampled(world: SparseFeatures, count: int, seed: int) -> pl.DataFrame:
    """Different samples in which some feature is active, in the order in which they are drawn; a larger count keeps those of a smaller one. The label is
    the largest feature, the vector `features` has all, and tokens are thousandths. There are fewer where features are hardly ever active."""
    import polars as pl
    import torch

    found: dict[tuple[int, ...], None] = {}
    for turn in range(MOST_DRAWS):
        drawn = world.drawn(DRAWN, 0x70F + MOST_DRAWS * seed + turn)
        found |= dict.fromkeys(map(tuple, drawn[drawn.any(1)].tolist()))
        if len(found) >= count:
            break
    rows = list(found)[:count]
    values = torch.tensor(rows)
    names = [" ".join(f"{place}:{value}" for place, value in enumerate(row) if value) for row in rows]
    return pl.DataFrame(
        {
            "example": names,
            "group": names,
            "label": values.argmax(1).tolist(),
            "features": (values.double() / LEVELS).tolist(),
            "tokens_0": pl.Series(rows, dtype=pl.List(pl.UInt32)),
        }
    )
