"""index.html: one page over all reports of a folder, with a comparison of any two at their summary layers."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, UsageError
from harness.page import html
from harness.page.chart_data import short
from harness.page.from_folder import from_folder
from harness.report import read
from harness.report.folder import CHECKS, MANIFEST, RESULTS, place_page
from harness.report.outline import from_manifest
from harness.report.verdicts import AS_EXPECTED, UNEXPECTED
from harness.untrusted import text as plain
from harness.untrusted.paths import is_plain

INDEX = "index.html"
_SCRIPTS = ("dom.js", "tables.js", "index.js")
_COLUMNS = ("fit_on", "tested_on", "probe", "target", "metric", "layer")


class Indexed(msgspec.Struct, frozen=True):
    """What became of the reports of a folder."""

    index: Path
    pages: list[Path]
    refused: list[str]
    """Folders that hold no report of this version, with the reason."""


def write(folder: Path) -> Indexed:
    """Renders the page of every report in a folder again, and an index over them. Raises UsageError where there is none."""
    found, pages, refused = [], [], []
    for one in folders_in(folder):
        try:
            entry = _entry(one)
            pages.append(from_folder(one))
            found.append(entry)
        except HarnessError as error:
            refused.append(str(error))
    if not found:
        why = f": {refused[0]}" if refused else ""
        raise UsageError(f"{plain.line(str(folder))} has no report{why}; name the folder of reports with --out")
    page = {
        "reports": found,
        "data": html.embedded({"reports": [{k: one[k] for k in ("name", "words", "rows", "checks")} for one in found]}),
        "script": "".join(html.asset(name) for name in _SCRIPTS),
    }
    return Indexed(place_page(folder / INDEX, html.filled("index.jinja", page, [])), pages, refused)


def folders_in(folder: Path) -> list[Path]:
    """The folders of reports in a folder; none that is a link."""
    every = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return [one for one in every if is_plain(one.name) and not one.is_symlink()]


def _entry(folder: Path) -> dict[str, Any]:
    """What the index has of a report. Raises UsageError."""
    name = plain.line(str(folder / MANIFEST))
    outline = from_manifest(read.decoded_manifest(read.file_bytes(folder / MANIFEST), name), name)
    results = read.table_of(read.file_bytes(folder / RESULTS), read.RESULTS, plain.line(str(folder / RESULTS)))
    checks = read.table_of(read.file_bytes(folder / CHECKS), read.CHECKS, plain.line(str(folder / CHECKS)))
    chosen = {(one.fit_on, one.probe): one.layer for one in outline.layers}
    places: dict[str, int] = {}
    rows = []
    for row in results.iter_rows(named=True):
        # A former version had all layers in its results.csv.
        if chosen.get((row["fit_on"], row["probe"]), row["layer"]) == row["layer"]:
            words = [places.setdefault(plain.line(row[column]), len(places)) for column in _COLUMNS]
            rows.append([*words, *(short(row[number]) for number in ("value", "low", "high"))])
    verdicts = Counter(checks["verdict"].to_list())
    claims = outline.claims if len(outline.claims) == checks.height else [""] * checks.height
    return {
        "folder": folder.name,
        "name": plain.line(outline.name),
        "about": outline.about,
        "as_expected": verdicts[AS_EXPECTED],
        "judged": verdicts[AS_EXPECTED] + verdicts[UNEXPECTED],
        "network": next((value for fact, value in outline.facts if fact.startswith("network")), ""),
        "words": list(places),
        "rows": rows,
        "checks": [
            {
                "claim": plain.line(claim),
                "finding": plain.line(row["finding"]),
                "value": None if math.isnan(row["value"]) else short(row["value"]),
            }
            for claim, row in zip(claims, checks.iter_rows(named=True), strict=True)
            if claim
        ],
    }
