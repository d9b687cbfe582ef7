"""report.html: one page that needs nothing else, with charts to point at, tables to sort and rows to search.

The data stand in the page as JSON that no parser can leave, every text is put in as text, and a policy in the head
forbids the network and every script but our own, which carries a number drawn anew for each page. The charts are drawn by
our own few hundred lines: a library for charts is larger than all that a report has, and brings buttons that ask the network.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from harness.analyses.geometry import STATES
from harness.contracts import kind
from harness.contracts.analysis import Analysis
from harness.errors import UsageError
from harness.page.chart_data import chart_data, clouds_of
from harness.page.from_markdown import as_html, sections_of
from harness.page.row_data import row_data
from harness.report import read
from harness.report.content import Look
from harness.report.figures import DRAWINGS, palette
from harness.report.folder import TEXT
from harness.report.markdown import found_sentence
from harness.report.outline import Outline
from harness.report.scores import Scores
from harness.report.sections import Beside, sections
from harness.report.verdicts import headline, verdicts
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

ROWS = "rows.parquet"
_SCRIPTS = ("dom.js", "charts.js", "tables.js", "cloud.js", "page.js")
OWN = {f"{drawing.name}.svg" for drawing in DRAWINGS if not drawing.outcomes}
"""Figures that the page draws itself."""
_SHOWN_ELSEWHERE = ("Checks", "What was found", "Model, data and conventions", "What linting found", "To reproduce")
"""Sections of report.md that the page has in a form of its own."""


class Extras(msgspec.Struct, frozen=True):
    """What the page shows besides the tables of scores and checks."""

    beside: Beside = Beside()
    rows: pl.DataFrame | None = None
    spec_text: str = ""
    text: str = ""
    """report.md."""
    pictures: Mapping[str, bytes] = {}
    """SVG by the name of its file."""


def render(
    outline: Outline,
    results: pl.DataFrame,
    seeds: pl.DataFrame,
    checks: pl.DataFrame,
    manifest: Mapping[str, Any],
    extras: Extras | None = None,
    made_from: str = "",
) -> bytes:
    """The page, at most 3 MB. `made_from` is a key of all that it is made from."""
    from markupsafe import Markup

    extras = extras or Extras()
    scores = Scores(outline, results, seeds, extras.beside.headline)
    rows, clouds = _rows_and_clouds(extras)
    data = chart_data(scores)
    summaries = [(transfer, scores.summaries(transfer)) for transfer in scores.transfers]
    more, headings = _with_ids(as_html("\n\n".join([sections(scores, extras.beside), *_only_in(extras, scores)])))
    provenance = {name: value for name, value in manifest.items() if name != "report"}
    page = {
        "outline": outline,
        "scores": scores,
        "summaries": summaries,
        "sentences": [
            Markup(as_html(f"- {plain.markdown(transfer.title)}: {sentence}"))
            for transfer, found in summaries
            if (sentence := found_sentence(found))
        ],
        "layered": any(
            line is not None and len(line["layers"]) > 1
            for of in data["lines"]
            for probe in of
            for target in probe
            for line in target
        ),
        "filters": [
            (key, title, [(one["name"], one["shown"]) for one in data[key]])
            for key, title in (("transfers", "conditions"), ("probes", "methods"), ("targets", "factors"))
        ],
        "verdicts": verdicts(checks, outline.claims),
        "headline": headline(checks),
        "warnings": [
            Markup(as_html(line)) for line in extras.text.split("\n## ")[0].splitlines() if line.startswith("⚠ ")
        ],
        "spec_text": extras.spec_text,
        "rows": rows,
        "clouds": clouds,
        "cloud_factors": list(dict.fromkeys(factor["name"] for cloud in clouds for factor in cloud["factors"])),
        "more": Markup(more),
        "pictures": [
            (name.removesuffix(".svg"), base64.b64encode(svg).decode())
            for name, svg in extras.pictures.items()
            if name not in OWN
        ],
        "manifest": plain.block(json.dumps(provenance, indent=1, ensure_ascii=False, sort_keys=True, default=str)),
        "data": embedded({**data, "clouds": clouds, "rows": rows}),
        "script": "".join(asset(name) for name in _SCRIPTS),
        "made_from": made_from,
    }
    return filled("page.jinja", page, headings)


def filled(template: str, page: Mapping[str, Any], headings: list[tuple[str, str]]) -> bytes:
    """A template with what is on its page; every name that is not in it is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    words = {"line": plain.line, "block": plain.block, "evidence": evidence, "number": number}
    every = {**page, **words, "style": style(), "nonce": secrets.token_urlsafe(18), "headings": headings}
    return environment.from_string(asset(template)).render(every).encode()


