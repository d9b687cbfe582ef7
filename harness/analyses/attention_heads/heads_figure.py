"""Scores of all attention heads by block, a panel for each network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

CAPTION = (
    "Attention heads by block, a mark for each: how much it attends to the token after a copy, the same between these positions where nothing is repeated, and to the token before, on random tokens. "
    "Of the first three networks."
)
_MOST = 3
_NAMES = {"matching": "prefix matching", "control": "not repeated", "previous": "previous token"}
_TOP, _HIGH, _LEFT, _GAP = 74.0, 190.0, 44.0, 26.0


def draw(heads: pl.DataFrame) -> canvas.Surface:
    """One panel for each of the first networks."""
    conditions = heads["condition"].unique(maintain_order=True).to_list()[:_MOST]
    highest = heads.filter(condition=conditions[0]).sort("matching", descending=True).row(0, named=True)
    title = f"{conditions[0]}: head {highest['head']} of block {highest['block']} attends to the token after a copy with {highest['matching']:.2f}"
    surface = canvas.Surface(_TOP + _HIGH + 44, title)
    at = _LEFT
    for look, name in enumerate(_NAMES.values()):
        at = canvas.key(surface, at, 34, name, look)
    wide = (canvas.WIDTH - _LEFT) / len(conditions)
    last = max(heads["block"].to_list())
    for column, condition in enumerate(conditions):
        own = heads.filter(condition=condition)
        panel = canvas.Panel(surface, _LEFT + column * wide, _TOP, wide - _GAP, _HIGH, (0, last + 1), (0.0, 1.0))
        surface.text(panel.left, _TOP - 8, canvas.label(str(condition), int(wide / canvas.LETTER)), "b s")
        panel.scale_left(canvas.ticks(0.0, 1.0, 3), named=column == 0)
        panel.scale_below(canvas.whole_ticks(last), "block")
        for look, name in reversed(list(enumerate(_NAMES))):
            panel.marks(zip(own["block"].to_list(), own[name].to_list(), strict=True), look)
    return surface
