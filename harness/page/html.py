"""report.html: one page that needs nothing else, with charts to point at.

The data stand in the page as JSON that no parser can leave, every text is put in as text, and a policy in the head
forbids the network and every script but our two, which carry a number drawn anew for each page.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.analyses.geometry import STATES
from harness.contracts import kind
from harness.contracts.analysis import Analysis
from harness.errors import UsageError
from harness.page.from_markdown import as_html
from harness.report import read
from harness.report.content import Look
from harness.report.outline import Outline, from_manifest
from harness.report.scores import Scores, Transfer
from harness.report.sections import Beside, sections
from harness.report.verdicts import headline, verdicts
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

_DIGITS = 4
_FACTOR = "factor_"
_COORDINATES = ("pc1", "pc2", "pc3")


def render(
    outline: Outline,
    results: pl.DataFrame,
    seeds: pl.DataFrame,
    checks: pl.DataFrame,
    manifest: Mapping[str, Any],
    beside: Beside | None = None,
    spec_text: str = "",
    made_from: str = "",
) -> bytes:
    """The page, about 5 MB, most of it plotly.js. `made_from` is a key of all that it is made from."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    beside = beside or Beside()
    scores = Scores(outline, results, seeds, beside.headline)
    clouds = _clouds(next((look.tables[STATES] for look in beside.looks if STATES in look.tables), None))
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
        spec_text=spec_text,
        more=Markup(as_html(sections(scores, beside))),
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
    import polars as pl

    from harness.report.folder import PAGE, SPEC, place_page
    from harness.scoring.tables import RESULTS, SEEDS

    name = plain.line(str(folder / "manifest.json"))
    manifest = read.decoded_manifest(read.file_bytes(folder / "manifest.json"), name)
    outline = from_manifest(manifest, name)
    checks = _table(folder / "checks.csv", read.CHECKS)
    if checks.height != len(outline.claims):
        raise UsageError(f"{name} and checks.csv are of different runs; make both again with harness run")

    def content_of(name: str) -> bytes | None:
        return read.file_bytes(folder / name) if (folder / name).exists() else None

    results, seeds = content_of("results.parquet"), content_of("seeds.parquet")
    content = render(
        outline,
        _table(folder / "results.csv", read.RESULTS) if results is None else _full(results, "results.parquet", RESULTS),
        pl.DataFrame(schema=SEEDS) if seeds is None else _full(seeds, "seeds.parquet", SEEDS),
        checks,
        manifest,
        beside_of(content_of),
        (content_of(SPEC) or b"").decode(errors="replace"),
    )
    return place_page(folder / PAGE, content)


def _full(content: bytes, name: str, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    """A table with every layer. Raises UsageError."""
    import polars as pl

    try:
        return read.full_table(content, name, schema).select(*schema).cast(pl.Schema(schema))
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{name} is not the table of a report: {plain.line(str(error), 120)}") from error


def beside_of(content_of: Callable[[str], bytes | None]) -> Beside:
    """The other tables of a report, and the analyses of which all tables are there. Raises UsageError."""

    def table(name: str, *, deep: bool = True) -> pl.DataFrame | None:
        return None if (content := content_of(name)) is None else read.full_table(content, name, deep=deep)

    found: list[Look] = []
    for name in kind.loadable("analyses"):
        analysis: type[Analysis] = kind.find("analyses", name)  # type: ignore[assignment]
        tables = {file: frame for file in analysis.files if (frame := table(file)) is not None}
        if analysis.files and set(tables) == set(analysis.files):
            found.append(Look(analysis(), tables))
    return Beside(
        table("headline.parquet"), table("restarts.parquet"), table("depth.parquet", deep=False), tuple(found)
    )


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


def _clouds(states: pl.DataFrame | None) -> list[dict[str, Any]]:
    """For each condition, three coordinates of every row and its class by each factor, as small numbers."""
    if states is None:
        return []
    factors = [name for name in states.columns if name.startswith(_FACTOR)]
    clouds = []
    for (condition, layer), rows in states.group_by("condition", "layer", maintain_order=True):
        classes = {name: sorted({text or "" for text in rows[name]}) for name in factors}
        clouds.append(
            {
                "condition": plain.line(str(condition)),
                "layer": plain.line(str(layer)),
                "places": [[_short(float(value)) for value in rows[name]] for name in _COORDINATES],
                "factors": [
                    {
                        "name": plain.line(name.removeprefix(_FACTOR)),
                        "classes": [plain.line(text) for text in classes[name]],
                        "of": [classes[name].index(text or "") for text in rows[name]],
                    }
                    for name in factors
                    if classes[name] != [""]
                ],
            }
        )
    return clouds


def _short(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def _embedded(data: Any) -> str:
    """JSON in which no HTML parser finds a tag, a comment or an entity."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    return read.table_of(read.file_bytes(path), columns, plain.line(str(path)))
