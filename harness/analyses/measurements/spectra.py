"""Frequencies over training: a panel for each network, a line for each frequency's share of the logits' variance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.figures import canvas

if TYPE_CHECKING:
    import polars as pl

CAPTION = (
    "Frequencies by step, a panel for each of the first eight networks of the first condition that is watched: share of the logits' variance that each frequency's wave of the "
    "answer holds. Coloured and named: key frequencies of the last step."
)
_MOST, _ACROSS = 8, 4
_TOP, _HIGH, _GAP, _LEFT = 52.0, 80.0, 44.0, 44.0


def draw(spectra: pl.DataFrame) -> canvas.Surface | None:
    """None where no world has frequencies."""
    import polars as pl

    if spectra.is_empty():
        return None
    own = spectra.filter(condition=spectra["condition"][0])
    networks = own["network"].unique().sort().to_list()[:_MOST]
    wide = (canvas.WIDTH - _LEFT) / min(_ACROSS, len(networks))
    rows = -(-len(networks) // _ACROSS)
    highest = max([0.05, *own["share"].to_list()])
    keys = own.filter(pl.col("key")).group_by("network").agg(pl.col("frequency").n_unique())["frequency"].to_list()
    title = f"{min(keys)} to {max(keys)} frequencies of {own['frequency'].n_unique()} are used in the end"
    surface = canvas.Surface(_TOP + rows * (_HIGH + _GAP), title)
    steps = own["step"].unique().sort().to_list()
    ends = (steps[0], steps[-1])
    for at, network in enumerate(networks):
        row, column = divmod(at, _ACROSS)
        mine = own.filter(network=network).sort("frequency", "step")
        panel = canvas.Panel(
            surface, _LEFT + column * wide, _TOP + row * (_HIGH + _GAP), wide - 22, _HIGH, ends, (0.0, highest)
        )
        panel.scale_left(canvas.ticks(0.0, highest, 3), named=column == 0)
        panel.scale_below(canvas.ticks(*ends, 2), "step" if row == rows - 1 else "")
        used = mine.filter(pl.col("key"))["frequency"].unique().sort().to_list()
        surface.text(
            panel.left,
            panel.top - 5,
            canvas.label(f"network {network}: {', '.join(map(str, used))}", int(wide / canvas.LETTER)),
            "s q",
        )
        for (frequency,), line in mine.group_by("frequency", maintain_order=True):
            # One that never leaves the axis by a pixel would not be seen, and of a large prime most do not.
            if frequency not in used and max(line["share"].to_list()) < highest / _HIGH:
                continue
            look = canvas.look_of(used.index(frequency)) if frequency in used else "q"
            panel.line(zip(line["step"].to_list(), line["share"].to_list(), strict=True), look)
    return surface
