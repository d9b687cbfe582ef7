"""Drawing a distractor's values: as many of each, whatever the truth and the split."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


def balanced(examples: pl.DataFrame, count: int, seed: int) -> np.ndarray:
    """A value below `count` per example. Within each label and split every value comes equally often, up to rounding.

    The order within a stratum is that of hashes of the seed and the example's id, so that neither the order of the rows
    nor the machine matters.
    """
    import numpy as np

    salt = blake2b(str(seed).encode(), digest_size=16).digest()
    strata: dict[tuple, list[tuple[bytes, str, int]]] = {}
    for row, (example, label, split) in enumerate(examples.select("example", "label", "split").iter_rows()):
        key = blake2b(example.encode(), digest_size=8, salt=salt).digest()
        strata.setdefault((split, label), []).append((key, example, row))
    values = np.zeros(len(examples), dtype=np.int64)
    handed_out = 0
    for stratum in sorted(strata):
        for key, example, row in sorted(strata[stratum]):
            del key, example
            # Going on where the last stratum stopped keeps the whole balanced, too, when strata are odd.
            values[row] = handed_out % count
            handed_out += 1
    return values
