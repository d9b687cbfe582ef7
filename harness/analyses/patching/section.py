"""The report's section on patching: which part of the network makes its answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.analyses.patching.place_table import ATTRIBUTION
from harness.report.intervals import Score
from harness.report.markup import table
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

MOST = 4
"""Places of each site that are shown."""
MOST_ASTRAY = 5
"""Places that are shown where attribution is furthest off."""

HOW_TO_READ = (
    "States of one prompt were put into the pass of another, one place at a time: by which share of the difference between both prompts' answers does the answer "
    "follow? 0 is nothing, 1 all of it; below 0 it goes the other way. Shares by log-odds of parts that work side by side add up; by probability, rank or accuracy they "
    "need not. Attribution is what slopes foretell of the log-odds."
)

Row = Mapping[str, Any]


def section(frame: pl.DataFrame | None) -> Iterable[str]:
    """What each metric says of the places that matter most, and where attribution is off."""
    if frame is None or frame.is_empty():
        return
    yield "## Where the answer is made"
    yield plain.markdown(HOW_TO_READ)
    done = frame["asked"].unique(maintain_order=True).to_list()
    for asked in done:
        yield from _of(asked, frame.filter(asked=asked))
    for asked in done:
        yield from _astray(asked, frame.filter(asked=asked))


def _of(asked: str, frame: pl.DataFrame) -> Iterator[str]:
    metrics = frame["metric"].unique(maintain_order=True).to_list()
    ends = [frame.filter(metric=name).row(0, named=True) for name in metrics if name != ATTRIBUTION]
    said = "; ".join(
        f"{row['metric'].replace('_', ' ')} {number(row['base'])} and {number(row['source'])}" for row in ends
    )
    yield f"{plain.markdown(asked).capitalize()}, n = {ends[0]['n']}. Means of what is said without and with the whole other prompt: {said}."
    if missing := sorted({row["why"] for row in frame.to_dicts() if row["why"]}):
        yield f"No interval where {plain.markdown('; '.join(missing))}."
    places = _by_place(frame)
    first = [place for site in frame["site"].unique(maintain_order=True) for place in _first(places, site)]
    head = ["place", *(name.replace("_", " ") for name in metrics)]
    yield table(
        head, [[place, *(_shown(places[place].get(name)) for name in metrics)] for place in first], len(metrics)
    )


def _first(places: Mapping[str, Mapping[str, Row]], site: str) -> list[str]:
    """The places of a site that make most of the difference by log-odds."""
    own = [place for place, of in places.items() if of["log_odds"]["site"] == site]
    return sorted(own, key=lambda place: -abs(_value(places[place].get("log_odds"))))[:MOST]


def _astray(asked: str, frame: pl.DataFrame) -> Iterator[str]:
    """Where slopes foretell something else than what happens."""
    if frame.filter(metric=ATTRIBUTION).is_empty():
        return
    places = _by_place(frame)
    off = {place: _value(of.get(ATTRIBUTION)) - _value(of.get("log_odds")) for place, of in places.items()}
    worst = sorted(off, key=lambda place: -abs(off[place]))[:MOST_ASTRAY]
    yield f"Where attribution is furthest off, {plain.markdown(asked)}:"
    head = ("place", "log odds", "attribution", "off by")
    yield table(
        head,
        [
            [place, _shown(places[place].get("log_odds")), _shown(places[place].get(ATTRIBUTION)), number(off[place])]
            for place in worst
        ],
        3,
    )


def _by_place(frame: pl.DataFrame) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in frame.to_dicts():
        found.setdefault(named(row), {})[row["metric"]] = row
    return found


def named(row: Row) -> str:
    """A place in words."""
    what = (
        f"{row['site']} of layer {row['layer']}"
        if row["head"] is None
        else f"head {row['head']} of block {row['layer']}"
    )
    if row["back"] is None:
        return what
    return f"{what}, last token" if row["back"] == 0 else f"{what}, {row['back']} before the last token"


def _value(row: Row | None) -> float:
    return 0.0 if row is None or row["value"] is None else float(row["value"])


def _shown(row: Row | None) -> str:
    if row is None:
        return "–"
    return evidence(Score(*(math.nan if row[name] is None else row[name] for name in ("value", "low", "high"))))
