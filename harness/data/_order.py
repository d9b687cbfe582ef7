"""Order and chance by hashing: the same on every machine, in every version, whatever else is in the set.

An item's key depends on the seed and on the item alone. Sorted by key, a set is shuffled, and a larger set shuffled by
the same seed keeps the order of a smaller one.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def draw(*parts: object) -> int:
    """A number below 2**64, uniform over different parts."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def keys(items: Iterable[str], *salt: object) -> list[bytes]:
    """A key per item, eight bytes that sort in a random order. `salt` is the seed and the purpose."""
    start = blake2b("\x1f".join(map(str, salt)).encode(), digest_size=16).digest()
    return [blake2b(item.encode(), digest_size=8, salt=start).digest() for item in items]
