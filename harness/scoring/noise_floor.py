"""The noise floor of a run, and the checks that it leaves undecided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from harness.contracts import Judgement

if TYPE_CHECKING:
    import polars as pl

BOUND = 0.1
"""The largest error of x⁺ − x⁻ around its mean, relative to its length, with which a check is decided. Rounding of bfloat16 products scaled to
it moved accuracies of SmolLM2 on 120 reviews by 0.01 to 0.02, by 0.04 at most, half of what their intervals leave; five times as much
moved some by 0.12, more than that."""

VISIBLE = 0.001
"""What is less is not shown: it is other on other machines."""

Place = tuple[str, int]
"""A condition and a layer."""


class NoiseFloor(msgspec.Struct, frozen=True):
    """The error of x⁺ − x⁻ around its mean, relative to its length, of each condition at each layer. States that no network computes have none."""

    by_place: Mapping[Place, float] = {}

    @property
    def shows(self) -> bool:
        """Whether it is anywhere as large as a tenth of a per cent."""
        return any(noise >= VISIBLE for noise in self.by_place.values())

    def of(self, conditions: Iterable[str]) -> dict[int, float]:
        """By layer, the largest of some conditions'."""
        names, found = {*conditions}, dict[int, float]()
        for (condition, layer), noise in self.by_place.items():
            if condition in names:
                found[layer] = max(noise, found.get(layer, 0.0))
        return dict(sorted(found.items()))

    def weighed(self, judgement: Judgement, looked_at: Iterable[Place]) -> Judgement:
        """The judgement; inconclusive where what was looked at is mostly rounding at one of the places."""
        known = [place for place in looked_at if place in self.by_place]
        worst = max(known, key=lambda place: self.by_place[place], default=None)
        if worst is None or self.by_place[worst] <= BOUND:
            return judgement
        why = (
            f"{judgement.why} Not decided: arithmetic moves x⁺ − x⁻ of {worst[0]} by {percent(self.by_place[worst])} at layer {worst[1]}, "
            f"more than {percent(BOUND)}; model.precision: exact and model.packing: never make it less."
        )
        return msgspec.structs.replace(judgement, finding="inconclusive", why=why)


def floor_of(frame: pl.DataFrame) -> NoiseFloor:
    """The noise floor in a table with the columns `condition`, `layer` and `noise`."""
    return NoiseFloor({(row["condition"], row["layer"]): row["noise"] for row in frame.iter_rows(named=True)})


def percent(share: float) -> str:
    """`31 %`, `0.4 %`, `under 0.1 %`: no more digits than are the same on every machine."""
    if share < VISIBLE:
        return "under 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
