"""Order and chance by hashing: the same on every machine, in every version, whatever else is in the set.

An item's key depends on the seed and on the item alone. Sorted by key, a set is shuffled, and a larger set shuffled by
the same seed keeps the order of a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from math import floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


def draw(*parts: object) -> int:
    """A number below 2**64, uniform over different parts."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def keys(items: Iterable[str], *salt: object) -> list[bytes]:
    """A key per item, eight bytes that sort in a random order. `salt` is the seed and the purpose."""
    start = blake2b("\x1f".join(map(str, salt)).encode(), digest_size=16).digest()
    return [blake2b(item.encode(), digest_size=8, salt=start).digest() for item in items]


def balanced(examples: pl.DataFrame, count: int, seed: int) -> np.ndarray:
    """A value below `count` per example. Within each label and split every value comes equally often, up to rounding.

    The order within a stratum is that of hashes of the seed and the example's id, so that neither the order of the rows
    nor the machine matters.
    """
    import numpy as np

    values = np.zeros(len(examples), dtype=np.int64)
    # Going on where the last stratum stopped keeps the whole balanced, too, when strata are odd.
    for handed_out, row in enumerate(_in_turn(examples, ("split", "label"), seed)):
        values[row] = handed_out % count
    return values


def agreeing(examples: pl.DataFrame, rate: float, seed: int) -> np.ndarray:
    """0 or 1 per example, which is `truth` in a share `rate` of the examples of every split, truth and label, up to rounding."""
    import numpy as np

    truth = examples["truth"].to_numpy()
    values = 1 - truth
    for turn, row in enumerate(_in_turn(examples, ("split", "truth", "label"), seed)):
        # As many have agreed by each turn as the rate asks for. 0.29 × 100 is a little under 29 in binary fractions.
        if floor((turn + 1) * rate + 1e-9) > floor(turn * rate + 1e-9):
            values[row] = truth[row]
    return values.astype(np.int64)


def _in_turn(examples: pl.DataFrame, strata: tuple[str, ...], seed: int) -> Iterator[int]:
    """The rows, stratum after stratum, in the order of their hashes within each."""
    salt = blake2b(str(seed).encode(), digest_size=16).digest()
    members: dict[tuple, list[tuple[bytes, str, int]]] = {}
    for row, (example, *stratum) in enumerate(examples.select("example", *strata).iter_rows()):
        key = blake2b(example.encode(), digest_size=8, salt=salt).digest()
        members.setdefault(tuple(stratum), []).append((key, example, row))
    for _, found in sorted(members.items()):
        for _, _, row in sorted(found):
            yield row
