"""index.html: one page over all reports of a folder, with a comparison of any two at their summary layers.

A stranger may have written the reports: what the page has of each is read in the bounded worker.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness.errors import HarnessError, UsageError
from harness.page import html
from harness.page.chart_data import short
from harness.page.from_folder import contents_of, from_folder
from harness.report import read
from harness.report.folder import CHECKS, MANIFEST, RESULTS, place_page
from harness.report.outline import from_manifest
from harness.report.verdicts import AS_EXPECTED, UNEXPECTED
from harness.untrusted import text as plain
from harness.untrusted import worker
from harness.untrusted.bounded import Limits
from harness.untrusted.paths import is_plain

INDEX = "index.html"
_SCRIPTS = ("dom.js", "tables.js", "index.js")
_COLUMNS = ("fit_on", "tested_on", "probe", "target", "metric", "layer")

_LIMITS = Limits(seconds=15, mebibytes=1536, answer_bytes=16 << 20)
_NEEDS = ("polars", "harness.page.report_index")
_MOST_BYTES = 64 << 20
"""Of all entries together; those of ours have some kilobytes each."""


_MOST_IN_VAIN_S = 15
"""Spent on reports that are then refused: of a thousand hostile ones each may take its time."""


class Indexed(msgspec.Struct, frozen=True):
    """What became of the reports of a folder."""

    index: Path
    pages: list[Path]
    refused: list[str]
    """Folders that hold no report of this version, with the reason."""


def write(folder: Path) -> Indexed:
    """Renders the page of every report in a folder again, and an index over them. Raises UsageError where there is none."""
    found, pages, refused = [], [], []
    size, in_vain = 0, 0.0
    for one in folders_in(folder):
        start = time.monotonic()
        try:
            made = _entry(one)
            if size + len(made) > _MOST_BYTES:
                raise UsageError(
                    f"{plain.line(str(one))} would make the index larger than {_MOST_BYTES >> 20} MiB; name a folder of fewer reports "
                    "with --out"
                )
            pages.append(from_folder(one))
            found.append(msgspec.json.decode(made))
            size += len(made)
        except HarnessError as error:
            refused.append(str(error))
            in_vain += time.monotonic() - start
            if in_vain > _MOST_IN_VAIN_S:
                raise UsageError(
                    f"{plain.line(str(folder))} has {len(refused)} reports, or more, that cannot be read, and finding that out takes too "
                    f"long: {refused[0]}; name the folder of reports with --out"
                ) from error
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


def _entry(folder: Path) -> bytes:
    """What the index has of a report, in JSON. Raises UsageError."""
    contents = contents_of(folder)
    shown = plain.line(str(folder))
    return worker.call(
        bytes, entry, contents, folder.name, shown,
        what=f"what the index has of {shown}", remedy="a report of this program takes less; make it again with harness run",
        error=UsageError, limits=_LIMITS, needs=_NEEDS,
    )  # fmt: skip


def entry(contents: Mapping[str, bytes], folder: str, shown: str) -> bytes:
    """The same of a report's files, by their names; messages call their folder `shown`. Runs in the bounded worker. Raises UsageError."""
    name = f"{shown}/{MANIFEST}"
    outline = from_manifest(read.decoded_manifest(contents[MANIFEST], name), name)
    results = read.table_of(contents[RESULTS], read.RESULTS, f"{shown}/{RESULTS}", read.MOST_COMPARED)
    checks = read.table_of(contents[CHECKS], read.CHECKS, f"{shown}/{CHECKS}", read.MOST_COMPARED)
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
    content = {
        "folder": folder,
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
    return msgspec.json.encode(content)
