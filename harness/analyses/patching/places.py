"""Places of a network whose states can be put from one pass into another, and pairs of texts between which they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from harness.models.shape import Shape

SiteName = Literal["residual", "attention", "mlp", "head"]

ALL = -1
"""As `back` of a place: all tokens from the first one on which the texts differ."""


class Place(msgspec.Struct, frozen=True):
    """A site of a layer at a token of every text."""

    site: SiteName
    layer: int
    """Of the residual stream, 0 is what goes into the first block and i comes out of block i; of another site, the block."""
    head: int | None
    back: int
    """Tokens between it and the last one before the answer, which is 0; or `ALL`."""

    @property
    def enters(self) -> int:
        """The layer of the residual stream from which on a pass has to be computed anew."""
        return self.layer if self.site == "residual" else self.layer - 1

    @property
    def tap(self) -> str:
        """The site as networks name it."""
        return self.site if self.head is None else f"{self.site}:{self.head}"


class Twins(msgspec.Struct, frozen=True):
    """Two texts of as many tokens that differ in some: a pass of `base` is given states of one of `source`."""

    number: int
    """Of the row."""
    base: tuple[int, ...]
    source: tuple[int, ...]
    right: int
    """The token that answers."""
    wrong: int
    """The other answer's."""

    @property
    def reach(self) -> int:
        """Tokens from the first one that differs to the last: before it, states are the same."""
        first = next(n for n, (own, other) in enumerate(zip(self.base, self.source, strict=True)) if own != other)
        return len(self.base) - first


def places_of(
    shape: Shape, sites: Sequence[SiteName], layers: Sequence[int], reach: int, each: bool
) -> tuple[Place, ...]:
    """Every place at these layers: at each of the last `reach` tokens by itself, or at all of them together."""
    backs = range(reach) if each else (ALL,)
    return tuple(
        Place(site, layer, head, back)
        for site in sites
        for layer in layers
        if layer or site == "residual"
        for head in _heads(shape, site)
        for back in backs
    )


def _heads(shape: Shape, site: SiteName) -> Iterator[int | None]:
    if site != "head":
        yield None
        return
    assert shape.heads is not None, "a site that the network has"
    yield from range(shape.heads)
