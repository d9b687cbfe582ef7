"""report.html: one page that needs nothing else, with charts to point at.

The data stand in the page as JSON that no parser can leave, every text is put in as text, and a policy in the head
forbids the network and every script but our two, which carry a number drawn anew for each page.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from harness.analyses.autopsy import autopsy_text
from harness.analyses.geometry import geometry_tables
from harness.errors import UsageError
from harness.report import read
from harness.report.outline import Outline, from_manifest
from harness.report.scores import Scores, Transfer
from harness.report.verdicts import headline, verdicts
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

_DIGITS = 4
_STATES = "states.csv"
_GEOMETRY = "geometry.csv"
_FACTOR = "factor_"
EXTRA = (*read.AUTOPSY, _GEOMETRY, _STATES)
"""Files of the report that the page shows where they are there."""


def render(
    outline: Outline,
    results: pl.DataFrame,
    seeds: pl.DataFrame,
    checks: pl.DataFrame,
    manifest: Mapping[str, Any],
    tables: Mapping[str, bytes] = MappingProxyType({}),
    made_from: str = "",
) -> bytes:
    """The page, about 5 MB, most of it plotly.js. `tables` are those CSV files of the report that not every one has, `made_from` a
    key of all that it is made from."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    scores = Scores(outline, results, seeds)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("harness.page").joinpath("page.jinja").read_text("utf-8"))
    provenance = {name: value for name, value in manifest.items() if name != "report"}
    text = template.render(
        outline=outline,
        made_from=made_from,
        scores=scores,
        summaries=[(transfer, scores.summaries(transfer)) for transfer in scores.transfers],
        verdicts=verdicts(checks, outline.claims),
        headline=headline(checks),
        examined=_examined(tables),
        how_to_read_autopsies=autopsy_text.HOW_TO_READ,
        geometry=_geometry(tables, clouds := _clouds(tables)),
        how_to_read_geometry=geometry_tables.HOW_TO_READ,
        has_clouds=any(cloud["factors"] for cloud in clouds),
        manifest=plain.block(json.dumps(provenance, indent=1, ensure_ascii=False, sort_keys=True, default=str)),
        data=_embedded({**chart_data(scores), "clouds": clouds}),
        nonce=secrets.token_urlsafe(18),
        plotly=get_plotlyjs(),
        line=plain.line,
        block=plain.block,
        evidence=evidence,
        number=number,
    )
    return text.encode()


def from_folder(folder: Path) -> Path:
    """Renders the page again from a report's own files and puts it beside them. Raises UsageError, HarnessError."""
    from harness.report.folder import PAGE, place_page

    name = plain.line(str(folder / "manifest.json"))
    manifest = read.decoded_manifest(read.file_bytes(folder / "manifest.json", read.LARGEST_EXTRA_BYTES), name)
    outline = from_manifest(manifest, name)
    checks = _table(folder / "checks.csv", read.CHECKS)
    if checks.height != len(outline.claims):
        raise UsageError(f"{name} and checks.csv are of different runs; make both again with harness run")
    content = render(
        outline,
        _table(folder / "results.csv", read.RESULTS),
        _table(folder / "seeds.csv", read.SEEDS),
        checks,
        manifest,
        {name: read.file_bytes(folder / name, read.LARGEST_EXTRA_BYTES) for name in EXTRA if (folder / name).exists()},
    )
    return place_page(folder / PAGE, content)


