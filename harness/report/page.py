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
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.report import plain, read
from harness.report.outline import Outline, from_manifest
from harness.report.scores import Scores, Transfer
from harness.report.verdicts import headline, verdicts
from harness.report.wording import evidence, number

if TYPE_CHECKING:
    import polars as pl

_DIGITS = 4


def render(
    outline: Outline, results: pl.DataFrame, seeds: pl.DataFrame, checks: pl.DataFrame, manifest: Mapping[str, Any]
) -> bytes:
    """The page, about 5 MB, most of it plotly.js."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    scores = Scores(outline, results, seeds)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("harness.report").joinpath("page.jinja").read_text("utf-8"))
    provenance = {name: value for name, value in manifest.items() if name != "report"}
    text = template.render(
        outline=outline,
        scores=scores,
        summaries=[(transfer, scores.summaries(transfer)) for transfer in scores.transfers],
        verdicts=verdicts(checks, outline.claims),
        headline=headline(checks),
        manifest=plain.block(json.dumps(provenance, indent=1, ensure_ascii=False, sort_keys=True, default=str)),
        data=_embedded(chart_data(scores)),
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
    from harness.report.write import PAGE, place_page

    name = plain.line(str(folder / "manifest.json"))
    try:
        manifest = msgspec.json.decode(read.file_bytes(folder / "manifest.json"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{name} is not a JSON object; make it again with harness run")
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
    )
    return place_page(folder / PAGE, content)


def chart_data(scores: Scores) -> dict[str, Any]:
    """What the charts are drawn from: plain lists, by transfer, method and target, numbers to four decimals."""
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


def _short(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def _embedded(data: Any) -> str:
    """JSON in which no HTML parser finds a tag, a comment or an entity."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    rows = list(read.rows(read.file_bytes(path), columns, plain.line(str(path))))
    schema = {name: pl.Float64 if name in read.NUMBERS else pl.String for name in columns}
    return pl.DataFrame(rows, schema=schema, orient="row")