def asset(name: str) -> str:
    return files("harness.page").joinpath(name).read_text("utf-8")


def assets() -> list[str]:
    """The text of all that the page is made of besides Python."""
    return [asset(name) for name in ("page.jinja", "style.css", *_SCRIPTS)]


def style() -> str:
    def variables(dark: bool) -> str:
        return "".join(f"{name}:{value};" for name, value in palette.variables(dark).items())

    light = f":root{{{variables(False)}--paper:#fff;--shade:#f6f8fa;--good:#1a7f37;--bad:#cf222e;--link:#0969da;color-scheme:light dark}}"
    dark = f":root{{{variables(True)}--paper:#0d1117;--shade:#151b23;--good:#3fb950;--bad:#f85149;--link:#4493f8}}"
    return f"{light}@media(prefers-color-scheme:dark){{{dark}}}\n{asset('style.css')}"


def _rows_and_clouds(extras: Extras) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """See `harness.page.row_data` and `clouds_of`. Raises UsageError for tables that no run of this program has made."""
    from polars.exceptions import PolarsError

    states = next((look.tables[STATES] for look in extras.beside.looks if STATES in look.tables), None)
    try:
        rows = row_data(extras.rows)
        return rows, clouds_of(states, rows["conditions"])
    except (LookupError, TypeError, ValueError, ArithmeticError, PolarsError) as error:
        raise UsageError(
            f"{ROWS} or {STATES} beside the report is not of a run ({plain.line(str(error), 120)}); make both again with harness report --full"
        ) from error


def _only_in(extras: Extras, scores: Scores) -> Iterator[str]:
    """The sections that report.md has and nothing else: a prompt, how to read it."""
    analysed = {f"## {title}" for title, _ in sections_of(sections(scores, extras.beside))}
    for title, text in sections_of(extras.text):
        if title not in _SHOWN_ELSEWHERE and f"## {title}" not in analysed:
            yield text


def _with_ids(html: str) -> tuple[str, list[tuple[str, str]]]:
    """The HTML with an anchor at each large heading, and these: anchor and words."""
    found: list[tuple[str, str]] = []

    def numbered(match: re.Match[str]) -> str:
        found.append((f"part-{len(found)}", unescape(re.sub("<[^>]*>", "", match[1]))))
        return f'<h2 id="{found[-1][0]}">{match[1]}</h2>'

    return re.sub(r"<h2>(.*?)</h2>", numbered, html), found


def extras_of(content_of: Callable[[str], bytes | None], pictures: Mapping[str, bytes]) -> Extras:
    """What the page shows besides scores and checks, from the files of a report. Raises UsageError."""
    from harness.report.folder import SPEC
    from harness.scoring import scored_rows

    rows = content_of(ROWS)
    return Extras(
        beside=beside_of(content_of),
        rows=None if rows is None else read.full_table(rows, ROWS, scored_rows.ROWS),
        spec_text=(content_of(SPEC) or b"").decode(errors="replace"),
        text=(content_of(TEXT) or b"").decode(errors="replace"),
        pictures=pictures,
    )


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


def embedded(data: Any) -> str:
    """JSON in which no HTML parser finds a tag, a comment or an entity."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
