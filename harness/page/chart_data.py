"""The numbers of the page's charts, small enough to stand in it: plain lists by transfer, method and factor."""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.report.figures import palette, selection
from harness.report.scores import Scores, Transfer
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

_DIGITS = 4
_FACTOR = "factor_"
_COORDINATES = ("pc1", "pc2", "pc3")
_MOST_SEEDS = 400_000
"""Values; of more, there are fewer layers in the page, the summary layers among them. They take a megabyte."""
_STEPS = 65_534
"""In which a seed's value is kept, between the least and the most of all."""
_MOST_TRANSFERS, _MOST_METHODS = 6, 12
"""Shown at first; a reader may ask for the others."""


def chart_data(scores: Scores) -> dict[str, Any]:
    shown, methods = (
        selection.transfers(scores, _MOST_TRANSFERS),
        selection.methods(scores, scores.probes, _MOST_METHODS),
    )
    metrics = list(scores.outline.metrics)
    if scores.outline.chances:
        # No line is better than one at the chance of another target.
        metrics[0] = msgspec.structs.replace(metrics[0], chance=None)
    return {
        "metrics": [msgspec.to_builtins(metric) for metric in metrics],
        "transfers": [{"name": plain.line(t.title), "shown": t in shown} for t in scores.transfers],
        "targets": [{"name": plain.line(t), "shown": k < selection.MOST_FACTORS} for k, t in enumerate(scores.targets)],
        "probes": [{"name": plain.line(p), "role": scores.role(p), "shown": p in methods} for p in scores.probes],
        "lines": [_lines(scores, transfer) for transfer in scores.transfers],
        "seeds": seed_data(scores),
        "summary": [[scores.summary_layer(t, probe) for probe in scores.probes] for t in scores.transfers],
        "marks": palette.MARKS,
    }


def _lines(scores: Scores, transfer: Transfer) -> list[Any]:
    """[probe][target][metric] → layers and three lists of numbers, or null."""
    return [
        [[_line(scores, transfer, probe, target, metric) for metric in scores.metrics] for target in scores.targets]
        for probe in scores.probes
    ]


def _line(scores: Scores, transfer: Transfer, probe: str, target: str, metric: str) -> dict[str, Any] | None:
    cells = scores.by_layer(transfer, probe, target, metric)
    if not cells:
        return None
    columns = {name: [short(getattr(c, name)) for c in cells.values()] for name in ("value", "low", "high")}
    return {"layers": list(cells), **columns}


def seed_data(scores: Scores) -> dict[str, Any]:
    """Every seed's value on the first metric: `places` has for each [transfer, probe, target] its layers, how many seeds each has, and
    where in `values` they begin; those are 16 bits each, in base 64, between `low` and `high`."""
    found = [
        (t, p, k, cells)
        for t, transfer in enumerate(scores.transfers)
        for p, probe in enumerate(scores.probes)
        if probe in scores.seeded
        for k, target in enumerate(scores.targets)
        if (cells := scores.seeds_by_layer(transfer, probe, target))
    ]
    every = [
        seed.value for *_, cells in found for seeds in cells.values() for seed in seeds if math.isfinite(seed.value)
    ]
    low, high = min(every, default=0.0), max(every, default=1.0)
    step = -(-len(every) // _MOST_SEEDS) or 1
    values = array("H")
    places = []
    for t, p, k, cells in found:
        chosen = scores.summary_layer(scores.transfers[t], scores.probes[p])
        kept = [layer for i, layer in enumerate(cells) if layer == chosen or i % step == 0]
        places.append([t, p, k, kept, [len(cells[layer]) for layer in kept], len(values)])
        values.extend(_steps(seed.value, low, high) for layer in kept for seed in cells[layer])
    return {"places": places, "low": low, "high": high, "values": base64.b64encode(_little(values)).decode()}


def _steps(value: float, low: float, high: float) -> int:
    """The last number stands for none."""
    if not math.isfinite(value):
        return _STEPS + 1
    return round(_STEPS * (value - low) / (high - low)) if high > low else 0


def _little(values: array[int]) -> bytes:
    """Bytes with the low one first, on every machine."""
    import sys

    if sys.byteorder == "big":
        values = array("H", values)
        values.byteswap()
    return values.tobytes()


def clouds_of(states: pl.DataFrame | None, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each condition, three coordinates of every row and its class by each factor, as small numbers, and whether they are the rows
    of that condition in `rows` (see `harness.page.row_data`), in their order."""
    if states is None:
        return []
    factors = [name for name in states.columns if name.startswith(_FACTOR)]
    found = []
    for (condition, layer), of in states.group_by("condition", "layer", maintain_order=True):
        classes = {name: sorted({text or "" for text in of[name]}) for name in factors}
        name = plain.line(str(condition))
        known = next((i for i, one in enumerate(rows) if one["name"] == name and one["whole"] == of.height), None)
        found.append(
            {
                "condition": name,
                "layer": plain.line(str(layer)),
                "places": [[short(float(value)) for value in of[name]] for name in _COORDINATES],
                "rows": known,
                "factors": [
                    {
                        "name": plain.line(name.removeprefix(_FACTOR)),
                        "classes": [plain.line(text) for text in classes[name]],
                        "of": [classes[name].index(text or "") for text in of[name]],
                    }
                    for name in factors
                    if classes[name] != [""]
                ],
            }
        )
    return [cloud for cloud in found if cloud["factors"]]


def short(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None