def chart_data(scores: Scores) -> dict[str, Any]:
    """The data of the charts: plain lists, by transfer, method and target, numbers to four decimals."""
    return {
        "metrics": [msgspec.to_builtins(metric) for metric in scores.outline.metrics],
        "transfers": [plain.line(transfer.title) for transfer in scores.transfers],
        "targets": [plain.line(target) for target in scores.targets],
        "probes": [{"name": plain.line(probe), "role": scores.role(probe)} for probe in scores.probes],
        "lines": [_lines(scores, transfer) for transfer in scores.transfers],
        "seeds": [_seeds(scores, transfer) for transfer in scores.transfers],
        "summary": [
            [scores.summary_layer(transfer, probe) for probe in scores.probes] for transfer in scores.transfers
        ],
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
    columns = {name: [_short(getattr(c, name)) for c in cells.values()] for name in ("value", "low", "high")}
    return {"layers": list(cells), **columns}


def _seeds(scores: Scores, transfer: Transfer) -> list[Any]:
    """[probe][target] → layers and, for each, every seed's value on the headline metric; null without seeds."""
    return [
        [
            {
                "layers": list(cells := scores.seeds_by_layer(transfer, probe, target)),
                "value": [[_short(seed.value) for seed in seeds] for seeds in cells.values()],
            }
            for target in scores.targets
        ]
        if probe in scores.seeded
        else None
        for probe in scores.probes
    ]


def _examined(tables: Mapping[str, bytes]) -> list[autopsy_text.ProbeText]:
    """The autopsies in words; nothing without their tables."""
    if not set(tables) >= set(read.AUTOPSY):
        return []
    solutions, features, rows = (
        [dict(zip(columns, row, strict=True)) for row in read.rows(tables[name], columns, name)]
        for name, columns in read.AUTOPSY.items()
    )
    of_solutions, _, of_rows = read.AUTOPSY
    places = {(row["fit_on"], row["tested_on"], row["probe"]) for row in solutions}
    read.check_count(len(places), read.MOST_COLUMNS, "probes on conditions", of_solutions)
    read.check_count(len(rows), read.MOST_CELLS // autopsy_text.CELLS, "rows", of_rows)
    return autopsy_text.texts_of(solutions, features, rows)


def _clouds(tables: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """For each condition, three coordinates of every row and its class by each factor, as small numbers."""
    if _STATES not in tables:
        return []
    head = read.columns(tables[_STATES], _STATES)
    factors = [name for name in head if name.startswith(_FACTOR)]
    by_condition: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row in read.rows(tables[_STATES], (*read.STATES, *factors), _STATES):
        by_condition.setdefault((str(row[0]), str(row[1])), []).append(row[2:])
    read.check_count(len(by_condition), read.MOST_COLUMNS, "conditions", _STATES)
    clouds = []
    for (condition, layer), rows in by_condition.items():
        columns = list(zip(*rows, strict=True))
        classes = {
            name: {text: number for number, text in enumerate(sorted(set(column)))}
            for name, column in zip(factors, columns[3:], strict=True)
        }
        clouds.append(
            {
                "condition": plain.line(condition),
                "layer": plain.line(layer),
                "places": [[_short(value) for value in column] for column in columns[:3]],
                "factors": [
                    {
                        "name": plain.line(name.removeprefix(_FACTOR)),
                        "classes": [plain.line(text) for text in classes[name]],
                        "of": [classes[name][text] for text in column],
                    }
                    for name, column in zip(factors, columns[3:], strict=True)
                    if list(classes[name]) != [""]
                ],
            }
        )
    return clouds


def _geometry(tables: Mapping[str, bytes], clouds: list[dict[str, Any]]) -> list[geometry_tables.ConditionTables]:
    if _GEOMETRY not in tables:
        return []
    rows = [
        dict(zip(read.GEOMETRY, row, strict=True)) for row in read.rows(tables[_GEOMETRY], read.GEOMETRY, _GEOMETRY)
    ]
    layers = {cloud["condition"]: cloud["layer"] for cloud in clouds}
    read.check_count(geometry_tables.count_cells(rows, layers), read.MOST_CELLS, "cells written out", _GEOMETRY)
    return geometry_tables.tables_of(rows, layers)


def _short(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def _embedded(data: Any) -> str:
    """JSON in which no HTML parser finds a tag, a comment or an entity."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    return read.table_of(read.file_bytes(path), columns, plain.line(str(path)))
