"""The report's section on polysemantic neurons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.report.intervals import Score
from harness.report.markup import table
from harness.report.wording import evidence, listed, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

SHOWN = 8
"""Dimensions that serve several targets in the table, at most."""
BEST = 2
"""Dimensions of each target besides, those that tell it best."""


AIM = ("condition", "probe", "target")


def section(dimensions: pl.DataFrame) -> Iterable[str]:
    """A table for each group of targets that read the same states; nothing where no probe found anything."""
    if dimensions.is_empty():
        return
    yield "## Polysemantic neurons"
    yield (
        "AUROC of a dimension alone on test rows, the way round that training rows have it, with 95 % intervals; bold where the probe chose it for that target. Shown are those that "
        f"serve most targets, at most {SHOWN}, and the best {BEST} of each target. What hardly varies on some rows, as most features of an autoencoder on a few texts, is never chosen there, so that more is shared than chance "
        "among all would be. All are in `dimensions.parquet`."
    )
    for _, own in dimensions.group_by("states", maintain_order=True):
        yield from _of_states(own)


def _of_states(dimensions: pl.DataFrame) -> Iterable[str]:
    """How many dimensions several targets share, and a table of those and of the best of each target."""
    import polars as pl

    aims = dimensions.select(AIM).unique(maintain_order=True).rows()
    chosen = dimensions.filter("chosen")
    serving = chosen.group_by("dimension").agg(pl.len().alias("targets"), pl.col("auroc").min().alias("least"))
    serving = serving.sort("targets", "least", "dimension", descending=[True, True, False])
    shared = serving.filter(pl.col("targets") > 1)["dimension"].to_list()
    others = dimensions.filter(~pl.col("chosen"))
    clear = others.filter(pl.col("low") > 0.5).height
    width = int(dimensions["width"][0])
    sizes = chosen.group_by(AIM).len()["len"].to_list()
    read = listed([plain.markdown(name) for name in dict.fromkeys(condition for condition, _, _ in aims)])
    yield (
        f"{read}, layer {dimensions['layer'][0]}: for {len(aims)} targets {serving.height} of {width:,} dimensions are chosen, {len(shared)} of them for more than one, where "
        f"{number(by_chance(sizes, width))} would be if each target took as many at random. A dimension tells a target that it was not chosen for in {clear} of {others.height} cases (the "
        "interval is above one half, which is so of 2.5 % by chance)."
    )
    best = [
        one
        for _, own in chosen.group_by(AIM, maintain_order=True)
        for one in own.sort("auroc", "dimension", descending=[True, False])["dimension"].head(BEST)
    ]
    rows = []
    for one in dict.fromkeys((*shared[:SHOWN], *best)):
        cells = {tuple(row[name] for name in AIM): row for row in dimensions.filter(dimension=one).to_dicts()}
        rows.append([f"{one}", *(_cell(cells[place]) for place in aims)])
    yield table(("dimension", *_titles(aims)), rows, numbers=len(aims))


def _titles(aims: Sequence[tuple[str, ...]]) -> list[str]:
    """What each target is called: as much as tells it from the others."""
    conditions, probes, targets = (set(each) for each in zip(*aims, strict=True))
    found = []
    for condition, probe, target in aims:
        parts = [target] if len(targets) > 1 else []
        parts += [f"of {condition}" if parts else condition] if len(conditions) > 1 else []
        parts += [f"by {probe}"] if len(probes) > len(targets) else []
        found.append(plain.markdown(" ".join(parts)))
    return found


def by_chance(sizes: Iterable[int], width: int) -> float:
    """How many of `width` dimensions are expected in more than one of sets of these sizes that are drawn at random."""
    none, one = 1.0, 0.0
    for size in sizes:
        share = size / width
        none, one = none * (1 - share), one * (1 - share) + none * share
    return width * (1 - none - one)


def _cell(row: dict[str, float]) -> str:
    told = evidence(Score(row["auroc"], row["low"], row["high"]))
    shown, _, interval = told.partition(" ")
    return f"**{shown}** {interval}" if row["chosen"] else told
