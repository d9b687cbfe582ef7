"""A report written: its files, its manifest and its page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from harness.page import html
from harness.report import outline
from harness.report.content import Report
from harness.report.folder import MANIFEST, PAGE, as_json, place
from harness.report.rendering import render


def write(
    report: Report, folder: Path, *, page: bool = True, rendered: Mapping[str, bytes] | None = None
) -> list[Path]:
    """Writes the report and takes away what a former run left and this one does not make; returns what was written.

    `rendered` is what `harness.report.rendering` gave for the same report, where it is at hand. Without `page`, report.html is
    left out (and an old one removed, for it would show other numbers).
    """
    files = dict(render(report) if rendered is None else rendered)
    manifest = {**report.manifest, "report": msgspec.to_builtins(outline.of(report))}
    files[MANIFEST] = as_json(manifest)
    if page:
        tables = {name: content for name, content in files.items() if name in html.EXTRA}
        files[PAGE] = html.render(outline.of(report), report.results, report.seeds, report.checks, manifest, tables)
    return place(files, folder)
